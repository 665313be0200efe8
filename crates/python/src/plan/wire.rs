//! Where a request comes from and its response goes: straight from the engine, or through ASGI.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::reply::Reply;
use super::runtime::Runtime;
use crate::asgi::http::{Exchange, Read};
use crate::asgi::scope::Head;
use crate::host::steps::Baton;

/// See the [module](self).
pub(crate) enum Wire {
    Engine(Rc<Exchange>, Peer),
    Asgi(Asgi),
}

/// Where a plan stands in its application.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the place of all of it: the scope is the server's.
    Application,
    /// Below the user's middleware, in the place of all that is there: the exception handlers, the exit stack of files.
    Handlers,
    /// In the router's place.
    Router,
}

/// Who made a request, as its scope says.
pub(crate) struct Peer {
    pub(crate) client: Py<PyAny>,
    pub(crate) server: Py<PyAny>,
    pub(crate) scheme: Option<&'static str>,
}

/// A request within an ASGI application: below middleware, or under another server. Every WebSocket is one.
pub(crate) struct Asgi {
    pub(crate) scope: Py<PyDict>,
    receive: Py<PyAny>,
    send: Py<PyAny>,
    method: String,
    root_path: String,
    is_websocket: bool,
    place: Place,
    started: Arc<AtomicBool>,
    /// In the place of `receive`, where something of the body was received already.
    replaying: OnceCell<Py<PyAny>>,
    /// What `channel` gave as `send`.
    noting: RefCell<Option<Py<PyAny>>>,
}

impl Asgi {
    pub(crate) fn new(
        scope: &Bound<'_, PyDict>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
        method: &str,
        root_path: &str,
        place: Place,
    ) -> Asgi {
        Asgi {
            scope: scope.clone().unbind(),
            receive: receive.clone().unbind(),
            send: send.clone().unbind(),
            method: method.to_owned(),
            root_path: root_path.to_owned(),
            is_websocket: false,
            place,
            started: Arc::default(),
            replaying: OnceCell::new(),
            noting: RefCell::default(),
        }
    }

    pub(crate) fn websocket(
        scope: &Bound<'_, PyDict>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
        root_path: &str,
        place: Place,
    ) -> Asgi {
        Asgi { is_websocket: true, ..Asgi::new(scope, receive, send, "", root_path, place) }
    }

    /// The next piece of the body, and whether more will come; `None` if the client has left.
    async fn receive(&self, baton: &Baton) -> PyResult<Option<(Py<PyAny>, bool)>> {
        loop {
            let awaitable = Python::attach(|py| self.receive.bind(py).call0().map(Bound::unbind))?;
            let message = baton.wait_for(awaitable).await?;
            let read = Python::attach(|py| {
                let message = message.bind(py);
                let kind = message.get_item("type")?.cast_into::<PyString>().map_err(PyErr::from)?;
                match kind.to_str()? {
                    "http.request" => {
                        let body = message.call_method1("get", ("body", PyBytes::new(py, b"")))?;
                        let more = message.call_method1("get", ("more_body", false))?.is_truthy()?;
                        PyResult::Ok(Some(Some((body.unbind(), more))))
                    }
                    "http.disconnect" => Ok(Some(None)),
                    // As Starlette: what it does not know it passes over.
                    _ => Ok(None),
                }
            })?;
            if let Some(read) = read {
                return Ok(read);
            }
        }
    }

    async fn send(&self, baton: &Baton, message: PyResult<Py<PyDict>>) -> PyResult<()> {
        let awaitable = Python::attach(|py| self.send.bind(py).call1((message?,)).map(Bound::unbind))?;
        baton.wait_for(awaitable).await.map(drop)
    }
}

impl Wire {
    pub(crate) fn method(&self) -> &str {
        match self {
            Wire::Engine(exchange, _) => exchange.line.method.as_str(),
            Wire::Asgi(asgi) => &asgi.method,
        }
    }

    /// The root path before the application's own.
    pub(crate) fn root_path(&self) -> &str {
        match self {
            Wire::Engine(exchange, _) => exchange.root_path(),
            Wire::Asgi(asgi) => &asgi.root_path,
        }
    }

    /// Whether the response has begun.
    pub(crate) fn has_started(&self) -> bool {
        match self {
            Wire::Engine(exchange, _) => exchange.has_started(),
            Wire::Asgi(asgi) => asgi.started.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self, Wire::Asgi(asgi) if asgi.is_websocket)
    }

    /// What of the application's stands around.
    pub(crate) fn place(&self) -> Place {
        match self {
            Wire::Engine(..) => Place::Application,
            Wire::Asgi(asgi) => asgi.place,
        }
    }

    /// Whether the engine itself is at the other end.
    pub(crate) fn engine(&self) -> Option<&Rc<Exchange>> {
        match self {
            Wire::Engine(exchange, _) => Some(exchange),
            Wire::Asgi(_) => None,
        }
    }

    /// The whole body; `None` if the client left before its end.
    pub(crate) async fn read_body(&self, baton: &Baton) -> PyResult<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match self {
            Wire::Engine(exchange, _) => loop {
                match exchange.read(&mut bytes) {
                    Read::Complete => return Ok(Some(bytes)),
                    Read::Gone => return Ok(None),
                    Read::Pending => {
                        let future = Python::attach(|py| exchange.readable(py).map(Bound::unbind))?;
                        baton.wait_for(future).await?;
                    }
                }
            },
            Wire::Asgi(asgi) => loop {
                let Some((body, more)) = asgi.receive(baton).await? else { return Ok(None) };
                Python::attach(|py| {
                    bytes.extend_from_slice(&super::reply::bytes_of(body.bind(py))?);
                    PyResult::Ok(())
                })?;
                if !more {
                    return Ok(Some(bytes));
                }
            },
        }
    }

    /// Waits for more of the body, and adds it to `bytes`.
    pub(crate) async fn read_more(&self, baton: &Baton, bytes: &mut Vec<u8>) -> PyResult<Read> {
        match self {
            Wire::Engine(exchange, _) => match exchange.read(bytes) {
                Read::Pending => {
                    let future = Python::attach(|py| exchange.readable(py).map(Bound::unbind))?;
                    baton.wait_for(future).await?;
                    Ok(exchange.read(bytes))
                }
                read => Ok(read),
            },
            Wire::Asgi(asgi) => {
                let Some((body, more)) = asgi.receive(baton).await? else { return Ok(Read::Gone) };
                Python::attach(|py| {
                    bytes.extend_from_slice(&super::reply::bytes_of(body.bind(py))?);
                    Ok(if more { Read::Pending } else { Read::Complete })
                })
            }
        }
    }

    /// Puts back what was read of the body; `complete`: it is all of it. Whoever reads next begins anew.
    pub(crate) fn unread(&self, py: Python<'_>, runtime: &Runtime, bytes: Vec<u8>, complete: bool) -> PyResult<()> {
        match self {
            Wire::Engine(exchange, _) => exchange.unread(bytes),
            Wire::Asgi(asgi) => {
                let received = (&asgi.receive, PyBytes::new(py, &bytes), !complete);
                let receive = runtime.replay.bind(py).call1(received)?;
                let _ = asgi.replaying.set(receive.unbind());
            }
        }
        Ok(())
    }

    /// Whether nothing around the route has a say in how a form is read.
    pub(crate) fn has_own_limits(&self, py: Python<'_>, runtime: &Runtime) -> PyResult<bool> {
        let Wire::Asgi(asgi) = self else { return Ok(true) };
        let scope = asgi.scope.bind(py);
        Ok(!scope.contains(pyo3::intern!(py, "fastapi"))? && !scope.contains(&runtime.body_limit_key)?)
    }

    /// Sends a response that is known as a whole, or gives it back, for [`Wire::send_messages`].
    ///
    /// `sender`: a class of `send` that may take it so, if nothing follows it.
    pub(crate) fn send_whole(&self, reply: Reply, sender: Option<&Py<PyAny>>) -> PyResult<Option<Reply>> {
        match self {
            Wire::Engine(exchange, _) => {
                exchange.send_whole(reply.status, reply.headers, reply.body)?;
                Ok(None)
            }
            Wire::Asgi(asgi) => Python::attach(|py| {
                asgi.started.store(true, Ordering::Relaxed);
                let send = asgi.send.bind(py);
                if !sender.is_some_and(|class| send.get_type().is(class)) {
                    return Ok(Some(reply));
                }
                let messages = (reply.start_message(py)?, reply.body_message(py)?);
                let is_taken = send.call_method1(pyo3::intern!(py, "whole"), messages)?.is_truthy()?;
                Ok((!is_taken).then_some(reply))
            }),
        }
    }

    /// Sends what [`Wire::send_whole`] has given back.
    pub(crate) async fn send_messages(&self, baton: &Baton, reply: Reply) -> PyResult<()> {
        let Wire::Asgi(asgi) = self else { unreachable!("an engine takes whole responses") };
        asgi.send(baton, Python::attach(|py| reply.start_message(py).map(Bound::unbind))).await?;
        asgi.send(baton, Python::attach(|py| reply.body_message(py).map(Bound::unbind))).await
    }

    /// `receive` and `send` for code that expects ASGI.
    pub(crate) fn channel<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        match self {
            Wire::Engine(exchange, _) => exchange.channel(py),
            Wire::Asgi(asgi) if asgi.is_websocket => Ok((asgi.receive.bind(py).clone(), asgi.send.bind(py).clone())),
            Wire::Asgi(asgi) => {
                let known = asgi.noting.borrow().as_ref().map(|send| send.clone_ref(py));
                let send = match known {
                    Some(send) => send,
                    None => {
                        let noting = NotingSend { send: asgi.send.clone_ref(py), started: asgi.started.clone() };
                        let send = Py::new(py, noting)?.into_any();
                        asgi.noting.replace(Some(send.clone_ref(py)));
                        send
                    }
                };
                let receive = asgi.replaying.get().unwrap_or(&asgi.receive);
                Ok((receive.bind(py).clone(), send.into_bound(py)))
            }
        }
    }

    /// The scope as the server, or whoever stands before the application's router, has it.
    ///
    /// `template`: what to begin with, in the place of an engine's own template.
    pub(crate) fn scope<'py>(
        &self,
        py: Python<'py>,
        headers: &HeaderMap,
        template: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        match self {
            Wire::Engine(exchange, peer) => {
                let line = &exchange.line;
                let head = Head {
                    version: line.version,
                    uri: &line.uri,
                    headers,
                    scheme: peer.scheme,
                    client: &peer.client,
                    server: &peer.server,
                };
                exchange.new_scope(py, &head, template)
            }
            Wire::Asgi(asgi) => Ok(asgi.scope.bind(py).clone()),
        }
    }

    /// Names what an engine makes scopes from, if they have nothing of the request besides what each has.
    pub(crate) fn templates(&self) -> Option<u64> {
        match self {
            Wire::Engine(exchange, _) => exchange.templates(),
            Wire::Asgi(_) => None,
        }
    }

    /// Takes out of a copy of such a scope what is of its request.
    pub(crate) fn clear_scope(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        match self {
            Wire::Engine(exchange, _) => exchange.clear_scope(py, scope),
            Wire::Asgi(_) => Ok(()),
        }
    }
}

/// Headers as ASGI has them.
pub(crate) fn raw_headers<'a, 'py>(
    py: Python<'py>,
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in headers {
        list.append((PyBytes::new(py, name.as_str().as_bytes()), PyBytes::new(py, value.as_bytes())))?;
    }
    Ok(list)
}

/// `send` that notes when a response has begun.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct NotingSend {
    send: Py<PyAny>,
    started: Arc<AtomicBool>,
}

#[pymethods]
impl NotingSend {
    fn __call__<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        if message.get_item("type")?.eq("http.response.start")? {
            self.started.store(true, Ordering::Relaxed);
        }
        self.send.bind(py).call1((message,))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.send)
    }
}
