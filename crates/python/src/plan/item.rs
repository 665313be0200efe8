//! What a generator endpoint yields, as bytes of its response: lines of JSON, or server-sent events.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::json::{Encoder, Written};
use super::reply::{bytes_of, response_loc};
use super::runtime::Runtime;
use super::spec::StreamSpec;
use super::table::{Plan, Plans};
use super::value::call_validator;

/// How the values of a generator endpoint become a response.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) kind: StreamKind,
    /// An asynchronous generator.
    pub(crate) is_async: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// JSON, a value a line.
    Lines,
    /// Server-sent events.
    Events,
    /// Pieces for a response class to send.
    Raw,
}

impl Stream {
    pub(crate) fn new(spec: &StreamSpec) -> PyResult<Stream> {
        let kind = match spec.kind.as_str() {
            "lines" => StreamKind::Lines,
            "events" => StreamKind::Events,
            "raw" => StreamKind::Raw,
            other => return Err(PyValueError::new_err(format!("unknown kind of stream in a plan: {other}"))),
        };
        Ok(Stream { kind, is_async: spec.is_async })
    }
}

/// Writes the items of one response; a callable, for iterators in threads.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Items {
    pub(super) plans: Py<Plans>,
    pub(super) plan: Arc<Plan>,
    pub(super) kind: StreamKind,
    /// For error contexts.
    pub(super) method: String,
    pub(super) root_path: String,
}

#[pymethods]
impl Items {
    fn __call__<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(item.py(), &self.write(item)?))
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // The plan's own references are the table's to visit: twice would be once too often.
        visit.call(&self.plans)
    }
}

impl Items {
    /// The bytes that `item` is sent as.
    ///
    /// # Errors
    /// As FastAPI raises them: a `ResponseValidationError`, or what serializing raises.
    pub(super) fn write(&self, item: &Bound<'_, PyAny>) -> PyResult<Bytes> {
        let py = item.py();
        let mut out = Vec::with_capacity(128);
        if self.kind == StreamKind::Events {
            if self.is_event(item)? {
                return self.write_event(item);
            }
            out.extend_from_slice(DATA);
            self.data(item, &mut out)?;
            if out.contains(&b'\r') || out.contains(&b'\n') {
                // A serializer of the user's may write whatever it likes.
                let data = PyBytes::new(py, &out[DATA.len()..]).call_method1("decode", ("utf-8",))?;
                return self.format_in_python(py, Fields { data: Some(data), ..Fields::default() });
            }
            out.extend_from_slice(b"\n\n");
        } else {
            self.data(item, &mut out)?;
            out.push(b'\n');
        }
        Ok(out.into())
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn runtime(&self) -> &Runtime {
        &self.plans.get().runtime
    }

    /// FastAPI's `_serialize_data`.
    fn data(&self, item: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        let py = item.py();
        let answer = &self.plan().answer;
        if answer.field.is_none() {
            return self.json(item, out);
        }
        let value = self.validated(item)?;
        let bytes = answer.serialize(py, &value)?;
        match bytes.cast::<PyBytes>() {
            Ok(bytes) => out.extend_from_slice(bytes.as_bytes()),
            Err(_) => out.extend_from_slice(&bytes_of(&bytes)?),
        }
        Ok(())
    }

    fn validated<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = item.py();
        let answer = &self.plan().answer;
        let runtime = self.runtime();
        let errors = match &answer.validate {
            Some(validate) => match call_validator(py, runtime, validate, item) {
                Ok(value) => return Ok(value),
                Err(error) if error.is_instance(py, runtime.validation_error.bind(py)) => {
                    runtime.located_errors.bind(py).call1((error.into_value(py), response_loc(py)?))?
                }
                Err(error) => return Err(error),
            },
            None => {
                let result = runtime.validate_field.bind(py).call1((&answer.field, item, response_loc(py)?))?;
                let (value, errors): (Bound<'py, PyAny>, Bound<'py, PyAny>) = result.extract()?;
                if !errors.is_truthy()? {
                    return Ok(value);
                }
                errors
            }
        };
        let arguments = (&self.plan().route, errors, item, self.method.as_str(), self.root_path.as_str());
        Err(PyErr::from_value(runtime.response_validation_error.bind(py).call1(arguments)?))
    }

    /// JSON without a model.
    fn json(&self, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
        let py = value.py();
        let runtime = self.runtime();
        let start = out.len();
        if Encoder::of_items(out, runtime.jsonable_encoder.bind(py)).encode(value)? == Written::Unwritable {
            out.truncate(start);
            out.extend_from_slice(&bytes_of(&runtime.render_item.bind(py).call1((value,))?)?);
        }
        Ok(())
    }

    /// Whether it is a `ServerSentEvent`.
    fn is_event(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let class = self.runtime().server_sent_event.bind(item.py());
        // To ask a class of pydantic's costs more than to look at the usual types first.
        if item.get_type().is(class) {
            return Ok(true);
        }
        if is_plain(item) { Ok(false) } else { item.is_instance(class) }
    }

    /// FastAPI's `format_sse_event` of a `ServerSentEvent`.
    fn write_event<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Bytes> {
        let py = item.py();
        let some =
            |name: &Bound<'py, PyString>| PyResult::Ok(Some(item.getattr(name)?).filter(|value| !value.is_none()));
        let mut fields = Fields::default();
        if let Some(raw) = some(pyo3::intern!(py, "raw_data"))? {
            fields.data = Some(raw);
        } else if let Some(data) = some(pyo3::intern!(py, "data"))? {
            let dump = match is_plain(&data) {
                true => None,
                false => data.getattr_opt(pyo3::intern!(py, "model_dump_json"))?,
            };
            fields.data = Some(match dump {
                Some(dump) => dump.call0()?,
                None => {
                    let mut out = Vec::with_capacity(128);
                    self.json(&data, &mut out)?;
                    PyString::from_bytes(py, &out)?.into_any()
                }
            });
        }
        fields.event = some(pyo3::intern!(py, "event"))?;
        fields.id = some(pyo3::intern!(py, "id"))?;
        fields.retry = some(pyo3::intern!(py, "retry"))?;
        fields.comment = some(pyo3::intern!(py, "comment"))?;
        match fields.format() {
            Some(bytes) => Ok(bytes),
            None => self.format_in_python(py, fields),
        }
    }

    /// What is odd, and errors.
    fn format_in_python<'py>(&self, py: Python<'py>, fields: Fields<'py>) -> PyResult<Bytes> {
        let Fields { data, event, id, retry, comment } = fields;
        bytes_of(&self.runtime().format_event.bind(py).call1((data, event, id, retry, comment))?)
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields<'py> {
    data: Option<Bound<'py, PyAny>>,
    event: Option<Bound<'py, PyAny>>,
    id: Option<Bound<'py, PyAny>>,
    retry: Option<Bound<'py, PyAny>>,
    comment: Option<Bound<'py, PyAny>>,
}

impl Fields<'_> {
    /// The event's text; `None` if a field is not what its class says, or no text that can be sent.
    fn format(&self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(128);
        lines(&mut out, b": ", self.comment.as_ref(), Lines::Split)?;
        lines(&mut out, b"event: ", self.event.as_ref(), Lines::Whole)?;
        lines(&mut out, DATA, self.data.as_ref(), Lines::Split)?;
        lines(&mut out, b"id: ", self.id.as_ref(), Lines::Whole)?;
        if let Some(retry) = &self.retry {
            let milliseconds: i64 = retry.cast_exact::<PyInt>().ok()?.extract().ok()?;
            out.extend_from_slice(b"retry: ");
            out.extend_from_slice(itoa::Buffer::new().format(milliseconds).as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
        Some(out.into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// As many lines as the text has.
    Split,
    /// One, whatever is in it.
    Whole,
}

fn lines(out: &mut Vec<u8>, name: &[u8], value: Option<&Bound<'_, PyAny>>, how: Lines) -> Option<()> {
    let Some(value) = value else { return Some(()) };
    let text = value.cast_exact::<PyString>().ok()?.to_str().ok()?;
    if how == Lines::Whole || !text.contains(['\r', '\n']) {
        line(out, name, text);
        return Some(());
    }
    // CR LF is one end of a line, CR another.
    text.replace("\r\n", "\n").split(['\r', '\n']).for_each(|piece| line(out, name, piece));
    Some(())
}

fn line(out: &mut Vec<u8>, name: &[u8], text: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// Whether a value's type is one of Python's own.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyTuple>()
}

const DATA: &[u8] = b"data: ";
