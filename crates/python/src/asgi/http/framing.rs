//! Whether what a response says of its length makes sense (RFC 9112 section 6).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The length that a response's headers announce, after a look whether they make sense (RFC 9112 section 6).
///
/// hyper writes what it is given, contradictions included. An encoding counts more than a length, as for requests, and the
/// only one that can be had is `chunked`.
pub(in crate::asgi) fn announced_length(headers: &mut HeaderMap) -> PyResult<Option<u64>> {
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(PyValueError::new_err("transfer-encoding other than chunked: the server frames the body"));
        }
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.remove(CONTENT_LENGTH);
        return Ok(None);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let length = content_length(first)?;
    let mut repeated = false;
    for other in lengths {
        if content_length(other)? != length {
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            return Err(PyValueError::new_err(format!("different values of content-length: {lengths:?}")));
        }
        repeated = true;
    }
    if repeated {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(Some(length))
}

/// Whether a response says its body's length, once and right, and no encoding: then there is nothing to be looked at.
pub(super) fn is_framed(headers: &[(HeaderName, HeaderValue)], length: usize) -> bool {
    let mut said = 0;
    for (name, value) in headers {
        if *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && content_length(value).ok() != Some(length as u64))
        {
            return false;
        }
        said += usize::from(*name == CONTENT_LENGTH);
    }
    said == 1
}

fn content_length(value: &HeaderValue) -> PyResult<u64> {
    value
        .to_str()
        .ok()
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| PyValueError::new_err(format!("invalid content-length {value:?}")))
}
