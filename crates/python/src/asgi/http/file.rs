//! A file of the application's that a plan sends, without Python between its pieces.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use overdrive_http::{FileEnd, FilePart, ResponseBody};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{Exchange, Stage};
use crate::host::awaitable::{Operation, awaitable};
use crate::host::loop_bound::LoopBound;

impl Exchange {
    /// Begins to send parts of a file, whose length together the headers say.
    ///
    /// # Errors
    /// As `send()` would raise them.
    pub(crate) fn begin_file(
        self: &Rc<Self>,
        status: StatusCode,
        given: Vec<(HeaderName, HeaderValue)>,
        file: File,
        parts: Vec<FilePart>,
    ) -> PyResult<()> {
        self.tell_status_code(status)?;
        if self.disconnected.get() {
            self.file_end.set(Some(FileEnd::Left));
            return Ok(());
        }
        self.check_unstarted()?;
        // Room for those that the server adds.
        let mut headers = HeaderMap::with_capacity(given.len() + 3);
        for (name, value) in given {
            headers.append(name, value);
        }
        self.start(status, headers, false)?;
        let this = Rc::downgrade(self);
        let (stop, body) = ResponseBody::file_parts(file, parts, move |end| {
            if let Some(exchange) = this.upgrade() {
                exchange.file_end.set(Some(end));
                // The connection may be about to begin its next request: nobody else would ask for this one.
                exchange.bridge.defer(exchange.clone());
            }
        });
        self.stage.set(Stage::Body);
        *self.file.borrow_mut() = Some(stop);
        let head = self.head.take().expect("it has just been put there");
        self.respond(head, body);
        Ok(())
    }

    /// An awaitable that ends when the file was sent, or the client has left.
    pub(crate) fn file_sent(self: &Rc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        awaitable(py, FileSent(LoopBound::new(self.clone(), &self.bridge.host.graveyard)))
    }

    fn poll_file(&self) -> Poll<PyResult<Option<Py<PyAny>>>> {
        let end = match self.file_end.get() {
            // Breaking it off has ended the connection as well.
            Some(end) => end,
            None if self.disconnected.get() => return Poll::Ready(Ok(None)),
            None => return Poll::Pending,
        };
        if self.stage.get() != Stage::Complete && !self.disconnected.get() {
            match end {
                FileEnd::Sent => self.finish(None),
                _ => self.abort(),
            }
        }
        self.file.take();
        Poll::Ready(match end {
            FileEnd::Sent | FileEnd::Left => Ok(None),
            FileEnd::Short => Err(PyRuntimeError::new_err("Response content shorter than Content-Length")),
            FileEnd::Failed(number) => Err(number
                .map_or_else(|| io::Error::other("the file could not be read"), io::Error::from_raw_os_error)
                .into()),
        })
    }
}

/// See [`Exchange::file_sent`].
struct FileSent(LoopBound<Exchange>);

impl Operation for FileSent {
    fn poll(&self, _: Python<'_>) -> Poll<PyResult<Option<Py<PyAny>>>> {
        match self.0.get() {
            Ok(exchange) => exchange.poll_file(),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let exchange = self.0.get()?;
        exchange.senders.add(py, &exchange.bridge.host)
    }
}
