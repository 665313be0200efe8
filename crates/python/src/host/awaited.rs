//! The protocol of coroutines, for classes of ours: what `await`, a task, and code that drives a coroutine by hand call.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::types::iterator::PySendResult;
use pyo3::{PyClass, PyTypeInfo};

use super::steps::Resume;
use super::stop_iteration::stop_iteration;

/// A class of objects to be awaited; [`awaited_methods`] gives it the methods.
pub(crate) trait Awaited: PyClass {
    /// Goes on with what was sent, or with what was thrown: yields something, or ends.
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>>;

    /// Nothing of it is wanted any more.
    fn close(this: &Bound<'_, Self>) -> PyResult<()>;
}

/// The methods of an [`Awaited`] class, and what else it has.
macro_rules! awaited_methods {
    ($class:ident { $($more:tt)* }) => {
        #[pymethods]
        impl $class {
            fn __await__(this: Py<Self>) -> Py<Self> {
                this
            }

            fn __iter__(this: Py<Self>) -> Py<Self> {
                this
            }

            fn __next__(this: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
                $crate::host::awaited::next(this)
            }

            fn send(this: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                $crate::host::awaited::send(this, value)
            }

            #[pyo3(signature = (kind, value=None, traceback=None))]
            fn throw(
                this: &Bound<'_, Self>,
                kind: &Bound<'_, PyAny>,
                value: Option<&Bound<'_, PyAny>>,
                traceback: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                $crate::host::awaited::throw(this, (kind, value, traceback))
            }

            fn close(this: &Bound<'_, Self>) -> PyResult<()> {
                <Self as $crate::host::awaited::Awaited>::close(this)
            }

            $($more)*
        }
    };
}
pub(crate) use awaited_methods;

/// How those go on that only wait: whatever is thrown, a cancellation most often, ends the wait.
pub(crate) fn step_or_close<'py, T: Awaited>(
    this: &Bound<'py, T>,
    resume: Resume,
    step: impl FnOnce(&Bound<'py, T>) -> PyResult<PySendResult<'py>>,
) -> PyResult<PySendResult<'py>> {
    match resume {
        Resume::Send(_) => step(this),
        Resume::Throw(error) => {
            T::close(this)?;
            Err(error)
        }
    }
}

/// `__next__`.
pub(crate) fn next<T: Awaited>(this: &Bound<'_, T>) -> PyResult<Option<Py<PyAny>>> {
    Ok(match T::go_on(this, Resume::Send(None))? {
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

/// `send(value)`.
pub(crate) fn send<T: Awaited>(this: &Bound<'_, T>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let value = (!value.is_none()).then(|| value.clone().unbind());
    yielded(T::go_on(this, Resume::Send(value))?)
}

/// `throw(kind, value, traceback)`.
pub(crate) fn throw<T: Awaited>(this: &Bound<'_, T>, (kind, value, traceback): Thrown<'_, '_>) -> PyResult<Py<PyAny>> {
    yielded(T::go_on(this, Resume::Throw(thrown(kind, value, traceback)))?)
}

type Thrown<'a, 'py> = (&'a Bound<'py, PyAny>, Option<&'a Bound<'py, PyAny>>, Option<&'a Bound<'py, PyAny>>);

fn yielded(result: PySendResult<'_>) -> PyResult<Py<PyAny>> {
    match result {
        PySendResult::Next(yielded) => Ok(yielded.unbind()),
        PySendResult::Return(value) if value.is_none() => Err(PyStopIteration::new_err(())),
        PySendResult::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
    }
}

/// Registers a class with `collections.abc.Coroutine`: applications pass such objects to `asyncio.create_task` and the like.
pub(crate) fn register<T: PyTypeInfo>(py: Python<'_>) -> PyResult<()> {
    let coroutine = py.import("collections.abc")?.getattr("Coroutine")?;
    coroutine.call_method1("register", (py.get_type::<T>(),)).map(drop)
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
