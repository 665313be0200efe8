//! `EngineSettings`: what Python configures, checked once.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use overdrive_http::{Reasons, Settings, WebSocketSettings};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct EngineSettings {
    pub(crate) http: Settings,
    pub(crate) root_path: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) trusted_proxies: Option<TrustedProxies>,
    pub(crate) limit_concurrency: Option<usize>,
    pub(crate) limit_max_requests: Option<u64>,
    pub(crate) access_log: bool,
    pub(crate) reset_contextvars: bool,
}

#[pymethods]
impl EngineSettings {
    #[new]
    #[pyo3(signature = (
        *, root_path = String::new(), headers = Vec::new(), date_header = true, trusted_proxies = None,
        limit_concurrency = None, limit_connections = None, limit_max_requests = None, timeout_keep_alive = 5.0,
        timeout_header_read = 30.0, max_header_size = 65536, max_headers = 100, access_log = true,
        reset_contextvars = false, ws_max_size = 16777216, ws_max_queue = 32, ws_ping_interval = Some(20.0),
        ws_ping_timeout = Some(20.0), ws_per_message_deflate = true,
    ))]
    #[allow(clippy::too_many_arguments, reason = "keywords of a Python class")]
    fn new(
        py: Python<'_>,
        root_path: String,
        headers: Vec<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)>,
        date_header: bool,
        trusted_proxies: Option<Vec<String>>,
        limit_concurrency: Option<usize>,
        limit_connections: Option<usize>,
        limit_max_requests: Option<u64>,
        timeout_keep_alive: f64,
        timeout_header_read: f64,
        max_header_size: usize,
        max_headers: usize,
        access_log: bool,
        reset_contextvars: bool,
        ws_max_size: usize,
        ws_max_queue: usize,
        ws_ping_interval: Option<f64>,
        ws_ping_timeout: Option<f64>,
        ws_per_message_deflate: bool,
    ) -> PyResult<EngineSettings> {
        let headers = headers
            .iter()
            .map(|(name, value)| header(name.as_bytes(), value.as_bytes()))
            .collect::<PyResult<Vec<_>>>()?;
        if max_header_size < 256 {
            return Err(PyValueError::new_err("max_header_size: 256 bytes at the least"));
        }
        if max_headers == 0 {
            return Err(PyValueError::new_err("max_headers: 1 at the least"));
        }
        let http = Settings {
            keep_alive: seconds("timeout_keep_alive", timeout_keep_alive)?,
            header_read: seconds("timeout_header_read", timeout_header_read)?,
            max_header_size,
            max_headers,
            max_connections: limit_connections.unwrap_or(usize::MAX),
            date_header,
            reasons: reasons(py)?,
            websocket: WebSocketSettings {
                max_message_size: ws_max_size,
                max_queue: ws_max_queue.max(1),
                ping_interval: optional_seconds("ws_ping_interval", ws_ping_interval)?,
                ping_timeout: optional_seconds("ws_ping_timeout", ws_ping_timeout)?,
                deflate: ws_per_message_deflate,
            },
            ..Settings::default()
        };
        Ok(EngineSettings {
            http,
            root_path,
            headers,
            trusted_proxies: trusted_proxies.map(TrustedProxies::new),
            limit_concurrency,
            limit_max_requests,
            access_log,
            reset_contextvars,
        })
    }
}

/// The phrases of this Python's `http.HTTPStatus`, and none for what is no status there, as uvicorn has them.
fn reasons(py: Python<'_>) -> PyResult<Reasons> {
    let known = py.import("http")?.getattr("HTTPStatus")?;
    let mut reasons = Reasons::default();
    for number in 200..1000 {
        let phrase = match known.call1((number,)) {
            Ok(status) => status.getattr("phrase")?.extract::<String>()?,
            Err(_) => String::new(),
        };
        if let Ok(status) = http::StatusCode::from_u16(number) {
            reasons.set(status, &phrase);
        }
    }
    Ok(reasons)
}

/// A header of a response, from what Python gave; errors say which and why.
pub(crate) fn header(name: &[u8], value: &[u8]) -> PyResult<(HeaderName, HeaderValue)> {
    let parsed = HeaderName::from_bytes(name)
        .map_err(|_| PyValueError::new_err(format!("invalid header name {:?}", String::from_utf8_lossy(name))))?;
    // RFC 9110 section 5.5: whitespace around a value is not part of it.
    let value = HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| {
        let shown = String::from_utf8_lossy(value);
        PyValueError::new_err(format!("invalid value of header {parsed}: {shown:?} has control characters"))
    })?;
    Ok((parsed, value))
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| *duration < FOREVER)
        .ok_or_else(|| PyValueError::new_err(format!("{name}: a number of seconds, not {value}")))
}

/// `None` and 0 both mean never, as for uvicorn.
fn optional_seconds(name: &str, value: Option<f64>) -> PyResult<Option<Duration>> {
    value.filter(|value| *value != 0.0).map(|value| seconds(name, value)).transpose()
}

const FOREVER: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Whose `X-Forwarded-…` headers are believed: `--forwarded-allow-ips`.
pub(crate) struct TrustedProxies {
    everybody: bool,
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
    /// Anything else, the path of a Unix socket for example.
    literals: Vec<String>,
}

impl TrustedProxies {
    fn new(entries: Vec<String>) -> TrustedProxies {
        let mut trusted =
            TrustedProxies { everybody: false, addresses: Vec::new(), networks: Vec::new(), literals: Vec::new() };
        for entry in entries {
            let entry = entry.trim();
            if entry == "*" {
                trusted.everybody = true;
            } else if let Ok(address) = entry.parse() {
                trusted.addresses.push(address);
            } else if let Ok(network) = entry.parse() {
                trusted.networks.push(network);
            } else if !entry.is_empty() {
                trusted.literals.push(entry.to_owned());
            }
        }
        trusted
    }

    /// Whether the peer, `None` for an unnamed Unix socket, is a trusted proxy.
    pub(crate) fn contains(&self, host: Option<&str>) -> bool {
        let Some(host) = host else {
            return self.everybody;
        };
        self.everybody
            || match host.parse::<IpAddr>() {
                Ok(address) => self.contains_address(address),
                Err(_) => self.literals.iter().any(|literal| literal == host),
            }
    }

    fn contains_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client that a chain of `X-Forwarded-For` names: the last host that is no trusted proxy, and its port or 0.
    pub(crate) fn client<'a>(&self, forwarded: &'a str) -> Option<(&'a str, u16)> {
        let mut hosts = forwarded.split(',').map(|host| split_port(host.trim()));
        if self.everybody {
            return hosts.next();
        }
        let mut first = None;
        for host in hosts.rev() {
            if !self.contains(Some(host.0)) {
                return Some(host);
            }
            first = Some(host);
        }
        // All are proxies of ours: the request began at the first of them.
        first
    }
}

/// `host`, `v4:port`, `[v6]` or `[v6]:port`; what is none of these is taken as it stands.
fn split_port(host: &str) -> (&str, u16) {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => (address, 0),
            Some((address, tail)) => match tail.strip_prefix(':') {
                Some(port) => (address, port.parse().unwrap_or(0)),
                None => (host, 0),
            },
            None => (host, 0),
        };
    }
    match host.split_once(':') {
        Some((address, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (address, port),
            Err(_) => (host, 0),
        },
        _ => (host, 0),
    }
}
