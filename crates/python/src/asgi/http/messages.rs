//! What an application sends, message by message (ASGI HTTP specification), and the `receive` and `send` that it is given.

use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;

use http::{StatusCode, Version};
use overdrive_http::ResponseBody;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::receiving::Receive;
use super::sending::{Drain, HIGH_WATER};
use super::{Exchange, Stage, traverse};
use crate::asgi::message::{Message, too_late, unexpected};
use crate::asgi::settings::header;
use crate::host::awaitable::{awaitable, later, nothing};
use crate::host::loop_bound::LoopBound;

impl Exchange {
    /// `receive` and `send` for code that expects ASGI.
    pub(crate) fn channel<'py>(self: &Rc<Self>, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let exchange = LoopBound::new(self.clone(), &self.bridge.host.graveyard);
        let channel = Bound::new(py, HttpChannel(exchange))?;
        Ok((channel.getattr(pyo3::intern!(py, "receive"))?, channel.getattr(pyo3::intern!(py, "send"))?))
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

    fn send_body(&self, message: &Message<'_>) -> PyResult<()> {
        let names = &self.bridge.host.names;
        self.push(message.bytes(&names.body)?, message.flag(&names.more_body)?)
    }

    /// ASGI extension "Path Send": a file of ours goes out without passing through Python.
    fn send_path(&self, message: &Message<'_>) -> PyResult<()> {
        // The extension asks for an absolute path; Starlette sends what its `FileResponse` was given, and so a relative one is
        // taken as everywhere else.
        let path: PathBuf = message.required(&self.bridge.host.names.path)?.extract()?;
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(PyValueError::new_err(format!("'path' of 'http.response.pathsend' is a directory: {path:?}")));
        }
        // Of a device or a pipe nobody knows the length.
        if metadata.is_file() && self.promised.get().is_some_and(|promised| promised > metadata.len()) {
            return Err(PyRuntimeError::new_err("Response content shorter than Content-Length"));
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
            let (_, value) = header(b"link", link.as_bytes())?;
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
            self.finish(Some(*trailers));
        }
        Ok(())
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
        awaitable(py, Receive::new(self.0.another()?))
    }

    /// `send()` on the loop's thread.
    fn _send_here(&self, message: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = message.py();
        let exchange = self.0.get()?;
        exchange.tell_status(|py| {
            let names = &exchange.bridge.host.names;
            let is_start = message.get_item(&names.type_)?.eq(pyo3::intern!(py, "http.response.start"))?;
            // Without one it is no message to be sent, as is found out below.
            Ok(if is_start { message.get_item(&names.status).ok().map(Bound::unbind) } else { None })
        })?;
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
