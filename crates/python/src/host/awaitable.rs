//! What `receive()` and `send()` return.
//!
//! A result that is ready costs no trip through the loop: awaiting it ends at once. One that is not is waited for with an
//! asyncio future that carries no value; the value is fetched when the waiting task runs again, so that a task cancelled
//! in between loses nothing.
//!
//! All are registered as `collections.abc.Coroutine`: applications pass them to `asyncio.create_task` and the like.

use std::task::Poll;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::iterator::PySendResult;

use super::awaited::{self, Awaited, awaited_methods};
use super::ffi;
use super::steps::Resume;

/// An operation that can be tried, and that knows whom to tell when another try makes sense.
pub(crate) trait Operation: Send + Sync {
    /// Tries. `None` stands for Python's.
    fn poll(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>>;

    /// A new future, which will be completed when it is worth to poll again.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// The awaitable of an operation: ready if it is, else waiting.
pub(crate) fn awaitable(py: Python<'_>, operation: impl Operation + 'static) -> PyResult<Py<PyAny>> {
    match operation.poll(py) {
        Poll::Ready(Ok(Some(value))) => Ok(Py::new(py, Ready { value })?.into_any()),
        Poll::Ready(Ok(None)) => Ok(nothing(py)),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(Py::new(py, Waiting { operation: Box::new(operation), future: None })?.into_any()),
    }
}

/// An awaitable that gives `None` at once: one object for all.
pub(crate) fn nothing(py: Python<'_>) -> Py<PyAny> {
    static NOTHING: PyOnceLock<Py<Nothing>> = PyOnceLock::new();
    NOTHING
        .get_or_init(py, || Py::new(py, Nothing).expect("the class has no state that could fail"))
        .clone_ref(py)
        .into_any()
}

/// The awaitable of a call that was made on a foreign thread (for `asyncio.run_coroutine_threadsafe`, most often): the call
/// itself happens when it is awaited. `method` must not come back here.
pub(crate) fn later(
    py: Python<'_>,
    method: Bound<'_, PyAny>,
    argument: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let later =
        Later { method: method.unbind(), argument: argument.map(|argument| argument.clone().unbind()), inner: None };
    Ok(Py::new(py, later)?.into_any())
}

/// Registers the classes with `collections.abc.Coroutine`.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    awaited::register::<Nothing>(py)?;
    awaited::register::<Ready>(py)?;
    awaited::register::<Waiting>(py)?;
    awaited::register::<Later>(py)
}

/// Ends at once with `None`.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Nothing;

impl Awaited for Nothing {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        awaited::step_or_close(this, resume, |this| Ok(PySendResult::Return(this.py().None().into_bound(this.py()))))
    }

    fn close(_: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }
}

awaited_methods!(Nothing {});

/// Ends at once with a value.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Ready {
    value: Py<PyAny>,
}

impl Awaited for Ready {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        awaited::step_or_close(this, resume, |this| Ok(PySendResult::Return(this.get().value.bind(this.py()).clone())))
    }

    fn close(_: &Bound<'_, Self>) -> PyResult<()> {
        Ok(())
    }
}

awaited_methods!(Ready {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.value)
    }
});

/// Ends when its operation is ready.
#[pyclass(module = "overdrive._overdrive")]
struct Waiting {
    operation: Box<dyn Operation>,
    /// The iterator of the future that is waited for.
    future: Option<Py<PyAny>>,
}

impl Waiting {
    fn step<'py>(this: &Bound<'py, Self>) -> PyResult<PySendResult<'py>> {
        let py = this.py();
        loop {
            // Taken out: no borrow of `this` may be held while the future's code runs.
            let future = this.borrow_mut().future.take();
            if let Some(future) = future {
                match ffi::send(future.bind(py), &py.None().into_bound(py))? {
                    PySendResult::Next(yielded) => {
                        this.borrow_mut().future = Some(future);
                        return Ok(PySendResult::Next(yielded));
                    }
                    PySendResult::Return(_) => {}
                }
            }
            // `poll` and `wait` run no foreign code that could come back to this object, which its own task alone awaits.
            let polled = this.borrow().operation.poll(py);
            if let Poll::Ready(result) = polled {
                return Ok(PySendResult::Return(result?.unwrap_or_else(|| py.None()).into_bound(py)));
            }
            let future = this.borrow().operation.wait(py)?;
            let iterator = future.call_method0(pyo3::intern!(py, "__await__"))?;
            this.borrow_mut().future = Some(iterator.unbind());
        }
    }
}

impl Awaited for Waiting {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        awaited::step_or_close(this, resume, Self::step)
    }

    /// The operation is as if it had not been tried.
    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let future = this.borrow_mut().future.take();
        drop(future);
        Ok(())
    }
}

awaited_methods!(Waiting {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.future)
    }

    fn __clear__(&mut self) {
        self.future = None;
    }
});

/// Begins when it is awaited.
#[pyclass(module = "overdrive._overdrive")]
struct Later {
    method: Py<PyAny>,
    argument: Option<Py<PyAny>>,
    /// The iterator of what the method gave.
    inner: Option<Py<PyAny>>,
}

impl Later {
    fn step<'py>(this: &Bound<'py, Self>) -> PyResult<PySendResult<'py>> {
        let py = this.py();
        let inner = Self::inner(this)?;
        let result = ffi::send(inner.bind(py), &py.None().into_bound(py))?;
        if let PySendResult::Next(_) = result {
            this.borrow_mut().inner = Some(inner);
        }
        Ok(result)
    }

    /// The iterator that was begun, or begins now.
    fn inner(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        if let Some(begun) = this.borrow_mut().inner.take() {
            return Ok(begun);
        }
        let (method, argument) = {
            let this = this.borrow();
            (this.method.clone_ref(py), this.argument.as_ref().map(|argument| argument.clone_ref(py)))
        };
        let awaitable = match argument {
            Some(argument) => method.bind(py).call1((argument,))?,
            None => method.bind(py).call0()?,
        };
        Ok(awaitable.call_method0(pyo3::intern!(py, "__await__"))?.unbind())
    }
}

impl Awaited for Later {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        awaited::step_or_close(this, resume, Self::step)
    }

    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let inner = this.borrow_mut().inner.take();
        drop(inner);
        Ok(())
    }
}

awaited_methods!(Later {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.method)?;
        visit.call(&self.argument)?;
        visit.call(&self.inner)
    }

    fn __clear__(&mut self) {
        self.argument = None;
        self.inner = None;
    }
});
