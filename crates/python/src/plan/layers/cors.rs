//! Starlette's `CORSMiddleware`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::{PyTraverseError, PyVisit};

use super::{Headers, Incoming, Reply, Verdict, add_vary, header, latin1, set};

/// The attributes of the object.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Cors {
    /// The application's own collection, which it may change.
    allow_origins: Py<PyAny>,
    allow_methods: Py<PyAny>,
    /// In lower case.
    allow_headers: Vec<String>,
    allow_all_origins: bool,
    allow_all_headers: bool,
    allow_credentials: bool,
    preflight_explicit_allow_origin: bool,
    allow_origin_regex: Option<Py<PyAny>>,
    allow_private_network: bool,
    simple_headers: RawHeaders,
    preflight_headers: RawHeaders,
}

impl Cors {
    /// Answers a preflight.
    pub(super) fn ahead(&self, py: Python<'_>, request: &dyn Incoming) -> PyResult<Verdict> {
        if request.method() != "OPTIONS" {
            return Ok(Verdict::Pass);
        }
        let given = request.headers();
        let (Some(origin), Some(method)) = (given.get(ORIGIN), given.get(ACCESS_CONTROL_REQUEST_METHOD)) else {
            return Ok(Verdict::Pass);
        };
        let requested = given.get(ACCESS_CONTROL_REQUEST_HEADERS);
        if requested.is_some_and(|names| names.to_str().is_err()) {
            // What their lower case is only Python knows.
            return Ok(Verdict::Ask);
        }
        let mut headers = self.preflight_headers.0.clone();
        let mut failures = Vec::new();
        if !self.allows(py, origin)? {
            failures.push("origin");
        } else if self.preflight_explicit_allow_origin {
            set(&mut headers, &ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if !self.allow_methods.bind(py).contains(latin1(py, method))? {
            failures.push("method");
        }
        if let Some(requested) = requested {
            if self.allow_all_headers {
                set(&mut headers, &ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
            } else if !self.allows_headers(requested.to_str().expect("looked at above")) {
                failures.push("headers");
            }
        }
        if given.contains_key(REQUEST_PRIVATE_NETWORK) {
            if self.allow_private_network {
                set(&mut headers, &ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
            } else {
                failures.push("private-network");
            }
        }
        let (status, text) = match failures.is_empty() {
            true => (StatusCode::OK, "OK".to_owned()),
            false => (StatusCode::BAD_REQUEST, format!("Disallowed CORS {}", failures.join(", "))),
        };
        headers.push((CONTENT_LENGTH, text.len().into()));
        headers.push((CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")));
        Ok(Verdict::Answer(Reply { status, headers, body: text.into() }))
    }

    fn allows_headers(&self, requested: &str) -> bool {
        requested.split(',').all(|name| self.allow_headers.contains(&name.trim().to_ascii_lowercase()))
    }

    fn allows(&self, py: Python<'_>, origin: &HeaderValue) -> PyResult<bool> {
        if self.allow_all_origins {
            return Ok(true);
        }
        let origin = latin1(py, origin);
        if let Some(regex) = &self.allow_origin_regex
            && regex.bind(py).call_method1(pyo3::intern!(py, "fullmatch"), (&origin,))?.is_truthy()?
        {
            return Ok(true);
        }
        self.allow_origins.bind(py).contains(origin)
    }

    /// Adds to the head of an answer.
    pub(super) fn behind(&self, py: Python<'_>, request: &HeaderMap, headers: &mut Headers) -> PyResult<()> {
        let Some(origin) = request.get(ORIGIN) else {
            add_vary(headers, "Origin");
            return Ok(());
        };
        for (name, value) in &self.simple_headers.0 {
            set(headers, name, value.clone());
        }
        let explicit = match self.allow_all_origins {
            true => self.allow_credentials,
            false => self.allows(py, origin)?,
        };
        if explicit {
            set(headers, &ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        add_vary(headers, "Origin");
        Ok(())
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.allow_origins)?;
        visit.call(&self.allow_methods)?;
        visit.call(&self.allow_origin_regex)
    }
}

/// Headers that are the same every time.
struct RawHeaders(Headers);

impl<'py> FromPyObject<'_, 'py> for RawHeaders {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<RawHeaders> {
        let raw: Vec<(PyBackedBytes, PyBackedBytes)> = object.extract()?;
        Ok(RawHeaders(raw.iter().map(|(name, value)| header(name, value)).collect::<PyResult<_>>()?))
    }
}

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
