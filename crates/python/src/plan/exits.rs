//! What has to be left at the end of a request: dependencies with `yield`, and whatever stands in FastAPI's exit stacks.
//!
//! Asynchronous generators are left by the plan itself. The stacks are contextlib's own and as a rule empty; what they hold
//! was entered by FastAPI's functions, or by code of the user's that found them in the scope. From then on generators are
//! entered there, too, so that all is left in the reverse order: first the stack, then the plan's own generators.

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::call::Call;
use super::node::Node;
use super::wire::Place;
use crate::host::ffi;

/// The exit stacks of a request, innermost last.
pub(super) struct Stacks {
    pub(super) file: Py<PyAny>,
    pub(super) request: Py<PyAny>,
    pub(super) function: Py<PyAny>,
}

impl Stacks {
    pub(super) fn get(&self, which: Which) -> &Py<PyAny> {
        match which {
            Which::File => &self.file,
            Which::Request => &self.request,
            Which::Function => &self.function,
        }
    }
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) enum Which {
    File,
    Request,
    Function,
}

impl Call {
    /// Whether anything is to be left that could see, or replace, an exception.
    pub(super) fn has_exits(&self) -> bool {
        self.stacks.get().is_some()
            || !self.function_exits.borrow().is_empty()
            || !self.request_exits.borrow().is_empty()
    }

    /// Whether nothing is to be left once the response is out, below middleware that could tell.
    pub(super) fn is_left(&self, py: Python<'_>) -> PyResult<bool> {
        if self.wire.place() != Place::Handlers || !self.request_exits.borrow().is_empty() {
            return Ok(false);
        }
        Ok(self.is_empty(py, Which::Request)? && self.is_empty(py, Which::File)?)
    }

    /// Whether generators are left by the plan itself.
    pub(super) fn own_exits(&self) -> bool {
        // Around an ASGI application there may be cancel scopes, against which FastAPI shields its exits.
        self.plan().own_exits && self.wire.engine().is_some()
    }

    /// Whether one of the stacks holds nothing.
    pub(super) fn is_empty(&self, py: Python<'_>, which: Which) -> PyResult<bool> {
        let Some(stacks) = self.stacks.get() else { return Ok(true) };
        let callbacks = stacks.get(which).bind(py).getattr(pyo3::intern!(py, "_exit_callbacks"))?;
        Ok(callbacks.len()? == 0)
    }

    /// Enters an asynchronous generator, to be left with the request's or the function's stack.
    pub(super) async fn enter(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        let (generator, first) = Python::attach(|py| {
            let generator = ffi::call_keywords(node.call.bind(py), arguments, node.names.bind(py))?;
            self.entered.set(true);
            if let Some(scope) = self.scope.get() {
                self.tell_entered(py, scope.bind(py))?;
            }
            let first = generator.call_method0(pyo3::intern!(py, "__anext__"))?;
            PyResult::Ok((generator.unbind(), first.unbind()))
        })?;
        match self.baton().wait_for(first).await {
            Ok(value) => {
                self.exits(node.exits()).push(generator);
                Ok(value)
            }
            Err(error) if Python::attach(|py| error.is_instance_of::<PyStopAsyncIteration>(py)) => {
                Err(PyRuntimeError::new_err("generator didn't yield"))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts into the scope where FastAPI keeps a cancel scope for each stack: none, as there is none around to shield from.
    pub(super) fn tell_entered(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        let name = pyo3::intern!(py, "fastapi_async_cleanup_scopes");
        if self.entered.get() && self.plans().runtime.shields_exits && !scope.contains(name)? {
            scope.set_item(name, PyDict::new(py))?;
        }
        Ok(())
    }

    pub(super) fn exits(&self, which: Which) -> std::cell::RefMut<'_, Vec<Py<PyAny>>> {
        match which {
            Which::Function => self.function_exits.borrow_mut(),
            _ => self.request_exits.borrow_mut(),
        }
    }

    /// Leaves the generators that [`Call::enter`] has entered, the last first.
    pub(super) async fn leave_generators<T>(&self, which: Which, mut outcome: PyResult<T>) -> PyResult<Option<T>> {
        let mut generators = std::mem::take(&mut *self.exits(which));
        while outcome.is_ok()
            && let Some(generator) = generators.pop()
        {
            if let Err(error) = self.leave_generator(generator).await {
                outcome = Err(error);
            }
        }
        match outcome {
            Err(error) if !generators.is_empty() => {
                let awaitable = Python::attach(|py| {
                    let error = error.into_value(py);
                    let leave = self.plans().runtime.leave_generators.bind(py);
                    PyResult::Ok(leave.call1((PyList::new(py, generators)?, error))?.unbind())
                })?;
                self.baton().wait_for(awaitable).await.map(|_| None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Lets a generator run to its end.
    pub(super) async fn leave_generator(&self, generator: Py<PyAny>) -> PyResult<()> {
        let next =
            Python::attach(|py| generator.bind(py).call_method0(pyo3::intern!(py, "__anext__")).map(Bound::unbind))?;
        match self.baton().wait_for(next).await {
            Err(error) if Python::attach(|py| error.is_instance_of::<PyStopAsyncIteration>(py)) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                let close = Python::attach(|py| {
                    generator.bind(py).call_method0(pyo3::intern!(py, "aclose")).map(Bound::unbind)
                })?;
                self.baton().wait_for(close).await?;
                Err(PyRuntimeError::new_err("generator didn't stop"))
            }
        }
    }

    /// Leaves what is to be left with the outcome so far. `None`: an exception was swallowed there.
    pub(super) async fn leave<T>(&self, which: Which, outcome: PyResult<T>) -> PyResult<Option<T>> {
        let is_empty = match which {
            Which::File => self.form.get().is_none(),
            Which::Function | Which::Request => self.exits(which).is_empty(),
        };
        if is_empty && self.stacks.get().is_none() {
            return outcome.map(Some);
        }
        // On the heap, where it does not make the future of a request larger that has nothing to leave.
        Box::pin(self.leave_all(which, outcome)).await
    }

    async fn leave_all<T>(&self, which: Which, outcome: PyResult<T>) -> PyResult<Option<T>> {
        let outcome = self.leave_stack(which, outcome).await;
        if matches!(which, Which::File) || self.exits(which).is_empty() {
            return outcome;
        }
        self.leave_generators(which, outcome).await.map(Option::flatten)
    }

    async fn leave_stack<T>(&self, which: Which, outcome: PyResult<T>) -> PyResult<Option<T>> {
        if matches!(which, Which::File) && self.stacks.get().is_none() && self.wire.place() != Place::Router {
            self.close_files().await?;
        }
        let left = Python::attach(|py| {
            let Some(stacks) = self.stacks.get() else { return PyResult::Ok(None) };
            // Not ours to leave: the application's own middleware stands around us.
            let is_foreign = matches!(which, Which::File) && self.wire.place() == Place::Router;
            if is_foreign || self.is_empty(py, which)? {
                return Ok(None);
            }
            let stack = stacks.get(which).bind(py);
            let none = py.None();
            let awaitable = match &outcome {
                Ok(_) => stack.call_method1(pyo3::intern!(py, "__aexit__"), (&none, &none, &none))?,
                Err(error) => {
                    let error = error.clone_ref(py).into_value(py);
                    self.plans().runtime.leave_with_error.bind(py).call1((stack, error))?
                }
            };
            Ok(Some(awaitable.unbind()))
        })?;
        match (left, outcome) {
            (None, outcome) => outcome.map(Some),
            (Some(awaitable), Ok(value)) => self.baton().wait_for(awaitable).await.map(|_| Some(value)),
            (Some(awaitable), Err(_)) => self.baton().wait_for(awaitable).await.map(|_| None),
        }
    }
}
