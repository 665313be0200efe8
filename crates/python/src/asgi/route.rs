//! Which route an application has found, as its scope tells.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::watch::{RequestClock, Watch};

/// Looks for the route of a request that goes its own way through the application. At its `end` a request that has found
/// none is put down as the application's own.
pub(crate) fn find(clock: &RequestClock, py: Python<'_>, method: &str, scope: &Bound<'_, PyDict>, end: bool) {
    if let Ok(Some(place)) = routed(clock.watch(), py, method, scope) {
        clock.found(place);
    } else if end && matches!(scope.get_item(pyo3::intern!(py, "router")), Ok(None)) {
        // What has a router and found nothing is a 404, most often; without one there are no routes.
        clock.found(clock.watch().place(told(method, None), "(application)", None));
    }
}

/// FastAPI and Starlette leave both in the scope: FastAPI the route, Starlette the endpoint alone.
fn routed(watch: &Watch, py: Python<'_>, method: &str, scope: &Bound<'_, PyDict>) -> PyResult<Option<usize>> {
    let Some(endpoint) = scope.get_item(pyo3::intern!(py, "endpoint"))? else { return Ok(None) };
    let route = scope.get_item(pyo3::intern!(py, "route"))?;
    let method = told(method, route.as_ref());
    let router = scope.get_item(pyo3::intern!(py, "router"))?;
    let below =
        if route.is_some() { watch.mount_pattern(router.as_ref(), &mounted(py, scope)?) } else { String::new() };
    watch.found_place(py, method, &below, &endpoint, route.as_ref(), router.as_ref()).map(Some)
}

/// A method as it is counted: clients can make up as many as they like, which then are one.
fn told<'a>(method: &'a str, route: Option<&Bound<'_, PyAny>>) -> &'a str {
    let is_declared = || route.is_some_and(|route| declares(route, method).unwrap_or(false));
    if METHODS.contains(&method) || is_declared() { method } else { OTHER }
}

fn declares(route: &Bound<'_, PyAny>, method: &str) -> PyResult<bool> {
    route.getattr(pyo3::intern!(route.py(), "methods"))?.contains(method)
}

/// Where the application that has found the route is mounted, as the client has it.
fn mounted(py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<String> {
    let text = |name| PyResult::Ok(scope.get_item(name)?.map(|value| value.to_string()).unwrap_or_default());
    let outer = match scope.get_item(pyo3::intern!(py, "app_root_path"))? {
        Some(outer) => outer.to_string(),
        None => return Ok(String::new()),
    };
    let root = text(pyo3::intern!(py, "root_path"))?;
    Ok(root.strip_prefix(&outer).unwrap_or_default().to_owned())
}

/// RFC 9110, section 9.3, RFC 5789 and the QUERY method; and what a WebSocket is counted as.
const METHODS: [&str; 11] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "WS"];
/// As OpenTelemetry's conventions have it.
const OTHER: &str = "_OTHER";
