//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1): what of it asks for permessage-deflate, and the answer
//! (RFC 7692 section 7.1).

use std::fmt::Write;

use http::HeaderValue;

/// The window of the server's compressor, as the power of two of its bytes. 4 KiB serve messages of usual sizes nearly
/// as well as 32, with 100 KiB less memory for each connection.
const WINDOW_BITS: u8 = 12;

/// The smallest window that zlib's raw streams can have, and the largest there is.
const SUPPORTED_WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// A permessage-deflate that client and server agreed on.
///
/// The window of the client is no part of it, as the server's decompressor is made for the largest anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParameters {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// The window of the server's compressor, as the power of two of its bytes: 9 to 15.
    pub server_max_window_bits: u8,
}

impl DeflateParameters {
    /// The answer to the first offer of `headers` that can be met; offers stand in the client's order of preference.
    ///
    /// An offer of something unknown, twice the same or beyond zlib is declined, as RFC 7692 section 7.1 wants; a
    /// header that is no list of extensions at all is an error.
    pub(super) fn negotiate<'a>(
        headers: impl IntoIterator<Item = &'a HeaderValue>,
    ) -> Result<Option<DeflateParameters>, Malformed> {
        let mut agreed = None;
        for header in headers {
            let mut list = List { rest: header.as_bytes() };
            while let Some(extension) = list.extension()? {
                if agreed.is_none() && extension.name == b"permessage-deflate" {
                    agreed = DeflateParameters::accept(&extension.parameters);
                }
            }
        }
        Ok(agreed)
    }

    /// The value of the response's `Sec-WebSocket-Extensions`.
    pub(super) fn to_header(self) -> HeaderValue {
        let mut value = String::from("permessage-deflate");
        if self.server_no_context_takeover {
            value.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            value.push_str("; client_no_context_takeover");
        }
        if self.server_max_window_bits < *SUPPORTED_WINDOW_BITS.end() {
            let _ = write!(value, "; server_max_window_bits={}", self.server_max_window_bits);
        }
        HeaderValue::try_from(value).expect("visible ASCII")
    }

    /// What to answer to one offer; `None` declines it.
    fn accept(offer: &[Parameter]) -> Option<DeflateParameters> {
        let mut agreed = DeflateParameters {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: WINDOW_BITS,
        };
        for (i, Parameter { name, value }) in offer.iter().enumerate() {
            if offer[..i].iter().any(|earlier| earlier.name == *name) {
                return None;
            }
            match (*name, value) {
                (b"server_no_context_takeover", None) => agreed.server_no_context_takeover = true,
                (b"client_no_context_takeover", None) => agreed.client_no_context_takeover = true,
                (b"server_max_window_bits", Some(bits)) => {
                    let bits = window_bits(bits).filter(|bits| SUPPORTED_WINDOW_BITS.contains(bits))?;
                    agreed.server_max_window_bits = bits.min(WINDOW_BITS);
                }
                (b"client_max_window_bits", None) => {}
                (b"client_max_window_bits", Some(bits)) => {
                    window_bits(bits)?;
                }
                _ => return None,
            }
        }
        Some(agreed)
    }
}

/// A header that does not follow the grammar of RFC 6455 section 9.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A number from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

struct Extension<'a> {
    name: &'a [u8],
    parameters: Vec<Parameter<'a>>,
}

struct Parameter<'a> {
    name: &'a [u8],
    value: Option<Vec<u8>>,
}

/// A list of extensions, read from its beginning.
struct List<'a> {
    rest: &'a [u8],
}

impl<'a> List<'a> {
    /// `None` at the end. Empty elements are skipped (RFC 9110 section 5.6.1.2).
    fn extension(&mut self) -> Result<Option<Extension<'a>>, Malformed> {
        while self.take(b',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            parameters.push(Parameter { name, value });
        }
        if self.rest.is_empty() || self.take(b',') { Ok(Some(Extension { name, parameters })) } else { Err(Malformed) }
    }

    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        loop {
            let (byte, rest) = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    self.skip_whitespace();
                    // "the value after quoted-string unescaping MUST conform to the 'token' ABNF" (section 9.1)
                    return if !value.is_empty() && value.iter().all(|byte| is_token(*byte)) {
                        Ok(value)
                    } else {
                        Err(Malformed)
                    };
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
                [] => return Err(Malformed),
            };
            value.push(byte);
            self.rest = rest;
        }
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        self.skip_whitespace();
        let length = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.skip_whitespace();
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// Takes `separator` and the whitespace around it, if it comes next.
    fn take(&mut self, separator: u8) -> bool {
        self.skip_whitespace();
        match self.rest.split_first() {
            Some((first, rest)) if *first == separator => {
                self.rest = rest;
                self.skip_whitespace();
                true
            }
            _ => false,
        }
    }

    fn skip_whitespace(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: DeflateParameters = DeflateParameters {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: WINDOW_BITS,
    };

    fn negotiate(headers: &[&'static str]) -> Result<Option<DeflateParameters>, Malformed> {
        let headers: Vec<_> = headers.iter().map(|header| HeaderValue::from_static(header)).collect();
        DeflateParameters::negotiate(&headers)
    }

    fn answer(offers: &'static str) -> String {
        match negotiate(&[offers]) {
            Ok(Some(agreed)) => agreed.to_header().to_str().unwrap().to_owned(),
            Ok(None) => "declined".to_owned(),
            Err(Malformed) => "malformed".to_owned(),
        }
    }

    #[test]
    fn no_header_is_no_compression() {
        assert_eq!(negotiate(&[]), Ok(None));
        assert_eq!(answer(""), "declined");
        assert_eq!(answer("x-webkit-deflate-frame"), "declined");
    }

    #[test]
    fn what_browsers_offer_is_met() {
        let agreed = "permessage-deflate; server_max_window_bits=12";
        assert_eq!(answer("permessage-deflate"), agreed);
        assert_eq!(answer("permessage-deflate; client_max_window_bits"), agreed);
        assert_eq!(answer("permessage-deflate ;client_max_window_bits=15"), agreed);
    }

    #[test]
    fn parameters_are_met_as_offered() {
        assert_eq!(
            answer(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
            ),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        );
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=\"10\""),
            "permessage-deflate; server_max_window_bits=10"
        );
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=\"1\\0\""),
            "permessage-deflate; server_max_window_bits=10"
        );
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=15"),
            "permessage-deflate; server_max_window_bits=12"
        );
        let largest = DeflateParameters { server_max_window_bits: 15, ..DEFAULT };
        assert_eq!(largest.to_header(), "permessage-deflate");
    }

    #[test]
    fn a_window_that_zlib_cannot_have_is_declined() {
        assert_eq!(answer("permessage-deflate; server_max_window_bits=8"), "declined");
        assert_eq!(answer("permessage-deflate; client_max_window_bits=8"), DEFAULT.to_header().to_str().unwrap());
    }

    #[test]
    fn offers_with_invalid_parameters_are_declined() {
        for offer in [
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; unknown",
        ] {
            assert_eq!(answer(offer), "declined", "{offer}");
        }
    }

    #[test]
    fn the_first_offer_that_can_be_met_wins() {
        let ninth = "permessage-deflate; server_max_window_bits=9";
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9"),
            ninth
        );
        assert_eq!(answer("permessage-deflate; server_max_window_bits=9, permessage-deflate"), ninth);
        let agreed = negotiate(&["foo; bar=\"b,a;z\"x", "permessage-deflate"]);
        assert_eq!(agreed, Err(Malformed), "a quoted value is to be a token");
        let agreed =
            negotiate(&["foo; bar=baz", "bar, permessage-deflate; server_max_window_bits=9", "permessage-deflate"]);
        assert_eq!(agreed, Ok(Some(DeflateParameters { server_max_window_bits: 9, ..DEFAULT })));
    }

    #[test]
    fn headers_outside_of_the_grammar_are_malformed() {
        for header in [
            "a b",
            ";",
            "a;",
            "a;;b",
            "a;b=",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"x\"y",
            "a=b",
            "permessage-deflate, \"",
            "a/b",
        ] {
            assert_eq!(answer(header), "malformed", "{header}");
        }
        for header in [",", " , a ,, b;c=\"d\" ,"] {
            assert_eq!(answer(header), "declined", "{header}");
        }
    }
}
