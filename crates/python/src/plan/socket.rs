//! A WebSocket on its way through a plan, in FastAPI's order.
//!
//! Dependencies in post-order, endpoint; then the function's exit stack, the request's exit stack; then, if anything was
//! raised, the application's exception handlers. The endpoint speaks with the client itself, through Starlette's `WebSocket`.

use std::rc::Rc;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::asgi::headers;
use super::body::Body;
use super::call::Call;
use super::exits::Which;
use super::input::Input;
use super::table::Plans;
use super::wire::{Asgi, Wire};
use super::{UNCONVERTIBLE, convert_path, route_path};
use crate::host::steps::Steps;

impl Call {
    /// See the [module](self).
    async fn run_websocket(self: Rc<Self>) -> PyResult<()> {
        let served = self.serve_websocket().await;
        let served = self.leave(Which::Function, served).await.map(drop);
        match self.leave(Which::Request, served).await {
            Ok(_) => self.leave(Which::File, Ok(())).await.map(drop),
            Err(error) => self.websocket_failed(error).await,
        }
    }

    async fn serve_websocket(&self) -> PyResult<()> {
        let arguments = self.solve(&Body::Undefined).await?;
        let (endpoint, arguments) = self.endpoint(&arguments);
        self.call(endpoint, arguments).await.map(drop)
    }

    /// What was raised goes to the application's handlers.
    async fn websocket_failed(&self, error: PyErr) -> PyResult<()> {
        if Python::attach(|py| !error.is_instance_of::<PyException>(py)) {
            return self.leave(Which::File, Err::<(), _>(error)).await.map(drop);
        }
        let awaitable = Python::attach(|py| {
            let (receive, send) = self.wire.channel(py)?;
            let plans = self.plans();
            let (scope, socket, error) = (self.scope(py)?, self.request(py)?, error.into_value(py));
            let awaitable = if self.wire.is_outermost() {
                let arguments = (scope, receive, send, socket, error, (false, false), self.given_headers(py));
                plans.raise_through.bind(py).call1(arguments)?
            } else {
                plans.runtime.raise_innermost.bind(py).call1((scope, receive, send, socket, error, false))?
            };
            PyResult::Ok(awaitable.unbind())
        })?;
        self.baton.wait_for(awaitable).await.map(drop)
    }
}

/// The steps of a WebSocket that a plan serves, or the reason why the application's own code has to.
///
/// `is_outermost`: the scope is the server's, and nothing of the application's stands around.
pub(crate) fn begin(
    plans: &Bound<'_, Plans>,
    scope: &Bound<'_, PyDict>,
    receive: &Bound<'_, PyAny>,
    send: &Bound<'_, PyAny>,
    is_outermost: bool,
) -> PyResult<Result<Steps, String>> {
    let py = plans.py();
    let table = plans.get();
    if let Err(reason) = table.hold(py) {
        return Ok(Err(reason.to_owned()));
    }
    let text = |name: &Bound<'_, _>| -> PyResult<String> {
        scope.get_item(name)?.map_or(Ok(String::new()), |value| value.extract())
    };
    let (path, root_path) = (text(pyo3::intern!(py, "path"))?, text(pyo3::intern!(py, "root_path"))?);
    let root_path = if is_outermost && !table.root_path.is_empty() { table.root_path.clone() } else { root_path };
    if scope.get_item(pyo3::intern!(py, "path_params"))?.is_some_and(|given| given.is_truthy().unwrap_or(true)) {
        return Ok(Err("path parameters of a mount around the application".into()));
    }
    let query = match scope.get_item(pyo3::intern!(py, "query_string"))? {
        Some(query) => String::from_utf8(query.cast::<PyBytes>()?.as_bytes().to_vec()).ok(),
        None => Some(String::new()),
    };
    let (Some(headers), Some(query)) = (headers(scope)?, query) else {
        return Ok(Err("bytes that the engine would not let through".into()));
    };
    let (plan, values) = match table.find_websocket(route_path(&path, &root_path)) {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason.to_owned())),
    };
    let plan = match plan.in_force(py) {
        Ok(plan) => plan,
        Err(reason) => return Ok(Err(reason)),
    };
    let Ok(parameters) = convert_path(py, &plan, values) else { return Ok(Err(UNCONVERTIBLE.into())) };
    let wire = Wire::Asgi(Asgi::websocket(scope, receive, send, &root_path, is_outermost));
    let call = Call::new(plans.clone().unbind(), plan, wire, Input::new(&query, headers, parameters));
    table.count_answered();
    Ok(Ok(Steps::new(call.baton.clone(), call.run_websocket())))
}
