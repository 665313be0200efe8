//! What becomes of a response, however it is given: its head, its pieces, its end.

use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use overdrive_http::ResponseBody;
use overdrive_reactor::Deferred;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::framing::{announced_length, is_framed};
use super::{Exchange, Stage};
use crate::asgi::message::too_late;
use crate::host::awaitable::Operation;
use crate::host::loop_bound::LoopBound;

pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) trailers: bool,
}

impl Exchange {
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
        self.tell_status_code(status)?;
        if self.disconnected.get() {
            return Ok(());
        }
        self.check_unstarted()?;
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

    pub(super) fn start(&self, status: StatusCode, mut headers: HeaderMap, trailers: bool) -> PyResult<()> {
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

    /// The next piece of the body.
    pub(super) fn push(&self, data: Bytes, more: bool) -> PyResult<()> {
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

    /// Whether a response of this status to this request has a body (RFC 9110 section 6.4.1).
    pub(super) fn has_body(&self, status: StatusCode) -> bool {
        self.line.method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
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

    pub(super) fn respond(&self, head: ResponseHead, body: ResponseBody) {
        if let Some(clock) = &self.clock {
            clock.answers(head.status.as_u16());
        }
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        self.answer.put(response);
    }

    pub(super) fn finish(&self, trailers: Option<HeaderMap>) {
        if let Some(sender) = self.sender.take() {
            sender.finish(trailers);
        }
        self.complete();
    }

    /// Nothing more is sent, and `receive()` has nothing more to tell than that.
    pub(super) fn complete(&self) {
        self.stage.set(Stage::Complete);
        self.body.take();
        self.bridge.request_answered();
        if let Some(clock) = &self.clock {
            clock.answered();
        }
        if let Some(record) = &self.record {
            record.completed();
        }
        if !self.receivers.is_empty() {
            Python::attach(|py| self.receivers.wake(py));
        }
    }

    /// Breaks the response off, so that the client notices.
    pub(super) fn abort(&self) {
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

    pub(super) fn is_drained(&self) -> bool {
        if self.file.borrow().is_some() {
            return self.disconnected.get() || self.file_end.get().is_some();
        }
        self.disconnected.get()
            || self.sender.borrow().as_ref().is_none_or(|sender| sender.buffered() <= LOW_WATER || sender.is_closed())
    }

    /// Raises what a second response raises.
    pub(super) fn check_unstarted(&self) -> PyResult<()> {
        if self.stage.get() == Stage::Start {
            return Ok(());
        }
        Python::attach(|py| Err(too_late(&PyString::new(py, "http.response.start"), "response already started")))
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

/// `send()`, for as long as too much is under way.
pub(super) struct Drain(pub(super) LoopBound<Exchange>);

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

/// From this many buffered bytes on, `send()` waits until they are fewer than the lower mark.
pub(super) const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = 16 * 1024;
