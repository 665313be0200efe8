//! Hears of coroutines that die without having begun.

use pyo3::prelude::*;

/// What `warnings._warn_unawaited_coroutine` is replaced by. No function of Python's, as the warning blames the line two frames
/// up: that of the user's has to stay there.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct UnawaitedCallback {
    /// Python's own, which warns.
    warn: Py<PyAny>,
    note: Py<PyAny>,
}

impl UnawaitedCallback {
    pub(super) fn new(warn: Py<PyAny>, note: Py<PyAny>) -> UnawaitedCallback {
        UnawaitedCallback { warn, note }
    }
}

#[pymethods]
impl UnawaitedCallback {
    fn __call__(&self, coroutine: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = coroutine.py();
        // A warning may be an error; the fault counts all the same.
        let warned = self.warn.bind(py).call1((coroutine,));
        self.note.bind(py).call1((coroutine,))?;
        warned.map(drop)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.warn)?;
        visit.call(&self.note)
    }
}
