//! How the body of a form is read: gathered and taken apart here, or left to Starlette.

use std::rc::Rc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::Form;
use super::multipart::{Limits, Multipart, Part};
use super::options::Options;
use super::urlencoded::Urlencoded;
use crate::plan::body::Body;
use crate::plan::call::{Call, End};
use crate::plan::wire::Place;

/// How far the reading of a form has come.
#[derive(Default)]
pub(in crate::plan) enum Reading {
    #[default]
    Unbegun,
    /// By its content type the body is no form; it is left alone.
    Nothing,
    Urlencoded(Urlencoded),
    Multipart(Box<Multipart>),
    /// Starlette reads it, from its beginning.
    Starlette,
}

impl Reading {
    /// What the content type asks for.
    fn new(content_type: Option<&[u8]>, limits: Limits) -> Reading {
        let Ok(options) = Options::parse(content_type.unwrap_or_default()) else { return Reading::Starlette };
        if options.value.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Reading::Urlencoded(Urlencoded::new(limits));
        }
        if !options.value.eq_ignore_ascii_case(b"multipart/form-data") {
            return Reading::Nothing;
        }
        let is_utf8 = |charset: &[u8]| charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"utf8");
        let (charset, boundary) = (options.get(b"charset"), options.get(b"boundary"));
        match Multipart::new(boundary.unwrap_or_default(), limits) {
            Ok(parser) if charset.is_none_or(is_utf8) => Reading::Multipart(Box::new(parser)),
            _ => Reading::Starlette,
        }
    }

    /// Whether bytes of the body are to be read, and not by Starlette.
    fn is_parsing(&self) -> bool {
        matches!(self, Reading::Urlencoded(_) | Reading::Multipart(_))
    }

    /// Looks at what has arrived.
    fn advance(&mut self, body: &[u8]) {
        let is_plain = match self {
            Reading::Urlencoded(parser) => parser.advance(body).is_ok(),
            Reading::Multipart(parser) => parser.advance(body).is_ok(),
            _ => return,
        };
        if !is_plain || body.len() > MAX_GATHERED {
            *self = Reading::Starlette;
        }
    }
}

impl Call {
    /// As [`Call::gather`], for a form.
    pub(in crate::plan) fn gather_form(&self) -> bool {
        let Some(exchange) = self.wire.engine() else { return true };
        let gathered = &mut *self.gathered.borrow_mut();
        if matches!(gathered.form, Reading::Unbegun) {
            gathered.form = self.begin_form();
            if gathered.form.is_parsing() {
                gathered.bytes.reserve(self.announced().unwrap_or_default());
            }
        }
        if !gathered.form.is_parsing() {
            return true;
        }
        gathered.end = exchange.read(&mut gathered.bytes).into();
        gathered.form.advance(&gathered.bytes);
        gathered.end.is_some() || !gathered.form.is_parsing()
    }

    fn begin_form(&self) -> Reading {
        let Some(limits) = self.plan().own_form_limits else { return Reading::Starlette };
        if self.announced().is_some_and(|length| length > MAX_GATHERED) {
            return Reading::Starlette;
        }
        Reading::new(self.input.headers.get(CONTENT_TYPE).map(|value| value.as_bytes()), limits)
    }

    /// How long the body is to be, in bytes.
    fn announced(&self) -> Option<usize> {
        self.input.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Reads the body as a form.
    pub(in crate::plan) async fn read_form(&self) -> PyResult<Body> {
        let mut gathered = self.gathered.take();
        if matches!(gathered.form, Reading::Unbegun) {
            let is_ours = Python::attach(|py| self.wire.has_own_limits(py, &self.plans().runtime))?;
            // An instrument around the handler has had the request object, and may have read from it.
            let is_ours = is_ours && self.plan().around.is_none();
            gathered.form = if is_ours { self.begin_form() } else { Reading::Starlette };
        }
        while gathered.form.is_parsing() && gathered.end.is_none() {
            let read = self.wire.read_more(&self.baton(), &mut gathered.bytes).await;
            gathered.end = read.map_err(|error| self.unreadable(error))?.into();
            gathered.form.advance(&gathered.bytes);
        }
        if let Some(End::Gone) = gathered.end {
            return Python::attach(|py| {
                let left = self.plans().runtime.client_disconnect.bind(py).call0()?;
                Err(self.unreadable(PyErr::from_value(left)))
            });
        }
        let (bytes, complete) = (gathered.bytes, gathered.end.is_some());
        let form = Python::attach(|py| match gathered.form {
            Reading::Nothing => Form::new(py, &[], false).map(|form| Some((form, Vec::new()))),
            Reading::Urlencoded(parser) => self.urlencoded(py, parser, &bytes),
            Reading::Multipart(parser) => self.multipart(py, *parser, &bytes),
            Reading::Unbegun | Reading::Starlette => Ok(None),
        })?;
        let Some((form, large)) = form else { return self.read_with_starlette(bytes, complete).await };
        let form = self.form.get_or_init(|| Rc::new(form));
        for (upload, content) in large {
            if let Err(error) = self.fill(upload, content).await {
                self.drop_files()?;
                return Err(self.unreadable(error));
            }
        }
        // Elsewhere see `Call::stacks` and `Call::leave`.
        if self.wire.place() == Place::Router || self.stacks.get().is_some() {
            Python::attach(|py| self.close_with(&self.file_stack(py)?, form))?;
        }
        Ok(Body::Form(form.clone()))
    }

    fn urlencoded(&self, py: Python<'_>, parser: Urlencoded, bytes: &[u8]) -> PyResult<Option<(Form, Large)>> {
        let Ok(pairs) = parser.finish(bytes) else { return Ok(None) };
        if self.spool_size(py)?.is_none() {
            return Ok(None);
        }
        let pairs = pairs.iter().map(|(name, value)| (PyString::new(py, name), PyString::new(py, value)));
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.into_any(), value.into_any())).collect();
        Form::new(py, &pairs, true).map(|form| Some((form, Vec::new())))
    }

    fn multipart(&self, py: Python<'_>, parser: Multipart, bytes: &[u8]) -> PyResult<Option<(Form, Large)>> {
        let Ok(parts) = parser.finish() else { return Ok(None) };
        let runtime = &self.plans().runtime;
        let Some(spool_size) = self.spool_size(py)? else { return Ok(None) };
        let (mut files, mut large) = (Vec::new(), Vec::new());
        let mut value = |part: &Part| {
            let Some(filename) = &part.filename else { return Ok(text(py, &bytes[part.data.clone()]).into_any()) };
            let headers = part.headers.iter().map(|(name, value)| {
                let name = PyBytes::new(py, &bytes[name.clone()].to_ascii_lowercase());
                PyTuple::new(py, [name, PyBytes::new(py, &bytes[value.clone()])])
            });
            let headers = PyList::new(py, headers.collect::<PyResult<Vec<_>>>()?)?;
            let content = PyBytes::new(py, &bytes[part.data.clone()]);
            let rolls = spool_size != 0 && part.data.len() > spool_size;
            let held = if rolls { PyBytes::new(py, b"") } else { content.clone() };
            let arguments = (text(py, &bytes[filename.clone()]), headers, held, spool_size);
            let upload = runtime.new_upload.bind(py).call1(arguments)?;
            if rolls {
                large.push((upload.clone().unbind(), content.unbind()));
            }
            files.push(upload.clone().unbind());
            PyResult::Ok(upload)
        };
        let pairs = parts.iter().map(|part| Ok((text(py, &bytes[part.name.clone()]).into_any(), value(part)?)));
        let pairs = pairs.collect::<PyResult<Vec<_>>>()?;
        let form = Form { files, ..Form::new(py, &pairs, true)? };
        Ok(Some((form, large)))
    }

    /// The largest file that is held in memory, which may be changed at any time; `None`: the parsers are not those we know.
    fn spool_size(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.plans().runtime.form_spool_size.bind(py).call0()?.extract()
    }

    /// Writes a file that is too large for memory, as Starlette does: on a thread.
    async fn fill(&self, upload: Py<PyAny>, content: Py<PyBytes>) -> PyResult<()> {
        let write = Python::attach(|py| {
            upload.bind(py).call_method1(pyo3::intern!(py, "write"), (content,)).map(Bound::unbind)
        })?;
        self.baton().wait_for(write).await?;
        let seek =
            Python::attach(|py| upload.bind(py).call_method1(pyo3::intern!(py, "seek"), (0,)).map(Bound::unbind))?;
        self.baton().wait_for(seek).await.map(drop)
    }

    /// Lets Starlette read the body, beginning with what was received of it.
    async fn read_with_starlette(&self, received: Vec<u8>, complete: bool) -> PyResult<Body> {
        let reading = Python::attach(|py| {
            if complete || !received.is_empty() {
                self.wire.unread(py, &self.plans().runtime, received, complete)?;
            }
            let (request, files) = (self.request(py)?, self.file_stack(py)?);
            let read = self.plans().runtime.read_form.bind(py);
            PyResult::Ok(read.call1((request, files, &self.plan().form_limits))?.unbind())
        })?;
        let data = self.baton().wait_for(reading).await?;
        let form = Python::attach(|py| Form::of_data(data.into_bound(py)))?;
        Ok(Body::Form(self.form.get_or_init(|| Rc::new(form)).clone()))
    }

    /// What FastAPI makes of an error while it reads a body.
    fn unreadable(&self, error: PyErr) -> PyErr {
        Python::attach(|py| {
            if !error.is_instance_of::<PyException>(py) {
                return error;
            }
            match self.plans().runtime.body_error.bind(py).call1((error.into_value(py),)) {
                Ok(error) => PyErr::from_value(error),
                Err(error) => error,
            }
        })
    }

    /// The exit stack with which FastAPI closes files: the application's, or ours in its place.
    fn file_stack<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.wire.place() {
            Place::Router => self.scope(py)?.bind(py).as_any().get_item(pyo3::intern!(py, "fastapi_middleware_astack")),
            _ => Ok(self.stacks(py)?.file.bind(py).clone()),
        }
    }

    /// Has the form's files closed with an exit stack, as FastAPI does.
    pub(in crate::plan) fn close_with(&self, stack: &Bound<'_, PyAny>, form: &Form) -> PyResult<()> {
        let py = stack.py();
        let close = form.data(py, &self.plans().runtime)?.getattr(pyo3::intern!(py, "close"))?;
        stack.call_method1(pyo3::intern!(py, "push_async_callback"), (close,)).map(drop)
    }

    /// Closes the form's files, where there is no exit stack for that.
    pub(in crate::plan) async fn close_files(&self) -> PyResult<()> {
        for upload in self.form.get().map_or(&[][..], |form| form.files()) {
            let closing =
                Python::attach(|py| upload.bind(py).call_method0(pyo3::intern!(py, "close")).map(Bound::unbind))?;
            self.baton().wait_for(closing).await?;
        }
        Ok(())
    }

    /// Closes them at once: the form could not be read.
    fn drop_files(&self) -> PyResult<()> {
        Python::attach(|py| {
            self.form.get().map_or(&[][..], |form| form.files()).iter().try_for_each(|upload| {
                let file = upload.bind(py).getattr(pyo3::intern!(py, "file"))?;
                file.call_method0(pyo3::intern!(py, "close")).map(drop)
            })
        })
    }
}

/// Files that are to be written to the disk, with their contents.
type Large = Vec<(Py<PyAny>, Py<PyBytes>)>;

/// UTF-8, or else Latin-1.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match str::from_utf8(bytes) {
        Ok(text) => PyString::new(py, text),
        Err(_) => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}

/// The largest body that is held in memory as a whole, in bytes: as much as Starlette keeps there of a file.
const MAX_GATHERED: usize = 1 << 20;
