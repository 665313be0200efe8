//! Where a path with a slash too many or too few is redirected to, as Starlette's `RedirectResponse` says it.

use http::HeaderMap;
use http::header::HOST;

/// The value of `location`: `path` on the host that was asked for. `None` where Starlette's own code has to look: other
/// characters than those which neither its `URL` nor its quoting touch.
pub(crate) fn location(scheme: Option<&str>, headers: &HeaderMap, path: &str, query: Option<&str>) -> Option<String> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() || !is_plain_host(host) || path.starts_with("//") || !path.bytes().all(is_unreserved) {
        return None;
    }
    let query = query.unwrap_or("");
    if !query.bytes().all(|byte| is_unreserved(byte) || b"%?:@=$&'()*+,;!".contains(&byte)) {
        return None;
    }
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{}://{host}{path}{mark}{query}", scheme.unwrap_or("http")))
}

fn is_plain_host(host: &str) -> bool {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_port = |port: &str| !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    !name.is_empty()
        && name.bytes().all(is_name)
        && port.is_none_or(|port| is_port(port) && port.parse::<u16>().is_ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, path: &str, query: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        location(None, &headers, path, query)
    }

    #[test]
    fn plain_ones_are_put_together() {
        assert_eq!(found("a.test:81", "/b/", Some("q=%20&x")).unwrap(), "http://a.test:81/b/?q=%20&x");
        assert_eq!(found("a", "/b", Some("")).unwrap(), "http://a/b");
    }

    #[test]
    fn unusual_ones_are_left_to_starlette() {
        for host in ["A.test", "a:0", "a:99999", "a:", "[::1]", "a_b"] {
            assert_eq!(found(host, "/b", None), None, "{host}");
        }
        for path in ["//b", "/b c", "/b%20", "/\u{fc}"] {
            assert_eq!(found("a", path, None), None, "{path}");
        }
        assert_eq!(found("a", "/b", Some("q=\"")), None);
    }
}
