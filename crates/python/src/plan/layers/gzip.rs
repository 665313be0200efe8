//! Starlette's `GZipMiddleware`, with Python's own zlib: the bytes are the same.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{Reply, add_vary, latin1, set};

pub(super) struct Gzip {
    minimum_size: usize,
    /// From this size on a thread compresses.
    thread_minimum_size: usize,
    level: Py<PyAny>,
    /// Types without parameters, in lower case.
    excluded: Vec<String>,
    /// `zlib.compressobj`
    compressor: Py<PyAny>,
}

impl Gzip {
    pub(super) fn new(options: &Bound<'_, PyDict>) -> PyResult<Gzip> {
        let py = options.py();
        let option = |name: &str| options.as_any().get_item(name);
        let size = |name: &str| PyResult::Ok(usize::try_from(option(name)?.extract::<i64>()?).unwrap_or_default());
        Ok(Gzip {
            minimum_size: size("minimum_size")?,
            thread_minimum_size: size("thread_minimum_size")?,
            level: option("compresslevel")?.unbind(),
            excluded: option("exclude_content_types")?.extract()?,
            compressor: py.import("zlib")?.getattr("compressobj")?.unbind(),
        })
    }

    /// Whether a body of this length is not for the loop's own thread.
    pub(super) fn takes_thread(&self, length: usize) -> bool {
        length >= self.thread_minimum_size
    }

    /// Compresses an answer, if it is one to be compressed.
    pub(super) fn behind(&self, py: Python<'_>, request: &HeaderMap, reply: &mut Reply) -> PyResult<()> {
        let has_encoding = reply.headers.iter().any(|(name, _)| name == CONTENT_ENCODING);
        let given = reply.headers.iter().find(|(name, _)| name == CONTENT_TYPE);
        if has_encoding
            || reply.status == StatusCode::PARTIAL_CONTENT
            || reply.body.len() < self.minimum_size
            || self.excludes(py, given.map(|(_, value)| value))?
        {
            return Ok(());
        }
        add_vary(&mut reply.headers, "Accept-Encoding");
        let accepted = request.get(ACCEPT_ENCODING).map_or(b"".as_slice(), HeaderValue::as_bytes);
        if !accepted.windows(4).any(|part| part == b"gzip") {
            return Ok(());
        }
        let compressed = self.compress(py, &reply.body)?;
        set(&mut reply.headers, &CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        set(&mut reply.headers, &CONTENT_LENGTH, compressed.len().into());
        reply.body = compressed.into();
        Ok(())
    }

    /// Whether answers of a type stay as they are.
    pub(super) fn excludes(&self, py: Python<'_>, content_type: Option<&HeaderValue>) -> PyResult<bool> {
        let text = match content_type {
            Some(value) => latin1(py, value).to_string(),
            None => String::new(),
        };
        let kind = text.split(';').next().unwrap_or_default().trim().to_lowercase();
        let family = kind.split('/').next().unwrap_or_default();
        Ok(self.excluded.iter().any(|excluded| {
            *excluded == kind
                || excluded.strip_suffix("/*").is_some_and(|excluded| excluded == family)
                || (excluded == "application/grpc" && kind.starts_with("application/grpc+"))
        }))
    }

    /// As a single stream.
    fn compress(&self, py: Python<'_>, body: &[u8]) -> PyResult<Vec<u8>> {
        let compressor = self.compressor.bind(py).call1((&self.level, DEFLATED, GZIP_WINDOW))?;
        let first = compressor.call_method1(pyo3::intern!(py, "compress"), (PyBytes::new(py, body),))?;
        let rest = compressor.call_method0(pyo3::intern!(py, "flush"))?;
        let mut bytes = first.cast::<PyBytes>()?.as_bytes().to_vec();
        bytes.extend_from_slice(rest.cast::<PyBytes>()?.as_bytes());
        Ok(bytes)
    }
}

/// `zlib.DEFLATED`
const DEFLATED: u8 = 8;
/// The largest window, with gzip's header around it.
const GZIP_WINDOW: u8 = 16 + 15;
