//! Starlette's `SessionMiddleware`: its own code opens a session and writes its cookie, where there is anything to do.

use http::header::COOKIE;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::{Headers, Incoming, Seen, Verdict};
use crate::plan::reply::raw_headers;
use crate::plan::wire;

/// The functions are those of `overdrive.compiler.sessions`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Sessions {
    /// The name of the cookie.
    cookie: String,
    /// `(middleware, scope)`
    open: Py<PyAny>,
    /// `(middleware, scope, headers of the answer, headers of the request) -> headers`
    add: Py<PyAny>,
}

impl Sessions {
    /// Lets all pass but a cookie that the middleware fails on.
    pub(super) fn ahead(&self, py: Python<'_>, middleware: &Py<PyAny>, request: &dyn Incoming) -> PyResult<Verdict> {
        let name = self.cookie.as_bytes();
        let is_here = |value: &[u8]| name.is_empty() || value.windows(name.len()).any(|part| part == name);
        if !request.headers().get_all(COOKIE).iter().any(|value| is_here(value.as_bytes())) {
            return Ok(Verdict::Pass);
        }
        Ok(match self.open.bind(py).call1((middleware, request.scope(py)?)) {
            Ok(_) => Verdict::Pass,
            Err(_) => Verdict::Stock,
        })
    }

    /// Opens the session.
    pub(super) fn enter(&self, py: Python<'_>, middleware: &Py<PyAny>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        self.open.bind(py).call1((middleware, scope)).map(drop)
    }

    /// Adds what the session has to say to an answer.
    pub(super) fn behind(
        &self,
        py: Python<'_>,
        middleware: &Py<PyAny>,
        seen: &Seen<'_>,
        headers: &mut Headers,
    ) -> PyResult<()> {
        if let Some(session) = seen.scope.get_item(pyo3::intern!(py, "session"))?
            && is_false(&session, pyo3::intern!(py, "accessed"))
            && is_false(&session, pyo3::intern!(py, "modified"))
        {
            return Ok(());
        }
        let given = wire::raw_headers(py, headers.iter().map(|(name, value)| (name, value)))?;
        let added = self.add.bind(py).call1((middleware, &seen.scope, given, &seen.headers))?;
        *headers = raw_headers(&added)?;
        Ok(())
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.open)?;
        visit.call(&self.add)
    }
}

fn is_false(session: &Bound<'_, PyAny>, attribute: &Bound<'_, PyString>) -> bool {
    session.getattr(attribute).is_ok_and(|value| value.is_truthy().is_ok_and(|value| !value))
}
