//! Many WebSocket connections, each with one message in flight: sent, awaited back unchanged, sent again.
//!
//! It knows just enough of RFC 6455 to check what an echo server answers: whole, short, unmasked text frames and pings.
//! No extension is offered, so no message is compressed.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Failure;

pub(crate) const MESSAGE: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";
const MASK: [u8; 4] = [0x3a, 0x91, 0xc7, 0x5e];
pub(crate) const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// RFC 6455, section 1.3: the key of the example, and the only right answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pplmbitxaq9kygzzhzrbk+xoo="; // in lower case, as heads are compared here

/// Longest silence of all connections together before the run is given up.
const STALLED: Duration = Duration::from_secs(10);

/// Keeps one message in flight on each of `connections` for `span`, after a warm-up of a fifth of it.
pub(crate) fn run(address: SocketAddr, connections: usize, span: Duration) -> Result<String, Failure> {
    let mut poll = Poll::new()?;
    let message = masked(TEXT, MESSAGE);
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut connection = Connection::open(address)?;
        poll.registry().register(&mut connection.stream, Token(number), Interest::READABLE)?;
        open.push(connection);
    }
    for connection in &mut open {
        connection.send(&message)?;
    }

    let mut events = Events::with_capacity(connections);
    let counted_from = Instant::now() + span / 5;
    let end = counted_from + span;
    let mut latencies = Vec::with_capacity(1 << 20);
    loop {
        poll.poll(&mut events, Some(STALLED))?;
        let now = Instant::now();
        if now >= end {
            break;
        }
        if events.is_empty() {
            return Err("no connection answered any more".into());
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            for _ in 0..connection.receive()? {
                if now >= counted_from {
                    latencies.push(now.duration_since(connection.sent_at));
                }
                connection.send(&message)?;
            }
        }
    }
    Ok(summary(&mut latencies, span))
}

fn summary(latencies: &mut [Duration], span: Duration) -> String {
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0.0, Duration::as_secs_f64);
    format!(
        r#"{{"messages": {}, "seconds": {}, "p50": {}, "p99": {}}}"#,
        latencies.len(),
        span.as_secs_f64(),
        at(50),
        at(99)
    )
}

struct Connection {
    stream: TcpStream,
    /// Bytes that are not a whole frame yet.
    partial: Vec<u8>,
    sent_at: Instant,
}

impl Connection {
    /// Connects and shakes hands, blocking; from then on the stream does not block.
    fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = shake_hands(address)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), partial: Vec::with_capacity(256), sent_at: Instant::now() })
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Failure> {
        self.sent_at = Instant::now();
        // With one short message in flight the send buffer is never full, so a partial write is a defect.
        self.stream.write_all(frame).map_err(Into::into)
    }

    /// Reads what has come; the number of echoed messages in it. Pings are answered on the way.
    fn receive(&mut self) -> Result<usize, Failure> {
        let mut echoed = 0;
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(length) => {
                    self.partial.extend_from_slice(&buffer[..length]);
                    echoed += self.take_frames()?;
                    if length < buffer.len() {
                        return Ok(echoed); // drained: the next arrival is a new edge
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(echoed),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_frames(&mut self) -> Result<usize, Failure> {
        let mut echoed = 0;
        loop {
            let [opcode, length, ..] = self.partial[..] else { return Ok(echoed) };
            let end = 2 + usize::from(length);
            if length > 125 {
                return Err(format!("a frame of length {length}, masked or longer than what was sent").into());
            }
            let Some(payload) = self.partial.get(2..end) else { return Ok(echoed) };
            match opcode {
                TEXT if payload == MESSAGE => echoed += 1,
                PING => {
                    let pong = masked(PONG, payload);
                    self.stream.write_all(&pong)?;
                }
                _ => return Err(format!("a frame of type {opcode:#x} that is no echo: {payload:?}").into()),
            }
            self.partial.drain(..end);
        }
    }
}

/// Connects and opens a WebSocket.
pub(crate) fn shake_hands(address: SocketAddr) -> Result<std::net::TcpStream, Failure> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    write!(
        stream,
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?; // one by one, so that nothing behind the head is taken
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 101 ") || !head.contains(&format!("sec-websocket-accept: {ACCEPT}\r\n")) {
        return Err(format!("the handshake was answered by {head:?}").into());
    }
    Ok(stream)
}

/// A client's frame of at most 125 bytes.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode, 0x80 | u8::try_from(payload.len()).expect("a short payload")];
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
