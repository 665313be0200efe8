//! The request at hand, as code finds it that does not run in the request's own coroutine: from its context.
//!
//! Whatever a request begins inherits the context that says whose it is. What of it is a part of the request, as the
//! application behind a `BaseHTTPMiddleware`, has its steps and its threads added to the request's clock.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyDict, PyTuple};

use super::{RequestClock, Timed};
use crate::asgi::route;
use crate::host::awaited::{Awaited, awaited_methods};
use crate::host::ffi;
use crate::host::loop_bound::{Graveyard, LoopBound};
use crate::host::steps::Resume;

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
    fn find_route(&self, py: Python<'_>, clock: &RequestClock) {
        let scope = self.scope.bind(py);
        if let Ok(Some(method)) = scope.get_item(pyo3::intern!(py, "method"))
            && let Ok(method) = method.extract::<String>()
        {
            route::find(clock, py, &method, scope, false);
        }
    }
}

impl Awaited for RequestPart {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        let (py, part) = (this.py(), this.get());
        let timed = part.request.get_here().and_then(|request| request.upgrade());
        let clock = timed.as_deref().and_then(Timed::clock);
        let running = clock.and_then(RequestClock::run_part);
        let inner = part.inner.bind(py);
        let result = match resume {
            Resume::Send(value) => {
                ffi::send(inner, &value.map_or_else(|| py.None().into_bound(py), |value| value.into_bound(py)))
            }
            Resume::Throw(error) => {
                let error = error.into_value(py).into_bound(py).into_any();
                ffi::throw(inner, (&error, None, None))
            }
        };
        if let (Some(running), Some(clock), Some(timed)) = (running, clock, &timed) {
            if !clock.has_route() {
                part.find_route(py, clock);
            }
            clock.pause(running, timed, false);
        }
        result
    }

    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().inner.bind(this.py()).call_method0(pyo3::intern!(this.py(), "close")).map(drop)
    }
}

awaited_methods!(RequestPart {
    /// For those who look at what a coroutine waits for.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner.clone_ref(py)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.inner)?;
        visit.call(&self.scope)
    }
});
