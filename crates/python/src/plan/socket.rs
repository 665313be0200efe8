//! A WebSocket on its way through a plan, in FastAPI's order.
//!
//! Dependencies in post-order, endpoint; then the function's exit stack, the request's exit stack; then, if anything was
//! raised, the application's exception handlers. The endpoint speaks with the client itself, through Starlette's `WebSocket`.

use std::rc::Rc;
use std::sync::Arc;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::asgi::headers;
use super::call::Call;
use super::exits::Which;
use super::input::Input;
use super::mount::{At, Within};
use super::request::Converted;
use super::table::{Destination, Plan, Plans};
use super::wire::{Asgi, Place, Wire};
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

    async fn serve_websocket(self: &Rc<Self>) -> PyResult<()> {
        self.tell_request()?;
        let arguments = self.arguments().await?;
        self.call_endpoint(&arguments).await.map(drop)
    }

    /// What was raised goes to the application's handlers.
    async fn websocket_failed(&self, error: PyErr) -> PyResult<()> {
        if Python::attach(|py| !error.is_instance_of::<PyException>(py)) {
            return self.leave(Which::File, Err::<(), _>(error)).await.map(drop);
        }
        let awaitable = Python::attach(|py| {
            let (receive, send) = self.wire.channel(py)?;
            self.raised(py, (receive, send), error, false)
        })?;
        self.baton().wait_for(awaitable).await.map(drop)
    }
}

/// The steps of a WebSocket that a plan serves, or the reason why the application's own code has to.
///
pub(crate) fn begin(
    plans: &Bound<'_, Plans>,
    scope: &Bound<'_, PyDict>,
    receive: &Bound<'_, PyAny>,
    send: &Bound<'_, PyAny>,
    place: Place,
) -> PyResult<Result<Steps, String>> {
    let py = plans.py();
    let table = plans.get();
    let text = |name: &Bound<'_, _>| -> PyResult<String> {
        scope.get_item(name)?.map_or(Ok(String::new()), |value| value.extract())
    };
    let (path, root_path) = (text(pyo3::intern!(py, "path"))?, text(pyo3::intern!(py, "root_path"))?);
    let root_path =
        if place == Place::Application && !table.root_path.is_empty() { table.root_path.clone() } else { root_path };
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
    let found = match find(plans, &path, &root_path, place) {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let wire = Wire::Asgi(Asgi::websocket(scope, receive, send, &root_path, place));
    let input = Input::new(&query, headers, found.parameters);
    let call = Call::new(found.plans, found.plan, wire, found.within, input);
    if place != Place::Application {
        // Middleware looks at it: which route, which endpoint.
        call.scope(py)?;
        call.observe(py, scope)?;
    }
    call.counting().count_answered();
    Ok(Ok(Steps::new(call.baton(), call.run_websocket())))
}

/// The plan of a WebSocket, its own or a mounted application's.
struct Found {
    plans: Py<Plans>,
    plan: Arc<Plan>,
    parameters: Converted,
    within: Option<Box<Within>>,
}

fn find(plans: &Bound<'_, Plans>, path: &str, root_path: &str, place: Place) -> Result<Found, String> {
    let py = plans.py();
    let mut plans = plans.clone().unbind();
    let mut within: Option<Box<Within>> = None;
    loop {
        let table = plans.get();
        table.hold(py)?;
        let root = within.as_ref().map_or(root_path, |within| within.root_path.as_str());
        let at = At { root, path: route_path(path, root) };
        let (inner, deeper) = match table.find_websocket(at.path) {
            Destination::Plan(plan, values) => {
                let plan = plan.in_force(py)?;
                let Ok(parameters) = convert_path(py, &plan, within.as_deref(), values) else {
                    return Err(UNCONVERTIBLE.into());
                };
                return Ok(Found { plans, plan, parameters, within });
            }
            Destination::Mount(mount, _) if place != Place::Application => return Err(mount.install(py)),
            Destination::Mount(mount, values) => mount.enter(py, &plans, within.as_deref(), at, values)?,
            Destination::Stock(reason) => return Err(reason.to_owned()),
            _ => return Err("no such WebSocket".to_owned()),
        };
        (plans, within) = (inner, Some(deeper));
    }
}
