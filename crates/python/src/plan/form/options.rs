//! Headers with options, `Content-Type` and `Content-Disposition`, as python-multipart's `parse_options_header` reads them.
//!
//! Only what is written plainly is read here. Quotes around a semicolon, backslashes and the like have meanings there that
//! are its own affair: [`Unclear`].

/// A header that python-multipart should read itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear;

/// A value and its options: `value; key=text; key="text"`.
#[derive(Debug)]
pub(super) struct Options<'a> {
    /// Not in lower case yet.
    pub(super) value: &'a [u8],
    given: &'a [u8],
}

impl<'a> Options<'a> {
    pub(super) fn parse(header: &'a [u8]) -> Result<Options<'a>, Unclear> {
        if header.contains(&b'\\') {
            return Err(Unclear);
        }
        let (value, given) = match memchr::memchr(b';', header) {
            Some(end) => (&header[..end], &header[end + 1..]),
            None => (header, &header[header.len()..]),
        };
        let is_plain = |piece: &[u8]| piece.iter().filter(|byte| **byte == b'"').count() % 2 == 0;
        if !is_plain(value) || !given.split(|byte| *byte == b';').all(is_plain) {
            return Err(Unclear);
        }
        Ok(Options { value: trim(value), given })
    }

    /// The option called `name` (in lower case), of several the last.
    pub(super) fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.given.rsplit(|byte| *byte == b';').find_map(|option| {
            let (key, text) = match memchr::memchr(b'=', option) {
                Some(place) => (&option[..place], &option[place + 1..]),
                None => (option, &option[option.len()..]),
            };
            if !trim(key).eq_ignore_ascii_case(name) {
                return None;
            }
            Some(match trim(text) {
                [b'"', inner @ .., b'"'] => inner,
                plain => plain,
            })
        })
    }
}

/// Without spaces and tabs around it.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_whatever_surrounds_them() {
        let options = Options::parse(b" form-data ;NAME = a ; filename=\"b c\";x").unwrap();
        assert_eq!(options.value, b"form-data");
        assert_eq!(options.get(b"name"), Some(&b"a"[..]));
        assert_eq!(options.get(b"filename"), Some(&b"b c"[..]));
        assert_eq!(options.get(b"x"), Some(&b""[..]));
        assert_eq!(options.get(b"y"), None);
    }

    #[test]
    fn the_last_of_one_name_counts_and_extended_ones_do_not() {
        let options = Options::parse(b"form-data; name=a; name=\"\"; name*=utf-8''b").unwrap();
        assert_eq!(options.get(b"name"), Some(&b""[..]));
    }

    #[test]
    fn a_lone_quote_is_no_pair() {
        assert_eq!(Options::parse(b"form-data; name=\"").unwrap_err(), Unclear);
        assert_eq!(Options::parse(b"form-data; name=\"a;b\"").unwrap_err(), Unclear);
        assert_eq!(Options::parse(b"form-data; filename=\"C:\\a\"").unwrap_err(), Unclear);
    }
}
