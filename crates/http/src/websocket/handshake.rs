//! The opening handshake (RFC 6455 section 4.2): which requests ask for a WebSocket, and the 101 that grants it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{
    ALLOW, AsHeaderName, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use sha1::{Digest, Sha1};

use super::extension::{DeflateParameters, is_token};

/// Whether a request asks for a WebSocket at all, valid or not: a GET with `Connection: upgrade` and `Upgrade:
/// websocket`.
///
/// Any other request is an ordinary one, as a server may ignore `Upgrade` (RFC 9110 section 7.8).
pub fn is_upgrade(method: &Method, headers: &HeaderMap) -> bool {
    // `Upgrade` first: most requests have none.
    method == Method::GET && has_token(headers, UPGRADE, "websocket") && has_token(headers, CONNECTION, "upgrade")
}

/// A valid request for a WebSocket.
#[derive(Debug)]
pub struct Handshake {
    accept: HeaderValue,
    subprotocols: Vec<String>,
    deflate: Option<DeflateParameters>,
}

impl Handshake {
    /// Checks a request against RFC 6455 section 4.2.1 (its `Host` is for the HTTP layer to check).
    pub fn from_request(method: &Method, version: Version, headers: &HeaderMap) -> Result<Handshake, HandshakeError> {
        use HandshakeError as Error;
        if method != Method::GET {
            return Err(Error::Method);
        }
        if version != Version::HTTP_11 {
            return Err(Error::HttpVersion);
        }
        if !has_token(headers, UPGRADE, "websocket") {
            return Err(Error::Upgrade);
        }
        if !has_token(headers, CONNECTION, "upgrade") {
            return Err(Error::Connection);
        }
        if only(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Error::Version);
        }
        let key = only(headers, SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).ok_or(Error::Key)?;
        let extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
        Ok(Handshake {
            accept: accept(key),
            subprotocols: subprotocols(headers).ok_or(Error::Subprotocol)?,
            deflate: DeflateParameters::negotiate(extensions).map_err(|_| Error::Extensions)?,
        })
    }

    /// What the client would like to speak on the connection, the best first.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The headers of a 101 response, and the compression that they agree to when `deflate` allows it.
    ///
    /// `subprotocol` is to be one of [`Handshake::subprotocols`]; clients end the connection otherwise.
    pub fn accept(
        &self,
        subprotocol: Option<&str>,
        deflate: bool,
    ) -> Result<(HeaderMap, Option<DeflateParameters>), InvalidSubprotocol> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(subprotocol) = subprotocol {
            if subprotocol.is_empty() || !subprotocol.bytes().all(is_token) {
                return Err(InvalidSubprotocol);
            }
            headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol.parse().expect("a token is a header value"));
        }
        let deflate = self.deflate.filter(|_| deflate);
        if let Some(agreed) = deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreed.to_header());
        }
        Ok((headers, deflate))
    }
}

/// What is wrong with a request for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not a GET.
    Method,
    /// Not HTTP/1.1.
    HttpVersion,
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: upgrade`.
    Connection,
    /// Not exactly one `Sec-WebSocket-Version: 13`.
    Version,
    /// Not exactly one `Sec-WebSocket-Key` of 16 bytes in base64.
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    Subprotocol,
    /// `Sec-WebSocket-Extensions` is not a list of extensions.
    Extensions,
}

impl HandshakeError {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            HandshakeError::Method => StatusCode::METHOD_NOT_ALLOWED,
            HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What is wrong, for the response's body and the log.
    pub fn reason(&self) -> &'static str {
        match self {
            HandshakeError::Method => "A WebSocket handshake is a GET request.",
            HandshakeError::HttpVersion => "A WebSocket handshake needs HTTP/1.1.",
            HandshakeError::Upgrade => "The Upgrade header of a WebSocket handshake has to name websocket.",
            HandshakeError::Connection => "The Connection header of a WebSocket handshake has to name upgrade.",
            HandshakeError::Version => "Sec-WebSocket-Version has to be 13.",
            HandshakeError::Key => "Sec-WebSocket-Key has to be 16 bytes in base64.",
            HandshakeError::Subprotocol => "Sec-WebSocket-Protocol is not a list of tokens.",
            HandshakeError::Extensions => "Sec-WebSocket-Extensions is not a list of extensions.",
        }
    }

    /// What the response has to say besides (RFC 6455 section 4.4; RFC 9110 sections 15.5.6 and 15.5.22).
    pub fn headers(&self) -> HeaderMap {
        let headers: &[(HeaderName, &'static str)] = match self {
            HandshakeError::Method => &[(ALLOW, "GET")],
            HandshakeError::Version => {
                &[(SEC_WEBSOCKET_VERSION, "13"), (UPGRADE, "websocket"), (CONNECTION, "Upgrade")]
            }
            _ => &[],
        };
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HandshakeError {}

/// The application chose a subprotocol that no header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSubprotocol;

impl fmt::Display for InvalidSubprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a WebSocket subprotocol has to be a token (RFC 9110 section 5.6.2)")
    }
}

impl std::error::Error for InvalidSubprotocol {}

/// Whether a list header has the element `token`, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().flat_map(elements).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a comma-separated list, without the whitespace around them and without empty ones.
fn elements(header: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    header.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The value of a header that is there exactly once.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Sixteen bytes in base64. The four bits that the last digit has too many may be anything, as other servers allow it.
fn is_key(key: &HeaderValue) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let mut decoded = [0; 18];
    LENIENT.decode_slice(key, &mut decoded) == Ok(16)
}

/// `Sec-WebSocket-Accept` (RFC 6455 section 4.2.2): proves that the key was read by a WebSocket server.
fn accept(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is a header value")
}

/// `None` when an element is not a token.
fn subprotocols(headers: &HeaderMap) -> Option<Vec<String>> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(elements)
        .map(|element| {
            let valid = element.iter().all(|byte| is_token(*byte));
            valid.then(|| element.iter().map(|byte| char::from(*byte)).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: [(&str, &str); 5] = [
        ("host", "server.example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    /// The valid headers, with all of `changed`'s names replaced by its values.
    fn headers(changed: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let kept = VALID.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        for (name, value) in kept.chain(changed.iter().copied().filter(|(_, value)| *value != "(none)")) {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn request(changed: &[(&'static str, &'static str)]) -> Result<Handshake, HandshakeError> {
        Handshake::from_request(&Method::GET, Version::HTTP_11, &headers(changed))
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let (headers, deflate) = request(&[]).unwrap().accept(None, true).unwrap();
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["connection"], "Upgrade");
        assert_eq!((headers.len(), deflate), (3, None));
    }

    #[test]
    fn tokens_are_found_in_lists_and_in_any_case() {
        for changed in [
            [("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket")],
            [("connection", "keep-alive , Upgrade ,"), ("upgrade", "h2c, websocket")],
        ] {
            assert!(is_upgrade(&Method::GET, &headers(&changed)), "{changed:?}");
            request(&changed).unwrap();
        }
    }

    #[test]
    fn requests_for_something_else_are_not_upgrades() {
        assert!(!is_upgrade(&Method::POST, &headers(&[])));
        for changed in
            [("upgrade", "h2c"), ("upgrade", "(none)"), ("connection", "keep-alive"), ("connection", "upgraded")]
        {
            assert!(!is_upgrade(&Method::GET, &headers(&[changed])), "{changed:?}");
        }
    }

    #[test]
    fn an_invalid_handshake_says_why() {
        let post = Handshake::from_request(&Method::POST, Version::HTTP_11, &headers(&[])).unwrap_err();
        assert_eq!((post.status().as_u16(), &post.headers()["allow"]), (405, &HeaderValue::from_static("GET")));
        let old = Handshake::from_request(&Method::GET, Version::HTTP_10, &headers(&[])).unwrap_err();
        assert_eq!((old.status().as_u16(), old), (400, HandshakeError::HttpVersion));
        for (changed, expected) in [
            (vec![("upgrade", "h2c")], HandshakeError::Upgrade),
            (vec![("connection", "close")], HandshakeError::Connection),
            (vec![("sec-websocket-key", "(none)")], HandshakeError::Key),
            (vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")], HandshakeError::Key),
            (vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub24=")], HandshakeError::Key),
            (vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZWFi")], HandshakeError::Key),
            (vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ!==")], HandshakeError::Key),
            (vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="); 2], HandshakeError::Key),
            (vec![("sec-websocket-protocol", "chat, super chat")], HandshakeError::Subprotocol),
            (vec![("sec-websocket-extensions", "permessage-deflate;")], HandshakeError::Extensions),
        ] {
            let error = request(&changed).unwrap_err();
            assert_eq!((error, error.status().as_u16()), (expected, 400), "{changed:?}");
            assert!(error.headers().is_empty() && error.to_string().ends_with('.'));
        }
    }

    #[test]
    fn another_version_is_told_which_one_to_use() {
        for changed in [
            vec![("sec-websocket-version", "(none)")],
            vec![("sec-websocket-version", "8")],
            vec![("sec-websocket-version", "13"); 2],
        ] {
            let error = request(&changed).unwrap_err();
            assert_eq!(error.status().as_u16(), 426, "{changed:?}");
            assert_eq!(error.headers()["sec-websocket-version"], "13");
            assert_eq!(error.headers()["upgrade"], "websocket");
        }
    }

    #[test]
    fn a_key_with_bits_too_many_is_accepted() {
        request(&[("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC==")]).unwrap();
        request(&[("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEH==")]).unwrap();
    }

    #[test]
    fn subprotocols_come_in_the_clients_order() {
        assert!(request(&[]).unwrap().subprotocols().is_empty());
        let headers = [("sec-websocket-protocol", "chat, superchat"), ("sec-websocket-protocol", "v2.wamp")];
        let handshake = request(&headers).unwrap();
        assert_eq!(handshake.subprotocols(), ["chat", "superchat", "v2.wamp"]);
        let (headers, _) = handshake.accept(Some("superchat"), true).unwrap();
        assert_eq!(headers["sec-websocket-protocol"], "superchat");
    }

    #[test]
    fn a_subprotocol_that_is_no_token_is_an_error_of_the_application() {
        for subprotocol in ["", "a b", "a\r\nx: y", "ñ"] {
            assert_eq!(request(&[]).unwrap().accept(Some(subprotocol), true).unwrap_err(), InvalidSubprotocol);
        }
    }

    #[test]
    fn compression_is_agreed_to_when_both_sides_want_it() {
        let handshake =
            request(&[("sec-websocket-extensions", "permessage-deflate; server_max_window_bits=10")]).unwrap();
        let (headers, deflate) = handshake.accept(None, true).unwrap();
        assert_eq!(headers["sec-websocket-extensions"], "permessage-deflate; server_max_window_bits=10");
        assert_eq!(deflate.unwrap().server_max_window_bits, 10);
        let (headers, deflate) = handshake.accept(None, false).unwrap();
        assert!(!headers.contains_key("sec-websocket-extensions") && deflate.is_none());
    }
}
