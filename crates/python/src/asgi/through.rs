//! A request that enters its application at the user's outermost middleware.
//!
//! What FastAPI has around that does nothing to a request that goes well; it is asked when something was raised.

use std::rc::Rc;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use super::http::{Exchange, HttpRequestCall};
use crate::host::coroutine::{Begun, Request};
use crate::host::steps::{Baton, Steps};
use crate::plan::table::Plans;
use crate::watch::Timed;

/// See the [module](self).
pub(crate) struct ThroughMiddleware {
    call: HttpRequestCall,
    plans: Py<Plans>,
}

impl ThroughMiddleware {
    pub(crate) fn new(exchange: &Rc<Exchange>, scope: Bound<'_, PyDict>, plans: Py<Plans>) -> ThroughMiddleware {
        ThroughMiddleware { call: HttpRequestCall::new(exchange, scope), plans }
    }
}

impl Request for ThroughMiddleware {
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>> {
        let exchange = self.call.exchange.get()?.clone();
        exchange.began(py);
        let baton = Rc::new(Baton::default());
        let (scope, plans) = (self.call.scope.clone_ref(py), self.plans.clone_ref(py));
        Ok(Begun::Steps(Steps::new(baton.clone(), run(baton, exchange, scope, plans))))
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        self.call.ended(py, outcome)
    }

    fn timed(&self) -> Option<Rc<dyn Timed>> {
        self.call.timed()
    }

    fn paused(&self, py: Python<'_>) {
        self.call.paused(py);
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plans)?;
        self.call.traverse(visit)
    }
}

/// Lets the request enter there.
pub(crate) async fn run(baton: Rc<Baton>, exchange: Rc<Exchange>, scope: Py<PyDict>, plans: Py<Plans>) -> PyResult<()> {
    let begun = Python::attach(|py| {
        let (receive, send) = exchange.channel(py)?;
        let outermost = plans.get().outermost.as_ref().expect("chosen for its outermost middleware").bind(py);
        // What it raises before there is anything to await it raises to the same code.
        let awaitable = outermost.call1((&scope, &receive, &send)).map(Bound::unbind);
        PyResult::Ok((receive.unbind(), send.unbind(), awaitable))
    });
    let (receive, send, awaitable) = begun?;
    let outcome = match awaitable {
        Ok(awaitable) => baton.wait_for(awaitable).await.map(drop),
        Err(error) => Err(error),
    };
    let Err(error) = outcome else { return Ok(()) };
    if Python::attach(|py| !error.is_instance_of::<PyException>(py)) {
        return Err(error);
    }
    let awaitable = Python::attach(|py| {
        let raise = plans.get().raise_outermost.bind(py);
        let arguments = (scope, receive, send, error.into_value(py), exchange.has_started());
        PyResult::Ok(raise.call1(arguments)?.unbind())
    })?;
    baton.wait_for(awaitable).await.map(drop)
}
