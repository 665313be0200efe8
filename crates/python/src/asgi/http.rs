//! One HTTP request: `receive()`, `send()`, and the end of the application's coroutine (ASGI HTTP specification).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Response, StatusCode, Uri, Version};
use overdrive_http::{BodyFailure, BodySender, FileEnd, FileStop, RequestBody, ResponseBody};
use overdrive_reactor::Deferred;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::app::Bridge;
use super::message::{Message, too_late, unexpected};
use super::scope::{Head, full_path};
use super::side_channel::Record;
use super::websocket::Session;
use crate::host::Waiters;
use crate::host::awaitable::{Operation, awaitable, later, nothing};
use crate::host::coroutine::{Begun, Request};
use crate::host::loop_bound::LoopBound;
use crate::host::pool::Pool;
use crate::plan::runtime::Runtime;
use crate::plan::table::Plans;

mod file;
mod pieces;

/// The state of one request, shared by its coroutine, its `receive` and `send`, and its connection.
pub(crate) struct Exchange {
    bridge: Rc<Bridge>,
    /// What the scope and the access log need of the head.
    pub(crate) line: RequestLine,
    /// `None` once the response is complete: the connection then drops what is left of the body.
    body: RefCell<Option<RequestBody>>,
    /// Read from the body and not yet received by the application.
    peeked: RefCell<Option<Option<Bytes>>>,
    body_received: Cell<bool>,
    /// `http.disconnect` was received: the application may leave it at that.
    told_of_disconnect: Cell<bool>,
    /// Reading the body has just failed for its framing.
    malformed: Cell<bool>,
    stage: Cell<Stage>,
    head: RefCell<Option<ResponseHead>>,
    sender: RefCell<Option<BodySender>>,
    /// The file that is being sent, and how that ended.
    file: RefCell<Option<FileStop>>,
    file_end: Cell<Option<FileEnd>>,
    trailers_follow: Cell<bool>,
    trailers: RefCell<Option<HeaderMap>>,
    /// Bytes of the body that `content-length` still promises.
    promised: Cell<Option<u64>>,
    answer: AnswerSlot,
    /// The connection has dropped the answer, or ended: whatever is sent goes nowhere.
    disconnected: Cell<bool>,
    receivers: Waiters,
    senders: Waiters,
    /// A test client's.
    record: Option<Record>,
}

/// What is kept of a request's first line and addresses.
pub(crate) struct RequestLine {
    pub(crate) method: http::Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// `host:port` for the access log.
    pub(crate) client: Rc<str>,
}

/// Where the response is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Waiting for `http.response.start`.
    Start,
    /// Waiting for the first `http.response.body`; nothing was sent yet.
    FirstBody,
    /// The head is out, waiting for more of the body.
    Body,
    /// Waiting for `http.response.trailers`.
    Trailers,
    Complete,
}

/// What [`Exchange::read`] came to.
pub(crate) enum Read {
    /// All of the body was read.
    Complete,
    /// There is more to come.
    Pending,
    /// The client has left before its end.
    Gone,
}

struct ResponseHead {
    status: StatusCode,
    headers: HeaderMap,
    trailers: bool,
}

impl Exchange {
    pub(crate) fn new(
        bridge: Rc<Bridge>,
        line: RequestLine,
        body: RequestBody,
        record: Option<Record>,
    ) -> Rc<Exchange> {
        Rc::new(Exchange {
            bridge,
            line,
            body: RefCell::new(Some(body)),
            peeked: RefCell::default(),
            body_received: Cell::new(false),
            told_of_disconnect: Cell::new(false),
            malformed: Cell::new(false),
            stage: Cell::new(Stage::Start),
            head: RefCell::default(),
            sender: RefCell::default(),
            file: RefCell::default(),
            file_end: Cell::new(None),
            trailers_follow: Cell::new(false),
            trailers: RefCell::default(),
            promised: Cell::new(None),
            answer: AnswerSlot::default(),
            disconnected: Cell::new(false),
            receivers: Waiters::default(),
            senders: Waiters::default(),
            record,
        })
    }

    /// Answers without the application.
    pub(crate) fn answer_now(&self, status: StatusCode, text: &'static str) {
        let mut headers = self.bridge.default_headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if self.stage.get() == Stage::Start {
            self.log_access(status);
        }
        self.respond(ResponseHead { status, headers, trailers: false }, ResponseBody::full(text));
        self.complete();
    }

    /// The application is done, one way or the other: whatever is missing of the response is made up for.
    ///
    /// # Errors
    /// What the request's task has to know.
    pub(crate) fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let answered = self.stage.get() == Stage::Complete || self.disconnected.get();
        let unanswered = matches!(self.stage.get(), Stage::Start | Stage::FirstBody);
        let told = self.told_of_disconnect.get();
        if told && self.stage.get() == Stage::Start {
            // Nobody is there to be answered, but hyper has to be told something; it is no line of the access log.
            self.stage.set(Stage::FirstBody);
        }
        if outcome.is_ok() && !answered && !told && self.record.is_none() {
            let what = if self.stage.get() == Stage::Start { "starting" } else { "completing" };
            self.bridge.log_error(py, &format!("ASGI callable returned without {what} response."), None);
        }
        let result = match &self.record {
            Some(record) => {
                record.ended(py, outcome);
                Ok(())
            }
            None => self.bridge.outcome(py, outcome),
        };
        if !answered {
            let head = self.head.take().filter(|_| self.record.is_some());
            if let Some(head) = head {
                // A test client hears of what was said, as its own kind calls the application: at once.
                let announced = head.headers.contains_key(CONTENT_LENGTH);
                self.respond(head, if announced { ResponseBody::channel().1 } else { ResponseBody::empty() });
                self.complete();
            } else if unanswered {
                self.answer_now(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
            } else {
                self.abort();
            }
        }
        result
    }

    /// Whether the response has begun.
    pub(crate) fn has_started(&self) -> bool {
        self.stage.get() != Stage::Start
    }

    /// Adds what there is of the request's body to `bytes`.
    pub(crate) fn read(&self, bytes: &mut Vec<u8>) -> Read {
        loop {
            if self.body_received.get() {
                return Read::Complete;
            }
            if !self.peek() {
                return Read::Pending;
            }
            if self.malformed.take() {
                self.refuse_body();
            }
            let Some(data) = self.peeked.take() else {
                self.told_of_disconnect.set(true);
                return Read::Gone;
            };
            let more = data.is_some() && self.body.borrow().as_ref().is_some_and(|body| !body.is_ended());
            self.body_received.set(!more);
            bytes.extend_from_slice(data.as_deref().unwrap_or_default());
        }
    }

    /// A future that is completed when another [`Exchange::read`] makes sense.
    pub(crate) fn readable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.receivers.add(py, &self.bridge.host)
    }

    /// `receive` and `send` for code that expects ASGI.
    pub(crate) fn channel<'py>(self: &Rc<Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let exchange = LoopBound::new(self.clone(), &self.bridge.host.graveyard);
        let channel = Bound::new(py, HttpChannel(exchange))?;
        Ok((channel.getattr(pyo3::intern!(py, "receive"))?, channel.getattr(pyo3::intern!(py, "send"))?))
    }

    /// A scope for this request.
    pub(crate) fn new_scope<'py>(&self, py: Python<'py>, head: &Head<'_>) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.bridge.http_scope(py, head, self.line.method.as_str())?;
        if let Some(record) = &self.record {
            record.fill(py, &scope)?;
        }
        Ok(scope)
    }

    /// The scope's `path`.
    pub(super) fn path(&self) -> Cow<'_, str> {
        full_path(&self.bridge.settings().root_path, &self.line.uri)
    }

    /// The server's `--root-path`, or the test client's.
    pub(crate) fn root_path(&self) -> &str {
        self.record.as_ref().map_or(&self.bridge.settings().root_path, Record::root_path)
    }

    /// What a test client wants to know of this request.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The request's task makes its first step.
    pub(crate) fn began(&self, py: Python<'_>) {
        if let Some(record) = &self.record {
            record.began(py);
        }
    }

    /// Notes who answers: a plan.
    pub(super) fn answered_by_plan(&self) {
        if let Some(record) = &self.record {
            record.set_answered_by("plan");
        }
    }

    /// Notes who answers: the application, for `reason`.
    pub(super) fn handed_over(&self, plans: &Plans, reason: &str) {
        plans.count_handed_over(reason);
        if let Some(record) = &self.record {
            record.set_answered_by(format!("asgi: {reason}"));
        }
    }

    /// The threads for `def` functions.
    pub(crate) fn pool(&self, py: Python<'_>, runtime: &Runtime) -> &Rc<Pool> {
        self.bridge.pool(py, runtime)
    }

    /// Sends a response that is known as a whole.
    ///
    /// # Errors
    /// As `send()` would raise them: an answer was given already, or the body does not fit its announced length.
    pub(crate) fn send_whole(
        &self,
        status: StatusCode,
        given: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> PyResult<()> {
        if self.disconnected.get() {
            return Ok(());
        }
        if self.stage.get() != Stage::Start {
            let kind = pyo3::types::PyString::new;
            return Python::attach(|py| Err(too_late(&kind(py, "http.response.start"), "response already started")));
        }
        // Room for those that the server adds.
        let mut headers = HeaderMap::with_capacity(given.len() + 3);
        let framed = is_framed(&given, body.len());
        for (name, value) in given {
            headers.append(name, value);
        }
        if !framed {
            self.start(status, headers, false)?;
            return self.push(body, false);
        }
        self.head_given(status, &mut headers, true, false);
        self.answer_whole(ResponseHead { status, headers, trailers: false }, body);
        Ok(())
    }

    /// The connection has moved on, or is over (`gone`): wakes those who waited for that. True when nothing is left to do.
    pub(crate) fn progress(&self, py: Python<'_>, gone: bool) -> bool {
        if gone {
            self.disconnected.set(true);
        }
        if !self.receivers.is_empty() && self.peek() {
            self.receivers.wake(py);
        }
        if !self.senders.is_empty() && self.is_drained() {
            self.senders.wake(py);
        }
        gone || (self.stage.get() == Stage::Complete && self.answer.is_empty() && self.senders.is_empty())
    }

    fn poll_receive(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        if !self.peek() {
            return Poll::Pending;
        }
        if self.malformed.take() {
            self.refuse_body();
        }
        let names = &self.bridge.host.names;
        let message = PyDict::new(py);
        let filled = (|| {
            if !self.body_received.get()
                && let Some(data) = self.peeked.take()
            {
                let more = data.is_some() && self.body.borrow().as_ref().is_some_and(|body| !body.is_ended());
                self.body_received.set(!more);
                message.set_item(&names.type_, &names.http_request)?;
                message.set_item(&names.body, PyBytes::new(py, data.as_deref().unwrap_or_default()))?;
                return message.set_item(&names.more_body, more);
            }
            self.told_of_disconnect.set(true);
            message.set_item(&names.type_, &names.http_disconnect)
        })();
        Poll::Ready(filled.map(|()| Some(message.into_any().unbind())))
    }

    /// The body is not framed as HTTP has it: the client gets a 400 if it has no answer yet, the application sees a
    /// disconnect, and whatever it sends is dropped.
    fn refuse_body(&self) {
        if matches!(self.stage.get(), Stage::Start | Stage::FirstBody) {
            self.head.take();
            self.answer_now(StatusCode::BAD_REQUEST, "Invalid HTTP request received.");
        } else {
            self.abort();
        }
        self.disconnected.set(true);
    }

    /// Whether `receive()` has something to give; reads ahead for that.
    fn peek(&self) -> bool {
        if self.disconnected.get() || self.stage.get() == Stage::Complete || self.peeked.borrow().is_some() {
            return true;
        }
        let mut body = self.body.borrow_mut();
        let Some(body) = &mut *body else { return true };
        if self.body_received.get() {
            return body.is_disconnected();
        }
        // Whatever makes it ready happens in the connection's own task, which then calls `progress`: no waker is needed.
        match body.poll_data(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(data)) => *self.peeked.borrow_mut() = Some(Some(data)),
            Poll::Ready(None) if body.is_complete() => *self.peeked.borrow_mut() = Some(None),
            Poll::Ready(None) => self.malformed.set(body.failure() == Some(BodyFailure::Malformed)),
            Poll::Pending => return false,
        }
        true
    }

    fn is_drained(&self) -> bool {
        if self.file.borrow().is_some() {
            return self.disconnected.get() || self.file_end.get().is_some();
        }
        self.disconnected.get()
            || self.sender.borrow().as_ref().is_none_or(|sender| sender.buffered() <= LOW_WATER || sender.is_closed())
    }

    /// Takes a message of the application.
    fn accept(self: &Rc<Self>, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let kind = message.kind(&names.type_)?;
        if let Some(record) = &self.record
            && kind.to_str()? == "http.response.debug"
        {
            record.message(message.dict());
            return Ok(());
        }
        match (self.stage.get(), kind.to_str()?) {
            (Stage::Start, "http.response.start") => {
                self.start_message(message)?;
                if self.promised.get().is_none() {
                    self.bridge.defer(self.clone());
                }
                Ok(())
            }
            (Stage::Start, "http.response.early_hint") => self.early_hint(message),
            (Stage::Start, _) => Err(unexpected("'http.response.start'", &kind)),
            (Stage::FirstBody | Stage::Body, "http.response.body") => self.send_body(message),
            (Stage::FirstBody, "http.response.pathsend") => self.send_path(message),
            (Stage::FirstBody | Stage::Body, _) => Err(unexpected("'http.response.body'", &kind)),
            (Stage::Trailers, "http.response.trailers") => self.send_trailers(message),
            (Stage::Trailers, _) => Err(unexpected("'http.response.trailers'", &kind)),
            (Stage::Complete, _) => Err(too_late(&kind, "response already completed")),
        }
    }

    fn start_message(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        let status = message.required(&names.status)?;
        let status: u16 = status
            .extract()
            .map_err(|_| PyTypeError::new_err("'status' of 'http.response.start' must be an int of three digits"))?;
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| !status.is_informational())
            .ok_or_else(|| PyValueError::new_err(format!("{status} is not the status of a final response")))?;
        self.start(status, message.headers(&names.headers)?, message.flag(&names.trailers)?)
    }

    fn start(&self, status: StatusCode, mut headers: HeaderMap, trailers: bool) -> PyResult<()> {
        let length = announced_length(&mut headers)?;
        self.head_given(status, &mut headers, length.is_some(), trailers);
        self.promised.set(length.filter(|_| self.has_body(status)));
        *self.head.borrow_mut() = Some(ResponseHead { status, headers, trailers });
        self.stage.set(Stage::FirstBody);
        Ok(())
    }

    /// What is done with every head: the server's own headers, the access log, a test client's notes.
    fn head_given(&self, status: StatusCode, headers: &mut HeaderMap, has_length: bool, trailers: bool) {
        if let Some(record) = &self.record {
            let has_encoding = headers.contains_key(TRANSFER_ENCODING);
            Python::attach(|py| record.started(py, has_length, has_encoding, trailers));
        }
        for (name, value) in &self.bridge.settings().headers {
            if !headers.contains_key(name) {
                headers.append(name, value.clone());
            }
        }
        self.log_access(status);
    }

    fn send_body(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        self.push(message.bytes(&names.body)?, message.flag(&names.more_body)?)
    }

    /// The next piece of the body.
    fn push(&self, data: Bytes, more: bool) -> PyResult<()> {
        if let Some(promised) = self.promised.get() {
            let left = promised
                .checked_sub(data.len() as u64)
                .ok_or_else(|| PyRuntimeError::new_err("Response content longer than Content-Length"))?;
            if left > 0 && !more {
                self.abort();
                return Err(PyRuntimeError::new_err("Response content shorter than Content-Length"));
            }
            self.promised.set(Some(left));
        }
        let head = self.head.take();
        if let Some(head) = head {
            if !more && !head.trailers {
                self.answer_whole(head, data);
                return Ok(());
            }
            self.begin_stream(head);
        }
        if let Some(sender) = &*self.sender.borrow() {
            sender.push(data);
        }
        if !more {
            if self.trailers_follow.get() {
                self.stage.set(Stage::Trailers);
            } else {
                self.finish(None);
            }
        }
        Ok(())
    }

    /// ASGI extension "Path Send": a file of ours goes out without passing through Python.
    fn send_path(&self, message: &Message<'_>) -> PyResult<()> {
        // The extension asks for an absolute path; Starlette sends what its `FileResponse` was given, and so a relative one is
        // taken as everywhere else.
        let path: std::path::PathBuf = message.required(&self.bridge.host.names.path)?.extract()?;
        let file = File::open(&path)?;
        if file.metadata()?.is_dir() {
            return Err(PyValueError::new_err(format!("'path' of 'http.response.pathsend' is a directory: {path:?}")));
        }
        let head = self.head.take().expect("the stage says that it is there");
        let bodyless = !self.has_body(head.status);
        self.respond(head, if bodyless { ResponseBody::empty() } else { ResponseBody::file(file) });
        self.complete();
        Ok(())
    }

    /// ASGI extension "Early Hint": a 103 before the response.
    fn early_hint(&self, message: &Message<'_>) -> PyResult<()> {
        let mut hint = Vec::from(&b"HTTP/1.1 103 Early Hints\r\n"[..]);
        let links = message.required(&self.bridge.host.names.links)?;
        for link in links.try_iter()? {
            let link = link?;
            let link = link
                .cast::<PyBytes>()
                .map_err(|_| PyTypeError::new_err("'links' of 'http.response.early_hint' must be byte strings"))?;
            let (_, value) = super::settings::header(b"link", link.as_bytes())?;
            hint.extend_from_slice(b"link: ");
            hint.extend_from_slice(value.as_bytes());
            hint.extend_from_slice(b"\r\n");
        }
        hint.extend_from_slice(b"\r\n");
        // RFC 9110 section 15.2: no 1xx to a client of HTTP/1.0.
        if self.line.version >= Version::HTTP_11
            && let Some(body) = &*self.body.borrow()
        {
            body.send_informational(&hint);
        }
        Ok(())
    }

    /// ASGI extension "HTTP Trailers".
    fn send_trailers(&self, message: &Message<'_>) -> PyResult<()> {
        if let Some(record) = &self.record {
            record.message(message.dict());
        }
        let names = &self.bridge.host.names;
        let mut trailers = self.trailers.take().unwrap_or_default();
        message.each_header(&names.headers, |name, value| {
            trailers.append(name, value);
            Ok(())
        })?;
        if message.flag(&names.more_trailers)? {
            *self.trailers.borrow_mut() = Some(trailers);
        } else {
            self.finish(Some(trailers));
        }
        Ok(())
    }

    /// Whether a response of this status to this request has a body (RFC 9110 section 6.4.1).
    fn has_body(&self, status: StatusCode) -> bool {
        self.line.method != http::Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
    }

    /// The head goes out, and the body follows piece by piece.
    fn begin_stream(&self, head: ResponseHead) {
        let (sender, body) = ResponseBody::channel();
        self.stage.set(Stage::Body);
        self.trailers_follow.set(head.trailers);
        self.respond(head, body);
        *self.sender.borrow_mut() = Some(sender);
    }

    /// Without a channel.
    fn answer_whole(&self, head: ResponseHead, body: Bytes) {
        let bodyless = !self.has_body(head.status);
        self.respond(head, if bodyless { ResponseBody::empty() } else { ResponseBody::full(body) });
        self.complete();
    }

    fn respond(&self, head: ResponseHead, body: ResponseBody) {
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer.put(response);
    }

    fn finish(&self, trailers: Option<HeaderMap>) {
        if let Some(sender) = self.sender.take() {
            sender.finish(trailers);
        }
        self.complete();
    }

    /// Nothing more is sent, and `receive()` has nothing more to tell than that.
    fn complete(&self) {
        self.stage.set(Stage::Complete);
        self.body.take();
        self.bridge.request_answered();
        if let Some(record) = &self.record {
            record.completed();
        }
        if !self.receivers.is_empty() {
            Python::attach(|py| self.receivers.wake(py));
        }
    }

    /// Breaks the response off, so that the client notices.
    fn abort(&self) {
        let head = self.head.take();
        if let Some(head) = head {
            // A channel without a sender ends as broken.
            self.respond(head, ResponseBody::channel().1);
        }
        self.sender.take();
        let file = self.file.take();
        if let Some(file) = file {
            file.stop();
        }
        self.complete();
    }

    fn log_access(&self, status: StatusCode) {
        self.bridge.log_access(&self.line, status);
    }
}

/// A head does not wait for a body that is long in coming: clients and proxies want to see it, of server-sent events above
/// all. What is sent in one go, and that is most, stays in one piece; so does what fails at once, which can still be a 500.
impl Deferred for Exchange {
    fn run_deferred(&self) {
        if self.file_end.get().is_some() {
            Python::attach(|py| self.senders.wake(py));
        }
        if self.stage.get() == Stage::FirstBody && !self.disconnected.get() {
            let head = self.head.take();
            match head {
                Some(head) if self.has_body(head.status) => self.begin_stream(head),
                head => drop(self.head.replace(head)),
            }
        }
    }
}

/// What the connection waits for.
pub(crate) enum Answer {
    Http(Rc<Exchange>),
    WebSocket(Rc<Session>),
}

impl Future for Answer {
    type Output = Response<ResponseBody>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = match &*self {
            Answer::Http(exchange) => &exchange.answer,
            Answer::WebSocket(session) => session.answer(),
        };
        slot.poll(cx)
    }
}

/// Where the application's side leaves a response for the connection's.
#[derive(Default)]
pub(super) struct AnswerSlot {
    response: RefCell<Option<Response<ResponseBody>>>,
    waker: RefCell<Option<Waker>>,
}

impl AnswerSlot {
    pub(super) fn put(&self, response: Response<ResponseBody>) {
        *self.response.borrow_mut() = Some(response);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.response.borrow().is_none()
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Response<ResponseBody>> {
        match self.response.take() {
            Some(response) => Poll::Ready(response),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// `receive` and `send` of one request, as bound methods of this object.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct HttpChannel(LoopBound<Exchange>);

#[pymethods]
impl HttpChannel {
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
        let exchange = self.0.get()?;
        if exchange.disconnected.get() {
            // ASGI before 2.4: sending to a client that has left is no error.
            return Ok(nothing(py));
        }
        exchange.accept(&Message::new(message)?)?;
        let full = exchange.sender.borrow().as_ref().is_some_and(|sender| sender.buffered() > HIGH_WATER);
        if full { awaitable(py, Drain(self.0.another()?)) } else { Ok(nothing(py)) }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        traverse(&self.0, &visit)
    }
}

struct Receive(LoopBound<Exchange>);

impl Operation for Receive {
    fn poll(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(exchange) => exchange.poll_receive(py),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let exchange = self.0.get()?;
        exchange.receivers.add(py, &exchange.bridge.host)
    }
}

struct Drain(LoopBound<Exchange>);

impl Operation for Drain {
    fn poll(&self, _: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(exchange) if exchange.is_drained() => Poll::Ready(Ok(None)),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let exchange = self.0.get()?;
        exchange.senders.add(py, &exchange.bridge.host)
    }
}

/// The request as its coroutine sees it.
pub(crate) struct HttpRequestCall {
    pub(crate) exchange: LoopBound<Exchange>,
    pub(crate) scope: Py<PyDict>,
}

impl HttpRequestCall {
    pub(crate) fn new(exchange: &Rc<Exchange>, scope: Bound<'_, PyDict>) -> HttpRequestCall {
        let exchange = LoopBound::new(exchange.clone(), &exchange.bridge.host.graveyard);
        HttpRequestCall { exchange, scope: scope.unbind() }
    }
}

impl Request for HttpRequestCall {
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>> {
        let exchange = self.exchange.get()?;
        exchange.began(py);
        let (receive, send) = exchange.channel(py)?;
        exchange.bridge.app.bind(py).call1((self.scope.bind(py), receive, send)).map(Begun::Python)
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        self.exchange.get()?.ended(py, outcome)
    }

    fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.scope)?;
        traverse(&self.exchange, visit)
    }
}

/// The head of a request, as far as the exchange keeps it.
pub(crate) fn request_line<B>(request: &HttpRequest<B>, client: Rc<str>) -> RequestLine {
    RequestLine { method: request.method().clone(), uri: request.uri().clone(), version: request.version(), client }
}

impl RequestLine {
    pub(crate) fn version_number(&self) -> &'static str {
        if self.version == Version::HTTP_10 { "1.0" } else { "1.1" }
    }
}

fn traverse(exchange: &LoopBound<Exchange>, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
    let Some(exchange) = exchange.get_here() else {
        return Ok(());
    };
    exchange.receivers.traverse(visit)?;
    exchange.senders.traverse(visit)
}

/// The length that a response's headers announce, after a look whether they make sense (RFC 9112 section 6).
///
/// hyper writes what it is given, contradictions included. An encoding counts more than a length, as for requests, and the
/// only one that can be had is `chunked`.
pub(super) fn announced_length(headers: &mut HeaderMap) -> PyResult<Option<u64>> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(PyValueError::new_err("transfer-encoding other than chunked: the server frames the body"));
        }
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.remove(CONTENT_LENGTH);
        return Ok(None);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let length = content_length(first)?;
    let mut repeated = false;
    for other in lengths {
        if content_length(other)? != length {
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            return Err(PyValueError::new_err(format!("different values of content-length: {lengths:?}")));
        }
        repeated = true;
    }
    if repeated {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(Some(length))
}

/// Whether a response says its body's length, once and right, and no encoding: then there is nothing to be looked at.
fn is_framed(headers: &[(HeaderName, HeaderValue)], length: usize) -> bool {
    let mut said = 0;
    for (name, value) in headers {
        if *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && content_length(value).ok() != Some(length as u64))
        {
            return false;
        }
        said += usize::from(*name == CONTENT_LENGTH);
    }
    said == 1
}

fn content_length(value: &HeaderValue) -> PyResult<u64> {
    value
        .to_str()
        .ok()
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| PyValueError::new_err(format!("invalid content-length {value:?}")))
}

/// From this many buffered bytes on, `send()` waits until they are fewer than the lower mark.
const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = 16 * 1024;
