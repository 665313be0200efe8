//! The request at hand, as code finds it that does not run in the request's own coroutine: from its context.
//!
//! Whatever a request begins inherits the context that says whose it is. What of it is a part of the request, as the
//! application behind a `BaseHTTPMiddleware`, has its steps and its threads added to the request's clock.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyDict, PyTuple};

use super::{RequestClock, Timed};
use crate::asgi::route;
use crate::host::awaitable::thrown;
use crate::host::ffi;
use crate::host::loop_bound::{Graveyard, LoopBound};

/// What a context has of its request beside its line and its number. It keeps no request alive.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(super) struct RequestMark(LoopBound<Weak<dyn Timed>>);

impl RequestMark {
    pub(super) fn new(timed: &Rc<dyn Timed>, graveyard: &Arc<Graveyard>) -> RequestMark {
        RequestMark(LoopBound::new(Rc::new(Rc::downgrade(timed)), graveyard))
    }
}

/// The request in whose context the caller runs, if somebody watches it and it has not found its own way to a plan.
pub(super) fn request(py: Python<'_>) -> Option<LoopBound<Weak<dyn Timed>>> {
    mark(py)?.get().0.another().ok()
}

fn mark(py: Python<'_>) -> Option<Bound<'_, RequestMark>> {
    static ORIGIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let origin = ORIGIN.import(py, "overdrive.watch.origin", "ORIGIN").ok()?;
    let value = ffi::get_context_variable(origin)?;
    value.cast::<PyTuple>().ok()?.get_item(2).ok()?.cast_into().ok()
}

/// See `_overdrive.pyi`.
#[pyfunction]
pub(crate) fn request_part<'py>(
    awaitable: Bound<'py, PyAny>,
    scope: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = awaitable.py();
    let Some(mark) = mark(py).filter(|mark| mark.get().0.get_here().is_some()) else { return Ok(awaitable) };
    let inner = if ffi::is_coroutine(&awaitable) {
        awaitable
    } else if let Some(begin) = awaitable.getattr_opt(pyo3::intern!(py, "__await__"))? {
        begin.call0()?
    } else {
        // Whoever awaits it is told that this cannot be.
        return Ok(awaitable);
    };
    let request = mark.get().0.another()?;
    Ok(Bound::new(py, RequestPart { request, inner: inner.unbind(), scope: scope.clone().unbind() })?.into_any())
}

/// What awaiting a part of a request runs: each step of it is one of the request's, unless it is within one already.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct RequestPart {
    request: LoopBound<Weak<dyn Timed>>,
    inner: Py<PyAny>,
    scope: Py<PyDict>,
}

impl RequestPart {
    fn step<'py>(
        &self,
        py: Python<'py>,
        act: impl FnOnce() -> PyResult<PySendResult<'py>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let timed = self.request.get_here().and_then(|request| request.upgrade());
        let clock = timed.as_deref().and_then(Timed::clock);
        let running = clock.and_then(RequestClock::run_part);
        let result = act();
        if let (Some(running), Some(clock), Some(timed)) = (running, clock, &timed) {
            if !clock.has_route() {
                self.find_route(py, clock);
            }
            clock.pause(running, timed, false);
        }
        match result? {
            PySendResult::Next(yielded) => Ok(Some(yielded.unbind())),
            PySendResult::Return(value) if value.is_none() => Ok(None),
            PySendResult::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }

    fn find_route(&self, py: Python<'_>, clock: &RequestClock) {
        let scope = self.scope.bind(py);
        if let Ok(Some(method)) = scope.get_item(pyo3::intern!(py, "method"))
            && let Ok(method) = method.extract::<String>()
        {
            route::find(clock, py, &method, scope, false);
        }
    }
}

#[pymethods]
impl RequestPart {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py, || ffi::send(self.inner.bind(py), &py.None().into_bound(py)))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py, || ffi::send(self.inner.bind(py), value))?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let error = thrown(kind, value, traceback).into_value(py).into_bound(py).into_any();
        self.step(py, || ffi::throw(self.inner.bind(py), (&error, None, None)))?
            .ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.bind(py).call_method0(pyo3::intern!(py, "close")).map(drop)
    }

    /// For those who look at what a coroutine waits for.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner.clone_ref(py)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.inner)?;
        visit.call(&self.scope)
    }
}
