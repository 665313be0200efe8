//! The coroutine of a request: what its asyncio task runs.
//!
//! It drives the application's coroutine step by step, so that the engine knows when each step began and ended and how
//! the last one went, without a Python frame in between. To everyone else it looks like the coroutine inside: tracebacks,
//! `repr(task)`, anyio's cancel scopes see the application's frames through `cr_frame`, `cr_await` and so on.
//!
//! The class is frozen, and no borrow is held while Python code runs: `repr(task)` inside a handler reads this object in
//! the middle of its own `__next__`.

use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;

use super::awaited::{self, thrown};
use super::loop_bound::LoopBound;
use super::steps::{Resume, Steps};
use super::{Host, ffi};
use crate::watch::Timed;

/// A request, seen from its coroutine.
pub(crate) trait Request: Send + Sync {
    /// Begins. Runs inside the task, as the first thing it does.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>>;

    /// The application is done, one way or the other. Whatever this returns as an error goes on to the task.
    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()>;

    /// The request as its clock knows it; `None` if nobody watches.
    fn timed(&self) -> Option<Rc<dyn Timed>>;

    /// What has become known by the end of a step, the route above all.
    fn paused(&self, py: Python<'_>);

    /// For the garbage collector.
    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError>;
}

/// What answers a request.
pub(crate) enum Begun<'py> {
    /// An awaitable of the application's.
    Python(Bound<'py, PyAny>),
    /// A future of ours.
    Steps(Steps),
}

/// Registers the class with `collections.abc.Coroutine`, which `asyncio.Task` asks for.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    awaited::register::<RequestCoroutine>(py)
}

/// The request whose task this is, if somebody watches it; for the loop's thread.
pub(crate) fn request_of(task: &Bound<'_, PyAny>) -> Option<LoopBound<Weak<dyn Timed>>> {
    let coroutine =
        task.call_method0(pyo3::intern!(task.py(), "get_coro")).ok()?.cast_into::<RequestCoroutine>().ok()?;
    let graveyard = &coroutine.get().host.get_here()?.graveyard;
    Some(LoopBound::new(Rc::new(Rc::downgrade(&coroutine.get().request.timed()?)), graveyard))
}

/// See the [module](self).
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct RequestCoroutine {
    request: Box<dyn Request>,
    host: LoopBound<Host>,
    /// What answers it, once it has begun.
    inner: OnceLock<Inner>,
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

    fn inner(&self, py: Python<'_>) -> PyResult<&Inner> {
        if let Some(inner) = self.inner.get() {
            return Ok(inner);
        }
        let inner = match self.request.begin(py)? {
            Begun::Python(awaitable) if ffi::is_coroutine(&awaitable) => Inner::Python(awaitable.unbind()),
            Begun::Python(awaitable) => Inner::Python(awaitable.call_method0(pyo3::intern!(py, "__await__"))?.unbind()),
            Begun::Steps(steps) => Inner::Steps(LoopBound::new(Rc::new(steps), &self.host.get()?.graveyard)),
        };
        Ok(self.inner.get_or_init(|| inner))
    }

    /// A step: everything that the request does on the loop happens within one.
    fn step<'py>(
        &self,
        py: Python<'py>,
        act: impl FnOnce() -> PyResult<PySendResult<'py>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let timed = self.request.timed();
        let Some((timed, clock)) = timed.as_ref().and_then(|timed| Some((timed, timed.clock()?))) else {
            let result = act();
            return self.stepped(py, result);
        };
        let running = clock.run();
        if self.inner.get().is_none() {
            clock.mark_context(py, timed, &self.host.get()?.graveyard);
        }
        let result = act();
        // Its end is a part of the step: an answer may be made there.
        let result = self.stepped(py, result);
        if !clock.has_route() {
            self.request.paused(py);
        }
        clock.pause(running, timed, self.has_ended());
        result
    }

    fn resume<'py>(&self, py: Python<'py>, value: Option<&Bound<'py, PyAny>>) -> PyResult<PySendResult<'py>> {
        match self.inner(py)? {
            Inner::Python(inner) => match value {
                Some(value) => ffi::send(inner.bind(py), value),
                None => ffi::send(inner.bind(py), &py.None().into_bound(py)),
            },
            Inner::Steps(steps) => steps.get()?.resume(py, Resume::Send(value.map(|value| value.clone().unbind()))),
        }
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

    /// An attribute of what is waited for, as those who look at coroutines ask for it.
    fn attribute(&self, py: Python<'_>, name: &Bound<'_, pyo3::types::PyString>) -> Py<PyAny> {
        let inner = match self.inner.get() {
            Some(Inner::Python(inner)) => Some(inner.clone_ref(py)),
            Some(Inner::Steps(steps)) => steps.get_here().and_then(|steps| steps.baton().waited_for(py)),
            None => None,
        };
        let value = inner.and_then(|inner| inner.bind(py).getattr(name).ok());
        value.map_or_else(|| py.None(), Bound::unbind)
    }
}

/// What a coroutine drives.
enum Inner {
    Python(Py<PyAny>),
    Steps(LoopBound<Steps>),
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
        self.step(py, || self.resume(py, None))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py, || self.resume(py, Some(value)))?.ok_or_else(|| PyStopIteration::new_err(()))
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
        let step = || match inner {
            Inner::Python(inner) => ffi::throw(inner.bind(py), (kind, value, traceback)),
            Inner::Steps(steps) => steps.get()?.resume(py, Resume::Throw(thrown(kind, value, traceback))),
        };
        self.step(py, step)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.inner.get() {
            Some(inner) => {
                match inner {
                    Inner::Python(inner) => {
                        inner.bind(py).call_method0(pyo3::intern!(py, "close"))?;
                    }
                    Inner::Steps(steps) => steps.get()?.close(py)?,
                }
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
        match self.inner.get() {
            Some(Inner::Python(inner)) => visit.call(inner),
            Some(Inner::Steps(steps)) => steps.get_here().map_or(Ok(()), |steps| steps.baton().traverse(&visit)),
            None => Ok(()),
        }
    }
}
