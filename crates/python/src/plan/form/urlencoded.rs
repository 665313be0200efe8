//! `application/x-www-form-urlencoded` bodies: the pairs of a query string, within limits.

use std::borrow::Cow;

use super::multipart::{Limits, Odd};
use crate::plan::query::parse_query;

/// A name and its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Keeps watch over the limits while a body arrives; more than they allow is [`Odd`].
pub(in crate::plan) struct Urlencoded {
    limits: Limits,
    /// Where the pair begins that is not complete yet, and what of it was looked at.
    pair: usize,
    searched: usize,
    fields: u64,
}

impl Urlencoded {
    pub(super) fn new(limits: Limits) -> Urlencoded {
        Urlencoded { limits, pair: 0, searched: 0, fields: 0 }
    }

    /// Looks at what has arrived since the last call; `body` is all there is of it.
    pub(super) fn advance(&mut self, body: &[u8]) -> Result<(), Odd> {
        while let Some(place) = memchr::memchr(b'&', &body[self.searched..]) {
            let end = self.searched + place;
            self.count(&body[self.pair..end])?;
            self.pair = end + 1;
            self.searched = self.pair;
        }
        self.searched = body.len();
        self.keeps_to_size(&body[self.pair..])
    }

    /// The pairs of a body that is complete, and with which `advance` was called.
    pub(super) fn finish(mut self, body: &[u8]) -> Result<Vec<Pair<'_>>, Odd> {
        self.count(&body[self.pair..])?;
        Ok(parse_query(body))
    }

    fn count(&mut self, pair: &[u8]) -> Result<(), Odd> {
        if pair.is_empty() {
            return Ok(());
        }
        self.keeps_to_size(pair)?;
        self.fields += 1;
        if self.fields > self.limits.fields { Err(Odd) } else { Ok(()) }
    }

    fn keeps_to_size(&self, pair: &[u8]) -> Result<(), Odd> {
        let mut size = pair.len() as u64;
        // Between name and value, the sign does not count.
        if size > self.limits.part_size && memchr::memchr(b'=', pair).is_some() {
            size -= 1;
        }
        if size > self.limits.part_size { Err(Odd) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { files: 0, fields: 2, part_size: 4 };

    fn pairs(body: &str) -> Result<Vec<(String, String)>, Odd> {
        let mut results = (1..=body.len().max(1)).map(|pieces| {
            let mut form = Urlencoded::new(LIMITS);
            for end in (0..body.len()).step_by(pieces) {
                form.advance(&body.as_bytes()[..end])?;
            }
            form.advance(body.as_bytes())?;
            let pairs = form.finish(body.as_bytes())?;
            Ok(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>())
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first), "{body:?}");
        first
    }

    #[test]
    fn empty_pairs_do_not_count() {
        assert_eq!(pairs("&&a=1&&&b&").unwrap(), [("a".into(), "1".into()), ("b".into(), String::new())]);
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(pairs("=").unwrap(), [(String::new(), String::new())]);
    }

    #[test]
    fn limits_are_kept() {
        assert!(pairs("a=1&b=2").is_ok());
        assert_eq!(pairs("a=1&b=2&c"), Err(Odd));
        assert!(pairs("ab=12").is_ok());
        assert!(pairs("abcd").is_ok());
        assert_eq!(pairs("abcde"), Err(Odd));
        assert_eq!(pairs("ab=123&"), Err(Odd));
    }
}
