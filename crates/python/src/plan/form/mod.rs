//! Forms: read here where they are written plainly, by Starlette's own parser where not; then the arguments in them.
//!
//! Nothing of the user's has run when a form is read, so that Starlette can always be given the bytes that were received.

mod multipart;
mod options;
mod parameters;
mod reading;
mod urlencoded;

use std::cell::OnceCell;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

pub(crate) use multipart::Limits;
pub(crate) use parameters::{FormParameter, read_all};
pub(super) use reading::Reading;

use super::runtime::Runtime;

/// The pairs of a form that was read, as Starlette's `FormData` holds them.
pub(crate) struct Form {
    /// `(name, value)` in the order of the body; a value is a `str` or an `UploadFile`.
    list: Py<PyList>,
    /// The last value of each name.
    last: Py<PyDict>,
    /// The `FormData`, made when somebody asks for it.
    data: OnceCell<Py<PyAny>>,
    /// The files that are to be closed; none if Starlette has read the form.
    files: Vec<Py<PyAny>>,
    /// The request object knows nothing of it yet.
    is_own: bool,
    /// The body was read for it.
    pub(super) has_body: bool,
}

impl Form {
    /// A form that was read here.
    fn new(py: Python<'_>, pairs: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)], has_body: bool) -> PyResult<Form> {
        let last = PyDict::new(py);
        for (name, value) in pairs {
            last.set_item(name, value)?;
        }
        let list = PyList::new(py, pairs)?.unbind();
        Ok(Form { list, last: last.unbind(), data: OnceCell::new(), files: Vec::new(), is_own: true, has_body })
    }

    /// A form that Starlette has read.
    fn of_data(data: Bound<'_, PyAny>) -> PyResult<Form> {
        let py = data.py();
        let list = data.call_method0(pyo3::intern!(py, "multi_items"))?.cast_into::<PyList>()?;
        let last = PyDict::new(py);
        for pair in &list {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            last.set_item(name, value)?;
        }
        Ok(Form {
            list: list.unbind(),
            last: last.unbind(),
            data: OnceCell::from(data.unbind()),
            files: Vec::new(),
            is_own: false,
            has_body: true,
        })
    }

    /// Starlette's `FormData`.
    pub(super) fn data<'py>(&self, py: Python<'py>, runtime: &Runtime) -> PyResult<&Bound<'py, PyAny>> {
        let data =
            super::call::get_or_try_init(&self.data, || Ok(runtime.form_data.bind(py).call1((&self.list,))?.unbind()))?;
        Ok(data.bind(py))
    }

    /// Whether all of its files are held in memory.
    pub(super) fn is_in_memory(&self, py: Python<'_>) -> PyResult<bool> {
        for pair in self.list.bind(py) {
            let value = pair.get_item(1)?;
            if !value.is_instance_of::<PyString>() && !value.getattr(pyo3::intern!(py, "_in_memory"))?.is_truthy()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it was read here, so that Starlette's request object has to be told of it.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// The files that nobody closes yet.
    pub(super) fn files(&self) -> &[Py<PyAny>] {
        &self.files
    }
}
