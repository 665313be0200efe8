//! Reading the messages that an application sends. Errors are raised in the application and say what was expected.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};

use super::settings::header;

/// A message: a dict, or anything that can be made one.
pub(crate) struct Message<'py>(Bound<'py, PyDict>);

impl<'py> Message<'py> {
    pub(crate) fn new(message: &Bound<'py, PyAny>) -> PyResult<Message<'py>> {
        if let Ok(dict) = message.cast::<PyDict>() {
            return Ok(Message(dict.clone()));
        }
        let Ok(mapping) = message.cast::<PyMapping>() else {
            return Err(PyTypeError::new_err(format!("an ASGI message is a dict, not {}", type_name(message))));
        };
        let dict = PyDict::new(message.py());
        dict.update(mapping)?;
        Ok(Message(dict))
    }

    pub(crate) fn py(&self) -> Python<'py> {
        self.0.py()
    }

    /// The message itself.
    pub(crate) fn dict(&self) -> &Bound<'py, PyDict> {
        &self.0
    }

    /// The message's type.
    pub(crate) fn kind(&self, key: &Py<PyString>) -> PyResult<Bound<'py, PyString>> {
        let kind = self.required(key)?;
        kind.cast_into().map_err(|error| wrong_type("type", "str", &error.into_inner()))
    }

    pub(crate) fn get(&self, key: &Py<PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.get_item(key)
    }

    /// As [`Message::get`], with `None` taken for absent.
    pub(crate) fn given(&self, key: &Py<PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(key)?.filter(|value| !value.is_none()))
    }

    pub(crate) fn required(&self, key: &Py<PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.0.get_item(key)?.ok_or_else(|| PyKeyError::new_err(key.clone_ref(self.0.py())))
    }

    pub(crate) fn flag(&self, key: &Py<PyString>) -> PyResult<bool> {
        self.get(key)?.map_or(Ok(false), |value| value.is_truthy())
    }

    /// A byte string; absent is empty.
    pub(crate) fn bytes(&self, key: &Py<PyString>) -> PyResult<Bytes> {
        match self.get(key)? {
            None => Ok(Bytes::new()),
            Some(value) => to_bytes(&value, key),
        }
    }

    pub(crate) fn string(&self, key: &Py<PyString>) -> PyResult<Option<String>> {
        match self.given(key)? {
            None => Ok(None),
            Some(value) => value.extract().map(Some).map_err(|_| wrong_type(&key.to_string(), "str", &value)),
        }
    }

    /// The headers, an iterable of pairs of byte strings; each is given to `add`.
    pub(crate) fn each_header(
        &self,
        key: &Py<PyString>,
        mut add: impl FnMut(HeaderName, HeaderValue) -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(headers) = self.given(key)? else {
            return Ok(());
        };
        if let Ok(list) = headers.cast::<PyList>() {
            // Not the list's iterator: this is what everybody sends, at every response.
            return (0..list.len()).try_for_each(|place| each_pair(&list.get_item(place)?, &mut add));
        }
        headers.try_iter()?.try_for_each(|pair| each_pair(&pair?, &mut add))
    }

    pub(crate) fn headers(&self, key: &Py<PyString>) -> PyResult<HeaderMap> {
        let mut map = HeaderMap::new();
        self.each_header(key, |name, value| {
            map.append(name, value);
            Ok(())
        })?;
        Ok(map)
    }
}

/// A message of a type that has no place here.
pub(crate) fn unexpected(expected: &str, got: &Bound<'_, PyString>) -> PyErr {
    PyRuntimeError::new_err(format!("Expected ASGI message {expected}, but got '{got}'."))
}

/// A message after the last one.
pub(crate) fn too_late(got: &Bound<'_, PyString>, after: &str) -> PyErr {
    PyRuntimeError::new_err(format!("Unexpected ASGI message '{got}' sent, after {after}."))
}

/// One header: a pair of byte strings, as any iterable of two.
fn each_pair(pair: &Bound<'_, PyAny>, add: &mut impl FnMut(HeaderName, HeaderValue) -> PyResult<()>) -> PyResult<()> {
    if let Ok(tuple) = pair.cast::<PyTuple>()
        && tuple.len() == 2
        && let (name, value) = (tuple.get_borrowed_item(0)?, tuple.get_borrowed_item(1)?)
        && let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>())
    {
        let (name, value) = header(name.as_bytes(), value.as_bytes())?;
        return add(name, value);
    }
    let mut items = pair.try_iter()?;
    let (Some(name), Some(value), None) = (items.next(), items.next(), items.next()) else {
        return Err(wrong_type("headers", "pairs of bytes", pair));
    };
    let (name, value) = (name?, value?);
    let (Ok(name_bytes), Ok(value_bytes)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) else {
        let wrong = if name.is_instance_of::<PyBytes>() { &value } else { &name };
        return Err(wrong_type("headers", "pairs of bytes", wrong));
    };
    let (name, value) = header(name_bytes.as_bytes(), value_bytes.as_bytes())?;
    add(name, value)
}

fn to_bytes(value: &Bound<'_, PyAny>, key: &Py<PyString>) -> PyResult<Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let content = bytes.as_bytes();
        if content.len() < SHARED_FROM {
            return Ok(Bytes::copy_from_slice(content));
        }
        // The object itself goes out, and is kept until it has.
        return Ok(Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
    }
    if let Ok(array) = value.cast::<PyByteArray>() {
        return Ok(Bytes::from(array.to_vec()));
    }
    if value.is_instance(&value.py().import("builtins")?.getattr("memoryview")?)? {
        let bytes = value.call_method0("tobytes")?;
        return to_bytes(&bytes, key);
    }
    Err(wrong_type(&key.to_string(), "bytes", value))
}

fn wrong_type(key: &str, wanted: &str, got: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("'{key}' of an ASGI message must be {wanted}, not {}", type_name(got)))
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string())
}

/// From this size on a body is not copied.
const SHARED_FROM: usize = 8192;
