//! What the HTTP crate calls: connections, what each is busy with, and the requests that come by them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Request;
use overdrive_http::{Address, Application, Report, RequestBody, Upgrade};
use pyo3::prelude::*;

use super::Bridge;
use crate::asgi::http::{Answer, Exchange};
use crate::asgi::scope::address_object;
use crate::asgi::websocket::Session;
use crate::plan::call::Call;

/// The bridge as the HTTP crate sees it.
pub(crate) struct AsgiApplication(pub(crate) Rc<Bridge>);

impl Application for AsgiApplication {
    type Connection = Connection;
    type Answer = Answer;

    fn connected(&self, peer: Address, local: Address) -> Connection {
        Python::attach(|py| {
            let object = |address: &Address| address_object(py, address).unwrap_or_else(|_| py.None());
            let host = match &peer {
                Address::Ip(ip) => Some(ip.ip().to_string()),
                Address::Unix(path) if path.as_os_str().is_empty() => None,
                Address::Unix(path) => Some(path.to_string_lossy().into_owned()),
            };
            let client_text = match &peer {
                Address::Ip(ip) => format!("{}:{}", ip.ip(), ip.port()).into(),
                Address::Unix(_) => "".into(),
            };
            Connection {
                client: object(&peer),
                server: object(&local),
                host,
                client_text,
                current: RefCell::new(Current::None),
                held_up_by: Rc::default(),
            }
        })
    }

    fn request(&self, connection: &Connection, request: Request<RequestBody>) -> Answer {
        Python::attach(|py| Answer::Http(self.0.serve_http(py, connection, request)))
    }

    fn websocket(&self, connection: &Connection, request: Request<()>, upgrade: Upgrade) -> Answer {
        Python::attach(|py| Answer::WebSocket(self.0.serve_websocket(py, connection, request, upgrade)))
    }

    fn progress(&self, connection: &Connection, gone: bool) {
        let current = connection.current.borrow().clone();
        let finished = match current {
            Current::None => return,
            Current::Http(exchange) => Python::attach(|py| exchange.progress(py, gone)),
            Current::Gathering(exchange, call) => Python::attach(|py| {
                exchange.progress(py, gone);
                if call.gather() {
                    connection.current.replace(Current::Http(exchange.clone()));
                    self.0.spawn(py, Ok(self.0.planned(call)), exchange.record());
                }
                gone
            }),
            Current::WebSocket(session) => session.progress(gone),
        };
        if finished {
            // Nothing of a finished request is kept while its connection is idle.
            let finished = connection.current.replace(Current::None);
            drop(finished);
        }
    }

    fn report(&self, report: Report<'_>) {
        let level = match report {
            Report::InvalidRequest(_) => "warning",
            _ => "error",
        };
        Python::attach(|py| self.0.log(py, level, &report.to_string(), None));
    }
}

/// What is kept for each connection.
pub(crate) struct Connection {
    pub(super) client: Py<PyAny>,
    pub(super) server: Py<PyAny>,
    /// The peer's address or path, as trust is decided on.
    pub(super) host: Option<String>,
    /// For the access log.
    pub(super) client_text: Rc<str>,
    pub(super) current: RefCell<Current>,
    /// For the clocks of its requests, which come one after the other.
    pub(super) held_up_by: Rc<Cell<u64>>,
}

/// The request that a connection is busy with.
#[derive(Clone)]
pub(super) enum Current {
    None,
    Http(Rc<Exchange>),
    /// A request for a plan that needs the whole body; nothing runs before it is there.
    Gathering(Rc<Exchange>, Rc<Call>),
    WebSocket(Rc<Session>),
}
