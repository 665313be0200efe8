//! A WebSocket connection after its handshake (RFC 6455 sections 5 to 7), without I/O.
//!
//! This file owns the connection's state, and nothing else decides what may follow what:
//!
//! * A client's data frames make up one message at a time: a first frame of text or binary, then continuations up to
//!   the final one. Control frames come whole, between any two frames.
//! * What is wrong is found as early as the bytes allow: a message beyond the limit when its frame's head announces it
//!   (a compressed one when it has inflated too far), text that is not UTF-8 at the first wrong byte, even within a
//!   frame.
//! * After the client's close frame, or the first violation, nothing more is read; after our close frame, nothing is
//!   written.
//!
//! Answers are the caller's: an [`Event::Ping`] wants a pong, an [`Event::Close`] a close frame (unless one was sent
//! before), an error a close frame with its code.
//!
//! Payloads are unmasked where they lie. A frame that is a whole message, not compressed, is split off the caller's
//! buffer without a copy; any other is gathered, or inflated, as its bytes arrive.

use std::mem;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::close::{ProtocolError, is_valid_on_the_wire};
use super::deflate::Deflate;
use super::extension::DeflateParameters;
use super::frame::{Head, MAX_CONTROL_PAYLOAD, MAX_HEAD, Opcode, put_head};
use super::mask::Mask;
use super::text::{Text, Utf8Check};

/// Messages of fewer bytes are sent as they are, also where compression was agreed on (RFC 7692 section 6 allows it):
/// they fit into one packet either way.
const MIN_COMPRESSED: usize = 128;

/// What a [`Protocol`] is to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of a client's message, after decompression, beyond which the connection fails with 1009.
    pub max_message_size: usize,
    /// The compression that the handshake agreed on.
    pub deflate: Option<DeflateParameters>,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message of text.
    Text(Text),
    /// A message of bytes.
    Binary(Bytes),
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// The answer to a ping, or unasked for.
    Pong(Bytes),
    /// The last event. To be answered with a close frame, unless one was sent.
    Close {
        /// Why, as a number (RFC 6455 section 7.4), if the client said so.
        code: Option<u16>,
        /// Why, in words; often empty.
        reason: Text,
    },
}

/// The two kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// One connection's state, in both directions.
#[derive(Debug)]
pub struct Protocol {
    max_message_size: usize,
    deflate: Option<Box<Deflate>>,
    frame: Option<Frame>,
    message: Option<Message>,
    /// Of the text message under way.
    check: Utf8Check,
    /// The frames so far of a message that is not compressed.
    gathered: Vec<u8>,
    close_received: bool,
    failed: bool,
    close_sent: bool,
}

impl Protocol {
    /// The state right after the handshake.
    pub fn new(settings: Settings) -> Protocol {
        Protocol {
            max_message_size: settings.max_message_size,
            deflate: settings.deflate.map(|parameters| Box::new(Deflate::new(parameters))),
            frame: None,
            message: None,
            check: Utf8Check::default(),
            gathered: Vec::new(),
            close_received: false,
            failed: false,
            close_sent: false,
        }
    }

    /// Takes the next event out of `input`; `None` when it takes more bytes, which are to be appended to what is left
    /// there.
    ///
    /// After an error, and after [`Event::Close`], all input is dropped. A message may share the memory of `input`: who
    /// keeps messages for long, and reads into large buffers, copies them.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        if self.close_received || self.failed {
            input.clear();
            return Ok(None);
        }
        let result = self.next_event(input);
        self.failed = result.is_err();
        result
    }

    /// How many bytes the frame under way still lacks, as far as its head has said: a hint for the size of the next
    /// read. It is the client's word, so memory is not to be spent on it far in advance.
    pub fn missing(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.length - frame.done)
    }

    /// Whether the client's close frame was received.
    pub fn close_received(&self) -> bool {
        self.close_received
    }

    /// Whether a close frame was sent.
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// Whether either side has begun to close, or the client broke the protocol.
    pub fn is_closing(&self) -> bool {
        self.close_received || self.close_sent || self.failed
    }

    /// Whether both sides have closed: the stream underneath is to be closed now.
    pub fn is_closed(&self) -> bool {
        self.close_sent && (self.close_received || self.failed)
    }

    /// Writes a text message, in one frame. Nothing after a close frame, as with all that follow.
    pub fn send_text(&mut self, text: &str, out: &mut BytesMut) {
        self.send_message(Kind::Text, text.as_bytes(), out);
    }

    /// Writes a binary message, in one frame.
    pub fn send_binary(&mut self, payload: &[u8], out: &mut BytesMut) {
        self.send_message(Kind::Binary, payload, out);
    }

    /// Writes only the head of a message's frame; the caller sends the `length` bytes of its payload after it, from
    /// wherever they are. For large messages where [`Protocol::compresses`] says no. False when nothing may be sent any
    /// more.
    #[must_use]
    pub fn send_head(&mut self, kind: Kind, length: usize, out: &mut BytesMut) -> bool {
        if !self.close_sent {
            put_head(kind.opcode(), false, length, out);
        }
        !self.close_sent
    }

    /// Whether a message of `length` bytes is going to be compressed.
    pub fn compresses(&self, length: usize) -> bool {
        self.deflate.is_some() && length >= MIN_COMPRESSED
    }

    /// Writes a ping. Its payload, and a pong's, is cut to the 125 bytes there may be.
    pub fn send_ping(&mut self, payload: &[u8], out: &mut BytesMut) {
        self.send_control(Opcode::Ping, payload, out);
    }

    /// Writes a pong.
    pub fn send_pong(&mut self, payload: &[u8], out: &mut BytesMut) {
        self.send_control(Opcode::Pong, payload, out);
    }

    /// Writes the close frame, once.
    ///
    /// A code that may not be on the wire (see [`Protocol::may_close_with`]; 1005 says so itself) is left out, and the
    /// reason with it. A reason of more than 123 bytes is cut between two characters.
    pub fn send_close(&mut self, code: Option<u16>, reason: &str, out: &mut BytesMut) {
        match code.filter(|code| Protocol::may_close_with(*code)) {
            None => self.send_control(Opcode::Close, &[], out),
            Some(code) => {
                let mut payload = [0; MAX_CONTROL_PAYLOAD];
                let (start, room) = payload.split_at_mut(2);
                start.copy_from_slice(&code.to_be_bytes());
                let mut length = reason.len().min(room.len());
                while !reason.is_char_boundary(length) {
                    length -= 1;
                }
                room[..length].copy_from_slice(&reason.as_bytes()[..length]);
                self.send_control(Opcode::Close, &payload[..2 + length], out);
            }
        }
        self.close_sent = true;
    }

    /// Whether a close frame may carry `code` (RFC 6455 section 7.4).
    pub fn may_close_with(code: u16) -> bool {
        is_valid_on_the_wire(code)
    }

    fn next_event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let Some((head, size)) = Head::parse(input)? else { return Ok(None) };
                    let frame = self.begin(head)?;
                    input.advance(size);
                    frame
                }
            };
            let step = match frame.content {
                Content::Control(opcode) => self.control(frame, opcode, input)?,
                Content::Whole(kind) => self.whole(frame, kind, input)?,
                Content::Part { last } => self.part(frame, last, input)?,
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::Again => {}
                Step::Starved(frame) => {
                    self.frame = Some(frame);
                    return Ok(None);
                }
            }
        }
    }

    /// Decides whether a frame may come here, from its head alone.
    fn begin(&mut self, head: Head) -> Result<Frame, ProtocolError> {
        if head.opcode.is_control() {
            return Ok(Frame::new(head, Content::Control(head.opcode)));
        }
        let message = match (head.opcode, &self.message) {
            (Opcode::Continuation, None) => {
                return Err(ProtocolError::violation("a continuation of nothing"));
            }
            (Opcode::Continuation, Some(_)) if head.compressed => {
                return Err(ProtocolError::violation("reserved bits are set"));
            }
            (Opcode::Continuation, Some(message)) => *message,
            (_, Some(_)) => {
                return Err(ProtocolError::violation("a message begins within another"));
            }
            (_, None) if head.compressed && self.deflate.is_none() => {
                return Err(ProtocolError::violation("reserved bits are set"));
            }
            (Opcode::Text, None) => Message { kind: Kind::Text, compressed: head.compressed },
            (_, None) => Message { kind: Kind::Binary, compressed: head.compressed },
        };
        // Compressed bytes are not gathered, so that only what they inflate to counts.
        let room = self.max_message_size - self.gathered.len();
        if !message.compressed && head.length > room as u64 {
            return Err(ProtocolError::too_big());
        }
        if head.fin && self.message.is_none() && !message.compressed {
            return Ok(Frame::new(head, Content::Whole(message.kind)));
        }
        self.message = Some(message);
        Ok(Frame::new(head, Content::Part { last: head.fin }))
    }

    fn control(&mut self, mut frame: Frame, opcode: Opcode, input: &mut BytesMut) -> Result<Step, ProtocolError> {
        if input.len() < frame.length {
            return Ok(Step::Starved(frame));
        }
        let mut payload = input.split_to(frame.length);
        frame.mask.apply(&mut payload);
        let payload = payload.freeze();
        Ok(Step::Event(match opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => {
                let event = close_event(payload)?;
                self.close_received = true;
                input.clear();
                event
            }
        }))
    }

    /// A message in one frame.
    fn whole(&mut self, mut frame: Frame, kind: Kind, input: &mut BytesMut) -> Result<Step, ProtocolError> {
        if frame.done == 0 && input.len() >= frame.length {
            let mut payload = input.split_to(frame.length);
            frame.mask.apply(&mut payload);
            let payload = payload.freeze();
            return Ok(Step::Event(match kind {
                Kind::Text => Event::Text(Text::checked(payload).ok_or(ProtocolError::not_utf8())?),
                Kind::Binary => Event::Binary(payload),
            }));
        }
        let available = frame.length.min(input.len());
        let arrived = &mut input[frame.done..available];
        frame.mask.apply(arrived);
        check_text(&mut self.check, kind, arrived)?;
        frame.done = available;
        if available < frame.length {
            return Ok(Step::Starved(frame));
        }
        let payload = input.split_to(frame.length).freeze();
        self.complete(kind, payload).map(Step::Event)
    }

    /// A frame of a message in several, or of a compressed one.
    fn part(&mut self, mut frame: Frame, last: bool, input: &mut BytesMut) -> Result<Step, ProtocolError> {
        let Message { kind, compressed } = self.message.expect("set by the message's first frame");
        let length = (frame.length - frame.done).min(input.len());
        let arrived = &mut input[..length];
        frame.mask.apply(arrived);
        match &mut self.deflate {
            Some(deflate) if compressed => {
                let inflated = deflate.inflate(arrived, self.max_message_size)?;
                check_text(&mut self.check, kind, inflated)?;
            }
            _ => {
                self.gathered.extend_from_slice(arrived);
                check_text(&mut self.check, kind, arrived)?;
            }
        }
        input.advance(length);
        frame.done += length;
        if frame.done < frame.length {
            return Ok(Step::Starved(frame));
        }
        if !last {
            return Ok(Step::Again);
        }
        self.message = None;
        let payload = match &mut self.deflate {
            Some(deflate) if compressed => {
                let inflated = deflate.inflate_end(self.max_message_size)?;
                check_text(&mut self.check, kind, inflated)?;
                deflate.take_message()
            }
            _ => Bytes::from(mem::take(&mut self.gathered)),
        };
        self.complete(kind, payload).map(Step::Event)
    }

    /// The event for a message that was checked part by part.
    fn complete(&mut self, kind: Kind, payload: Bytes) -> Result<Event, ProtocolError> {
        match kind {
            Kind::Binary => Ok(Event::Binary(payload)),
            Kind::Text if self.check.is_complete() => Ok(Event::Text(Text::already_checked(payload))),
            Kind::Text => Err(ProtocolError::not_utf8()),
        }
    }

    fn send_message(&mut self, kind: Kind, payload: &[u8], out: &mut BytesMut) {
        if self.close_sent {
            return;
        }
        let (compressed, payload) = match &mut self.deflate {
            Some(deflate) if payload.len() >= MIN_COMPRESSED => (true, deflate.compress(payload)),
            _ => (false, payload),
        };
        out.reserve(MAX_HEAD + payload.len());
        put_head(kind.opcode(), compressed, payload.len(), out);
        out.put_slice(payload);
    }

    fn send_control(&mut self, opcode: Opcode, payload: &[u8], out: &mut BytesMut) {
        if self.close_sent {
            return;
        }
        let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
        put_head(opcode, false, payload.len(), out);
        out.put_slice(payload);
    }
}

impl Kind {
    fn opcode(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

/// A frame whose head was read.
#[derive(Debug)]
struct Frame {
    content: Content,
    mask: Mask,
    /// Bytes of payload.
    length: usize,
    /// How many of them were unmasked: for a whole message they are still in the input, for a part they are gone.
    done: usize,
}

impl Frame {
    fn new(head: Head, content: Content) -> Frame {
        // A compressed frame may be longer than this machine's memory; it is never held.
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        Frame { content, mask: head.mask, length, done: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Control(Opcode),
    /// A whole message, not compressed.
    Whole(Kind),
    /// One of several frames, or a compressed one.
    Part {
        last: bool,
    },
}

/// A message of which some frames were received, but not the last.
#[derive(Clone, Copy, Debug)]
struct Message {
    kind: Kind,
    compressed: bool,
}

/// What came of looking at a frame.
enum Step {
    Event(Event),
    /// The frame is done, the message is not.
    Again,
    /// It takes more bytes.
    Starved(Frame),
}

fn check_text(check: &mut Utf8Check, kind: Kind, part: &[u8]) -> Result<(), ProtocolError> {
    if kind == Kind::Binary || check.push(part) { Ok(()) } else { Err(ProtocolError::not_utf8()) }
}

fn close_event(mut payload: Bytes) -> Result<Event, ProtocolError> {
    if payload.is_empty() {
        return Ok(Event::Close { code: None, reason: Text::default() });
    }
    if payload.len() == 1 {
        return Err(ProtocolError::violation("half a close code"));
    }
    let code = payload.get_u16();
    if !is_valid_on_the_wire(code) {
        return Err(ProtocolError::violation("invalid close code"));
    }
    let reason = Text::checked(payload).ok_or(ProtocolError::not_utf8())?;
    Ok(Event::Close { code: Some(code), reason })
}

#[cfg(test)]
mod tests;
