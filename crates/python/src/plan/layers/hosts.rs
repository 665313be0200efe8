//! Starlette's `TrustedHostMiddleware`: whether a request is for a host of ours.

use http::HeaderMap;
use http::header::HOST;
use pyo3::prelude::*;

use super::Verdict;

/// The attributes of the object.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Hosts {
    /// In lower case; `*.` begins those that stand for all below.
    allowed_hosts: Vec<String>,
    allow_any: bool,
}

impl Hosts {
    /// Lets trusted hosts pass. What becomes of the others, a redirect perhaps, the middleware itself says.
    pub(super) fn ahead(&self, headers: &HeaderMap) -> Verdict {
        if self.allow_any {
            return Verdict::Pass;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(name_of);
        match host {
            Some(host) if self.allowed_hosts.iter().any(|pattern| matches(pattern, &host)) => Verdict::Pass,
            _ => Verdict::Ask,
        }
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    host == pattern || pattern.strip_prefix('*').is_some_and(|end| host.ends_with(end))
}

/// The host of `host` or `host:port`, in lower case; `None` for an address in brackets, or what is no host.
fn name_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"._~%!$&'()*+,;=-".contains(&byte);
    let valid = !host.is_empty()
        && host.bytes().all(is_host)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    valid.then(|| host.to_ascii_lowercase())
}
