//! A response that a plan sends piece by piece, without messages between them.

use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::sending::{Drain, HIGH_WATER};
use super::{Exchange, Stage};
use crate::asgi::message::too_late;
use crate::host::awaitable::{Operation, awaitable};
use crate::host::loop_bound::LoopBound;

impl Exchange {
    /// Sends the head of a response whose pieces follow. It goes out at once: whoever waits for events wants to know that they
    /// will come.
    ///
    /// # Errors
    /// As `send()` would raise them.
    pub(crate) fn begin_pieces(&self, status: StatusCode, given: Vec<(HeaderName, HeaderValue)>) -> PyResult<()> {
        self.tell_status_code(status)?;
        if self.disconnected.get() {
            return Ok(());
        }
        self.check_unstarted()?;
        // Room for those that the server adds.
        let mut headers = HeaderMap::with_capacity(given.len() + 4);
        for (name, value) in given {
            headers.append(name, value);
        }
        self.start(status, headers, false)?;
        self.push(Bytes::new(), true)
    }

    /// Sends a piece; true if the sender should wait until it has [gone out](Exchange::drained).
    ///
    /// # Errors
    /// As `send()` would raise them: more than the announced length.
    pub(crate) fn push_piece(&self, piece: Bytes) -> PyResult<bool> {
        if self.is_over()? {
            return Ok(false);
        }
        self.push(piece, true)?;
        Ok(self.sender.borrow().as_ref().is_some_and(|sender| sender.buffered() > HIGH_WATER))
    }

    /// Ends the response.
    ///
    /// # Errors
    /// As `send()` would raise them: less than the announced length.
    pub(crate) fn end_pieces(&self) -> PyResult<()> {
        if self.is_over()? { Ok(()) } else { self.push(Bytes::new(), false) }
    }

    /// Whether pieces go nowhere.
    fn is_over(&self) -> PyResult<bool> {
        if self.disconnected.get() {
            return Ok(true);
        }
        if self.stage.get() == Stage::Complete {
            return Python::attach(|py| {
                Err(too_late(&PyString::new(py, "http.response.body"), "response already completed"))
            });
        }
        Ok(false)
    }

    /// An awaitable that ends when most of what was sent has gone out.
    pub(crate) fn drained(self: &Rc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        awaitable(py, Drain(LoopBound::new(self.clone(), &self.bridge.host.graveyard)))
    }

    /// An awaitable that ends when the client has left, or the response is complete. It takes what comes of the request's
    /// body, and forgets it.
    pub(crate) fn gone(self: &Rc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        awaitable(py, Gone(LoopBound::new(self.clone(), &self.bridge.host.graveyard)))
    }

    /// Whether `receive()` would tell of a disconnect, after whatever else it has to tell.
    fn is_gone(&self) -> bool {
        while self.peek() {
            if self.malformed.take() {
                self.refuse_body();
            }
            match self.peeked.take() {
                Some(data) if !self.body_received.get() => {
                    let more = data.is_some() && self.body.borrow().as_ref().is_some_and(|body| !body.is_ended());
                    self.body_received.set(!more);
                }
                _ => {
                    self.told_of_disconnect.set(true);
                    return true;
                }
            }
        }
        false
    }
}

/// See [`Exchange::gone`].
struct Gone(LoopBound<Exchange>);

impl Operation for Gone {
    fn poll(&self, _: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(exchange) if exchange.is_gone() => Poll::Ready(Ok(None)),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.get()?.readable(py)
    }
}
