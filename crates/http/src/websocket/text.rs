//! UTF-8: the type of checked text, and the check that goes along with a stream.

use bytes::Bytes;

/// Bytes that were found to be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// `None` when `bytes` are not UTF-8.
    pub(super) fn checked(bytes: Bytes) -> Option<Text> {
        simdutf8::basic::from_utf8(&bytes).is_ok().then_some(Text(bytes))
    }

    /// For bytes that an [`Utf8Check`] has seen and [finished](Utf8Check::is_complete).
    pub(super) fn already_checked(bytes: Bytes) -> Text {
        debug_assert!(std::str::from_utf8(&bytes).is_ok());
        Text(bytes)
    }

    /// The text's bytes, which are UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text. (Without `unsafe` this looks at every byte once more, at many gigabytes a second.)
    pub fn as_str(&self) -> &str {
        simdutf8::basic::from_utf8(&self.0).expect("checked when it was made")
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Bytes {
        text.0
    }
}

/// Checks a text that comes in parts, and fails at the first byte that no valid text could have there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8Check {
    /// The beginning of a character whose rest is in the next part.
    begun: [u8; 4],
    length: u8,
}

impl Utf8Check {
    /// False when the text can no longer become UTF-8.
    #[must_use]
    pub(super) fn push(&mut self, mut part: &[u8]) -> bool {
        while self.length > 0 {
            let [next, rest @ ..] = part else { return true };
            part = rest;
            self.begun[usize::from(self.length)] = *next;
            self.length += 1;
            match std::str::from_utf8(&self.begun[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match simdutf8::compat::from_utf8(part) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let tail = &part[error.valid_up_to()..];
                self.begun[..tail.len()].copy_from_slice(tail);
                self.length = tail.len() as u8;
                true
            }
        }
    }

    /// Whether the text may end here: not within a character.
    pub(super) fn is_complete(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass before the check fails, one byte at a time.
    fn fails_after(bytes: &[u8]) -> Option<usize> {
        let mut check = Utf8Check::default();
        bytes.iter().position(|byte| !check.push(&[*byte]))
    }

    #[test]
    fn characters_of_every_width_may_be_cut_anywhere() {
        let text = "κόσμε ñ € 𝄞 \u{10ffff}\u{fffd}\u{7ff}\u{800}\u{d7ff}".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut check = Utf8Check::default();
                assert!(check.push(&text[..first]));
                assert!(check.push(&text[first..second]));
                assert!(check.push(&text[second..]));
                assert!(check.is_complete());
            }
        }
    }

    #[test]
    fn the_check_fails_at_the_first_impossible_byte() {
        assert_eq!(fails_after(b"ab\xff"), Some(2));
        assert_eq!(fails_after(b"\xc0\x80"), Some(0), "over-long, two bytes");
        assert_eq!(fails_after(b"\xe0\x80\x80"), Some(1), "over-long, three bytes");
        assert_eq!(fails_after(b"\xf0\x80\x80\x80"), Some(1), "over-long, four bytes");
        assert_eq!(fails_after(b"\xed\xa0\x80"), Some(1), "a surrogate");
        assert_eq!(fails_after(b"\xf4\x90\x80\x80"), Some(1), "beyond U+10FFFF");
        assert_eq!(fails_after(b"\xf5"), Some(0), "beyond U+10FFFF");
        assert_eq!(fails_after(b"\xce\xbaA\xce\x41"), Some(4), "a character that is not continued");
    }

    #[test]
    fn a_text_cut_within_a_character_is_incomplete() {
        let mut check = Utf8Check::default();
        assert!(check.push(&"€".as_bytes()[..2]));
        assert!(!check.is_complete());
        assert!(check.push(&"€".as_bytes()[2..]));
        assert!(check.is_complete());
    }

    #[test]
    fn text_is_what_was_checked() {
        assert_eq!(Text::checked(Bytes::from_static(b"\xc3")), None);
        let text = Text::checked(Bytes::from_static("ñ".as_bytes())).unwrap();
        assert_eq!((text.as_str(), text.as_bytes()), ("ñ", "ñ".as_bytes()));
    }
}
