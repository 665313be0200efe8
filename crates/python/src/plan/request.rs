//! The request object of a request and what it stands on, made when somebody asks: its scope, its exit stacks.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::call::{Call, get_or_try_init};
use super::exits::Stacks;
use super::mount::Within;
use super::table::Plan;
use super::wire::Place;

impl Call {
    /// The one `Request` of this request.
    pub(super) fn request(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        get_or_try_init(&self.request, || {
            let (receive, send) = self.wire.channel(py)?;
            let runtime = &self.plans().runtime;
            let scope = self.scope(py)?.bind(py);
            let request = if self.wire.is_websocket() {
                runtime.websocket.bind(py).call1((scope, receive, send))?
            } else {
                runtime.new_request(scope, &receive, &send)?
            };
            if let Some(body) = self.raw_body.get() {
                request.setattr(pyo3::intern!(py, "_body"), body)?;
                request.setattr(pyo3::intern!(py, "_stream_consumed"), true)?;
            }
            if let Some(json) = self.json.get() {
                request.setattr(pyo3::intern!(py, "_json"), json)?;
            }
            if let Some(form) = self.form.get().filter(|form| form.is_own()) {
                request.setattr(pyo3::intern!(py, "_form"), form.data(py, runtime)?)?;
                request.setattr(pyo3::intern!(py, "_stream_consumed"), form.has_body)?;
            }
            Ok(request.unbind())
        })
    }

    /// The scope as FastAPI's endpoint would find it.
    pub(super) fn scope(&self, py: Python<'_>) -> PyResult<&Py<PyDict>> {
        get_or_try_init(&self.scope, || {
            if let Some(scope) = self.copied_scope(py)? {
                return Ok(scope.unbind());
            }
            let plans = self.plans();
            let scope = match self.shown_scope.get() {
                Some(scope) => scope.bind(py).clone(),
                None => self.wire.scope(py, &self.input.headers, None)?,
            };
            if let Some(headers) = scope.get_item(pyo3::intern!(py, "headers"))? {
                let _ = self.first_headers.set(headers.unbind());
            }
            if self.is_layered() {
                plans.layers.enter(py, &scope)?;
            }
            let stacks = self.stacks(py)?;
            let parameters = self.input.path_parameters(py)?;
            let outermost = self.within.as_ref().map_or(plans, |within| within.outermost());
            let place = self.wire.place();
            if place == Place::Application {
                outermost.enter_application(py, &scope)?;
                scope.set_item(pyo3::intern!(py, "app"), &plans.application)?;
            }
            if place != Place::Router {
                scope.set_item(pyo3::intern!(py, "starlette.exception_handlers"), &plans.handlers)?;
                scope.set_item(pyo3::intern!(py, "fastapi_middleware_astack"), &stacks.file)?;
            }
            let router = pyo3::intern!(py, "router");
            if !scope.contains(router)? {
                // An application around this one may have put its own there.
                scope.set_item(router, &outermost.router_object)?;
            }
            if let Some(within) = &self.within {
                within.fill(&scope)?;
            }
            merge(&scope, self.plan().scope.bind(py))?;
            scope.set_item(pyo3::intern!(py, "path_params"), parameters)?;
            scope.set_item(pyo3::intern!(py, "fastapi_inner_astack"), &stacks.request)?;
            scope.set_item(pyo3::intern!(py, "fastapi_function_astack"), &stacks.function)?;
            self.keep_template(py, &scope)?;
            self.tell_entered(py, &scope)?;
            Ok(scope.unbind())
        })
    }

    /// The scope as a copy of an earlier one, where that differs in nothing but what is set anew here.
    fn copied_scope<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(templates) = self.templates() else { return Ok(None) };
        let Some(template) = self.plan().scope_template.get().filter(|template| template.engine == templates) else {
            return Ok(None);
        };
        let scope = self.wire.scope(py, &self.input.headers, Some(template.scope.bind(py)))?;
        if let Some(headers) = scope.get_item(pyo3::intern!(py, "headers"))? {
            let _ = self.first_headers.set(headers.unbind());
        }
        let stacks = self.stacks(py)?;
        scope.set_item(pyo3::intern!(py, "fastapi_middleware_astack"), &stacks.file)?;
        for (key, room) in &template.rooms {
            scope.set_item(key, room.bind(py).copy()?)?;
        }
        scope.set_item(pyo3::intern!(py, "path_params"), self.input.path_parameters(py)?)?;
        scope.set_item(pyo3::intern!(py, "fastapi_inner_astack"), &stacks.request)?;
        scope.set_item(pyo3::intern!(py, "fastapi_function_astack"), &stacks.function)?;
        self.tell_entered(py, &scope)?;
        Ok(Some(scope))
    }

    /// Keeps what the scopes of this plan have in common, in the order of their keys.
    fn keep_template(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        let (Some(engine), plan) = (self.templates(), self.plan()) else { return Ok(()) };
        if plan.scope_template.get().is_some() {
            // Of another engine's.
            return Ok(());
        }
        let common = scope.copy()?;
        self.wire.clear_scope(py, &common)?;
        if !self.plans().root_path.is_empty() {
            common.set_item(pyo3::intern!(py, "root_path"), &self.plans().root_path)?;
        }
        let own = ["path_params", "fastapi_middleware_astack", "fastapi_inner_astack", "fastapi_function_astack"];
        own.iter().try_for_each(|key| common.set_item(key, py.None()))?;
        let mut rooms = Vec::new();
        for (key, value) in plan.scope.bind(py) {
            if let Ok(room) = value.cast_into::<PyDict>() {
                common.set_item(&key, py.None())?;
                rooms.push((key.unbind(), room.unbind()));
            }
        }
        // Somebody may have been faster while objects were made.
        let _ = plan.scope_template.set(ScopeTemplate { engine, scope: common.unbind(), rooms });
        Ok(())
    }

    /// Whose scopes those of this plan are made from, where all of them are alike: straight from an engine, with nothing before
    /// the plan that adds its own or has seen the scope.
    fn templates(&self) -> Option<u64> {
        let plain = self.wire.place() == Place::Application
            && self.within.is_none()
            && self.shown_scope.get().is_none()
            && !self.is_layered();
        if plain { self.wire.templates() } else { None }
    }

    /// The list that FastAPI's `Headers` of this request look at.
    pub(super) fn header_list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let request = self.request(py)?.bind(py);
        match request.getattr_opt(pyo3::intern!(py, "_headers"))? {
            Some(headers) => headers.getattr(pyo3::intern!(py, "_list")),
            None => Ok(self.given_headers(py)),
        }
    }

    pub(super) fn stacks(&self, py: Python<'_>) -> PyResult<&Stacks> {
        get_or_try_init(&self.stacks, || {
            let new = || self.plans().runtime.new_stack(py);
            let stacks = Stacks { file: new()?, request: new()?, function: new()? };
            if self.wire.place() != Place::Router
                && let Some(form) = self.form.get().filter(|form| form.is_own())
            {
                self.close_with(stacks.file.bind(py), form)?;
            }
            Ok(stacks)
        })
    }

    pub(super) fn root_path(&self) -> &str {
        if let Some(within) = &self.within {
            return &within.root_path;
        }
        if self.wire.place() != Place::Application {
            // The application has put its own into the scope.
            return self.wire.root_path();
        }
        match self.plans().root_path.as_str() {
            "" => self.wire.root_path(),
            own => own,
        }
    }
}

/// What the scopes of a plan have in common.
pub(crate) struct ScopeTemplate {
    /// The engine's templates that it was made from.
    engine: u64,
    scope: Py<PyDict>,
    /// Dicts of the route's, of which every scope has a copy.
    rooms: Vec<(Py<PyAny>, Py<PyDict>)>,
}

impl ScopeTemplate {
    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.scope)?;
        self.rooms.iter().try_for_each(|(_, room)| visit.call(room))
    }
}

/// Adds what a route says to a scope.
pub(super) fn merge(scope: &Bound<'_, PyDict>, added: &Bound<'_, PyDict>) -> PyResult<()> {
    for (key, value) in added {
        let Ok(room) = value.cast::<PyDict>() else {
            scope.set_item(key, value)?;
            continue;
        };
        // FastAPI's own room in the scope is one a request, for all the applications that it passes.
        let Some(known) = scope.get_item(&key)? else {
            scope.set_item(key, room.copy()?)?;
            continue;
        };
        let limits = pyo3::intern!(scope.py(), "form_limits");
        let before = known.cast::<PyDict>()?.get_item(limits)?;
        known.call_method1(pyo3::intern!(scope.py(), "update"), (room,))?;
        if let (Some(before), Some(own)) = (before, room.get_item(limits)?) {
            let both = before.cast::<PyDict>()?.copy()?;
            both.update(own.cast::<PyDict>()?.as_mapping())?;
            known.set_item(limits, both)?;
        }
    }
    Ok(())
}

/// The path that routes are matched with (Starlette's `get_route_path`): `path` without the root path, where it begins with it.
pub(crate) fn route_path<'a>(path: &'a str, root_path: &str) -> &'a str {
    match path.strip_prefix(root_path) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

/// Why a request is handed over whose path matches and whose convertor raises.
pub(crate) const UNCONVERTIBLE: &str = "a path parameter that cannot be converted";

/// The path parameters as their convertors give them, with their names.
///
/// # Errors
/// What a convertor raises: a number of too many digits, say.
pub(crate) fn convert_path(
    py: Python<'_>,
    plan: &Plan,
    within: Option<&Within>,
    values: Vec<&str>,
) -> PyResult<Converted> {
    let own = convert(py, &plan.path_parameters, values)?;
    Ok(match within {
        Some(within) => within.with_parameters(py, own),
        None => own,
    })
}

/// Name and convertor of each parameter of a path; no convertor: a string.
pub(crate) type Parameters = Vec<(Py<PyString>, Option<Py<PyAny>>)>;

/// The parameters of a path, with their values.
pub(crate) type Converted = Vec<(Py<PyString>, Py<PyAny>)>;

/// As [`convert_path`], for one path.
pub(super) fn convert(py: Python<'_>, parameters: &Parameters, values: Vec<&str>) -> PyResult<Converted> {
    let parameters = parameters.iter().zip(values).map(|((name, convert), text)| {
        let text = PyString::new(py, text).into_any();
        let value = match convert {
            None => text,
            Some(convert) => convert.bind(py).call1((text,))?,
        };
        Ok((name.clone_ref(py), value.unbind()))
    });
    parameters.collect()
}
