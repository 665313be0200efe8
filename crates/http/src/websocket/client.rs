//! The other end of a connection, for the tests of this one.

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::mask::Mask;

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A client's frame: `first` is its first byte, the rest of its head follows from the payload.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x1b, 0xad, 0xf0, 0x0d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    let start = frame.len();
    frame.extend_from_slice(payload);
    Mask::new(key).apply(&mut frame[start..]);
    frame
}

/// The frames that a server wrote, as first bytes and payloads.
pub(super) fn read_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(second & 0x80, 0, "a server's frames are not masked");
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap())), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            length => (usize::from(*length), rest),
        };
        frames.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a head");
    frames
}

/// A client's compressor, written against zlib alone.
pub(super) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Deflater {
        Deflater(Compress::new(Compression::default(), false))
    }

    pub(super) fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            return vec![0];
        }
        let mut output = Vec::with_capacity(message.len() * 2 + 100);
        self.0.compress_vec(message, &mut output, FlushCompress::Sync).unwrap();
        output.truncate(output.len() - 4);
        output
    }
}

/// A client's decompressor.
pub(super) struct Inflater(Decompress);

impl Inflater {
    pub(super) fn new() -> Inflater {
        Inflater(Decompress::new(false))
    }

    pub(super) fn inflate(&mut self, payload: &[u8], length: usize) -> Vec<u8> {
        let mut output = Vec::with_capacity(length + 100);
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        self.0.decompress_vec(&input, &mut output, FlushDecompress::Sync).unwrap();
        output
    }
}

/// Numbers that look random and are the same in every run (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// Characters of one to four bytes.
    pub(super) fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| ['a', 'ñ', '€', '𝄞'][self.below(4)]).collect()
    }

    /// `bytes` in parts of random sizes, some of them empty.
    pub(super) fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        while parts.is_empty() || !bytes.is_empty() {
            let largest = [2, 20, 2000][self.below(3)].min(bytes.len() + 1);
            let (part, rest) = bytes.split_at(self.below(largest));
            parts.push(part);
            bytes = rest;
            if self.below(20) == 0 {
                parts.push(bytes);
                break;
            }
        }
        parts
    }
}

/// Bytes with many repetitions, near and far.
pub(super) fn compressible(random: &mut Random, length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (2..30).map(|length| random.bytes(length)).collect();
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend_from_slice(&words[random.below(words.len())]);
    }
    bytes.truncate(length);
    bytes
}

/// Frames one after the other, as a buffer to receive from.
pub(super) fn wire(frames: &[Vec<u8>]) -> BytesMut {
    BytesMut::from(frames.concat().as_slice())
}
