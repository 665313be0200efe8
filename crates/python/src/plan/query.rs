//! Query strings and cookies, as Starlette reads them.

use std::borrow::Cow;

/// The pairs of a query string in their order: `urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True)`.
pub(crate) fn parse_query(query: &[u8]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(place) => (unquote_plus(&pair[..place]), unquote_plus(&pair[place + 1..])),
            None => (unquote_plus(pair), "".into()),
        })
        .collect()
}

/// `urllib.parse.unquote_plus` of Latin-1 text: escapes are UTF-8, with U+FFFD for what is not; a raw byte above 127 is the
/// character of that number, and ends a run of escapes.
fn unquote_plus(text: &[u8]) -> Cow<'_, str> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+' | 0x80..)) {
        return str::from_utf8(text).expect("only ASCII is left").into();
    }
    let mut result = String::with_capacity(text.len());
    for chunk in text.chunk_by(|a, b| a.is_ascii() == b.is_ascii()) {
        if !chunk[0].is_ascii() {
            result.extend(chunk.iter().map(|byte| char::from(*byte)));
            continue;
        }
        result.push_str(&String::from_utf8_lossy(&unescape(chunk)));
    }
    result.into()
}

/// The bytes of ASCII text with `%xx` and `+`; what is no complete escape stays as it is.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The cookies of one `Cookie` header, in its order; a later one of the same name counts.
///
/// Values are as sent: one in double quotes is still to be unquoted with `http.cookies`' own rules.
pub(crate) fn parse_cookies(header: &[u8]) -> Vec<(String, String)> {
    let text: String = header.iter().map(|byte| char::from(*byte)).collect();
    text.split(';')
        .map(|chunk| chunk.split_once('=').unwrap_or(("", chunk)))
        .map(|(name, value)| (strip(name), strip(value)))
        .filter(|(name, value)| !name.is_empty() || !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Python's `str.strip()`: Unicode whitespace, and four separators that Unicode does not count in.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        parse_query(query.as_bytes()).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn blank_values_and_lone_names_are_kept() {
        let expected = [("a", "1"), ("b", ""), ("c", ""), ("", "x"), ("a", "2")];
        assert_eq!(pairs("a=1&&b=&c&=x&a=2"), expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn escapes_are_utf8_and_incomplete_ones_stay() {
        assert_eq!(pairs("q=a+b%20c%C3%A9%zz%4")[0].1, "a b c\u{e9}%zz%4");
        assert_eq!(pairs("q=%ff%C3")[0].1, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn raw_bytes_are_latin1_and_end_a_run_of_escapes() {
        assert_eq!(parse_query(b"q=%C3\xe9%A9")[0].1, "\u{fffd}\u{e9}\u{fffd}");
    }

    #[test]
    fn cookies_are_stripped_and_may_lack_a_name() {
        let expected = [("a", "1"), ("", "lone"), ("b", "\"x y\"")];
        assert_eq!(
            parse_cookies(b"a=1; lone ;;b = \"x y\"\x1f;"),
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }
}
