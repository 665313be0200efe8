//! The codes a connection ends with (RFC 6455 section 7.4), and the error that leads to one.

use std::fmt;

/// The close codes that the protocol itself gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The purpose of the connection is fulfilled.
    Normal = 1000,
    /// The server goes down, or the page was left.
    GoingAway = 1001,
    /// A frame that the protocol does not allow.
    ProtocolError = 1002,
    /// In the application's eyes only: the peer's close frame had no code. Never on the wire.
    NoStatus = 1005,
    /// In the application's eyes only: the connection ended without a close frame. Never on the wire.
    Abnormal = 1006,
    /// Text that is not UTF-8.
    InvalidData = 1007,
    /// A message beyond the limit.
    TooBig = 1009,
    /// An unexpected condition, on the server's side.
    InternalError = 1011,
    /// The server restarts; the client may come back.
    ServiceRestart = 1012,
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code as u16
    }
}

/// Whether a close frame may carry `code`: those of RFC 6455 section 7.4.1 and of IANA's registry that are not reserved
/// for local use, and the ranges for libraries (3000 and up) and applications (4000 to 4999).
pub(super) fn is_valid_on_the_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What a client did that it may not do. The connection is to be closed with [`ProtocolError::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError {
    code: CloseCode,
    reason: &'static str,
}

impl ProtocolError {
    /// The code of the close frame to send.
    pub fn code(&self) -> u16 {
        self.code.into()
    }

    /// The reason to put into the close frame and the log: a few words.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    pub(super) fn violation(reason: &'static str) -> ProtocolError {
        ProtocolError { code: CloseCode::ProtocolError, reason }
    }

    pub(super) fn not_utf8() -> ProtocolError {
        ProtocolError { code: CloseCode::InvalidData, reason: "invalid UTF-8" }
    }

    pub(super) fn too_big() -> ProtocolError {
        ProtocolError { code: CloseCode::TooBig, reason: "message too big" }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code())
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_reserved_for_local_use_are_invalid_on_the_wire() {
        for code in [CloseCode::NoStatus, CloseCode::Abnormal] {
            assert!(!is_valid_on_the_wire(code.into()), "{code:?}");
        }
        assert!(!is_valid_on_the_wire(1015), "TLS failure");
        assert!(!is_valid_on_the_wire(1004), "reserved");
    }

    #[test]
    fn ranges_of_codes_begin_and_end_where_the_rfc_says() {
        let valid: Vec<u16> = (0..=u16::MAX).filter(|&code| is_valid_on_the_wire(code)).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(valid, expected);
    }

    #[test]
    fn an_error_says_what_and_which_code() {
        assert_eq!(ProtocolError::too_big().to_string(), "message too big (1009)");
    }
}
