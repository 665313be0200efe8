//! JSON as FastAPI answers with it where no response model says otherwise: the bytes of `json.dumps(jsonable_encoder(value),
//! ensure_ascii=False, allow_nan=False, separators=(",", ":"))`; in streams those of `json.dumps(jsonable_encoder(value))`, with
//! `null` for numbers that are not finite.
//!
//! Exact builtin types are written here; runs of nothing but them call no Python code. Anything else (models, dates, enums,
//! subclasses) is given to the application's `jsonable_encoder`, value by value in FastAPI's order, and what it returns is
//! written. What cannot be written (NaN, a lone surrogate, a number beyond Python's digit limit, nesting without end) is left
//! to Python altogether, which knows the words of the error.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::host::ffi;

/// How writing ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The output holds the text.
    Complete,
    /// Python has to do it, errors included; the output is worthless. No code of the application's has run.
    Unwritable,
}

/// Writes values.
pub(crate) struct Encoder<'a, 'py> {
    py: Python<'py>,
    out: &'a mut Vec<u8>,
    /// FastAPI's `jsonable_encoder`.
    jsonable: &'a Bound<'py, PyAny>,
    /// `jsonable_encoder` has been called: from here on errors are raised rather than left to a second try.
    called: bool,
    style: Style,
}

/// The options of `json.dumps`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Those of a `JSONResponse`.
    Compact,
    /// Its own.
    Default,
}

impl<'a, 'py> Encoder<'a, 'py> {
    pub(crate) fn new(out: &'a mut Vec<u8>, jsonable: &'a Bound<'py, PyAny>) -> Encoder<'a, 'py> {
        Encoder { py: jsonable.py(), out, jsonable, called: false, style: Style::Compact }
    }

    /// For the items of a stream.
    pub(crate) fn of_items(out: &'a mut Vec<u8>, jsonable: &'a Bound<'py, PyAny>) -> Encoder<'a, 'py> {
        Encoder { py: jsonable.py(), out, jsonable, called: false, style: Style::Default }
    }

    /// Writes `value` as FastAPI would encode it.
    ///
    /// # Errors
    /// What `jsonable_encoder` raises.
    pub(crate) fn encode(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Written> {
        self.run(value, Pass::Raw)
    }

    /// Writes `value` as `json.dumps` would.
    ///
    /// # Errors
    /// None of its own: what is not plain is unwritable.
    pub(crate) fn encode_plain(&mut self, value: &Bound<'py, PyAny>) -> PyResult<Written> {
        self.run(value, Pass::Encoded)
    }

    fn run(&mut self, value: &Bound<'py, PyAny>, pass: Pass) -> PyResult<Written> {
        match self.value(value, pass, 0) {
            Ok(()) => Ok(Written::Complete),
            Err(Failure::Raised(error)) => Err(error),
            Err(Failure::Unwritable) if !self.called => Ok(Written::Unwritable),
            Err(Failure::Unwritable) => {
                // The application's own code has run for a part of it and must not run twice for the same answer.
                Err(pyo3::exceptions::PyValueError::new_err("the response is not JSON compliant"))
            }
        }
    }

    fn value(&mut self, value: &Bound<'py, PyAny>, pass: Pass, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Err(Failure::Unwritable);
        }
        if let Ok(text) = value.cast_exact::<PyString>() {
            return self.string(text);
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            return self.dict(dict, pass, depth);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            self.out.push(b'[');
            // By index: the encoder of an item may change the list.
            let mut place = 0;
            while place < list.len() {
                if place > 0 {
                    self.comma();
                }
                self.value(&list.get_item(place)?, pass, depth + 1)?;
                place += 1;
            }
            self.out.push(b']');
            return Ok(());
        }
        if value.is_exact_instance_of::<PyInt>() {
            return self.int(value);
        }
        if value.is_none() {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
            return Ok(());
        }
        if let Ok(float) = value.cast_exact::<PyFloat>() {
            return self.float(float.value());
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.out.push(b'[');
            for (place, item) in tuple.iter().enumerate() {
                if place > 0 {
                    self.comma();
                }
                self.value(&item, pass, depth + 1)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        match pass {
            Pass::Raw => self.through_jsonable(value, depth),
            Pass::Encoded => self.subclass(value),
        }
    }

    /// What FastAPI makes of a value, which are plain values.
    fn through_jsonable(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Result<(), Failure> {
        self.called = true;
        let plain = self.jsonable.call1((value,))?;
        self.value(&plain, Pass::Encoded, depth + 1)
    }

    /// A subclass that `jsonable_encoder` lets pass; `json.dumps` looks at what it inherits only.
    fn subclass(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Failure> {
        if let Ok(text) = value.cast::<PyString>() {
            self.string(text)
        } else if value.is_instance_of::<PyInt>() {
            self.int(value)
        } else if let Ok(float) = value.cast::<PyFloat>() {
            self.float(float.value())
        } else {
            Err(Failure::Unwritable)
        }
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, pass: Pass, depth: usize) -> Result<(), Failure> {
        if pass == Pass::Raw && !dict.iter().all(|(key, _)| is_plain_key(&key)) {
            return self.through_jsonable(dict, depth);
        }
        self.out.push(b'{');
        let mut first = true;
        for (key, value) in dict.iter() {
            let text = key.cast_exact::<PyString>().ok();
            // FastAPI leaves out what SQLAlchemy keeps beside a row's values.
            if pass == Pass::Raw
                && let Some(text) = text
                && text.to_str().is_ok_and(|text| text.starts_with("_sa"))
            {
                continue;
            }
            if !first {
                self.comma();
            }
            first = false;
            match text {
                Some(text) => self.string(text)?,
                None => self.key(&key)?,
            }
            self.out.extend_from_slice(if self.style == Style::Compact { b":" } else { b": " });
            self.value(&value, pass, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// A key that is not exactly a string.
    fn key(&mut self, key: &Bound<'py, PyAny>) -> Result<(), Failure> {
        if let Ok(text) = key.cast::<PyString>() {
            return self.string(text);
        }
        self.out.push(b'"');
        if key.is_none() {
            self.out.extend_from_slice(b"null");
        } else if let Ok(truth) = key.cast_exact::<PyBool>() {
            self.out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
        } else if self.style == Style::Default
            && let Ok(float) = key.cast::<PyFloat>()
            && !float.value().is_finite()
        {
            // As a key it stays.
            let text = match float.value() {
                value if value.is_nan() => &b"NaN"[..],
                value if value > 0.0 => b"Infinity",
                _ => b"-Infinity",
            };
            self.out.extend_from_slice(text);
        } else {
            self.subclass(key)?;
        }
        self.out.push(b'"');
        Ok(())
    }

    fn comma(&mut self) {
        self.out.extend_from_slice(if self.style == Style::Compact { b"," } else { b", " });
    }

    fn string(&mut self, text: &Bound<'py, PyString>) -> Result<(), Failure> {
        match (text.to_str(), self.style) {
            (Ok(text), Style::Compact) => write_string(self.out, text),
            (Ok(text), Style::Default) => write_ascii_string(self.out, text),
            // A lone surrogate has no UTF-8; the error's position is one of the whole text, which Python knows.
            (Err(_), Style::Compact) => return Err(Failure::Unwritable),
            (Err(_), Style::Default) => {
                let encoder = self.py.import("json.encoder")?;
                let text = encoder.call_method1("encode_basestring_ascii", (text,))?;
                self.out.extend_from_slice(text.cast::<PyString>().map_err(PyErr::from)?.to_str()?.as_bytes());
            }
        }
        Ok(())
    }

    fn int(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Failure> {
        if let Ok(small) = value.extract::<i64>() {
            self.out.extend_from_slice(itoa::Buffer::new().format(small).as_bytes());
            return Ok(());
        }
        let int = self.py.get_type::<PyInt>();
        let text = int.call_method1("__repr__", (value,)).map_err(|_| Failure::Unwritable)?;
        let text = text.cast_into::<PyString>().map_err(PyErr::from)?;
        self.out.extend_from_slice(text.to_str()?.as_bytes());
        Ok(())
    }

    fn float(&mut self, value: f64) -> Result<(), Failure> {
        if !value.is_finite() {
            if self.style == Style::Compact {
                return Err(Failure::Unwritable);
            }
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        ffi::write_float(self.py, value, self.out)?;
        Ok(())
    }
}

/// A key that `jsonable_encoder` leaves as it is.
fn is_plain_key(key: &Bound<'_, PyAny>) -> bool {
    key.is_exact_instance_of::<PyString>()
        || key.is_none()
        || key.is_exact_instance_of::<PyBool>()
        || key.is_exact_instance_of::<PyInt>()
        || key.is_exact_instance_of::<PyFloat>()
}

/// Whether a value has been through `jsonable_encoder`, which is what drops keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Raw,
    Encoded,
}

enum Failure {
    Unwritable,
    Raised(PyErr),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Raised(error)
    }
}

/// A JSON string, with no other escapes than those which JSON demands.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (place, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[plain..place]);
        plain = place + 1;
        if escape == b'u' {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

/// A JSON string of nothing but ASCII.
fn write_ascii_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte < 0x7f) {
        return write_string(out, text);
    }
    out.push(b'"');
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            ' '..='~' if !matches!(character, '"' | '\\') => out.push(character as u8),
            '\0'..='~' => {
                let escape = ESCAPES[character as usize];
                if escape == b'u' { write_unit(out, character as u16) } else { out.extend_from_slice(&[b'\\', escape]) }
            }
            _ => character.encode_utf16(&mut units).iter().for_each(|unit| write_unit(out, *unit)),
        }
    }
    out.push(b'"');
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[usize::from(unit >> shift & 15)]);
    }
}

/// Beyond this Python's own recursion limit decides, and its error.
const MAX_DEPTH: usize = 200;
const HEX: [u8; 16] = *b"0123456789abcdef";

/// What follows the backslash; 0: nothing to escape; `u`: four hexadecimal digits.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};
