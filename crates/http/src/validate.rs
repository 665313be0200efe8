//! What hyper accepts and RFC 9112 does not: checked on each request's head, before the application sees it.

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Version};

/// Why a head is refused, in words for the client. The answer is always 400, and the connection is closed.
pub(crate) fn check_head<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => {}
        // RFC 9112 section 3.2: each of these MUST be answered with 400.
        (Some(_), None) => return Err("invalid Host header"),
        (Some(_), Some(_)) => return Err("more than one Host header"),
        (None, _) if request.version() >= Version::HTTP_11 => return Err("missing Host header"),
        (None, _) => {}
    }
    // RFC 9112 section 6.1; anything but one exact "chunked" is a way to smuggle, and no client needs it.
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (!is_chunked(encoding) || encodings.next().is_some())
    {
        return Err("Transfer-Encoding other than chunked");
    }
    if request.method() == Method::CONNECT {
        // RFC 9110 section 9.3.6: for proxies, which this is not; hyper would wait for a tunnel.
        return Err("CONNECT is not served");
    }
    // RFC 9112 section 3.2.4: the asterisk is for OPTIONS alone; section 3.2.3: an authority is for CONNECT alone.
    match request.uri().path() {
        "*" if request.method() == Method::OPTIONS => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err("invalid request target"),
    }
}

fn is_chunked(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// `uri-host [ ":" port ]` of RFC 9110 section 7.2, without checking that an address makes sense. An empty Host is valid: a
/// target without authority has one.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, tail) = (&rest[..end], &rest[end + 1..]);
            if address.is_empty() || !address.iter().all(|byte| is_name(*byte) || *byte == b':') {
                return false;
            }
            match tail {
                [] => return true,
                [b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        _ => match host.iter().position(|byte| *byte == b':') {
            Some(colon) => (&host[..colon], &host[colon + 1..]),
            None => (host, &b""[..]),
        },
    };
    name.iter().all(|byte| is_name(*byte)) && port.iter().all(u8::is_ascii_digit)
}

/// unreserved / pct-encoded / sub-delims of RFC 3986 section 3.2.2.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_accepted_by_their_syntax_alone() {
        for host in
            ["", "a", "example.com", "example.com:80", "127.0.0.1:8000", "[::1]", "[::1]:8000", "a_b", "a%20b", "a:"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["a b", "a/b", "user@a", "a:b", "[::1", "[]", "[::1]x", "a:1:2", "\u{e9}", "a?b", "a#b", "\"a\"", "a,b c"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_transfer_encoding_must_be_exactly_chunked() {
        let check = |values: &[&str]| {
            let mut request = Request::builder().uri("/").header(HOST, "a");
            for value in values {
                request = request.header(TRANSFER_ENCODING, *value);
            }
            check_head(&request.body(()).unwrap())
        };
        assert!(check(&["chunked"]).is_ok());
        assert!(check(&["Chunked "]).is_ok());
        for wrong in [&["gzip, chunked"][..], &["chunked, chunked"], &["chunked", "chunked"], &["identity"], &[""]] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
