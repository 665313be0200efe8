//! The coroutine of a request: what its asyncio task runs.
//!
//! It drives the application's coroutine step by step, so that the engine knows when each step began and ended and how
//! the last one went, without a Python frame in between. To everyone else it looks like the coroutine inside: tracebacks,
//! `repr(task)`, anyio's cancel scopes see the application's frames through `cr_frame`, `cr_await` and so on.
//!
//! The class is frozen, and no borrow is held while Python code runs: `repr(task)` inside a handler reads this object in
//! the middle of its own `__next__`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;

use super::awaitable::thrown;
use super::loop_bound::LoopBound;
use super::{Host, ffi};

/// A request, seen from its coroutine.
pub(crate) trait Request: Send + Sync {
    /// Calls the application. Runs inside the task, as the first thing it does.
    fn call<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;

    /// The application is done, one way or the other. Whatever this returns as an error goes on to the task.
    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()>;

    /// For the garbage collector.
    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError>;
}

/// Registers the class with `collections.abc.Coroutine`, which `asyncio.Task` asks for.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    let coroutine = py.import("collections.abc")?.getattr("Coroutine")?;
    coroutine.call_method1("register", (py.get_type::<RequestCoroutine>(),))?;
    Ok(())
}

/// See the [module](self).
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct RequestCoroutine {
    request: Box<dyn Request>,
    host: LoopBound<Host>,
    /// The application's coroutine, once it was called.
    inner: OnceLock<Py<PyAny>>,
    ended: AtomicBool,
    /// Where the host holds the task; `usize::MAX` while it does not.
    key: AtomicUsize,
}

impl RequestCoroutine {
    pub(super) fn new(request: Box<dyn Request>, host: LoopBound<Host>) -> RequestCoroutine {
        RequestCoroutine {
            request,
            host,
            inner: OnceLock::new(),
            ended: AtomicBool::new(false),
            key: AtomicUsize::new(usize::MAX),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn set_key(&self, key: usize) {
        self.key.store(key, Ordering::Relaxed);
    }

    fn start<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let awaitable = self.request.call(py)?;
        let inner = if ffi::is_coroutine(&awaitable) {
            awaitable
        } else {
            awaitable.call_method0(pyo3::intern!(py, "__await__"))?
        };
        Ok(self.inner.get_or_init(|| inner.unbind()).bind(py))
    }

    /// What a step came to. `None` is the end.
    fn stepped(&self, py: Python<'_>, result: PyResult<PySendResult<'_>>) -> PyResult<Option<Py<PyAny>>> {
        match result {
            Ok(PySendResult::Next(yielded)) => Ok(Some(yielded.unbind())),
            Ok(PySendResult::Return(_)) => self.end(py, Ok(())).map(|()| None),
            Err(error) => self.end(py, Err(error)).map(|()| None),
        }
    }

    /// Tells the request and the host, once.
    pub(super) fn end(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        if self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let result = self.request.ended(py, outcome);
        if let Some(host) = self.host.get_here() {
            let key = self.key.load(Ordering::Relaxed);
            host.ended(py, (key != usize::MAX).then_some(key));
        }
        result
    }

    fn attribute(&self, py: Python<'_>, name: &Bound<'_, pyo3::types::PyString>) -> Py<PyAny> {
        let value = self.inner.get().and_then(|inner| inner.bind(py).getattr(name).ok());
        value.map_or_else(|| py.None(), Bound::unbind)
    }
}

#[pymethods]
impl RequestCoroutine {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    /// One step. Returning `None` at the end is what makes `asyncio.Task` see the end without a `StopIteration`.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let result = match self.inner.get() {
            Some(inner) => ffi::send(inner.bind(py), &py.None().into_bound(py)),
            None => self.start(py).and_then(|inner| ffi::send(inner, &py.None().into_bound(py))),
        };
        self.stepped(py, result)
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let result = match self.inner.get() {
            Some(inner) => ffi::send(inner.bind(py), value),
            None => self.start(py).and_then(|inner| ffi::send(inner, value)),
        };
        self.stepped(py, result)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let Some(inner) = self.inner.get() else {
            // Cancelled before its first step, as asyncio does with a task that has not begun.
            self.end(py, Err(thrown(kind, value, traceback)))?;
            return Err(PyStopIteration::new_err(()));
        };
        let name = pyo3::intern!(py, "throw");
        let result = match (value, traceback) {
            (None, None) => inner.bind(py).call_method1(name, (kind,)),
            _ => inner.bind(py).call_method1(name, (kind, value, traceback)),
        };
        let result = match result {
            Ok(yielded) => Ok(PySendResult::Next(yielded)),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                Ok(PySendResult::Return(py.None().into_bound(py)))
            }
            Err(error) => Err(error),
        };
        self.stepped(py, result)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.inner.get() {
            Some(inner) => {
                inner.bind(py).call_method0(pyo3::intern!(py, "close"))?;
                let closed = PyRuntimeError::new_err("the request's coroutine was closed before its end");
                self.end(py, Err(closed))
            }
            None => Ok(()),
        }
    }

    #[getter]
    fn __name__(&self, py: Python<'_>) -> Py<PyAny> {
        self.attribute(py, pyo3::intern!(py, "__name__"))
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> Py<PyAny> {
        let name = self.attribute(py, pyo3::intern!(py, "__qualname__"));
        if name.is_none(py) { pyo3::intern!(py, "RequestCoroutine").clone().unbind().into_any() } else { name }
    }

    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        self.attribute(py, pyo3::intern!(py, "cr_await"))
    }

    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Py<PyAny> {
        self.attribute(py, pyo3::intern!(py, "cr_code"))
    }

    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Py<PyAny> {
        self.attribute(py, pyo3::intern!(py, "cr_frame"))
    }

    #[getter]
    fn cr_origin(&self, py: Python<'_>) -> Py<PyAny> {
        self.attribute(py, pyo3::intern!(py, "cr_origin"))
    }

    #[getter]
    fn cr_running(&self, py: Python<'_>) -> bool {
        self.attribute(py, pyo3::intern!(py, "cr_running")).is_truthy(py).unwrap_or(false)
    }

    #[getter]
    fn cr_suspended(&self, py: Python<'_>) -> bool {
        self.attribute(py, pyo3::intern!(py, "cr_suspended")).is_truthy(py).unwrap_or(false)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.request.traverse(&visit)?;
        self.inner.get().map_or(Ok(()), |inner| visit.call(inner))
    }
}
