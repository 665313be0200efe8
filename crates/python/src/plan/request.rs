//! The request object of a request and what it stands on, made when somebody asks: its scope, its exit stacks.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::call::{Call, Stacks, get_or_try_init};
use crate::asgi::scope::Head;

impl Call {
    /// The one `Request` of this request.
    pub(super) fn request(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        get_or_try_init(&self.request, || {
            let (receive, send) = self.exchange.channel(py)?;
            let class = self.plans().runtime.request.bind(py);
            let request = class.call1((self.scope(py)?, receive, send))?;
            if let Some(body) = self.raw_body.get() {
                request.setattr(pyo3::intern!(py, "_body"), body)?;
                request.setattr(pyo3::intern!(py, "_stream_consumed"), true)?;
            }
            if let Some(json) = self.json.get() {
                request.setattr(pyo3::intern!(py, "_json"), json)?;
            }
            Ok(request.unbind())
        })
    }

    /// The scope as FastAPI's endpoint would find it.
    pub(super) fn scope(&self, py: Python<'_>) -> PyResult<&Py<PyDict>> {
        get_or_try_init(&self.scope, || {
            let line = &self.exchange.line;
            let head = Head {
                version: line.version,
                uri: &line.uri,
                headers: &self.input.headers,
                scheme: self.peer.scheme,
                client: &self.peer.client,
                server: &self.peer.server,
            };
            let plans = self.plans();
            let scope = self.exchange.new_scope(py, &head)?;
            if !plans.root_path.is_empty() {
                scope.set_item(pyo3::intern!(py, "root_path"), &plans.root_path)?;
            }
            scope.set_item(pyo3::intern!(py, "app"), &plans.application)?;
            scope.set_item(pyo3::intern!(py, "starlette.exception_handlers"), &plans.handlers)?;
            let stacks = self.stacks(py)?;
            scope.set_item(pyo3::intern!(py, "fastapi_middleware_astack"), &stacks.file)?;
            scope.set_item(pyo3::intern!(py, "router"), &plans.router_object)?;
            for (key, value) in self.plan().scope.bind(py) {
                // FastAPI's own room in the scope is one a request.
                match value.cast::<PyDict>() {
                    Ok(room) => scope.set_item(key, room.copy()?)?,
                    Err(_) => scope.set_item(key, value)?,
                }
            }
            scope.set_item(pyo3::intern!(py, "path_params"), self.input.path_parameters(py)?)?;
            scope.set_item(pyo3::intern!(py, "fastapi_inner_astack"), &stacks.request)?;
            scope.set_item(pyo3::intern!(py, "fastapi_function_astack"), &stacks.function)?;
            Ok(scope.unbind())
        })
    }

    pub(super) fn stacks(&self, py: Python<'_>) -> PyResult<&Stacks> {
        get_or_try_init(&self.stacks, || {
            let new = || PyResult::Ok(self.plans().runtime.exit_stack.bind(py).call0()?.unbind());
            Ok(Stacks { file: new()?, request: new()?, function: new()? })
        })
    }

    pub(super) fn root_path(&self) -> &str {
        match self.plans().root_path.as_str() {
            "" => self.exchange.root_path(),
            own => own,
        }
    }
}

/// The path that routes are matched with (Starlette's `get_route_path`): `path` without the root path, where it begins with it.
pub(crate) fn route_path<'a>(path: &'a str, root_path: &str) -> &'a str {
    match path.strip_prefix(root_path) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

