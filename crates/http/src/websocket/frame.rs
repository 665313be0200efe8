//! The head of a frame (RFC 6455 section 5.2), as bits. What heads may follow each other is [`super::protocol`]'s to
//! say.

use bytes::{BufMut, BytesMut};

use super::close::ProtocolError;
use super::mask::Mask;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_IN_16_BITS: u8 = 126;
const LENGTH_IN_64_BITS: u8 = 127;

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

/// The longest head that a server writes, in bytes.
pub(super) const MAX_HEAD: usize = 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }

    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }
}

/// The head of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) fin: bool,
    /// RSV1, which RFC 7692 gives to compressed messages.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Mask,
    /// Bytes of payload.
    pub(super) length: u64,
}

impl Head {
    /// The head at the beginning of `input` and its size in bytes; `None` when there is more of it to come.
    ///
    /// Fails for what no frame of a client may have, whatever went before it. A length in more bytes than needed is let
    /// pass, as by most servers: it can be read in one way only.
    pub(super) fn parse(input: &[u8]) -> Result<Option<(Head, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        if first & RSV2_AND_3 != 0 {
            return Err(ProtocolError::violation("reserved bits are set"));
        }
        let fin = first & FIN != 0;
        let compressed = first & RSV1 != 0;
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(ProtocolError::violation("reserved opcode"))?;
        if second & MASKED == 0 {
            return Err(ProtocolError::violation("a client's frame is not masked"));
        }
        let short = second & LENGTH;
        if opcode.is_control() {
            if !fin {
                return Err(ProtocolError::violation("a control frame is fragmented"));
            }
            if usize::from(short) > MAX_CONTROL_PAYLOAD {
                return Err(ProtocolError::violation("a control frame is too long"));
            }
            if compressed {
                return Err(ProtocolError::violation("reserved bits are set"));
            }
        }
        let (length, rest) = match short {
            LENGTH_IN_16_BITS => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            LENGTH_IN_64_BITS => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        if length > i64::MAX as u64 {
            return Err(ProtocolError::violation("a length has its highest bit set"));
        }
        let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let head = Head { fin, compressed, opcode, mask: Mask::new(*key), length };
        Ok(Some((head, input.len() - rest.len())))
    }
}

/// Writes the head of a server's frame: final, not masked, with `length` bytes of payload to follow.
pub(super) fn put_head(opcode: Opcode, compressed: bool, length: usize, out: &mut BytesMut) {
    let first = FIN | if compressed { RSV1 } else { 0 } | opcode as u8;
    if length < usize::from(LENGTH_IN_16_BITS) {
        out.put_slice(&[first, length as u8]);
    } else if let Ok(length) = u16::try_from(length) {
        let [high, low] = length.to_be_bytes();
        out.put_slice(&[first, LENGTH_IN_16_BITS, high, low]);
    } else {
        out.put_slice(&[first, LENGTH_IN_64_BITS]);
        out.put_u64(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn head(first: u8, second: u8, rest: &[u8]) -> Result<Option<(Head, usize)>, ProtocolError> {
        Head::parse(&[&[first, second], rest].concat())
    }

    fn violation(first: u8, second: u8) -> &'static str {
        let error = head(first, second, &[0; 12]).unwrap_err();
        assert_eq!(error.code(), 1002);
        error.reason()
    }

    #[test]
    fn the_masked_example_of_the_rfc_is_read() {
        let input = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
        let head = Head { fin: true, compressed: false, opcode: Opcode::Text, mask, length: 5 };
        assert_eq!(Head::parse(&input), Ok(Some((head, 6))));
    }

    #[test]
    fn lengths_of_every_width_are_read_once_they_are_complete() {
        for (second, length, expected) in [
            (0x80 | 125, vec![], 125),
            (0x80 | 126, vec![0, 126], 126),
            (0x80 | 126, vec![0xff, 0xff], 65535),
            (0x80 | 127, vec![0, 0, 0, 0, 0, 1, 0, 0], 65536),
            (0x80 | 127, vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], i64::MAX as u64),
        ] {
            let input = [&[0x82, second], &length[..], &KEY].concat();
            for cut in 0..input.len() {
                assert_eq!(Head::parse(&input[..cut]), Ok(None), "{expected} cut at {cut}");
            }
            let (head, size) = Head::parse(&input).unwrap().unwrap();
            assert_eq!((head.length, size), (expected, input.len()));
        }
    }

    #[test]
    fn what_no_client_may_send_is_refused_from_the_first_bytes() {
        assert_eq!(violation(0xa1, 0x80), "reserved bits are set", "RSV2");
        assert_eq!(violation(0x91, 0x80), "reserved bits are set", "RSV3");
        assert_eq!(violation(0xc9, 0x80), "reserved bits are set", "RSV1 on a ping");
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(violation(0x80 | opcode, 0x80), "reserved opcode");
        }
        assert_eq!(violation(0x81, 0x05), "a client's frame is not masked");
        for opcode in [8, 9, 10] {
            assert_eq!(violation(opcode, 0x80), "a control frame is fragmented");
            assert_eq!(violation(0x80 | opcode, 0x80 | 126), "a control frame is too long");
        }
    }

    #[test]
    fn a_length_with_the_highest_bit_is_refused() {
        let error = head(0x82, 0x80 | 127, &[0x80, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(error.code(), 1002);
    }

    #[test]
    fn heads_are_written_with_the_shortest_length() {
        for (length, expected) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65535, vec![0x81, 126, 0xff, 0xff]),
            (65536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = BytesMut::new();
            put_head(Opcode::Text, false, length, &mut out);
            assert_eq!(out, expected);
            assert!(out.len() <= MAX_HEAD);
        }
    }

    #[test]
    fn a_compressed_frame_has_the_first_reserved_bit() {
        let mut out = BytesMut::new();
        put_head(Opcode::Binary, true, 3, &mut out);
        assert_eq!(out, [0xc2, 3].as_slice());
    }
}
