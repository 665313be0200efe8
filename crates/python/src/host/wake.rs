//! Waking tasks from within the engine's own run.
//!
//! A future whose result is set has the loop call what waits for it: by a handle of its own, an iteration later. The engine's
//! run is such a callback itself, which the loop has called while no task was running. So it may take over what the loop would
//! do: call the callback of the task, in the context that belongs to it, within the run's budget.
//!
//! Invariants:
//! * [`Wakes::fire`] is called by work queued in the reactor alone, never from a Python step;
//! * it calls nothing but the wake-up of one task, and only where no task is running (else the loop is nested). All else
//!   is left to the future and the loop.

use std::cell::RefCell;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::{Host, ffi};

/// Futures that wait for something, to be woken together: each waiter looks again for itself.
#[derive(Default)]
pub(crate) struct Wakes(RefCell<Vec<Waiter>>);

struct Waiter {
    future: Py<PyAny>,
    /// It need not be done for its waiter to go on, who may want to wait for it again.
    is_kept: bool,
}

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Who waits for `future` is woken; if it `is_kept`, without it being done, unless the loop has to do it.
    pub(crate) fn add(&self, future: &Bound<'_, PyAny>, is_kept: bool) {
        let py = future.py();
        let mut waiting = self.0.take();
        // Waits that were cancelled, and an earlier one for the same.
        waiting.retain(|other| !other.future.is(future) && !is_done(other.future.bind(py)));
        waiting.push(Waiter { future: future.clone().unbind(), is_kept });
        // What came meanwhile, in `done()` of futures that are not asyncio's, is in its place.
        let mut place = self.0.borrow_mut();
        waiting.append(&mut place);
        *place = waiting;
    }

    /// Ends all waits from within work that the reactor does. Who waits again meanwhile is not woken again.
    pub(crate) fn fire(&self, py: Python<'_>, host: &Host) {
        // A statement of its own: the borrow must end before the first is woken.
        let count = self.0.borrow().len();
        for _ in 0..count {
            let next = {
                let mut waiting = self.0.borrow_mut();
                if waiting.is_empty() {
                    break;
                }
                waiting.remove(0)
            };
            let future = next.future.bind(py);
            let woken = match next.step(future, host) {
                Ok(true) => Ok(()),
                Ok(false) => finish(future),
                Err(error) => Err(error),
            };
            if let Err(error) = woken {
                error.write_unraisable(py, Some(future));
            }
        }
    }

    /// Ends all waits from anywhere: the loop goes on with those who waited.
    pub(crate) fn fire_soon(&self, py: Python<'_>) {
        let waiting = self.0.take();
        for waiter in waiting {
            let future = waiter.future.bind(py);
            if let Err(error) = finish(future) {
                error.write_unraisable(py, Some(future));
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // Borrowed mutably only within this file, where nothing that could collect garbage runs meanwhile.
        match self.0.try_borrow() {
            Ok(waiting) => waiting.iter().try_for_each(|waiter| visit.call(&waiter.future)),
            Err(_) => Ok(()),
        }
    }
}

impl Waiter {
    /// Steps the task that waits, if it is one task and may be stepped. What it raises is dealt with.
    fn step(&self, future: &Bound<'_, PyAny>, host: &Host) -> PyResult<bool> {
        let py = future.py();
        if !host.may_step() {
            return Ok(false);
        }
        let Some((wake_up, context)) = only_task(future, host) else { return Ok(false) };
        future.call_method1(pyo3::intern!(py, "remove_done_callback"), (&wake_up,))?;
        let result = if self.is_kept {
            // A task looks at the result of what it is given, and forgets what it has waited for.
            host.done.bind(py).clone()
        } else {
            finish(future)?;
            future.clone()
        };
        // The inner result is the task's, the outer the context's.
        match ffi::in_context(&context, || Ok(wake_up.call1((&result,)))) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => raised(&wake_up, error, host),
            // Somebody else is in it; the loop may find it free.
            Err(_) => {
                let keywords = PyDict::new(py);
                keywords.set_item(pyo3::intern!(py, "context"), context)?;
                host.call_soon.bind(py).call((wake_up, result), Some(&keywords))?;
            }
        }
        Ok(true)
    }
}

/// The one callback of a future, and its context, if it is the wake-up of a task.
fn only_task<'py>(future: &Bound<'py, PyAny>, host: &Host) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = future.py();
    let callbacks = future.getattr(pyo3::intern!(py, "_callbacks")).ok()?.cast_into::<PyList>().ok()?;
    if callbacks.len() != 1 {
        return None;
    }
    let callback = callbacks.get_item(0).ok()?.cast_into::<PyTuple>().ok()?;
    let (wake_up, context) = (callback.get_item(0).ok()?, callback.get_item(1).ok()?);
    let task = ffi::bound_to(&wake_up)?;
    task.get_type().is(host.task_class.bind(py)).then_some((wake_up, context))
}

fn is_done(future: &Bound<'_, PyAny>) -> bool {
    let done = future.call_method0(pyo3::intern!(future.py(), "done")).and_then(|done| done.is_truthy());
    done.unwrap_or(true)
}

fn finish(future: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_done(future) {
        return Ok(());
    }
    let py = future.py();
    future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),)).map(drop)
}

/// What a step has raised goes where the loop's handles let it go.
fn raised(wake_up: &Bound<'_, PyAny>, error: PyErr, host: &Host) {
    let py = wake_up.py();
    if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return host.raise_from_run(error);
    }
    let told = (|| {
        let context = PyDict::new(py);
        context.set_item("message", format!("Exception in callback {}", wake_up.repr()?))?;
        context.set_item("exception", error.value(py))?;
        host.event_loop.bind(py).call_method1("call_exception_handler", (context,)).map(drop)
    })();
    if let Err(error) = told {
        error.write_unraisable(py, Some(wake_up));
    }
}
