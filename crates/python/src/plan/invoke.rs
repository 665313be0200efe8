//! Calls of the user's functions: on the loop, on a thread, as a generator.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::call::Call;
use super::node::{Kind, Node};
use crate::host::ffi;
use crate::host::pool::Job;

impl Call {
    pub(super) async fn call(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        match node.kind {
            Kind::Sync if !node.limited && self.wire.engine().is_some() => {
                return self.call_in_thread(node, arguments).await;
            }
            Kind::AsyncGenerator if self.own_exits() && Python::attach(|py| self.is_empty(py, node.exits()))? => {
                return self.enter(node, arguments).await;
            }
            _ => {}
        }
        let awaitable = Python::attach(|py| self.begin_call(py, node, arguments).map(Bound::unbind))?;
        self.baton().wait_for(awaitable).await
    }

    pub(super) fn begin_call<'py>(
        &self,
        py: Python<'py>,
        node: &Node,
        arguments: &[Option<Py<PyAny>>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let runtime = &self.plans().runtime;
        let keywords = || keywords(py, &node.names, arguments);
        match node.kind {
            Kind::Generator | Kind::AsyncGenerator => {
                let stack = self.stacks(py)?.get(node.exits());
                let request = self.request(py)?;
                runtime.enter_generator.bind(py).call1((&node.dependant, stack, keywords()?, request))
            }
            _ if node.limited => {
                let is_coroutine = node.kind == Kind::Coroutine;
                runtime.call_limited.bind(py).call1((&node.call, keywords()?, &node.dependant, is_coroutine))
            }
            Kind::Coroutine => ffi::call_keywords(node.call.bind(py), arguments, node.names.bind(py)),
            Kind::Sync => runtime.call_in_thread.bind(py).call1((&node.call, keywords()?)),
        }
    }

    /// Calls a `def` function on a thread of the pool, with a token of the application's limiter.
    pub(super) async fn call_in_thread(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        self.on_thread(&node.call, arguments, &node.names).await
    }

    /// The same for any function.
    pub(super) async fn on_thread(
        &self,
        call: &Py<PyAny>,
        arguments: &[Option<Py<PyAny>>],
        names: &Py<PyTuple>,
    ) -> PyResult<Py<PyAny>> {
        let runtime = &self.plans().runtime;
        let wanted = Instant::now();
        let begun = Python::attach(|py| {
            let task = runtime.current_task.bind(py).call0()?;
            let scoped = match &runtime.task_states {
                None => true,
                Some(states) if states.bind(py).is_empty() => false,
                Some(_) => runtime.in_cancel_scope.bind(py).call1((&task,))?.is_truthy()?,
            };
            if scoped {
                // Within a cancel scope of anyio's, most often: its own way shields the wait as that scope expects.
                return PyResult::Ok(Err(keywords(py, names, arguments)?.unbind()));
            }
            let exchange = self.wire.engine().expect("without an engine there is no pool");
            let limiter = exchange.pool(py, runtime).limiter(py, &runtime.thread_limiter)?;
            let waiting = match limiter.call_method1(pyo3::intern!(py, "acquire_on_behalf_of_nowait"), (&task,)) {
                Ok(_) => None,
                Err(error) if error.is_instance(py, runtime.would_block.bind(py)) => {
                    Some(limiter.call_method1(pyo3::intern!(py, "acquire_on_behalf_of"), (&task,))?.unbind())
                }
                Err(error) => return Err(error),
            };
            Ok(Ok((limiter.unbind(), task.unbind(), waiting)))
        })?;
        let (limiter, task, waiting) = match begun {
            Ok(begun) => begun,
            Err(keywords) => return self.on_anyios_thread(call, keywords).await,
        };
        let clock = self.wire.engine().and_then(|exchange| exchange.clock());
        let _call = clock.map(|clock| clock.wants_thread(wanted));
        if let Some(waiting) = waiting {
            self.baton().wait_for(waiting).await?;
        }
        let result = self.run_in_pool(call, arguments, names, wanted).await;
        Python::attach(|py| {
            limiter.bind(py).call_method1(pyo3::intern!(py, "release_on_behalf_of"), (task,))?;
            result
        })
    }

    /// Calls a function on a thread of anyio's pool. The watch hears of it from the limiter, as of all that others call there.
    pub(super) async fn on_anyios_thread(&self, call: &Py<PyAny>, keywords: Py<PyDict>) -> PyResult<Py<PyAny>> {
        let awaitable = Python::attach(|py| {
            PyResult::Ok(self.plans().runtime.call_in_thread.bind(py).call1((call, keywords))?.unbind())
        })?;
        self.baton().wait_for(awaitable).await
    }

    pub(super) async fn run_in_pool(
        &self,
        call: &Py<PyAny>,
        arguments: &[Option<Py<PyAny>>],
        names: &Py<PyTuple>,
        wanted: Instant,
    ) -> PyResult<Py<PyAny>> {
        let slot = Python::attach(|py| {
            let job = Job {
                call: call.clone_ref(py),
                arguments: arguments.iter().map(|value| value.as_ref().map(|value| value.clone_ref(py))).collect(),
                names: names.clone_ref(py),
                context: ffi::copy_current_context(py)?.unbind(),
                wanted,
            };
            let exchange = self.wire.engine().expect("without an engine there is no pool");
            exchange.pool(py, &self.plans().runtime).submit(py, job)
        })?;
        let future = Python::attach(|py| slot.future.clone_ref(py));
        match self.baton().wait_for(future).await {
            Ok(_) => {
                if let Some(clock) = self.wire.engine().and_then(|exchange| exchange.clock())
                    && let Some((began, ended)) = slot.times()
                {
                    clock.ran_in_thread(wanted, began, ended);
                }
                slot.take()
            }
            Err(error) => {
                slot.cancel();
                Err(error)
            }
        }
    }
}

fn keywords<'py>(
    py: Python<'py>,
    names: &Py<PyTuple>,
    arguments: &[Option<Py<PyAny>>],
) -> PyResult<Bound<'py, PyDict>> {
    let keywords = PyDict::new(py);
    for (name, value) in names.bind(py).iter().zip(arguments) {
        keywords.set_item(name, value.as_ref().expect("all arguments are there"))?;
    }
    Ok(keywords)
}
