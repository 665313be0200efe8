//! A dependency or an endpoint: where its arguments come from, and how it is called.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::body::BodyParameter;
use super::exits::Which;
use super::form::FormParameter;
use super::input::{Parameter, Source};
use super::spec::NodeSpec;

/// A node of the dependency tree. A plan has them in the order in which FastAPI solves them: children first, the endpoint last.
///
/// All arguments of all nodes stand in one list; a node's own are `base .. base + arguments`, in the order of `names`.
pub(crate) struct Node {
    pub(crate) dependant: Py<PyAny>,
    pub(crate) call: Py<PyAny>,
    pub(crate) kind: Kind,
    pub(crate) names: Py<PyTuple>,
    pub(crate) base: usize,
    pub(crate) arguments: usize,
    pub(crate) parent: Option<usize>,
    /// Where its value goes, in the list of all arguments.
    pub(crate) target: Option<usize>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Vec<BodyParameter>,
    /// Places of arguments that come from a form; in some releases from any body.
    pub(crate) of_form: Vec<usize>,
    /// How they are read; `None`: by FastAPI's own code.
    pub(crate) form: Option<Vec<FormParameter>>,
    pub(crate) specials: Vec<(Special, usize)>,
    /// What [`Special::Presented`] holds.
    pub(crate) presented: Option<Presented>,
    pub(crate) cache: usize,
    pub(crate) use_cache: bool,
    pub(crate) request_scoped: bool,
    pub(crate) limited: bool,
    pub(crate) exposes_request: bool,
}

/// How a node is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Coroutine,
    Sync,
    /// A generator in a thread.
    Generator,
    AsyncGenerator,
}

/// The value that a security scheme looks for: `request.<attribute>.get(<key>)`.
pub(crate) struct Presented {
    /// `(attribute,)`
    pub(crate) names: Py<PyTuple>,
    pub(crate) source: Source,
    pub(crate) key: Py<PyString>,
}

impl Presented {
    fn new(py: Python<'_>, attribute: String, key: Py<PyString>) -> PyResult<Presented> {
        let source = match attribute.as_str() {
            "headers" => Source::Header,
            "query_params" => Source::Query,
            "cookies" => Source::Cookie,
            other => return Err(PyValueError::new_err(format!("unknown in a plan: {other}"))),
        };
        Ok(Presented { names: PyTuple::new(py, [PyString::intern(py, &attribute)])?.unbind(), source, key })
    }
}

/// An argument that is not read from the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Request,
    /// In the request's place, for a security scheme of FastAPI's: an object with the one value that it looks for.
    Presented,
    Response,
    BackgroundTasks,
    SecurityScopes,
}

impl Node {
    /// `base`: the first place of the list of arguments that is free.
    pub(crate) fn new(py: Python<'_>, spec: NodeSpec, base: usize) -> PyResult<Node> {
        let invalid = |what: &str| PyValueError::new_err(format!("unknown in a plan: {what}"));
        let kind = match spec.kind.as_str() {
            "coroutine" => Kind::Coroutine,
            "sync" => Kind::Sync,
            "generator" => Kind::Generator,
            "async_generator" => Kind::AsyncGenerator,
            other => return Err(invalid(other)),
        };
        let special = |(name, place): (String, usize)| {
            let special = match name.as_str() {
                "request" => Special::Request,
                "presented" => Special::Presented,
                "response" => Special::Response,
                "background_tasks" => Special::BackgroundTasks,
                "security_scopes" => Special::SecurityScopes,
                other => return Err(invalid(other)),
            };
            Ok((special, place))
        };
        Ok(Node {
            dependant: spec.dependant,
            call: spec.call,
            kind,
            arguments: spec.names.bind(py).len(),
            names: spec.names,
            base,
            parent: spec.parent,
            target: None,
            parameters: spec.parameters.into_iter().map(|spec| Parameter::new(py, spec)).collect::<PyResult<_>>()?,
            body: spec.body.into_iter().map(BodyParameter::new).collect(),
            of_form: spec.of_form,
            form: spec.form.map(|specs| specs.into_iter().map(FormParameter::new).collect()),
            specials: spec.specials.into_iter().map(special).collect::<PyResult<_>>()?,
            presented: spec.presented.map(|(attribute, key)| Presented::new(py, attribute, key)).transpose()?,
            cache: spec.cache,
            use_cache: spec.use_cache,
            request_scoped: spec.request_scoped,
            limited: spec.limited,
            exposes_request: spec.exposes_request,
        })
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.dependant)?;
        visit.call(&self.call)?;
        self.parameters.iter().try_for_each(|parameter| parameter.traverse(visit))?;
        self.body.iter().try_for_each(|parameter| parameter.traverse(visit))?;
        self.form.iter().flatten().try_for_each(|parameter| parameter.traverse(visit))
    }

    /// With what a generator is left.
    pub(super) fn exits(&self) -> Which {
        if self.request_scoped { Which::Request } else { Which::Function }
    }

    pub(crate) fn places(&self) -> std::ops::Range<usize> {
        self.base..self.base + self.arguments
    }
}
