//! permessage-deflate's streams (RFC 7692 section 7.2): messages into raw DEFLATE and back.
//!
//! Here, and nowhere else, is decided what a stream remembers from one message to the next, and how much it may inflate
//! to. A stream is made when the first compressed message needs it, since it weighs a hundred times as much as the rest
//! of a connection; buffers beyond [`RETAINED`] are given back after each message.

use std::mem;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::close::ProtocolError;
use super::extension::DeflateParameters;

/// The end of each message on either side, an empty stored block, which is left out on the wire (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How much of an output buffer, in bytes, is kept for the next message.
const RETAINED: usize = 16 * 1024;

/// Where an output buffer begins to grow from, in bytes.
const FIRST_OUTPUT: usize = 2 * 1024;

/// A compressor writes a flush in pieces, and begins it anew in less room than this (zlib's `deflate`).
const FLUSH_ROOM: usize = 16;

/// How hard to compress, from 1 to 9. Of JSON in messages of 16 KiB, level 2 leaves 18 % in 47 us, level 6 15 % in 106.
const LEVEL: u32 = 2;

/// Both directions of a connection that agreed on permessage-deflate.
#[derive(Debug)]
pub(super) struct Deflate {
    parameters: DeflateParameters,
    compressor: Option<Compressor>,
    inflater: Option<Inflater>,
}

impl Deflate {
    pub(super) fn new(parameters: DeflateParameters) -> Deflate {
        Deflate { parameters, compressor: None, inflater: None }
    }

    /// A message of the server, as the payload of one frame.
    pub(super) fn compress(&mut self, message: &[u8]) -> &[u8] {
        let DeflateParameters { server_max_window_bits, server_no_context_takeover, .. } = self.parameters;
        let compressor = self.compressor.get_or_insert_with(|| Compressor::new(server_max_window_bits));
        if server_no_context_takeover {
            compressor.stream.reset();
        }
        compressor.compress(message)
    }

    /// Inflates the next part of a client's message; gives what it became. Fails when the message grows beyond `limit`
    /// bytes.
    pub(super) fn inflate(&mut self, part: &[u8], limit: usize) -> Result<&[u8], ProtocolError> {
        self.inflater.get_or_insert_with(Inflater::new).push(part, limit)
    }

    /// As [`Deflate::inflate`], for the end of a message.
    pub(super) fn inflate_end(&mut self, limit: usize) -> Result<&[u8], ProtocolError> {
        self.inflate(&TAIL, limit)
    }

    /// The client's message, whose end was inflated.
    pub(super) fn take_message(&mut self) -> Bytes {
        let Some(inflater) = &mut self.inflater else { return Bytes::new() };
        if self.parameters.client_no_context_takeover {
            inflater.stream.reset(false);
        }
        inflater.take_message()
    }
}

#[derive(Debug)]
struct Compressor {
    stream: Compress,
    /// Room for one compressed message. All of it is initialized; it holds nothing between messages.
    output: Vec<u8>,
}

impl Compressor {
    fn new(window_bits: u8) -> Compressor {
        let stream = Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits);
        Compressor { stream, output: Vec::new() }
    }

    /// `message` is not to be empty: a stream cannot be flushed twice without anything between.
    fn compress(&mut self, message: &[u8]) -> &[u8] {
        debug_assert!(!message.is_empty());
        if self.output.len() > RETAINED {
            self.output.truncate(FIRST_OUTPUT);
            self.output.shrink_to_fit();
        }
        let (mut read, mut written) = (0, 0);
        loop {
            if self.output.len() - written < FLUSH_ROOM {
                let grown = (self.output.len() * 2).max(message.len() / 4).max(FIRST_OUTPUT);
                self.output.resize(grown, 0);
            }
            let (total_in, total_out) = (self.stream.total_in(), self.stream.total_out());
            self.stream
                .compress(&message[read..], &mut self.output[written..], FlushCompress::Sync)
                .expect("a raw stream that is never finished takes any input");
            read += (self.stream.total_in() - total_in) as usize;
            written += (self.stream.total_out() - total_out) as usize;
            // Room left over says that the flush is complete.
            if read == message.len() && written < self.output.len() {
                break;
            }
        }
        self.output[..written].strip_suffix(&TAIL).expect("a flush ends with an empty stored block")
    }
}

#[derive(Debug)]
struct Inflater {
    stream: Decompress,
    /// Room for one message. All of it is initialized; the message so far is its beginning.
    output: Vec<u8>,
    length: usize,
}

impl Inflater {
    fn new() -> Inflater {
        Inflater { stream: Decompress::new(false), output: Vec::new(), length: 0 }
    }

    fn push(&mut self, mut part: &[u8], limit: usize) -> Result<&[u8], ProtocolError> {
        let before = self.length;
        loop {
            if self.length == self.output.len() {
                // One byte beyond the limit, for it to be seen crossed.
                let grown = (self.output.len() * 2).max(FIRST_OUTPUT).min(limit.saturating_add(1));
                self.output.resize(grown, 0);
            }
            let (total_in, total_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(part, &mut self.output[self.length..], FlushDecompress::Sync)
                .map_err(|_| ProtocolError::violation("a message does not inflate"))?;
            part = &part[(self.stream.total_in() - total_in) as usize..];
            self.length += (self.stream.total_out() - total_out) as usize;
            if self.length > limit {
                return Err(ProtocolError::too_big());
            }
            if status == Status::StreamEnd {
                // A client may end each message with a final block (section 7.2.3.4). What it sends next is a new
                // stream, which does not refer to the one before: whoever finishes a zlib stream has to begin another.
                self.stream.reset(false);
            }
            // Room left over says that nothing is held back in the stream.
            if part.is_empty() && (self.length < self.output.len() || status != Status::Ok) {
                return Ok(&self.output[before..self.length]);
            }
        }
    }

    fn take_message(&mut self) -> Bytes {
        let length = mem::take(&mut self.length);
        if self.output.len() <= RETAINED {
            return Bytes::copy_from_slice(&self.output[..length]);
        }
        let mut message = mem::take(&mut self.output);
        message.truncate(length);
        Bytes::from(message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Random, compressible};
    use super::*;

    const PARAMETERS: DeflateParameters = DeflateParameters {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 12,
    };
    const LIMIT: usize = 1 << 20;

    fn inflate(deflate: &mut Deflate, payload: &[u8]) -> Result<Bytes, ProtocolError> {
        deflate.inflate(payload, LIMIT)?;
        deflate.inflate_end(LIMIT)?;
        Ok(deflate.take_message())
    }

    #[test]
    fn the_examples_of_rfc_7692_inflate() {
        let mut deflate = Deflate::new(PARAMETERS);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut deflate, &hello).unwrap(), "Hello", "section 7.2.3.1");
        assert_eq!(
            inflate(&mut deflate, &[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap(),
            "Hello",
            "7.2.3.2, with the context"
        );
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflate(&mut deflate, &stored).unwrap(), "Hello", "7.2.3.3, not compressed");
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&mut deflate, &last).unwrap(), "Hello", "7.2.3.4, a final block");
        assert_eq!(inflate(&mut deflate, &last).unwrap(), "Hello", "7.2.3.4, and another");
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut deflate, &two).unwrap(), "Hello", "7.2.3.5, two blocks");
        assert_eq!(inflate(&mut deflate, &[0x00]).unwrap(), "", "7.2.3.6, nothing");
    }

    #[test]
    fn without_context_takeover_a_message_cannot_refer_to_the_one_before() {
        let mut deflate = Deflate::new(DeflateParameters { client_no_context_takeover: true, ..PARAMETERS });
        inflate(&mut deflate, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]).unwrap();
        let error = inflate(&mut deflate, &[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap_err();
        assert_eq!(error.code(), 1002);
    }

    #[test]
    fn streams_are_made_only_when_needed() {
        let mut deflate = Deflate::new(PARAMETERS);
        assert!(deflate.compressor.is_none() && deflate.inflater.is_none());
        deflate.compress(b"a message");
        assert!(deflate.compressor.is_some() && deflate.inflater.is_none());
    }

    #[test]
    fn every_window_and_takeover_round_trips() {
        let mut random = Random::new(7692);
        for server_max_window_bits in 9..=15 {
            for no_context_takeover in [false, true] {
                let mut deflate = Deflate::new(DeflateParameters {
                    server_no_context_takeover: no_context_takeover,
                    client_no_context_takeover: no_context_takeover,
                    server_max_window_bits,
                });
                for length in [1, 100, 1 << server_max_window_bits, 3 << 14, 100_000, 10] {
                    for message in [compressible(&mut random, length), random.bytes(length)] {
                        let payload = deflate.compress(&message).to_vec();
                        assert_eq!(
                            inflate(&mut deflate, &payload).unwrap(),
                            message,
                            "{server_max_window_bits} {length}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_agreed_window_is_kept_to() {
        let mut random = Random::new(9);
        let mut deflate = Deflate::new(DeflateParameters { server_max_window_bits: 9, ..PARAMETERS });
        let unit = random.bytes(600);
        let payload = deflate.compress(&[&unit[..], &unit[..]].concat()).to_vec();
        assert!(payload.len() > 1200, "a reference 600 bytes back is beyond a window of 512");
        let mut narrow = Decompress::new_with_window_bits(false, 9);
        let mut output = vec![0; 2000];
        narrow.decompress(&payload, &mut output, FlushDecompress::Sync).unwrap();
        assert_eq!(output[..1200], [&unit[..], &unit[..]].concat());
    }

    #[test]
    fn with_context_takeover_a_repeated_message_shrinks() {
        let mut random = Random::new(1);
        let message = random.bytes(500);
        let mut takeover = Deflate::new(PARAMETERS);
        assert!(takeover.compress(&message).len() > 400);
        assert!(takeover.compress(&message).len() < 40);
        let mut none = Deflate::new(DeflateParameters { server_no_context_takeover: true, ..PARAMETERS });
        assert!(none.compress(&message).len() > 400);
        assert!(none.compress(&message).len() > 400);
    }

    #[test]
    fn a_message_may_be_inflated_in_any_parts() {
        let mut random = Random::new(3);
        let message = compressible(&mut random, 5000);
        let payload = Deflate::new(PARAMETERS).compress(&message).to_vec();
        for cut in 0..payload.len() {
            let mut deflate = Deflate::new(PARAMETERS);
            let mut parts = deflate.inflate(&payload[..cut], LIMIT).unwrap().to_vec();
            parts.extend_from_slice(deflate.inflate(&payload[cut..], LIMIT).unwrap());
            parts.extend_from_slice(deflate.inflate_end(LIMIT).unwrap());
            assert_eq!(parts, message, "cut at {cut}");
            assert_eq!(deflate.take_message(), message, "cut at {cut}");
        }
    }

    #[test]
    fn the_limit_holds_to_the_byte_and_stops_a_bomb_early() {
        for limit in [1, 1000, FIRST_OUTPUT, FIRST_OUTPUT + 1, 100_000] {
            for (length, fits) in [(limit, true), (limit + 1, false)] {
                let payload = Deflate::new(PARAMETERS).compress(&vec![b'a'; length]).to_vec();
                let mut deflate = Deflate::new(PARAMETERS);
                let inflated = deflate.inflate(&payload, limit).map(<[u8]>::len);
                match inflated {
                    Ok(length) => assert!(fits && length == limit),
                    Err(error) => assert!(!fits && error.code() == 1009),
                }
            }
        }
        let bomb = Deflate::new(PARAMETERS).compress(&vec![0; 50 << 20]).to_vec();
        let mut deflate = Deflate::new(PARAMETERS);
        assert_eq!(deflate.inflate(&bomb, 1 << 16).unwrap_err().code(), 1009);
        assert!(deflate.inflater.unwrap().output.len() <= (1 << 16) + 1);
    }

    #[test]
    fn large_buffers_are_given_back() {
        let mut deflate = Deflate::new(PARAMETERS);
        let mut random = Random::new(2);
        let large = random.bytes(1 << 19);
        let payload = deflate.compress(&large).to_vec();
        assert_eq!(inflate(&mut deflate, &payload).unwrap(), large);
        let payload = deflate.compress(b"small").to_vec();
        assert_eq!(inflate(&mut deflate, &payload).unwrap(), "small");
        assert!(deflate.compressor.unwrap().output.capacity() <= RETAINED);
        assert!(deflate.inflater.unwrap().output.capacity() <= RETAINED);
    }

    #[test]
    fn what_is_not_deflate_is_a_violation() {
        let mut deflate = Deflate::new(PARAMETERS);
        assert_eq!(deflate.inflate(&[0xff, 0xff, 0xff], LIMIT).unwrap_err().code(), 1002);
    }
}
