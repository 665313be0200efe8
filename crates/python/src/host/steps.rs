//! Rust futures as Python coroutines: what a task runs when a plan answers its request.
//!
//! A plan is written as an `async fn`. What it waits for is Python's (a dependency, an endpoint, an asyncio future), so there
//! is no waker and no executor: the task resumes the coroutine, the coroutine polls the future once, and the future's
//! innermost wait resumes the Python object it stands for. What that object yields goes out to the task, and what the task
//! sends or throws in goes down to it. The [`Baton`] carries both.
//!
//! Invariants:
//! * the future is polled by [`Steps::resume`] alone, and every poll carries exactly one [`Resume`];
//! * the future is pending only because a wait has put something into the baton to be yielded;
//! * no borrow of the baton is held while Python code runs.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;

use super::awaitable::nothing;
use super::ffi;

/// What the task does to its coroutine.
pub(crate) enum Resume {
    /// `send(value)`; `None` for the first step and for most others.
    Send(Option<Py<PyAny>>),
    /// `throw(error)`.
    Throw(PyErr),
}

/// What the first step of an awaitable came to.
enum First {
    Done(Py<PyAny>),
    /// The iterator, and what it yielded.
    Suspended(Py<PyAny>, Py<PyAny>),
}

/// What passes between the coroutine outside and the wait inside.
#[derive(Default)]
pub(crate) struct Baton {
    resume: RefCell<Option<Resume>>,
    yielded: RefCell<Option<Py<PyAny>>>,
    /// The iterator that is waited for, for those who ask (`cr_await`, the garbage collector).
    waited_for: RefCell<Option<Py<PyAny>>>,
}

impl Baton {
    /// Awaits a Python awaitable: a coroutine, or anything with `__await__`.
    pub(crate) async fn wait_for(&self, awaitable: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let first = Python::attach(|py| {
            let awaitable = awaitable.into_bound(py);
            let iterator = if ffi::is_coroutine(&awaitable) {
                awaitable
            } else {
                awaitable.call_method0(pyo3::intern!(py, "__await__"))?
            };
            // Most endpoints and dependencies never suspend.
            PyResult::Ok(match ffi::send(&iterator, &py.None().into_bound(py))? {
                PySendResult::Return(value) => First::Done(value.unbind()),
                PySendResult::Next(yielded) => First::Suspended(iterator.unbind(), yielded.unbind()),
            })
        })?;
        match first {
            First::Done(value) => Ok(value),
            First::Suspended(iterator, yielded) => self.suspended(iterator, yielded).await,
        }
    }

    /// Lets the loop run everything else that is ready, as `asyncio.sleep(0)`.
    pub(crate) async fn pause(&self) -> PyResult<()> {
        let (ended, none) = Python::attach(|py| (nothing(py), py.None()));
        self.suspended(ended, none).await.map(drop)
    }

    /// Hands `yielded` to the task, and goes on with `iterator` when the task resumes.
    async fn suspended(&self, iterator: Py<PyAny>, yielded: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let mut yielded = Some(yielded);
        std::future::poll_fn(move |_| {
            if let Some(yielded) = yielded.take() {
                return self.hand_over(&iterator, yielded);
            }
            let resume = self.resume.take().expect("a suspended wait is polled with something to go on with");
            Python::attach(|py| {
                let iterator_here = iterator.bind(py);
                let result = match resume {
                    Resume::Send(value) => {
                        let value = value.map_or_else(|| py.None().into_bound(py), |value| value.into_bound(py));
                        ffi::send(iterator_here, &value)
                    }
                    Resume::Throw(error) => {
                        let error = error.into_value(py).into_bound(py).into_any();
                        ffi::throw(iterator_here, (&error, None, None))
                    }
                };
                match result {
                    Ok(PySendResult::Return(value)) => Poll::Ready(Ok(value.unbind())),
                    Ok(PySendResult::Next(yielded)) => self.hand_over(&iterator, yielded.unbind()),
                    Err(error) => Poll::Ready(Err(error)),
                }
            })
        })
        .await
    }

    /// Whether what is being handed to the task is nothing to be waited for: the loop has only to run everything else once.
    pub(crate) fn yields_none(&self) -> bool {
        self.yielded.borrow().as_ref().is_some_and(|yielded| Python::attach(|py| yielded.is_none(py)))
    }

    fn hand_over(&self, iterator: &Py<PyAny>, yielded: Py<PyAny>) -> Poll<PyResult<Py<PyAny>>> {
        let iterator = Python::attach(|py| iterator.clone_ref(py));
        self.waited_for.replace(Some(iterator));
        self.yielded.replace(Some(yielded));
        Poll::Pending
    }

    /// The Python iterator that is waited for.
    pub(crate) fn waited_for(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.waited_for.borrow().as_ref().map(|iterator| iterator.clone_ref(py))
    }

    pub(crate) fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        match self.waited_for.try_borrow() {
            Ok(iterator) => visit.call(&*iterator),
            Err(_) => Ok(()),
        }
    }
}

type Work = Pin<Box<dyn Future<Output = PyResult<()>>>>;

/// A future with the baton that its waits use.
pub(crate) struct Steps {
    /// `None` once it has ended.
    work: RefCell<Option<Work>>,
    baton: Rc<Baton>,
}

impl Steps {
    pub(crate) fn new(baton: Rc<Baton>, work: impl Future<Output = PyResult<()>> + 'static) -> Steps {
        Steps { work: RefCell::new(Some(Box::pin(work))), baton }
    }

    pub(crate) fn baton(&self) -> &Baton {
        &self.baton
    }

    /// One step. A panic inside ends the coroutine with a `RuntimeError`.
    pub(crate) fn resume<'py>(&self, py: Python<'py>, resume: Resume) -> PyResult<PySendResult<'py>> {
        let Ok(mut slot) = self.work.try_borrow_mut() else {
            return Err(PyValueError::new_err("coroutine already executing"));
        };
        let Some(work) = slot.as_mut() else {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
        };
        let waited_for = self.baton.waited_for.take();
        match (waited_for, resume) {
            (Some(waited_for), resume) => {
                self.baton.resume.replace(Some(resume));
                drop(waited_for);
            }
            // The first step: nothing waits for a value yet.
            (None, Resume::Send(_)) => {}
            // Ended before it began.
            (None, Resume::Throw(error)) => {
                let unbegun = slot.take();
                drop(slot);
                drop(unbegun);
                return Err(error);
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))));
        match polled {
            Poll::Pending => {
                let yielded = self.baton.yielded.take().expect("pending means that something is to be yielded");
                Ok(PySendResult::Next(yielded.into_bound(py)))
            }
            Poll::Ready(result) => {
                let done = slot.take();
                drop(slot);
                drop(done);
                result.map(|()| PySendResult::Return(py.None().into_bound(py)))
            }
        }
    }

    /// As a coroutine's `close()`: whatever waits sees a `GeneratorExit`.
    ///
    /// # Errors
    /// What is raised instead; a `RuntimeError` if it goes on waiting.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.work.borrow().is_none() {
            return Ok(());
        }
        match self.resume(py, Resume::Throw(PyGeneratorExit::new_err(()))) {
            Ok(PySendResult::Next(_)) => Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
            Ok(PySendResult::Return(_)) => Ok(()),
            Err(error) if error.is_instance_of::<PyGeneratorExit>(py) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> PyErr {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    PyRuntimeError::new_err(format!("overdrive: internal error in a plan: {message}"))
}
