//! A `FileResponse`, sent by the engine: Python looks at the file and at the ranges that are asked for (see
//! `overdrive.compiler.files`), and has nothing to do with its content.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE};
use http::{HeaderName, HeaderValue, StatusCode};
use overdrive_http::FilePart;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use super::call::Call;
use super::reply::{Reply, bytes_of, raw_headers, status_code};

/// What was sent.
pub(super) enum Sent {
    /// The file, or what there was of it; its background tasks follow.
    File(Option<Py<PyAny>>),
    /// The answer to a request for ranges that is none.
    Refusal,
    /// Nothing: the response has to speak for itself.
    Nothing,
}

/// What a request says of ranges.
struct Asked {
    is_head: bool,
    /// `range` and `if-range`, where ranges are looked at.
    range: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
}

/// What is to go out.
struct Shipment {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    parts: Vec<FilePart>,
}

enum Prepared {
    Shipment(Shipment),
    Refusal(Reply),
}

impl Call {
    /// Whether the response is one of Starlette's files, in nothing that matters the user's own.
    pub(super) fn is_file(
        &self,
        py: Python<'_>,
        response: &Bound<'_, PyAny>,
        call: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let Some((own_call, methods)) = &self.plans().runtime.file else { return Ok(false) };
        if !call.is(own_call) {
            return Ok(false);
        }
        for method in methods.bind(py) {
            let (name, known): (Bound<'_, PyString>, Bound<'_, PyAny>) = method.extract()?;
            let found = response.getattr(name)?.getattr_opt(pyo3::intern!(py, "__func__"))?;
            if !found.is_some_and(|found| found.is(&known)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a `FileResponse`.
    pub(super) async fn send_file(&self, response: &Py<PyAny>) -> PyResult<Sent> {
        let runtime = &self.plans().runtime;
        let begun = Python::attach(|py| {
            let response = response.bind(py);
            let asked = self.asked(py, response)?;
            let path = response.getattr(pyo3::intern!(py, "path"))?;
            let Ok(file) = path.extract::<PathBuf>() else { return PyResult::Ok(None) };
            let wants = match (&asked.range, asked.is_head) {
                (_, true) => Wants::Nothing,
                (Some(_), false) => Wants::File,
                (None, false) => Wants::Content,
            };
            let known = response.getattr(pyo3::intern!(py, "stat_result"))?;
            let opening = Py::new(py, Opening { path: file, wants, opened: Mutex::default() })?;
            let arguments = [Some(path.unbind()), Some(known.unbind()), Some(opening.clone_ref(py).into_any())];
            Ok(Some((asked, opening, arguments)))
        })?;
        let Some((asked, opening, arguments)) = begun else { return Ok(Sent::Nothing) };
        let names = Python::attach(|py| PyTuple::new(py, ["path", "known", "opening"]).map(Bound::unbind))?;
        let found = self.on_thread(&runtime.examine_file, &arguments, &names).await?;
        let opened = opening.get().take();
        let (prepared, background) = Python::attach(|py| {
            let response = response.bind(py);
            let background = response.getattr(pyo3::intern!(py, "background"))?;
            let prepared = self.prepare(py, response, found.bind(py), &asked)?;
            PyResult::Ok((prepared, Some(background.unbind()).filter(|background| !background.is_none(py))))
        })?;
        let Shipment { status, mut headers, parts } = match prepared {
            Prepared::Shipment(shipment) => shipment,
            Prepared::Refusal(reply) => {
                self.deliver(reply, background.is_none()).await?;
                return Ok(Sent::Refusal);
            }
        };
        let exchange = self.wire.engine().expect("without an engine response objects send themselves");
        if self.is_layered() {
            Python::attach(|py| {
                self.plans().layers.on_head(py, &self.input.headers, self.seen(py).as_ref(), &mut headers)
            })?;
        }
        let length: u64 = parts.iter().map(length_of).sum();
        let is_said = says(&headers, length);
        match opened {
            Opened::Odd => return Ok(Sent::Nothing),
            Opened::Failed(error) => {
                exchange.begin_pieces(status, headers)?;
                return Err(Python::attach(|py| error_of(py, &error, &opening.get().path)));
            }
            Opened::Nothing => exchange.send_whole(status, headers, Bytes::new())?,
            Opened::Content(content) if content.len() as u64 == length && is_said => {
                exchange.send_whole(status, headers, content)?;
            }
            // The application has said another length, or the file has just changed: as much is sent as makes no difference.
            Opened::Content(content) => {
                exchange.begin_pieces(status, headers)?;
                exchange.push_piece(content)?;
                exchange.end_pieces()?;
            }
            Opened::File(..) if !is_said => return Ok(Sent::Nothing),
            // It has grown since: whole files are read to their end, and that is an error then.
            Opened::File(_, size) if asked.range.is_none() && size > length => return Ok(Sent::Nothing),
            Opened::File(..) if length == 0 || matches!(status.as_u16(), 204 | 304) => {
                exchange.send_whole(status, headers, Bytes::new())?;
            }
            Opened::File(file, _) => {
                exchange.begin_file(status, headers, file, parts)?;
                let sent = Python::attach(|py| exchange.file_sent(py))?;
                self.baton().wait_for(sent).await?;
            }
        }
        Ok(Sent::File(background))
    }

    fn asked(&self, py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<Asked> {
        let (method, range, condition): (String, Option<Py<PyAny>>, Option<Py<PyAny>>) = match self.scope.get() {
            Some(scope) => self.plans().runtime.file_asked.bind(py).call1((scope,))?.extract()?,
            None => {
                let header = |name| {
                    let value = self.input.headers.get(name).map(HeaderValue::as_bytes)?;
                    let text: String = value.iter().copied().map(char::from).collect();
                    Some(PyString::new(py, &text).into_any().unbind())
                };
                (self.wire.method().to_owned(), header(RANGE), header(IF_RANGE))
            }
        };
        let is_looked_at =
            matches!(method.as_str(), "GET" | "HEAD") && response.getattr(pyo3::intern!(py, "status_code"))?.eq(200)?;
        Ok(Asked { is_head: method == "HEAD", range: range.filter(|_| is_looked_at).map(|range| (range, condition)) })
    }

    fn prepare(
        &self,
        py: Python<'_>,
        response: &Bound<'_, PyAny>,
        found: &Bound<'_, PyAny>,
        asked: &Asked,
    ) -> PyResult<Prepared> {
        let runtime = &self.plans().runtime;
        if response.getattr(pyo3::intern!(py, "stat_result"))?.is_none() {
            runtime.describe_file.bind(py).call1((response, found))?;
        }
        let size: u64 = found.getattr(pyo3::intern!(py, "st_size"))?.extract()?;
        if let Some((range, condition)) = &asked.range {
            let ranges = runtime.file_ranges.bind(py).call1((response, range, condition, size))?;
            if ranges.is_instance(runtime.response.bind(py))? {
                return Reply::of_object(py, &ranges).map(Prepared::Refusal);
            }
            if !ranges.is_none() {
                let (headers, parts): (Bound<'_, PyAny>, Vec<Bound<'_, PyAny>>) = ranges.extract()?;
                let parts = parts.iter().map(part).collect::<PyResult<Vec<FilePart>>>()?;
                let (status, headers) = (StatusCode::PARTIAL_CONTENT, raw_headers(&headers)?);
                return Ok(Prepared::Shipment(Shipment { status, headers, parts }));
            }
        }
        let status = status_code(response.getattr(pyo3::intern!(py, "status_code"))?.extract()?)?;
        let headers = raw_headers(&response.getattr(pyo3::intern!(py, "raw_headers"))?)?;
        let parts = vec![FilePart::Range(0..size)];
        Ok(Prepared::Shipment(Shipment { status, headers, parts }))
    }
}

/// Whether the headers say this length, and no other.
fn says(headers: &[(HeaderName, HeaderValue)], length: u64) -> bool {
    let mut said = headers.iter().filter(|(name, _)| *name == CONTENT_LENGTH);
    said.next().is_some_and(|(_, value)| value.as_bytes() == length.to_string().as_bytes()) && said.next().is_none()
}

fn part(part: &Bound<'_, PyAny>) -> PyResult<FilePart> {
    if part.is_instance_of::<PyBytes>() {
        return Ok(FilePart::Bytes(bytes_of(part)?));
    }
    let (start, end): (u64, u64) = part.extract()?;
    Ok(FilePart::Range(start..end))
}

fn length_of(part: &FilePart) -> u64 {
    match part {
        FilePart::Bytes(bytes) => bytes.len() as u64,
        FilePart::Range(Range { start, end }) => end.saturating_sub(*start),
    }
}

/// As `open()` raises it.
fn error_of(py: Python<'_>, error: &io::Error, path: &PathBuf) -> PyErr {
    let Some(number) = error.raw_os_error() else { return PyOSError::new_err(error.to_string()) };
    let text = py.import("os").and_then(|os| os.call_method1("strerror", (number,))).map(Bound::unbind);
    match (text, path.into_pyobject(py)) {
        (Ok(text), Ok(path)) => match py.get_type::<PyOSError>().call1((number, text, path.into_any().str().ok())) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        },
        (Err(error), _) | (_, Err(error)) => error,
    }
}

/// Opens a file, on a thread.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Opening {
    path: PathBuf,
    wants: Wants,
    opened: Mutex<Opened>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    File,
    /// All of it at once if that is not much.
    Content,
}

#[derive(Default)]
enum Opened {
    #[default]
    Nothing,
    /// Nothing that has a length and places.
    Odd,
    Failed(io::Error),
    /// With its size.
    File(File, u64),
    Content(Bytes),
}

#[pymethods]
impl Opening {
    fn __call__(&self, py: Python<'_>) {
        if self.wants == Wants::Nothing {
            return;
        }
        let opened = py.detach(|| self.open().unwrap_or_else(Opened::Failed));
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = opened;
    }
}

impl Opening {
    fn open(&self) -> io::Result<Opened> {
        let found = std::fs::metadata(&self.path)?;
        if found.is_dir() {
            return Err(io::Error::from_raw_os_error(IS_A_DIRECTORY));
        }
        // To open a pipe would wait for its other end.
        if !found.is_file() {
            return Ok(Opened::Odd);
        }
        let mut file = File::open(&self.path)?;
        let size = file.metadata()?.len();
        if self.wants == Wants::File || size > SMALL {
            return Ok(Opened::File(file, size));
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        Read::by_ref(&mut file).take(SMALL + 1).read_to_end(&mut content)?;
        Ok(Opened::Content(content.into()))
    }

    fn take(&self) -> Opened {
        std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `EISDIR`, of Linux and of macOS.
const IS_A_DIRECTORY: i32 = 21;

/// A file up to this size, in bytes, is read where it is opened.
const SMALL: u64 = 64 * 1024;
