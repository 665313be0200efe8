//! From what an endpoint returned to what goes out.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::item::Stream;
use super::json::{Encoder, Written};
use super::runtime::Runtime;
use super::spec::AnswerSpec;
use super::wire;
use crate::asgi::settings::header;

/// How an endpoint's value becomes a response.
pub(crate) struct Answer {
    pub(crate) kind: AnswerKind,
    /// The route's status; `None`: the class's own.
    pub(crate) status: Option<u16>,
    pub(crate) class: Py<PyAny>,
    /// The response model's field and `SchemaValidator.validate_python`, where there is one.
    pub(crate) field: Option<Py<PyAny>>,
    pub(crate) validate: Option<Py<PyAny>>,
    /// `SchemaSerializer.to_json`, or FastAPI's `field.serialize`.
    serialize: Option<Py<PyAny>>,
    options: Py<PyDict>,
    /// Validate in the thread pool, as for a `def` endpoint.
    pub(crate) in_thread: bool,
    /// The endpoint is a generator; all of the above is about its items.
    pub(crate) stream: Option<Stream>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// `JSONResponse` of what `jsonable_encoder` gives.
    Json,
    /// The response model's own JSON.
    Model,
    /// A response class that Python makes.
    Class,
    /// A WebSocket's: the endpoint says all itself.
    None,
}

impl Answer {
    pub(crate) fn new(spec: AnswerSpec) -> PyResult<Answer> {
        let kind = match spec.kind.as_str() {
            "json" => AnswerKind::Json,
            "model" => AnswerKind::Model,
            "class" => AnswerKind::Class,
            "none" => AnswerKind::None,
            other => return Err(PyValueError::new_err(format!("unknown kind of answer in a plan: {other}"))),
        };
        Ok(Answer {
            kind,
            status: spec.status,
            class: spec.class,
            field: spec.field,
            validate: spec.validate,
            serialize: spec.serialize,
            options: spec.options,
            in_thread: spec.in_thread,
            stream: spec.stream.as_ref().map(Stream::new).transpose()?,
        })
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.field)?;
        visit.call(&self.validate)?;
        visit.call(&self.serialize)?;
        visit.call(&self.options)
    }

    /// The bytes or the content that `value`, validated already, is serialized to.
    pub(crate) fn serialize<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let serialize = self.serialize.as_ref().expect("a response model comes with its serializer");
        serialize.bind(py).call((value,), Some(self.options.bind(py)))
    }
}

/// A response that is known as a whole.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// In the order in which they were given.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A JSON response as Starlette heads it: the length, then the type.
    pub(crate) fn json(status: StatusCode, body: Bytes) -> Reply {
        let mut headers = Vec::with_capacity(4);
        if !(status.is_informational() || matches!(status.as_u16(), 204 | 304)) {
            headers.push((CONTENT_LENGTH, length_value(body.len())));
        }
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        let body = if is_body_allowed(status.as_u16()) { body } else { Bytes::new() };
        Reply { status, headers, body }
    }

    /// Adds the headers of an injected `Response`, which may repeat what is there.
    pub(crate) fn add_headers(&mut self, raw: &Bound<'_, PyList>) -> PyResult<()> {
        self.headers.extend(raw_headers(raw)?);
        Ok(())
    }

    /// What a Starlette response object says, if it is one that sends itself in one piece.
    pub(crate) fn of_object(py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<Reply> {
        let status = response.getattr(pyo3::intern!(py, "status_code"))?.extract()?;
        let raw = response.getattr(pyo3::intern!(py, "raw_headers"))?;
        let headers = raw_headers(&raw)?;
        let body = bytes_of(&response.getattr(pyo3::intern!(py, "body"))?)?;
        Ok(Reply { status: status_code(status)?, headers, body })
    }

    /// Whether the names of its headers are in lower case, as Starlette's middleware expects them.
    pub(crate) fn has_plain_names(response: &Bound<'_, PyAny>) -> PyResult<bool> {
        for pair in response.getattr(pyo3::intern!(response.py(), "raw_headers"))?.try_iter()? {
            let (name, _) = pair?.extract::<(PyBackedBytes, Bound<'_, PyAny>)>()?;
            if name.iter().any(u8::is_ascii_uppercase) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As `http.response.start`.
    pub(crate) fn start_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = PyDict::new(py);
        message.set_item(pyo3::intern!(py, "type"), pyo3::intern!(py, "http.response.start"))?;
        message.set_item(pyo3::intern!(py, "status"), self.status.as_u16())?;
        let headers = wire::raw_headers(py, self.headers.iter().map(|(name, value)| (name, value)))?;
        message.set_item(pyo3::intern!(py, "headers"), headers)?;
        Ok(message)
    }

    /// As `http.response.body`.
    pub(crate) fn body_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = PyDict::new(py);
        message.set_item(pyo3::intern!(py, "type"), pyo3::intern!(py, "http.response.body"))?;
        message.set_item(pyo3::intern!(py, "body"), PyBytes::new(py, &self.body))?;
        Ok(message)
    }

    /// What FastAPI's own handler makes of an `HTTPException`; `None` where Python has to look.
    pub(crate) fn of_http_exception(
        py: Python<'_>,
        runtime: &Runtime,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Reply>> {
        let status: u16 = error.getattr(pyo3::intern!(py, "status_code"))?.extract()?;
        let given = error.getattr(pyo3::intern!(py, "headers"))?;
        let mut headers = Vec::with_capacity(8);
        if given.is_truthy()? {
            let Ok(given) = given.cast::<PyMapping>() else { return Ok(None) };
            for pair in given.items()? {
                let Ok((name, value)) = pair.extract::<(String, String)>() else { return Ok(None) };
                let (Some(name), Some(value)) = (latin1(&name.to_lowercase()), latin1(&value)) else { return Ok(None) };
                headers.push(header(&name, &value)?);
            }
        }
        if !is_body_allowed(status) || !(200..=999).contains(&status) {
            return Ok(None);
        }
        let detail = error.getattr(pyo3::intern!(py, "detail"))?;
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(b"{\"detail\":");
        if Encoder::new(&mut body, runtime.jsonable_encoder.bind(py)).encode_plain(&detail)? == Written::Unwritable {
            return Ok(None);
        }
        body.push(b'}');
        Ok(Some(Reply::with_headers(status_code(status)?, headers, body.into())))
    }

    /// What FastAPI's own handler makes of validation errors.
    pub(crate) fn of_validation_errors(
        py: Python<'_>,
        runtime: &Runtime,
        errors: &Bound<'_, PyList>,
    ) -> PyResult<Option<Reply>> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(b"{\"detail\":");
        if Encoder::new(&mut body, runtime.jsonable_encoder.bind(py)).encode(errors)? == Written::Unwritable {
            return Ok(None);
        }
        body.push(b'}');
        Ok(Some(Reply::json(StatusCode::UNPROCESSABLE_ENTITY, body.into())))
    }

    /// A JSON response with headers of its own, which come first and are not repeated.
    pub(crate) fn with_headers(status: StatusCode, mut headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) -> Reply {
        let given = |headers: &[(HeaderName, HeaderValue)], name| headers.iter().any(|(other, _)| *other == name);
        if !given(&headers, CONTENT_LENGTH) {
            headers.push((CONTENT_LENGTH, length_value(body.len())));
        }
        if !given(&headers, CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        Reply { status, headers, body }
    }
}

/// The body of a `JSONResponse` of any value.
pub(crate) fn encode_json(py: Python<'_>, runtime: &Runtime, value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    match try_encode_json(py, runtime, value)? {
        Some(body) => Ok(body),
        None => bytes_of(&runtime.render_json.bind(py).call1((value,))?),
    }
}

/// The same; `None` for what is better left to Python.
pub(crate) fn try_encode_json(py: Python<'_>, runtime: &Runtime, value: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    let mut body = Vec::with_capacity(128);
    let written = Encoder::new(&mut body, runtime.jsonable_encoder.bind(py)).encode(value)?;
    Ok((written == Written::Complete).then(|| body.into()))
}

/// The headers of a response object.
pub(crate) fn raw_headers(raw: &Bound<'_, PyAny>) -> PyResult<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::with_capacity(8);
    for pair in raw.try_iter()? {
        let (name, value) = pair?.extract::<(PyBackedBytes, PyBackedBytes)>()?;
        headers.push(header(&name, &value)?);
    }
    Ok(headers)
}

/// The value of `content-length`; small ones need no memory of their own.
fn length_value(length: usize) -> HeaderValue {
    static SMALL: OnceLock<Vec<HeaderValue>> = OnceLock::new();
    let small = SMALL.get_or_init(|| (0..4096).map(|length: usize| HeaderValue::from(length)).collect());
    small.get(length).cloned().unwrap_or_else(|| length.into())
}

/// The content of a bytes-like object; a big one is not copied.
pub(crate) fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    match object.cast::<PyBytes>() {
        Ok(bytes) if bytes.as_bytes().len() < SHARED_FROM => Ok(Bytes::copy_from_slice(bytes.as_bytes())),
        Ok(bytes) => Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone()))),
        Err(_) => {
            let bytes = object.py().get_type::<PyBytes>().call1((object,))?;
            Ok(Bytes::copy_from_slice(bytes.cast::<PyBytes>()?.as_bytes()))
        }
    }
}

/// As a `StatusCode`.
pub(crate) fn status_code(status: u16) -> PyResult<StatusCode> {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or_else(|| PyValueError::new_err(format!("{status} is not the status of a final response")))
}

/// FastAPI's `is_body_allowed_for_status_code`.
pub(crate) fn is_body_allowed(status: u16) -> bool {
    !(status < 200 || matches!(status, 204 | 205 | 304))
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// The location of errors in what an endpoint returned.
pub(crate) fn response_loc(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, [PyString::intern(py, "response")])
}

const SHARED_FROM: usize = 8192;
