//! Plans within an ASGI application: where FastAPI's router would stand, below the user's middleware or under another server.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::call::{Call, steps};
use super::input::Input;
use super::socket;
use super::table::{Destination, Plans, Sent};
use super::wire::{Asgi, Place, Wire};
use super::{UNCONVERTIBLE, convert_path, route_path};
use crate::host::awaited::{self, Awaited, awaited_methods};
use crate::host::loop_bound::{Graveyard, LoopBound};
use crate::host::steps::{Resume, Steps};

/// The awaitable of a request or WebSocket that a plan answers, or the reason why FastAPI's own router has to.
pub(crate) fn begin(
    plans: &Bound<'_, Plans>,
    scope: &Bound<'_, PyDict>,
    receive: &Bound<'_, PyAny>,
    send: &Bound<'_, PyAny>,
    place: Place,
) -> PyResult<Result<PlanCoroutine, String>> {
    let py = plans.py();
    let table = plans.get();
    if scope.get_item(pyo3::intern!(py, "type"))?.is_some_and(|kind| kind.eq("websocket").unwrap_or(false)) {
        let begun = socket::begin(plans, scope, receive, send, place)?;
        return Ok(begun.map(|steps| PlanCoroutine::new(steps, &table.graveyard)));
    }
    if let Err(reason) = table.hold(py) {
        return Ok(Err(reason.to_owned()));
    }
    let text = |name: &Bound<'_, PyString>| -> PyResult<String> {
        Ok(match scope.get_item(name)? {
            Some(value) => value.extract()?,
            None => String::new(),
        })
    };
    let method = text(pyo3::intern!(py, "method"))?;
    let (path, root_path) = (text(pyo3::intern!(py, "path"))?, text(pyo3::intern!(py, "root_path"))?);
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
    let has_body = headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || headers.contains_key(http::header::TRANSFER_ENCODING);
    let (plan, values) = match table.find(&method, route_path(&path, &root_path), Sent::new(&headers, has_body)) {
        Destination::Plan(plan, values) => (plan, values),
        Destination::Stock(reason) => return Ok(Err(reason.to_owned())),
        // Raised and handled where the application expects it.
        Destination::NotFound | Destination::MethodNotAllowed(_) => return Ok(Err("404 or 405".into())),
        Destination::Redirect(_) => return Ok(Err("a redirect".into())),
        // The request meets them behind the application's own stack.
        Destination::Mount(mount, _) => return Ok(Err(mount.install(py))),
    };
    let plan = match plan.in_force(py) {
        Ok(plan) => plan,
        Err(reason) => return Ok(Err(reason)),
    };
    let Ok(parameters) = convert_path(py, &plan, None, values) else { return Ok(Err(UNCONVERTIBLE.into())) };
    let wire = Wire::Asgi(Asgi::new(scope, receive, send, &method, &root_path, place));
    let call = Call::new(plans.clone().unbind(), plan, wire, None, Input::new(&query, headers, parameters));
    // Middleware looks at it afterwards: which route, which endpoint.
    call.scope(py)?;
    call.observe(py, scope)?;
    table.count_answered();
    Ok(Ok(PlanCoroutine::new(steps(call), &table.graveyard)))
}

/// The headers of a scope; `None` if one of them is none that the engine would let through.
pub(super) fn headers(scope: &Bound<'_, PyDict>) -> PyResult<Option<HeaderMap>> {
    let mut map = HeaderMap::new();
    let Some(given) = scope.get_item(pyo3::intern!(scope.py(), "headers"))? else { return Ok(Some(map)) };
    let mut add = |name: &[u8], value: &[u8]| {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            return false;
        };
        map.append(name, value);
        true
    };
    for pair in given.try_iter()? {
        let pair = pair?;
        // A tuple of bytes is what everybody has there.
        let is_let_through = if let Ok(pair) = pair.cast::<PyTuple>()
            && pair.len() == 2
            && let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?)
            && let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>())
        {
            add(name.as_bytes(), value.as_bytes())
        } else {
            let (name, value) = pair.extract::<(PyBackedBytes, PyBackedBytes)>()?;
            add(&name, &value)
        };
        if !is_let_through {
            return Ok(None);
        }
    }
    Ok(Some(map))
}

/// What awaiting a planned request runs.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct PlanCoroutine {
    steps: LoopBound<Steps>,
    /// What it returns in the end, if that is not `None`.
    value: Option<LoopBound<OnceCell<Py<PyAny>>>>,
}

impl PlanCoroutine {
    pub(super) fn new(steps: Steps, graveyard: &Arc<Graveyard>) -> PlanCoroutine {
        PlanCoroutine { steps: LoopBound::new(Rc::new(steps), graveyard), value: None }
    }

    /// `value` is filled in by the steps.
    pub(super) fn with_value(
        steps: Steps,
        value: Rc<OnceCell<Py<PyAny>>>,
        graveyard: &Arc<Graveyard>,
    ) -> PlanCoroutine {
        PlanCoroutine { value: Some(LoopBound::new(value, graveyard)), ..PlanCoroutine::new(steps, graveyard) }
    }
}

impl Awaited for PlanCoroutine {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        let (py, coroutine) = (this.py(), this.get());
        let result = coroutine.steps.get()?.resume(py, resume)?;
        Ok(match (result, &coroutine.value) {
            (PySendResult::Return(none), Some(value)) => {
                PySendResult::Return(value.get()?.get().map_or(none, |value| value.bind(py).clone()))
            }
            (result, _) => result,
        })
    }

    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().steps.get()?.close(this.py())
    }
}

awaited_methods!(PlanCoroutine {
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.steps.get_here().and_then(|steps| steps.baton().waited_for(py))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.steps.get_here().map_or(Ok(()), |steps| steps.baton().traverse(&visit))
    }
});

/// Registers the class with `collections.abc.Coroutine`.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    awaited::register::<PlanCoroutine>(py)
}
