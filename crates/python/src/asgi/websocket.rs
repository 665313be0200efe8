//! One WebSocket: `receive()`, `send()`, and the end of the application's coroutine (ASGI WebSocket specification).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use overdrive_http::websocket::Protocol;
use overdrive_http::{BodySender, Closed, Message as Frame, ResponseBody, Upgrade, WebSocket};
use overdrive_reactor::Deferred;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::app::Bridge;
use super::http::{AnswerSlot, RequestLine, announced_length};
use super::message::{Message, too_late, unexpected};
use super::route;
use super::side_channel::Record;
use crate::host::awaitable::{Operation, awaitable, later, nothing};
use crate::host::coroutine::{Begun, Request};
use crate::host::loop_bound::LoopBound;
use crate::host::wake::Wakes;
use crate::host::{Host, Waiters};
use crate::plan::socket;
use crate::plan::table::Plans;
use crate::plan::wire::Place;
use crate::watch::{RequestClock, Timed};

/// The state of one WebSocket, shared by its coroutine, its `receive` and `send`, and its connection.
pub(crate) struct Session {
    bridge: Rc<Bridge>,
    line: RequestLine,
    stage: Cell<Stage>,
    connect_received: Cell<bool>,
    /// Until the application has decided.
    upgrade: RefCell<Option<Upgrade>>,
    socket: RefCell<Option<WebSocket>>,
    answer: AnswerSlot,
    /// The status and headers of a denial, until its first body.
    denial: RefCell<Option<(StatusCode, HeaderMap)>>,
    denial_body: RefCell<Option<BodySender>>,
    /// The connection is over.
    gone: Cell<bool>,
    receivers: Wakes,
    /// The reactor will wake the receivers.
    waking: Cell<bool>,
    senders: Waiters,
    /// A test client's.
    record: Option<Box<Record>>,
    /// `None`: nobody watches.
    clock: Option<RequestClock>,
}

/// Where the WebSocket is, in the application's hands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for accept, close, or the start of a denial.
    Connecting,
    Open,
    /// Waiting for the body of a denial.
    Denying,
    /// The application has said its last word.
    Closed,
}

impl Session {
    pub(crate) fn new(
        bridge: Rc<Bridge>,
        line: RequestLine,
        upgrade: Upgrade,
        record: Option<Box<Record>>,
        clock: Option<RequestClock>,
    ) -> Rc<Session> {
        Rc::new(Session {
            bridge,
            line,
            stage: Cell::new(Stage::Connecting),
            connect_received: Cell::new(false),
            upgrade: RefCell::new(Some(upgrade)),
            socket: RefCell::default(),
            answer: AnswerSlot::default(),
            denial: RefCell::default(),
            denial_body: RefCell::default(),
            gone: Cell::new(false),
            receivers: Wakes::default(),
            waking: Cell::new(false),
            senders: Waiters::default(),
            record,
            clock,
        })
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    pub(super) fn answer(&self) -> &AnswerSlot {
        &self.answer
    }

    /// Denies the handshake with a short text.
    pub(crate) fn refuse(&self, status: StatusCode, text: &'static str) {
        let mut headers = self.bridge.default_headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        self.deny(status, headers, ResponseBody::full(text));
        self.stage.set(Stage::Closed);
    }

    /// See `Exchange::progress`.
    pub(crate) fn progress(self: &Rc<Self>, gone: bool) -> bool {
        if gone {
            self.gone.set(true);
            // The reactor may be on its way out, too.
            Python::attach(|py| self.receivers.fire_soon(py));
        } else if !self.receivers.is_empty() && self.is_ready() && !self.waking.replace(true) {
            // Not from here, within the connection's poll: a task that runs a nested loop may wait for its next message.
            self.bridge.queue(self.clone());
        }
        if !self.senders.is_empty() && self.is_drained() {
            Python::attach(|py| self.senders.wake(py));
        }
        gone
    }

    fn is_ready(&self) -> bool {
        if self.gone.get() || !self.connect_received.get() || self.stage.get() == Stage::Closed {
            return true;
        }
        if let Some(socket) = &*self.socket.borrow() {
            return socket.is_ready();
        }
        self.upgrade.borrow().as_ref().is_some_and(Upgrade::is_disconnected)
    }

    fn is_drained(&self) -> bool {
        let few = |buffered: usize| buffered <= LOW_WATER;
        self.gone.get()
            || self.socket.borrow().as_ref().is_none_or(|socket| few(socket.buffered()) || socket.closed().is_some())
                && self.denial_body.borrow().as_ref().is_none_or(|body| few(body.buffered()) || body.is_closed())
    }

    fn is_full(&self) -> bool {
        self.socket.borrow().as_ref().is_some_and(|socket| socket.buffered() > HIGH_WATER)
            || self.denial_body.borrow().as_ref().is_some_and(|body| body.buffered() > HIGH_WATER)
    }

    fn poll_receive(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        if !self.is_ready() {
            return Poll::Pending;
        }
        let names = &self.bridge.host.names;
        let message = PyDict::new(py);
        let filled = (|| {
            if !self.connect_received.replace(true) {
                return message.set_item(&names.type_, &names.websocket_connect);
            }
            let received = self.socket.borrow().as_ref().and_then(WebSocket::try_receive);
            match received {
                Some(Ok(frame)) => {
                    message.set_item(&names.type_, &names.websocket_receive)?;
                    match frame {
                        Frame::Text(text) => message.set_item(&names.text, PyString::new(py, text.as_str())),
                        Frame::Binary(data) => message.set_item(&names.bytes, PyBytes::new(py, &data)),
                    }
                }
                ended => self.fill_disconnect(&message, ended),
            }
        })();
        Poll::Ready(filled.map(|()| Some(message.into_any().unbind())))
    }

    fn fill_disconnect(&self, message: &Bound<'_, PyDict>, ended: Option<Result<Frame, Closed>>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let abnormal = || Closed { code: 1006, reason: String::new() };
        let closed = ended.and_then(Result::err).unwrap_or_else(abnormal);
        message.set_item(&names.type_, &names.websocket_disconnect)?;
        message.set_item(&names.code, closed.code)?;
        message.set_item(&names.reason, closed.reason)
    }

    /// As `receive()` on an open connection, without a message around what was received; an error is the message that says
    /// how it ended.
    pub(super) fn poll_frame<'py>(&self, py: Python<'py>) -> Poll<PyResult<Result<Frame, Bound<'py, PyDict>>>> {
        if !self.is_ready() {
            return Poll::Pending;
        }
        let received = self.socket.borrow().as_ref().and_then(WebSocket::try_receive);
        Poll::Ready(match received {
            Some(Ok(frame)) => Ok(Ok(frame)),
            ended => {
                let message = PyDict::new(py);
                self.fill_disconnect(&message, ended).map(|()| Err(message))
            }
        })
    }

    /// Waits for something to receive.
    pub(super) fn wait_with(&self, future: &Bound<'_, PyAny>) {
        self.receivers.add(future, true);
    }

    pub(super) fn host(&self) -> &Host {
        &self.bridge.host
    }

    /// Whether nothing but messages can come, and the end.
    pub(super) fn is_open(&self) -> bool {
        self.stage.get() == Stage::Open && self.connect_received.get()
    }

    /// The socket that `send()` would send to, if there is nothing to be said against it.
    pub(super) fn open_socket(&self) -> Option<WebSocket> {
        if self.gone.get() || self.stage.get() != Stage::Open {
            return None;
        }
        self.socket.borrow().clone().filter(|socket| socket.closed().is_none())
    }

    /// What a `send()` returns that has sent: ready, unless the client is slow to read.
    pub(super) fn sent(session: &LoopBound<Session>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let this = session.get()?;
        if let Some(clock) = this.clock.as_ref().filter(|clock| clock.may_keep_loop()) {
            clock.watch().write_answers();
        }
        if this.is_full() { awaitable(py, Drain(session.another()?)) } else { Ok(nothing(py)) }
    }

    fn accept_message(&self, message: &Message<'_>) -> PyResult<()> {
        let kind = message.kind(&self.bridge.host.names.type_)?;
        match (self.stage.get(), kind.to_str()?) {
            (Stage::Connecting, "websocket.accept") => self.accept(message),
            (Stage::Connecting, "websocket.close") => {
                if let Some(record) = &self.record {
                    record.message(message.dict());
                }
                self.log_handshake(message.py(), "403");
                self.deny(StatusCode::FORBIDDEN, self.bridge.default_headers(), ResponseBody::empty());
                self.stage.set(Stage::Closed);
                Ok(())
            }
            (Stage::Connecting, "websocket.http.response.start") => self.start_denial(message),
            (Stage::Connecting, _) => {
                Err(unexpected("'websocket.accept', 'websocket.close' or 'websocket.http.response.start'", &kind))
            }
            (Stage::Open, "websocket.send") => self.send(message),
            (Stage::Open, "websocket.close") => self.close(message),
            (Stage::Open, _) => Err(unexpected("'websocket.send' or 'websocket.close'", &kind)),
            (Stage::Denying, "websocket.http.response.body") => self.send_denial(message),
            (Stage::Denying, _) => Err(unexpected("'websocket.http.response.body'", &kind)),
            (Stage::Closed, _) => Err(too_late(&kind, "sending 'websocket.close' or response already completed")),
        }
    }

    fn accept(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let subprotocol = message.string(&names.subprotocol)?;
        let mut headers = self.bridge.default_headers();
        message.each_header(&names.headers, |name, value| {
            if name == http::header::SEC_WEBSOCKET_PROTOCOL && subprotocol.is_some() {
                return Err(PyValueError::new_err("the subprotocol is given twice, also as a header"));
            }
            headers.append(name, value);
            Ok(())
        })?;
        let accepted = match &*self.upgrade.borrow() {
            Some(upgrade) => upgrade.accept(subprotocol.as_deref(), headers),
            None => return Err(client_gone()),
        };
        let (response, socket) = accepted.map_err(|_| {
            PyValueError::new_err(format!("not a subprotocol: {:?}", subprotocol.as_deref().unwrap_or("")))
        })?;
        self.upgrade.take();
        *self.socket.borrow_mut() = Some(socket);
        self.stage.set(Stage::Open);
        self.log_handshake(message.py(), "[accepted]");
        if let Some(record) = &self.record {
            record.message(message.dict());
        }
        self.answer.put(response);
        Ok(())
    }

    fn send(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let socket = self.socket.borrow().clone().ok_or_else(client_gone)?;
        if socket.closed().is_some() {
            return Err(client_gone());
        }
        match (message.given(&names.bytes)?, message.given(&names.text)?) {
            (Some(_), None) => socket.send_binary(&message.bytes(&names.bytes)?),
            (None, Some(text)) => {
                let text = text
                    .cast::<PyString>()
                    .map_err(|_| PyTypeError::new_err("'text' of 'websocket.send' must be str"))?;
                socket.send_text(text.to_str()?);
            }
            (None, None) => {
                return Err(PyValueError::new_err("'websocket.send' needs 'bytes' or 'text'"));
            }
            (Some(_), Some(_)) => {
                return Err(PyValueError::new_err("'websocket.send' takes either 'bytes' or 'text', not both"));
            }
        }
        Ok(())
    }

    fn close(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let code = match message.given(&names.code)? {
            Some(code) => code.extract().ok().filter(|code| Protocol::may_close_with(*code)).ok_or_else(|| {
                PyValueError::new_err(format!("{code} is not a close code an application may send (RFC 6455, 7.4)"))
            })?,
            None => 1000,
        };
        let reason = message.string(&names.reason)?.unwrap_or_default();
        if let Some(socket) = &*self.socket.borrow() {
            socket.close(code, &reason);
        }
        self.stage.set(Stage::Closed);
        Ok(())
    }

    /// ASGI extension "WebSocket Denial Response".
    fn start_denial(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let status = message.required(&names.status)?;
        let status = status
            .extract::<u16>()
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| !status.is_informational())
            .ok_or_else(|| PyValueError::new_err(format!("{status} is not the status of a final response")))?;
        let mut headers = self.bridge.default_headers();
        headers.extend(message.headers(&names.headers)?);
        // The body's length is told by its framing: it comes in pieces, or is known when it is sent.
        announced_length(&mut headers)?;
        headers.remove(CONTENT_LENGTH);
        self.log_handshake(message.py(), status.as_str());
        if let Some(record) = &self.record {
            record.started(message.py(), true, true, false);
        }
        *self.denial.borrow_mut() = Some((status, headers));
        self.stage.set(Stage::Denying);
        Ok(())
    }

    fn send_denial(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let data = message.bytes(&names.body)?;
        let more = message.flag(&names.more_body)?;
        let denial = self.denial.take();
        match denial {
            Some((status, headers)) if !more => self.deny(status, headers, ResponseBody::full(data)),
            Some((status, headers)) => {
                let (sender, body) = ResponseBody::channel();
                sender.push(data);
                *self.denial_body.borrow_mut() = Some(sender);
                self.deny(status, headers, body);
            }
            None => self.push_denial(data, more),
        }
        if !more {
            self.stage.set(Stage::Closed);
            self.receivers.fire_soon(message.py());
        }
        Ok(())
    }

    fn push_denial(&self, data: Bytes, more: bool) {
        if let Some(body) = &*self.denial_body.borrow() {
            body.push(data);
        }
        if !more && let Some(body) = self.denial_body.take() {
            body.finish(None);
        }
    }

    fn deny(&self, status: StatusCode, headers: HeaderMap, body: ResponseBody) {
        self.upgrade.take();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.answer.put(response);
    }

    /// For a test client.
    fn answered_by(&self, who: String) {
        if let Some(record) = &self.record {
            record.set_answered_by(who);
        }
    }

    fn log_handshake(&self, py: Python<'_>, outcome: &str) {
        if self.record.is_none() {
            self.bridge.log_websocket(py, &self.line, outcome);
        }
    }
}

impl Timed for Session {
    fn clock(&self) -> Option<&RequestClock> {
        self.clock.as_ref()
    }

    fn line(&self) -> String {
        format!("WebSocket {}", self.line.uri.path_and_query().map_or("/", |target| target.as_str()))
    }
}

impl Deferred for Session {
    /// Wakes the receivers.
    fn run_deferred(&self) {
        self.waking.set(false);
        Python::attach(|py| self.receivers.fire(py, &self.bridge.host));
    }
}

/// `receive` and `send` of one WebSocket, as bound methods of this object.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(super) struct WebSocketChannel(LoopBound<Session>);

impl WebSocketChannel {
    pub(super) fn session(&self) -> &LoopBound<Session> {
        &self.0
    }
}

#[pymethods]
impl WebSocketChannel {
    fn receive(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        if this.get().0.get_here().is_none() {
            return later(py, this.getattr("_receive_here")?, None);
        }
        this.get()._receive_here(py)
    }

    fn send(this: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if this.get().0.get_here().is_none() {
            return later(this.py(), this.getattr("_send_here")?, Some(message));
        }
        this.get()._send_here(message)
    }

    /// `receive()` on the loop's thread.
    fn _receive_here(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        awaitable(py, Receive(self.0.another()?))
    }

    /// `send()` on the loop's thread.
    fn _send_here(&self, message: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = message.py();
        let session = self.0.get()?;
        if session.gone.get() && session.stage.get() != Stage::Closed {
            // ASGI 2.4: sending to a client that has left is an OSError.
            return Err(client_gone());
        }
        session.accept_message(&Message::new(message)?)?;
        Session::sent(&self.0, py)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        traverse(&self.0, &visit)
    }
}

struct Receive(LoopBound<Session>);

impl Operation for Receive {
    fn poll(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(session) => session.poll_receive(py),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = self.0.get()?;
        let future = session.bridge.host.future(py)?;
        session.receivers.add(&future, false);
        Ok(future)
    }
}

struct Drain(LoopBound<Session>);

impl Operation for Drain {
    fn poll(&self, _: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(session) if session.is_drained() => Poll::Ready(Ok(None)),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = self.0.get()?;
        session.senders.add(py, &session.bridge.host)
    }
}

/// The WebSocket as its coroutine sees it.
pub(crate) struct WebSocketCall {
    session: LoopBound<Session>,
    scope: Py<PyDict>,
    /// The application's compiled routes.
    plans: Option<Py<Plans>>,
}

impl WebSocketCall {
    pub(crate) fn new(session: &Rc<Session>, scope: Bound<'_, PyDict>, plans: Option<Py<Plans>>) -> WebSocketCall {
        let session = LoopBound::new(session.clone(), &session.bridge.host.graveyard);
        WebSocketCall { session, scope: scope.unbind(), plans }
    }
}

impl Request for WebSocketCall {
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>> {
        let channel = Bound::new(py, WebSocketChannel(self.session.another()?))?;
        let receive = channel.getattr(pyo3::intern!(py, "receive"))?;
        let send = channel.getattr(pyo3::intern!(py, "send"))?;
        let session = self.session.get()?;
        if let Some(record) = &session.record {
            record.began(py, session.clock.as_ref().map(RequestClock::serial));
        }
        if let Some(plans) = &self.plans {
            let plans = plans.bind(py);
            match socket::begin(plans, self.scope.bind(py), &receive, &send, Place::Application)? {
                Ok(steps) => {
                    session.answered_by("plan".to_owned());
                    return Ok(Begun::Steps(steps));
                }
                Err(reason) => {
                    plans.get().count_handed_over(&reason);
                    session.answered_by(format!("asgi: {reason}"));
                }
            }
        }
        let app = session.bridge.app.bind(py).clone();
        app.call1((self.scope.bind(py), receive, send)).map(Begun::Python)
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let session = self.session.get()?;
        let failed = outcome.is_err();
        let result = match &session.record {
            Some(record) => {
                record.ended(py, outcome);
                Ok(())
            }
            None => session.bridge.outcome(py, outcome),
        };
        let is_told = failed || session.record.is_some();
        match session.stage.get() {
            Stage::Connecting if !session.gone.get() => {
                if !is_told {
                    session.bridge.log_error(py, "ASGI callable returned without sending handshake.", None);
                }
                session.log_handshake(py, "500");
                session.refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
            }
            Stage::Denying if !session.gone.get() => {
                if !is_told {
                    session.bridge.log_error(py, "ASGI callable returned without completing response.", None);
                }
                // A channel without a sender ends as broken.
                session.denial_body.take();
                if let Some((status, headers)) = session.denial.take() {
                    session.deny(status, headers, ResponseBody::channel().1);
                }
            }
            Stage::Open => {
                if let Some(socket) = &*session.socket.borrow() {
                    socket.close(if failed { 1011 } else { 1000 }, "");
                }
            }
            _ => {}
        }
        session.stage.set(Stage::Closed);
        result
    }

    fn timed(&self) -> Option<Rc<dyn Timed>> {
        let session = self.session.get_here()?;
        session.clock.is_some().then(|| session.clone() as _)
    }

    fn paused(&self, py: Python<'_>) {
        if let Some(session) = self.session.get_here()
            && let Some(clock) = &session.clock
        {
            route::find(clock, py, "WS", self.scope.bind(py), session.stage.get() == Stage::Closed);
        }
    }

    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.scope)?;
        traverse(&self.session, visit)
    }
}

fn traverse(session: &LoopBound<Session>, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
    let Some(session) = session.get_here() else {
        return Ok(());
    };
    session.receivers.traverse(visit)?;
    session.senders.traverse(visit)
}

pyo3::create_exception!(
    overdrive._overdrive,
    ClientDisconnected,
    PyOSError,
    "The client of a WebSocket has left: an `OSError`, as ASGI 2.4 wants it. An application need not catch it."
);

fn client_gone() -> PyErr {
    ClientDisconnected::new_err("the client has disconnected")
}

const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = 16 * 1024;
