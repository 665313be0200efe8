//! Starlette's own middleware, applied to the answers of plans.
//!
//! A layer may answer a request before anything else sees it ([`Layers::ahead`]), and may change what an answer's head and
//! body are ([`Layers::behind`]), each in the order of the application's stack. What is not in one piece, or what takes a
//! thread, goes through the middleware objects themselves (`overdrive.compiler.middleware.Passage`).

mod cors;
mod gzip;
mod hosts;
mod sessions;

use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use self::cors::Cors;
use self::gzip::Gzip;
use self::hosts::Hosts;
use self::sessions::Sessions;
use super::reply::{Reply, status_code};
use crate::asgi::settings::header;

/// The layers of an application's stack, the outermost first.
pub(crate) struct Layers {
    layers: Vec<(Kind, Py<PyAny>)>,
    /// `(middleware, scope) -> (status, headers, body) | None`
    answer_of: Py<PyAny>,
}

enum Kind {
    Cors(Box<Cors>),
    Gzip(Gzip),
    Hosts(Hosts),
    /// Redirects to HTTPS.
    Https,
    Sessions(Sessions),
}

/// A request before it is anybody's.
pub(crate) trait Incoming {
    fn method(&self) -> &str;
    fn headers(&self) -> &HeaderMap;
    /// The scope's `scheme`; `None` if only the scope can tell.
    fn scheme(&self) -> Option<&str>;
    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>>;
}

/// A scope that code of the user's may have seen, and the headers that it came with.
pub(crate) struct Seen<'py> {
    pub(crate) scope: Bound<'py, PyDict>,
    pub(crate) headers: Bound<'py, PyAny>,
}

/// What a layer says to a request.
enum Verdict {
    Pass,
    Answer(Reply),
    /// Its own code has to say.
    Ask,
    /// The request is one for the layers' own code.
    Stock,
}

/// See `overdrive.compiler.middleware.Layer`.
#[derive(FromPyObject)]
pub(crate) struct LayerSpec {
    kind: String,
    middleware: Py<PyAny>,
    options: Py<PyDict>,
}

impl Layers {
    pub(crate) fn new(py: Python<'_>, specs: Vec<LayerSpec>) -> PyResult<Layers> {
        let mut layers = Vec::with_capacity(specs.len());
        for spec in specs {
            let options = spec.options.bind(py);
            let kind = match spec.kind.as_str() {
                "cors" => Kind::Cors(Box::new(options.as_any().extract::<Cors>()?)),
                "gzip" => Kind::Gzip(Gzip::new(options)?),
                "hosts" => Kind::Hosts(options.as_any().extract()?),
                "https" => Kind::Https,
                "sessions" => Kind::Sessions(options.as_any().extract()?),
                other => return Err(PyValueError::new_err(format!("unknown kind of layer: {other}"))),
            };
            layers.push((kind, spec.middleware));
        }
        let answer_of = match layers.is_empty() {
            true => py.None(),
            false => py.import("overdrive.compiler.middleware")?.getattr("answer_of")?.unbind(),
        };
        Ok(Layers { layers, answer_of })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The answer of a layer to a request that it does not let through, as it leaves the layers around it.
    ///
    /// `Err(None)`: the request is one for the layers' own code.
    pub(crate) fn ahead(&self, py: Python<'_>, request: &dyn Incoming) -> Result<Option<Reply>, Option<PyErr>> {
        for (index, (kind, middleware)) in self.layers.iter().enumerate() {
            let verdict = match kind {
                Kind::Cors(cors) => cors.ahead(py, request)?,
                Kind::Gzip(_) => Verdict::Pass,
                Kind::Hosts(hosts) => hosts.ahead(request.headers()),
                Kind::Https => match request.scheme() {
                    Some("https") => Verdict::Pass,
                    _ => Verdict::Ask,
                },
                Kind::Sessions(sessions) => sessions.ahead(py, middleware, request)?,
            };
            let answer = match verdict {
                Verdict::Stock => return Err(None),
                Verdict::Pass => None,
                Verdict::Answer(reply) => Some(reply),
                Verdict::Ask => self.ask(py, middleware, request)?,
            };
            if let Some(mut reply) = answer {
                let outside = &self.layers[..index];
                return match apply(py, outside, request.headers(), None, &mut reply)? {
                    true => Ok(Some(reply)),
                    false => Err(None),
                };
            }
        }
        Ok(None)
    }

    /// What a middleware itself answers.
    fn ask(&self, py: Python<'_>, middleware: &Py<PyAny>, request: &dyn Incoming) -> PyResult<Option<Reply>> {
        type Answered = Option<(u16, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>)>;
        let answered: Answered = self.answer_of.bind(py).call1((middleware, request.scope(py)?))?.extract()?;
        let Some((status, given, body)) = answered else { return Ok(None) };
        let headers = given.iter().map(|(name, value)| header(name, value)).collect::<PyResult<_>>()?;
        Ok(Some(Reply { status: status_code(status)?, headers, body: body.into() }))
    }

    /// Lets an answer pass outwards. False, with the answer as it was, if it takes the middleware's own code.
    ///
    /// `seen`: the scope, and the headers that it came with, where somebody has seen it.
    pub(crate) fn behind(
        &self,
        py: Python<'_>,
        request: &HeaderMap,
        seen: Option<&Seen<'_>>,
        reply: &mut Reply,
    ) -> PyResult<bool> {
        apply(py, &self.layers, request, seen, reply)
    }

    /// Adds to a new scope what the layers put there.
    pub(crate) fn enter(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        for (kind, middleware) in &self.layers {
            if let Kind::Sessions(sessions) = kind {
                sessions.enter(py, middleware, scope)?;
            }
        }
        Ok(())
    }

    /// Whether the layers do nothing to an answer of this type that comes in pieces, but to its head.
    pub(crate) fn leaves_pieces(&self, py: Python<'_>, content_type: Option<&HeaderValue>) -> PyResult<bool> {
        for (kind, _) in &self.layers {
            if let Kind::Gzip(gzip) = kind
                && !gzip.excludes(py, content_type)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets the head of such an answer pass outwards.
    pub(crate) fn on_head(
        &self,
        py: Python<'_>,
        request: &HeaderMap,
        seen: Option<&Seen<'_>>,
        headers: &mut Headers,
    ) -> PyResult<()> {
        self.layers.iter().rev().try_for_each(|(kind, middleware)| match kind {
            Kind::Cors(cors) => cors.behind(py, request, headers),
            Kind::Sessions(sessions) => seen.map_or(Ok(()), |seen| sessions.behind(py, middleware, seen, headers)),
            Kind::Gzip(_) | Kind::Hosts(_) | Kind::Https => Ok(()),
        })
    }

    /// For the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.layers.iter().try_for_each(|(kind, middleware)| {
            visit.call(middleware)?;
            match kind {
                Kind::Cors(cors) => cors.traverse(visit),
                Kind::Sessions(sessions) => sessions.traverse(visit),
                _ => Ok(()),
            }
        })
    }
}

fn apply(
    py: Python<'_>,
    layers: &[(Kind, Py<PyAny>)],
    request: &HeaderMap,
    seen: Option<&Seen<'_>>,
    reply: &mut Reply,
) -> PyResult<bool> {
    let takes_thread = |(kind, _): &(Kind, _)| matches!(kind, Kind::Gzip(gzip) if gzip.takes_thread(reply.body.len()));
    if layers.iter().any(takes_thread) {
        return Ok(false);
    }
    for (kind, middleware) in layers.iter().rev() {
        match kind {
            Kind::Cors(cors) => cors.behind(py, request, &mut reply.headers)?,
            Kind::Gzip(gzip) => gzip.behind(py, request, reply)?,
            Kind::Sessions(sessions) => {
                if let Some(seen) = seen {
                    sessions.behind(py, middleware, seen, &mut reply.headers)?;
                }
            }
            Kind::Hosts(_) | Kind::Https => {}
        }
    }
    Ok(true)
}

pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// Sets a header in its first place, or at the end; there is one of it then (Starlette's `MutableHeaders.__setitem__`).
fn set(headers: &mut Headers, name: &HeaderName, value: HeaderValue) {
    let Some(first) = headers.iter().position(|(other, _)| other == name) else {
        headers.push((name.clone(), value));
        return;
    };
    headers[first].1 = value;
    let mut place = 0;
    headers.retain(|(other, _)| {
        place += 1;
        place <= first + 1 || other != name
    });
}

/// Adds to what `Vary` says already.
fn add_vary(headers: &mut Headers, more: &'static str) {
    let mut vary = Vec::new();
    for (_, value) in headers.iter().filter(|(name, _)| name == http::header::VARY) {
        vary.extend_from_slice(value.as_bytes());
        vary.extend_from_slice(b", ");
    }
    let value = match vary.is_empty() {
        true => HeaderValue::from_static(more),
        false => {
            vary.extend_from_slice(more.as_bytes());
            HeaderValue::from_maybe_shared(bytes::Bytes::from(vary)).expect("joined from valid values")
        }
    };
    set(headers, &http::header::VARY, value);
}

/// A header's value as Starlette reads it.
fn latin1<'py>(py: Python<'py>, value: &HeaderValue) -> Bound<'py, PyString> {
    match value.to_str() {
        Ok(text) => PyString::new(py, text),
        Err(_) => PyString::new(py, &value.as_bytes().iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}
