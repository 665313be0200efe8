//! Instruments around parts of a plan, at the moments at which FastAPI's own code would have them called.
//!
//! An instrument that has wrapped a function of FastAPI's gets one to wrap that does what the plan does in its place: a
//! [`Part`]. It is called with what FastAPI would give it, and runs with a [`Baton`] of its own, as the request's is waiting for
//! the instrument.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::arguments::Solved;
use super::asgi::PlanCoroutine;
use super::call::Call;
use super::node::Kind;
use super::respond::Outgoing;
use crate::host::loop_bound::LoopBound;
use crate::host::steps::{Baton, Steps};

/// What passes between a call and those of its parts that instruments call.
#[derive(Default)]
pub(super) struct Observed {
    made: RefCell<Option<Outgoing>>,
    solved: RefCell<Option<Solved>>,
    /// The values of the endpoint's arguments, as the instruments around the dependencies have left them.
    values: OnceCell<Py<PyAny>>,
}

impl Call {
    /// Has the instruments around the route's request handler call it.
    pub(super) async fn respond_within(self: &Rc<Self>, around: &Py<PyAny>) -> PyResult<Outgoing> {
        if let Some(before) = &self.plan().before
            && Python::attach(|py| before.bind(py).call1((self.request(py)?,))?.is_truthy())?
        {
            return self.respond().await;
        }
        let awaitable = Python::attach(|py| {
            let wrapped = around.bind(py).call1((self.part(Stage::Handler),))?;
            PyResult::Ok(wrapped.call1((self.request(py)?,))?.unbind())
        })?;
        self.baton().wait_for(awaitable).await?;
        self.observed.made.take().ok_or_else(|| not_called("the request handler"))
    }

    /// Has those around `solve_dependencies` call it.
    pub(super) async fn solve_within(self: &Rc<Self>, around: &Py<PyAny>) -> PyResult<Solved> {
        let awaitable = Python::attach(|py| {
            let wrapped = around.bind(py).call1((self.part(Stage::Dependencies),))?;
            let named = PyDict::new(py);
            named.set_item(pyo3::intern!(py, "request"), self.request(py)?)?;
            PyResult::Ok(wrapped.call((), Some(&named))?.unbind())
        })?;
        let found = self.baton().wait_for(awaitable).await?;
        Python::attach(|py| {
            let _ = self.observed.values.set(found.getattr(py, pyo3::intern!(py, "values"))?);
            PyResult::Ok(())
        })?;
        self.observed.solved.take().ok_or_else(|| not_called("solve_dependencies"))
    }

    /// Runs the endpoint, or has those around `run_endpoint_function` call it.
    pub(super) async fn run_endpoint(self: &Rc<Self>, arguments: Vec<Option<Py<PyAny>>>) -> PyResult<Py<PyAny>> {
        let Some(around) = &self.plans().runtime.around_calling else {
            return self.call_endpoint(&arguments).await;
        };
        let awaitable = Python::attach(|py| {
            let (node, _) = self.endpoint(&arguments);
            let named = PyDict::new(py);
            named.set_item(pyo3::intern!(py, "dependant"), &node.dependant)?;
            let values = match self.observed.values.get() {
                Some(values) => values.bind(py).clone(),
                None => self.found_values(py, &arguments)?.into_any(),
            };
            named.set_item(pyo3::intern!(py, "values"), values)?;
            named.set_item(pyo3::intern!(py, "is_coroutine"), node.kind == Kind::Coroutine)?;
            self.observed.solved.replace(Some(Solved { arguments, errors: None }));
            let wrapped = around.bind(py).call1((self.part(Stage::Endpoint),))?;
            PyResult::Ok(wrapped.call((), Some(&named))?.unbind())
        })?;
        self.baton().wait_for(awaitable).await
    }

    fn part(self: &Rc<Self>, stage: Stage) -> Part {
        Part { call: LoopBound::new(self.clone(), &self.plans().graveyard), stage }
    }

    async fn run_part(self: &Rc<Self>, stage: Stage) -> PyResult<Option<Py<PyAny>>> {
        match stage {
            Stage::Handler => {
                let made = self.respond().await?;
                self.observed.made.replace(Some(made));
                Ok(None)
            }
            Stage::Dependencies => {
                let solved = self.solve_observed().await?;
                let found = Python::attach(|py| self.shown(py, &solved))?;
                self.observed.solved.replace(Some(solved));
                Ok(Some(found))
            }
            Stage::Endpoint => {
                let solved = self.observed.solved.take().ok_or_else(|| not_called("solve_dependencies"))?;
                self.call_endpoint(&solved.arguments).await.map(Some)
            }
        }
    }

    /// The values of the endpoint's arguments by name, as FastAPI has them; those that were found.
    pub(super) fn found_values<'py>(&self, py: Python<'py>, all: &[Option<Py<PyAny>>]) -> PyResult<Bound<'py, PyDict>> {
        let (endpoint, arguments) = self.endpoint(all);
        let found = PyDict::new(py);
        for (name, value) in endpoint.names.bind(py).iter().zip(arguments) {
            if let Some(value) = value {
                found.set_item(name, value)?;
            }
        }
        if let [body] = &endpoint.body[..]
            && !self.plan().embed
            && arguments[body.argument].is_none()
        {
            // FastAPI has a value for it even where it is not valid.
            found.set_item(endpoint.names.bind(py).get_item(body.argument)?, py.None())?;
        }
        Ok(found)
    }

    /// FastAPI's `SolvedDependency`.
    fn shown(&self, py: Python<'_>, solved: &Solved) -> PyResult<Py<PyAny>> {
        let values = self.found_values(py, &solved.arguments)?;
        let errors = match &solved.errors {
            Some(errors) => errors.bind(py).clone(),
            None => PyList::empty(py),
        };
        let arguments = (values, errors, self.response.get(), self.background.get());
        Ok(self.plans().runtime.solved.bind(py).call1(arguments)?.unbind())
    }
}

/// Which function of FastAPI's an instrument has wrapped.
#[derive(Clone, Copy)]
enum Stage {
    Handler,
    Dependencies,
    Endpoint,
}

/// What stands for the function within the instrument. Whatever it is called with is what the plan knows already.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Part {
    call: LoopBound<Call>,
    stage: Stage,
}

#[pymethods]
impl Part {
    #[pyo3(signature = (*_given, **_named))]
    fn __call__(&self, _given: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> PyResult<PlanCoroutine> {
        let (call, stage) = (self.call.get()?.clone(), self.stage);
        let graveyard = call.plans().graveyard.clone();
        let (baton, value) = (Rc::new(Baton::default()), Rc::new(OnceCell::new()));
        let steps = Steps::new(baton.clone(), run(call, stage, baton, value.clone()));
        Ok(PlanCoroutine::with_value(steps, value, &graveyard))
    }
}

async fn run(call: Rc<Call>, stage: Stage, baton: Rc<Baton>, returned: Rc<OnceCell<Py<PyAny>>>) -> PyResult<()> {
    let outer = call.pass_baton(baton);
    let at_work = AtWork(call, outer);
    if let Some(value) = at_work.0.run_part(stage).await? {
        let _ = returned.set(value);
    }
    Ok(())
}

/// Gives the baton back to whoever had it, however the part ends.
struct AtWork(Rc<Call>, Rc<Baton>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.pass_baton(self.1.clone());
    }
}

fn not_called(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!("an instrument has not called {what}"))
}
