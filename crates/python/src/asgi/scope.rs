//! The connection scope of a request (ASGI HTTP specification, "HTTP Connection Scope").

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, Uri, Version};
use overdrive_http::Address;
use percent_encoding::percent_decode_str;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::settings::TrustedProxies;
use crate::host::names::Names;

/// What every scope of an engine has in common, as dicts to be copied.
pub(crate) struct ScopeTemplates {
    /// Never used twice in a process.
    id: u64,
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    http_extensions: Py<PyDict>,
    websocket_extensions: Py<PyDict>,
    state: Option<Py<PyDict>>,
    root_path: String,
    headers: RecentHeaders,
}

impl ScopeTemplates {
    pub(crate) fn new(
        py: Python<'_>,
        names: &Names,
        root_path: &str,
        state: Option<Py<PyDict>>,
    ) -> PyResult<ScopeTemplates> {
        let template = |kind: &Py<PyString>, scheme: &Py<PyString>, spec_version: &str| -> PyResult<Py<PyDict>> {
            let scope = PyDict::new(py);
            scope.set_item(&names.type_, kind)?;
            let asgi = PyDict::new(py);
            asgi.set_item("version", "3.0")?;
            asgi.set_item("spec_version", spec_version)?;
            // Set anew for each request, as the rest below: an application may change it.
            scope.set_item(&names.asgi, asgi)?;
            scope.set_item(&names.http_version, &names.http_1_1)?;
            scope.set_item(&names.scheme, scheme)?;
            scope.set_item(&names.root_path, root_path)?;
            // The rest is set anew for each request; with its place in the template a copy never has to grow.
            let own = [&names.path, &names.raw_path, &names.query_string, &names.headers, &names.client, &names.server];
            for name in own.into_iter().chain([&names.extensions]) {
                scope.set_item(name, py.None())?;
            }
            scope.set_item(if spec_version == HTTP_SPEC { &names.method } else { &names.subprotocols }, py.None())?;
            if state.is_some() {
                scope.set_item(&names.state, py.None())?;
            }
            Ok(scope.unbind())
        };
        let extensions = |keys: &[&str]| -> PyResult<Py<PyDict>> {
            let extensions = PyDict::new(py);
            for key in keys {
                extensions.set_item(key, PyDict::new(py))?;
            }
            Ok(extensions.unbind())
        };
        // Starlette's file responses would take the offer, and what stands around them, middleware above all, need not know
        // a response without a body: uvicorn does not offer it. Plans read files by the engine's threads anyway.
        let knows_starlette = py.import("sys")?.getattr("modules")?.contains("starlette")?;
        let http_extensions = if knows_starlette { &HTTP_EXTENSIONS[1..] } else { &HTTP_EXTENSIONS[..] };
        Ok(ScopeTemplates {
            id: NEXT_TEMPLATES.fetch_add(1, Ordering::Relaxed),
            http: template(&names.http, &names.http, HTTP_SPEC)?,
            websocket: template(&names.websocket, &names.ws, WEBSOCKET_SPEC)?,
            http_extensions: extensions(http_extensions)?,
            websocket_extensions: extensions(&["websocket.http.response"])?,
            state,
            root_path: root_path.to_owned(),
            headers: RecentHeaders::default(),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The scope of an HTTP request; `template`: what [`ScopeTemplates::clear_http`] has left of an earlier one.
    pub(crate) fn http<'py>(
        &self,
        py: Python<'py>,
        names: &Names,
        head: &Head<'_>,
        method: &str,
        template: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = template.unwrap_or_else(|| self.http.bind(py)).copy()?;
        scope.set_item(&names.method, method_name(py, method))?;
        if head.version == Version::HTTP_10 {
            scope.set_item(&names.http_version, &names.http_1_0)?;
        }
        if let Some(scheme) = head.scheme {
            scope.set_item(&names.scheme, scheme)?;
        }
        scope.set_item(&names.extensions, self.http_extensions.bind(py).copy()?)?;
        self.fill(py, names, &scope, head)?;
        Ok(scope)
    }

    /// Takes out of a copy of an HTTP request's scope what is of this request, so that others may begin as copies of it.
    pub(crate) fn clear_http(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        scope.update(self.http.bind(py).as_mapping())
    }

    /// The scope of a WebSocket.
    pub(crate) fn websocket<'py>(
        &self,
        py: Python<'py>,
        names: &Names,
        head: &Head<'_>,
        subprotocols: Vec<String>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.websocket.bind(py).copy()?;
        if let Some(scheme) = head.scheme {
            // A proxy says how it was reached itself.
            scope.set_item(&names.scheme, if matches!(scheme, "https" | "wss") { "wss" } else { "ws" })?;
        }
        scope.set_item(&names.subprotocols, PyList::new(py, subprotocols)?)?;
        scope.set_item(&names.extensions, self.websocket_extensions.bind(py).copy()?)?;
        self.fill(py, names, &scope, head)?;
        Ok(scope)
    }

    fn fill(&self, py: Python<'_>, names: &Names, scope: &Bound<'_, PyDict>, head: &Head<'_>) -> PyResult<()> {
        if let Some(asgi) = scope.get_item(&names.asgi)? {
            scope.set_item(&names.asgi, asgi.cast::<PyDict>()?.copy()?)?;
        }
        let path = full_path(&self.root_path, head.uri);
        scope.set_item(&names.path, PyString::new(py, &path))?;
        let raw = head.uri.path().as_bytes();
        let raw_path = if self.root_path.is_empty() {
            PyBytes::new(py, raw)
        } else {
            PyBytes::new(py, &[self.root_path.as_bytes(), raw].concat())
        };
        scope.set_item(&names.raw_path, raw_path)?;
        scope.set_item(&names.query_string, PyBytes::new(py, head.uri.query().unwrap_or("").as_bytes()))?;
        scope.set_item(&names.headers, self.headers.list(py, head.headers)?)?;
        scope.set_item(&names.client, head.client)?;
        scope.set_item(&names.server, head.server)?;
        if let Some(state) = &self.state {
            scope.set_item(&names.state, state.bind(py).copy()?)?;
        }
        Ok(())
    }
}

/// What of a request's head a scope is made from.
pub(crate) struct Head<'a> {
    pub(crate) version: Version,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// `None`: the connection's own.
    pub(crate) scheme: Option<&'a str>,
    pub(crate) client: &'a Py<PyAny>,
    pub(crate) server: &'a Py<PyAny>,
}

/// The percent-decoded path behind the root path.
pub(crate) fn full_path<'a>(root_path: &str, uri: &'a Uri) -> std::borrow::Cow<'a, str> {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    if root_path.is_empty() { path } else { format!("{root_path}{path}").into() }
}

/// An address as a scope has it: `(host, port)`, `(path, None)` for a Unix socket, `None` for an unnamed one.
pub(crate) fn address_object(py: Python<'_>, address: &Address) -> PyResult<Py<PyAny>> {
    Ok(match address {
        Address::Ip(ip) => PyTuple::new(
            py,
            [ip.ip().to_string().into_pyobject(py)?.into_any(), ip.port().into_pyobject(py)?.into_any()],
        )?
        .into_any()
        .unbind(),
        Address::Unix(path) if path.as_os_str().is_empty() => py.None(),
        Address::Unix(path) => {
            PyTuple::new(py, [path.to_string_lossy().into_pyobject(py)?.into_any(), py.None().into_bound(py)])?
                .into_any()
                .unbind()
        }
    })
}

/// What a trusted proxy says of the request: the client's address and the scheme.
pub(crate) fn forwarded(
    trusted: &TrustedProxies,
    headers: &HeaderMap,
) -> (Option<(String, u16)>, Option<&'static str>) {
    let scheme = headers.get_all("x-forwarded-proto").iter().next_back().and_then(|value| {
        ["http", "https", "ws", "wss"].into_iter().find(|known| value.as_bytes().trim_ascii() == known.as_bytes())
    });
    let mut chain = String::new();
    for value in headers.get_all("x-forwarded-for") {
        if !chain.is_empty() {
            chain.push_str(", ");
        }
        // Latin-1, as every header.
        chain.extend(value.as_bytes().iter().map(|byte| char::from(*byte)));
    }
    let client = trusted.client(&chain).filter(|(host, _)| !host.is_empty());
    (client.map(|(host, port)| (host.to_owned(), port)), scheme)
}

/// Method names, the common ones without an allocation.
fn method_name<'py>(py: Python<'py>, method: &str) -> Bound<'py, PyString> {
    match method {
        "GET" => pyo3::intern!(py, "GET").clone(),
        "POST" => pyo3::intern!(py, "POST").clone(),
        "PUT" => pyo3::intern!(py, "PUT").clone(),
        "DELETE" => pyo3::intern!(py, "DELETE").clone(),
        "PATCH" => pyo3::intern!(py, "PATCH").clone(),
        "HEAD" => pyo3::intern!(py, "HEAD").clone(),
        "OPTIONS" => pyo3::intern!(py, "OPTIONS").clone(),
        // ASGI has it in upper case.
        other => PyString::new(py, &other.to_ascii_uppercase()),
    }
}

/// The header lines of recent requests by their place, as Python objects: clients repeat themselves.
///
/// Immutable tuples of bytes can be shared between scopes. What identifies a user is not kept.
#[derive(Default)]
struct RecentHeaders {
    lines: RefCell<Vec<Option<Py<PyTuple>>>>,
}

impl RecentHeaders {
    fn list<'py>(&self, py: Python<'py>, headers: &HeaderMap) -> PyResult<Bound<'py, PyList>> {
        // Taken out, as making objects may collect garbage, and that may run anything.
        let mut recent = self.lines.take();
        let list = PyList::empty(py);
        for (place, (name, value)) in headers.iter().enumerate() {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            if let Some(Some(line)) = recent.get(place)
                && is_line(line.bind(py), name, value)
            {
                list.append(line)?;
                continue;
            }
            let line = PyTuple::new(py, [PyBytes::new(py, name), PyBytes::new(py, value)])?;
            list.append(&line)?;
            if place < RECENT_LINES && value.len() <= RECENT_LENGTH && !PRIVATE.contains(&name) {
                if recent.len() <= place {
                    recent.resize_with(place + 1, || None);
                }
                recent[place] = Some(line.unbind());
            }
        }
        self.lines.replace(recent);
        Ok(list)
    }
}

fn is_line(line: &Bound<'_, PyTuple>, name: &[u8], value: &[u8]) -> bool {
    let is = |place: usize, bytes: &[u8]| {
        line.get_borrowed_item(place)
            .is_ok_and(|item| item.cast::<PyBytes>().is_ok_and(|item| item.as_bytes() == bytes))
    };
    is(0, name) && is(1, value)
}

/// Not later: from 2.4 on Starlette leaves it to `send()` to notice that a client has left a stream.
const HTTP_SPEC: &str = "2.3";
const HTTP_EXTENSIONS: [&str; 3] = ["http.response.pathsend", "http.response.trailers", "http.response.early_hint"];
/// Sending to a client that has left raises `OSError`.
const WEBSOCKET_SPEC: &str = "2.4";
static NEXT_TEMPLATES: AtomicU64 = AtomicU64::new(0);

const RECENT_LINES: usize = 32;
const RECENT_LENGTH: usize = 256;
const PRIVATE: [&[u8]; 4] = [b"authorization", b"cookie", b"proxy-authorization", b"x-api-key"];
