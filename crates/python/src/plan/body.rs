//! JSON bodies: `json.loads`, then FastAPI's `request_body_to_args`.

use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::form::Form;
use super::runtime::Runtime;
use super::spec::BodySpec;
use super::value::{Errors, Value};

/// What was read of a request's body.
pub(crate) enum Body {
    /// There was none, or nobody asked for it.
    Undefined,
    /// Not JSON by its content type.
    Bytes(Py<PyAny>),
    /// What `json.loads` made of it.
    Json(Py<PyAny>),
    Form(Rc<Form>),
}

impl Body {
    /// What a validator sees; `None` for `Undefined`.
    pub(crate) fn object<'py>(&self, py: Python<'py>, runtime: &Runtime) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match self {
            Body::Undefined => None,
            Body::Bytes(value) | Body::Json(value) => Some(value.bind(py).clone()),
            Body::Form(form) => Some(form.data(py, runtime)?.clone()),
        })
    }
}

/// A parameter that is the body, or a member of it.
pub(crate) struct BodyParameter {
    pub(crate) argument: usize,
    keys: Vec<Py<PyString>>,
    value: Value,
}

impl BodyParameter {
    pub(crate) fn new(spec: BodySpec) -> BodyParameter {
        BodyParameter { argument: spec.argument, keys: spec.keys, value: Value::new(spec.value) }
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.value.traverse(visit)
    }

    /// The argument, or `None` after its errors were added. `embedded`: it is a member of a JSON object.
    pub(crate) fn read<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        body: &Body,
        embedded: bool,
        errors: &mut Errors<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let root = pyo3::intern!(py, "body");
        if !embedded {
            let found = body.object(py, runtime)?;
            return self.value.read(py, runtime, found, errors, || PyTuple::new(py, [root]));
        }
        let (key, found) = match body {
            Body::Undefined | Body::Bytes(_) | Body::Form(_) => (&self.keys[0], None),
            Body::Json(json) => match json.bind(py).cast::<PyDict>() {
                Ok(members) => self.member(py, members)?,
                Err(_) => {
                    let loc = PyTuple::new(py, [root, self.keys[0].bind(py)])?;
                    errors.add(runtime.missing_error.bind(py).call1((loc,))?)?;
                    return Ok(None);
                }
            },
        };
        self.value.read(py, runtime, found, errors, || PyTuple::new(py, [root, key.bind(py)]))
    }

    fn member<'py>(
        &self,
        py: Python<'py>,
        members: &Bound<'py, PyDict>,
    ) -> PyResult<(&Py<PyString>, Option<Bound<'py, PyAny>>)> {
        for key in &self.keys {
            let found = members.get_item(key.bind(py))?;
            if found.is_some() {
                return Ok((key, found));
            }
        }
        Ok((&self.keys[0], None))
    }
}
