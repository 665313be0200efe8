//! What the compiler hands over: the Python objects of `overdrive.compiler.spec`, read once.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

/// An entry of the router; see `overdrive.compiler.spec.Entry`.
#[derive(FromPyObject)]
pub(crate) struct EntrySpec {
    pub(crate) segments: Option<Vec<(String, bool)>>,
    pub(crate) pieces: Option<Vec<(String, bool)>>,
    pub(crate) prefix: String,
    pub(crate) methods: Vec<String>,
    pub(crate) allow: Option<String>,
    pub(crate) plan: Option<PlanSpec>,
    pub(crate) mount: Option<MountSpec>,
    /// Why there is no plan.
    pub(crate) reason: Option<String>,
    pub(crate) kind: String,
}

/// See `overdrive.compiler.spec.Plan`.
#[derive(FromPyObject)]
pub(crate) struct PlanSpec {
    pub(crate) route: Py<PyAny>,
    /// What the matched route adds to the scope.
    pub(crate) scope: Py<PyDict>,
    pub(crate) path_parameters: Vec<(Py<PyString>, Option<Py<PyAny>>)>,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) caches: usize,
    pub(crate) reads: String,
    pub(crate) form_limits: Py<PyAny>,
    /// Files, fields and bytes of a field that our own parser of forms may find.
    pub(crate) own_form_limits: Option<(u64, u64, u64)>,
    pub(crate) strict_content_type: bool,
    pub(crate) embed: bool,
    pub(crate) body_limit: Option<u64>,
    pub(crate) answer: AnswerSpec,
    pub(crate) overrides: Option<OverridesSpec>,
    /// `(handler) -> handler`, with an attribute `before`: `(request) -> bool`, or `None`
    pub(crate) around: Option<Py<PyAny>>,
    pub(crate) template: Py<PyString>,
}

/// See `overdrive.compiler.spec.MountedApplication`.
#[derive(FromPyObject)]
pub(crate) struct MountSpec {
    pub(crate) mounted: Py<PyAny>,
    pub(crate) route: Py<PyAny>,
    pub(crate) app: Py<PyAny>,
    pub(crate) path_parameters: Vec<(Py<PyString>, Option<Py<PyAny>>)>,
    pub(crate) scope: Py<PyDict>,
    pub(crate) body_limit: Option<u64>,
    pub(crate) is_direct: bool,
    /// `(application) -> application`
    pub(crate) around: Py<PyAny>,
}

/// See `overdrive.compiler.spec.Overrides`.
#[derive(FromPyObject)]
pub(crate) struct OverridesSpec {
    pub(crate) provider: Py<PyAny>,
    /// `(mapping) -> Plan | str`
    pub(crate) vary: Py<PyAny>,
}

/// See `overdrive.compiler.spec.Node`.
#[derive(FromPyObject)]
pub(crate) struct NodeSpec {
    pub(crate) dependant: Py<PyAny>,
    pub(crate) call: Py<PyAny>,
    pub(crate) kind: String,
    pub(crate) names: Py<PyTuple>,
    pub(crate) parent: Option<usize>,
    /// The place of this node's value among its parent's arguments.
    pub(crate) argument: Option<usize>,
    pub(crate) parameters: Vec<ParameterSpec>,
    pub(crate) body: Vec<BodySpec>,
    pub(crate) of_form: Vec<usize>,
    pub(crate) form: Option<Vec<FormSpec>>,
    pub(crate) specials: Vec<(String, usize)>,
    pub(crate) presented: Option<(String, Py<PyString>)>,
    pub(crate) cache: usize,
    pub(crate) use_cache: bool,
    pub(crate) request_scoped: bool,
    pub(crate) limited: bool,
    /// The user's code of this node sees the request, and may change what later nodes read.
    pub(crate) exposes_request: bool,
}

/// See `overdrive.compiler.spec.Parameter`.
#[derive(FromPyObject)]
pub(crate) struct ParameterSpec {
    pub(crate) argument: usize,
    pub(crate) source: String,
    pub(crate) keys: Vec<Py<PyString>>,
    pub(crate) sequence: bool,
    pub(crate) empty_is_absent: bool,
    pub(crate) model: bool,
    pub(crate) value: ValueSpec,
}

/// See `overdrive.compiler.spec.BodyParameter`.
#[derive(FromPyObject)]
pub(crate) struct BodySpec {
    pub(crate) argument: usize,
    pub(crate) keys: Vec<Py<PyString>>,
    pub(crate) value: ValueSpec,
}

/// See `overdrive.compiler.spec.FormParameter`.
#[derive(FromPyObject)]
pub(crate) struct FormSpec {
    pub(crate) argument: usize,
    pub(crate) fields: Vec<FormFieldSpec>,
    pub(crate) model: Option<(bool, bool)>,
    pub(crate) value: ValueSpec,
}

/// See `overdrive.compiler.spec.FormField`.
#[derive(FromPyObject)]
pub(crate) struct FormFieldSpec {
    pub(crate) keys: Vec<Py<PyString>>,
    pub(crate) sequence: bool,
    pub(crate) contents: bool,
    pub(crate) field: Py<PyAny>,
}

/// See `overdrive.compiler.spec.Value`.
#[derive(FromPyObject)]
pub(crate) struct ValueSpec {
    pub(crate) field: Py<PyAny>,
    pub(crate) validate: Option<Py<PyAny>>,
    pub(crate) required: bool,
    pub(crate) shared_default: Option<(Py<PyAny>,)>,
    pub(crate) validate_default: bool,
}

/// See `overdrive.compiler.spec.Answer`.
#[derive(FromPyObject)]
pub(crate) struct AnswerSpec {
    pub(crate) kind: String,
    pub(crate) status: Option<u16>,
    #[pyo3(attribute("class_"))]
    pub(crate) class: Py<PyAny>,
    pub(crate) field: Option<Py<PyAny>>,
    pub(crate) validate: Option<Py<PyAny>>,
    pub(crate) serialize: Option<Py<PyAny>>,
    /// Keywords for `serialize`.
    pub(crate) options: Py<PyDict>,
    pub(crate) in_thread: bool,
    pub(crate) stream: Option<StreamSpec>,
}

/// See `overdrive.compiler.spec.Stream`.
#[derive(FromPyObject)]
pub(crate) struct StreamSpec {
    pub(crate) kind: String,
    pub(crate) is_async: bool,
}
