//! A request as its coroutine sees it: the ASGI application is called.

use std::rc::Rc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Exchange, Stage, traverse};
use crate::asgi::route;
use crate::host::coroutine::{Begun, Request};
use crate::host::loop_bound::LoopBound;
use crate::watch::Timed;

/// The request as its coroutine sees it.
pub(crate) struct HttpRequestCall {
    pub(crate) exchange: LoopBound<Exchange>,
    pub(crate) scope: Py<PyDict>,
}

impl HttpRequestCall {
    pub(crate) fn new(exchange: &Rc<Exchange>, scope: Bound<'_, PyDict>) -> HttpRequestCall {
        let exchange = LoopBound::new(exchange.clone(), &exchange.bridge.host.graveyard);
        HttpRequestCall { exchange, scope: scope.unbind() }
    }
}

impl Request for HttpRequestCall {
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>> {
        let exchange = self.exchange.get()?;
        exchange.began(py);
        let (receive, send) = exchange.channel(py)?;
        exchange.bridge.app.bind(py).call1((self.scope.bind(py), receive, send)).map(Begun::Python)
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        self.exchange.get()?.ended(py, outcome)
    }

    fn timed(&self) -> Option<Rc<dyn Timed>> {
        self.exchange.get_here()?.timed()
    }

    fn paused(&self, py: Python<'_>) {
        if let Some(exchange) = self.exchange.get_here()
            && let Some(clock) = exchange.clock()
        {
            let is_over = exchange.stage.get() == Stage::Complete;
            route::find(clock, py, exchange.line.method.as_str(), self.scope.bind(py), is_over);
        }
    }

    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.scope)?;
        traverse(&self.exchange, visit)
    }
}
