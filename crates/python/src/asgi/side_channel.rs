//! The side channel of a test client: what the bytes of a request cannot say, and those of its answer cannot tell.
//!
//! It stays within the process, and is off unless an engine was given one. A request names its *record*, a Python object
//! (`overdrive.testing.records.Record`), in a header that is taken off before anybody else sees it. The record knows who
//! the client claims to be, and is told how the application came to its end. An exception that a record was told of is not
//! logged: whoever made the request gets it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

/// Where records are to be had.
pub(crate) struct SideChannel(Py<PyAny>);

impl SideChannel {
    pub(crate) fn new(object: Py<PyAny>) -> SideChannel {
        SideChannel(object)
    }

    /// The record that a request names, if it names one; the name is gone from `headers` afterwards.
    pub(super) fn record(&self, py: Python<'_>, headers: &mut HeaderMap) -> Option<Box<Record>> {
        let key = headers.remove(HEADER)?;
        let found = self.0.bind(py).call_method1("take", (PyBytes::new(py, key.as_bytes()),));
        match found.and_then(|object| if object.is_none() { Ok(None) } else { Record::new(&object).map(Some) }) {
            Ok(record) => record.map(Box::new),
            Err(error) => {
                error.write_unraisable(py, Some(self.0.bind(py)));
                None
            }
        }
    }
}

/// One request's record.
pub(crate) struct Record {
    /// `None` once it was told of the end.
    object: RefCell<Option<Py<PyAny>>>,
    root_path: String,
    scheme: String,
    answered_by: RefCell<Cow<'static, str>>,
    /// The headers that the client meant are none that plans can read.
    is_unreadable: Cell<bool>,
}

impl Record {
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Record> {
        Ok(Record {
            root_path: object.getattr("root_path")?.extract()?,
            scheme: object.getattr("scheme")?.extract()?,
            object: RefCell::new(Some(object.clone().unbind())),
            answered_by: RefCell::new(Cow::Borrowed("asgi")),
            is_unreadable: Cell::new(false),
        })
    }

    /// Puts the method and the headers that the client meant in the place of those that HTTP could carry.
    pub(super) fn amend(&self, py: Python<'_>, parts: &mut Parts) -> PyResult<()> {
        let Some(object) = self.object(py) else { return Ok(()) };
        if let Some(method) = object.getattr("method")?.extract::<Option<String>>()? {
            match Method::from_bytes(method.as_bytes()) {
                Ok(method) => parts.method = method,
                Err(_) => self.is_unreadable.set(true),
            }
        }
        let Some(lines) = object.getattr("headers")?.extract::<Option<Vec<(PyBackedBytes, PyBackedBytes)>>>()? else {
            return Ok(());
        };
        let mut headers = HeaderMap::with_capacity(lines.len());
        for (name, value) in &lines {
            match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                (Ok(name), Ok(value)) => drop(headers.append(name, value)),
                _ => self.is_unreadable.set(true),
            }
        }
        parts.headers = headers;
        Ok(())
    }

    /// Whether the client meant a method or headers that plans cannot read: the application gets them through ASGI.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable.get()
    }

    /// Replaces in a scope what the client has a say in.
    pub(super) fn fill(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        match self.object(py) {
            Some(object) => object.call_method1("fill", (scope,)).map(drop),
            None => Ok(()),
        }
    }

    /// The `root_path` of the scope.
    pub(super) fn root_path(&self) -> &str {
        &self.root_path
    }

    /// The scheme of the scope.
    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The context that the request's task runs in.
    pub(super) fn context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.object(py).map(|object| object.getattr("context")).transpose()
    }

    /// The request's task makes its first step: called within it. `serial`: the watch's number of it.
    pub(super) fn began(&self, py: Python<'_>, serial: Option<u64>) {
        self.tell(py, "began", (serial,));
    }

    /// The application has begun its answer: which headers about the length of the body are its own, and whether trailers
    /// follow.
    pub(super) fn started(&self, py: Python<'_>, has_length: bool, has_encoding: bool, trailers: bool) {
        self.tell(py, "started", (has_length, has_encoding, trailers));
    }

    /// Nothing more of the answer will come.
    pub(super) fn completed(&self) {
        Python::attach(|py| self.tell(py, "completed", ()));
    }

    /// A message that goes to the client by this way, alone or in its very words: `http.response.debug`, trailers, the answer to
    /// a WebSocket's handshake.
    pub(super) fn message(&self, message: &Bound<'_, PyAny>) {
        self.tell(message.py(), "message", (message,));
    }

    /// Who answers: "asgi", "asgi: " with the reason, or "plan".
    pub(super) fn set_answered_by(&self, who: impl Into<Cow<'static, str>>) {
        self.answered_by.replace(who.into());
    }

    /// The application is done, and with it the record.
    pub(super) fn ended(&self, py: Python<'_>, outcome: PyResult<()>) {
        let error = outcome.err().map(|error| error.into_value(py));
        let who = self.answered_by.borrow().clone();
        self.tell(py, "ended", (error, who));
        let object = self.object.take();
        drop(object);
    }

    fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.object.borrow().as_ref().map(|object| object.bind(py).clone())
    }

    fn tell<'py>(&self, py: Python<'py>, what: &str, arguments: impl PyCallArgs<'py>) {
        if let Some(object) = self.object(py)
            && let Err(error) = object.call_method1(what, arguments)
        {
            error.write_unraisable(py, Some(&object));
        }
    }
}

/// Names the record of a request.
const HEADER: &str = "overdrive-side-channel";
