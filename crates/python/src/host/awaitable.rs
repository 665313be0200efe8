//! What `receive()` and `send()` return.
//!
//! A result that is ready costs no trip through the loop: awaiting it ends at once. One that is not is waited for with an
//! asyncio future that carries no value; the value is fetched when the waiting task runs again, so that a task cancelled
//! in between loses nothing.
//!
//! All are registered as `collections.abc.Coroutine`: applications pass them to `asyncio.create_task` and the like.

use std::task::Poll;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::types::iterator::PySendResult;

use super::ffi;
use super::stop_iteration::stop_iteration;

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
    let coroutine = py.import("collections.abc")?.getattr("Coroutine")?;
    for class in [py.get_type::<Nothing>(), py.get_type::<Ready>(), py.get_type::<Waiting>(), py.get_type::<Later>()] {
        coroutine.call_method1("register", (class,))?;
    }
    Ok(())
}

/// Ends at once with `None`.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Nothing;

#[pymethods]
impl Nothing {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    /// `None` ends the iteration without the cost of a `StopIteration`.
    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyErr {
        PyStopIteration::new_err(())
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(kind, value, traceback))
    }

    fn close(&self) {}
}

/// Ends at once with a value.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Ready {
    value: Py<PyAny>,
}

#[pymethods]
impl Ready {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        stop_iteration(self.value.bind(py));
        None
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err((self.value.clone_ref(py),)))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(kind, value, traceback))
    }

    fn close(&self) {}

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.value)
    }
}

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

#[pymethods]
impl Waiting {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(this: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        Ok(match Self::step(this)? {
            PySendResult::Next(yielded) => Some(yielded.unbind()),
            PySendResult::Return(value) => {
                // `None` ends the iteration without the cost of a `StopIteration`.
                if !value.is_none() {
                    stop_iteration(&value);
                }
                None
            }
        })
    }

    fn send(this: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match Self::step(this)? {
            PySendResult::Next(yielded) => Ok(yielded.unbind()),
            PySendResult::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }

    /// The wait ends with an exception, a cancellation most often; the operation is as if it had not been tried.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        this: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let future = this.borrow_mut().future.take();
        drop(future);
        Err(thrown(kind, value, traceback))
    }

    fn close(this: &Bound<'_, Self>) {
        let future = this.borrow_mut().future.take();
        drop(future);
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.future)
    }

    fn __clear__(&mut self) {
        self.future = None;
    }
}

/// Begins when it is awaited.
#[pyclass(module = "overdrive._overdrive")]
struct Later {
    method: Py<PyAny>,
    argument: Option<Py<PyAny>>,
    /// The iterator of what the method gave.
    inner: Option<Py<PyAny>>,
}

#[pymethods]
impl Later {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(this: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = this.py();
        let begun = this.borrow_mut().inner.take();
        let inner = match begun {
            Some(inner) => inner,
            None => {
                let (method, argument) = {
                    let this = this.borrow();
                    (this.method.clone_ref(py), this.argument.as_ref().map(|argument| argument.clone_ref(py)))
                };
                let awaitable = match argument {
                    Some(argument) => method.bind(py).call1((argument,))?,
                    None => method.bind(py).call0()?,
                };
                awaitable.call_method0(pyo3::intern!(py, "__await__"))?.unbind()
            }
        };
        match ffi::send(inner.bind(py), &py.None().into_bound(py))? {
            PySendResult::Next(yielded) => {
                this.borrow_mut().inner = Some(inner);
                Ok(Some(yielded.unbind()))
            }
            PySendResult::Return(value) if value.is_none() => Ok(None),
            PySendResult::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }

    fn send(this: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::__next__(this)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        this: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let inner = this.borrow_mut().inner.take();
        drop(inner);
        Err(thrown(kind, value, traceback))
    }

    fn close(this: &Bound<'_, Self>) {
        let inner = this.borrow_mut().inner.take();
        drop(inner);
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.method)?;
        visit.call(&self.argument)?;
        visit.call(&self.inner)
    }

    fn __clear__(&mut self) {
        self.argument = None;
        self.inner = None;
    }
}

/// The exception that `throw` was given, in any of its three forms.
pub(crate) fn thrown(
    kind: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    traceback: Option<&Bound<'_, PyAny>>,
) -> PyErr {
    let error = if let Ok(class) = kind.cast::<PyType>() {
        match value {
            Some(value) if value.is_instance(class).unwrap_or(false) => PyErr::from_value(value.clone()),
            Some(value) if !value.is_none() => PyErr::from_type(class.clone(), (value.clone().unbind(),)),
            _ => PyErr::from_type(class.clone(), ()),
        }
    } else {
        PyErr::from_value(kind.clone())
    };
    if let Some(Ok(traceback)) = traceback.map(|traceback| traceback.cast::<pyo3::types::PyTraceback>()) {
        error.set_traceback(kind.py(), Some(traceback.clone()));
    }
    error
}
