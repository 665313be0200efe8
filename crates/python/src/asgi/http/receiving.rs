//! The body of a request, and what `receive()` says of it and of the client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::StatusCode;
use overdrive_http::{BodyFailure, RequestBody};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{Exchange, Stage};
use crate::host::awaitable::Operation;
use crate::host::loop_bound::LoopBound;

/// What [`Exchange::read`] came to.
pub(crate) enum Read {
    /// All of the body was read.
    Complete,
    /// There is more to come.
    Pending,
    /// The client has left before its end.
    Gone,
}

impl Exchange {
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

    /// Puts back what was read of the request's body.
    pub(crate) fn unread(&self, bytes: Vec<u8>) {
        let mut peeked = self.peeked.borrow_mut();
        let following = peeked.take().flatten().unwrap_or_default();
        *peeked = Some(Some([Bytes::from(bytes), following].concat().into()));
        self.body_received.set(false);
    }

    /// A future that is completed when another [`Exchange::read`] makes sense.
    pub(crate) fn readable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.receivers.add(py, &self.bridge.host)
    }

    fn poll_receive(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        if !self.peek() {
            return Poll::Pending;
        }
        if self.malformed.take() {
            self.refuse_body();
        }
        if !self.body_received.get()
            && !self.left_without_a_body()
            && let Some(data) = self.peeked.take()
        {
            let more = data.is_some() && self.body.borrow().as_ref().is_some_and(|body| !body.is_ended());
            self.body_received.set(!more);
            return Poll::Ready(self.request_message(py, data.as_deref().unwrap_or_default(), more).map(Some));
        }
        self.told_of_disconnect.set(true);
        let names = &self.bridge.host.names;
        let message = PyDict::new(py);
        let filled = message.set_item(&names.type_, &names.http_disconnect);
        Poll::Ready(filled.map(|()| Some(message.into_any().unbind())))
    }

    fn request_message(&self, py: Python<'_>, data: &[u8], more: bool) -> PyResult<Py<PyAny>> {
        let names = &self.bridge.host.names;
        let message = PyDict::new(py);
        message.set_item(&names.type_, &names.http_request)?;
        message.set_item(&names.body, PyBytes::new(py, data))?;
        message.set_item(&names.more_body, more)?;
        Ok(message.into_any().unbind())
    }

    /// There is nothing to read of this request, and its client has left. Whoever asks hears of that at once, as with uvicorn:
    /// Starlette's `is_disconnected()` looks at one message, and an empty body would say that somebody is there.
    fn left_without_a_body(&self) -> bool {
        let left = || self.body.borrow().as_ref().is_none_or(RequestBody::is_disconnected);
        self.bodiless && (self.disconnected.get() || left())
    }

    /// The body is not framed as HTTP has it: the client gets a 400 if it has no answer yet, the application sees a
    /// disconnect, and whatever it sends is dropped.
    pub(super) fn refuse_body(&self) {
        if matches!(self.stage.get(), Stage::Start | Stage::FirstBody) {
            self.head.take();
            self.answer_now(StatusCode::BAD_REQUEST, "Invalid HTTP request received.");
        } else {
            self.abort();
        }
        self.disconnected.set(true);
    }

    /// Whether `receive()` has something to give; reads ahead for that.
    pub(super) fn peek(&self) -> bool {
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
}

/// `receive()`, for as long as it has nothing to give.
pub(super) struct Receive {
    exchange: LoopBound<Exchange>,
    /// It has waited for a part of the body.
    wants_body: AtomicBool,
}

impl Receive {
    pub(super) fn new(exchange: LoopBound<Exchange>) -> Receive {
        Receive { exchange, wants_body: AtomicBool::new(false) }
    }
}

impl Operation for Receive {
    fn poll(&self, py: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        let exchange = match self.exchange.get() {
            Ok(exchange) => exchange,
            Err(error) => return Poll::Ready(Err(error)),
        };
        match exchange.poll_receive(py) {
            // Somebody else, who waited as well, has got the rest of it. With uvicorn one event wakes both.
            Poll::Pending if self.wants_body.load(Ordering::Relaxed) && exchange.body_received.get() => {
                Poll::Ready(exchange.request_message(py, b"", false).map(Some))
            }
            polled => polled,
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let exchange = self.exchange.get()?;
        self.wants_body.store(!exchange.body_received.get(), Ordering::Relaxed);
        exchange.receivers.add(py, &exchange.bridge.host)
    }
}
