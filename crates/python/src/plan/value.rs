//! One value on its way into the user's code: found or missing, defaulted, validated.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::runtime::Runtime;
use super::spec::ValueSpec;
use crate::host::ffi;

/// How a field turns what a request holds into an argument.
pub(crate) struct Value {
    field: Py<PyAny>,
    /// `SchemaValidator.validate_python` of the field; `None` where FastAPI's own method has to do it.
    validate: Option<Py<PyAny>>,
    missing: Missing,
    validate_default: bool,
}

/// What becomes of a value that is not there.
enum Missing {
    /// An error.
    Required,
    /// A default that cannot be changed, so that all requests may have the same.
    Shared(Py<PyAny>),
    /// FastAPI makes and copies one for each request.
    Fresh,
}

impl Value {
    pub(crate) fn new(spec: ValueSpec) -> Value {
        let missing = match spec.shared_default {
            _ if spec.required => Missing::Required,
            Some((value,)) => Missing::Shared(value),
            None => Missing::Fresh,
        };
        Value { field: spec.field, validate: spec.validate, missing, validate_default: spec.validate_default }
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.field)?;
        visit.call(&self.validate)?;
        match &self.missing {
            Missing::Shared(value) => visit.call(value),
            Missing::Required | Missing::Fresh => Ok(()),
        }
    }

    pub(crate) fn field(&self) -> &Py<PyAny> {
        &self.field
    }

    /// The argument, or `None` after its errors were added to `errors`.
    ///
    /// # Errors
    /// What the application's validators and default factories raise, other than errors of validation.
    pub(crate) fn read<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        found: Option<Bound<'py, PyAny>>,
        errors: &mut Errors<'py>,
        loc: impl FnOnce() -> PyResult<Bound<'py, PyTuple>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = match (found, &self.missing) {
            (Some(value), _) => value,
            (None, Missing::Required) => {
                errors.add(runtime.missing_error.bind(py).call1((loc()?,))?)?;
                return Ok(None);
            }
            (None, Missing::Shared(value)) if !self.validate_default => return Ok(Some(value.bind(py).clone())),
            (None, Missing::Shared(value)) => value.bind(py).clone(),
            (None, Missing::Fresh) => {
                let value = runtime.fresh_default.bind(py).call1((&self.field,))?;
                if !self.validate_default {
                    return Ok(Some(value));
                }
                value
            }
        };
        self.validate(py, runtime, &value, errors, loc)
    }

    fn validate<'py>(
        &self,
        py: Python<'py>,
        runtime: &Runtime,
        value: &Bound<'py, PyAny>,
        errors: &mut Errors<'py>,
        loc: impl FnOnce() -> PyResult<Bound<'py, PyTuple>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(validate) = &self.validate else {
            let result = runtime.validate_field.bind(py).call1((&self.field, value, loc()?))?;
            let (value, found): (Bound<'py, PyAny>, Bound<'py, PyAny>) = result.extract()?;
            return if errors.extend(&found)? { Ok(None) } else { Ok(Some(value)) };
        };
        match call_validator(py, runtime, validate, value) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_instance(py, runtime.validation_error.bind(py)) => {
                let found = runtime.located_errors.bind(py).call1((error.into_value(py), loc()?))?;
                errors.extend(&found)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// `validate(value, from_attributes=True)`.
pub(crate) fn call_validator<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    validate: &Py<PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let yes = PyBool::new(py, true);
    ffi::call_with_names(validate.bind(py), [value, &yes], runtime.from_attributes.bind(py))
}

/// FastAPI's list of errors, made when there is one.
pub(crate) struct Errors<'py> {
    py: Python<'py>,
    list: Option<Bound<'py, PyList>>,
    /// Whether something was added since the last [`Errors::take_mark`].
    marked: bool,
}

impl<'py> Errors<'py> {
    pub(crate) fn new(py: Python<'py>, list: Option<&Py<PyList>>) -> Errors<'py> {
        Errors { py, list: list.map(|list| list.bind(py).clone()), marked: false }
    }

    pub(crate) fn add(&mut self, error: Bound<'py, PyAny>) -> PyResult<()> {
        self.marked = true;
        self.list.get_or_insert_with(|| PyList::empty(self.py)).append(error)
    }

    /// Adds all of a list; false if it is empty.
    pub(crate) fn extend(&mut self, errors: &Bound<'py, PyAny>) -> PyResult<bool> {
        let mut any = false;
        for error in errors.try_iter()? {
            self.add(error?)?;
            any = true;
        }
        Ok(any)
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.marked
    }

    pub(crate) fn into_list(self) -> Option<Py<PyList>> {
        self.list.map(Bound::unbind)
    }
}
