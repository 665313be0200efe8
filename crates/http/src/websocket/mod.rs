//! WebSockets (RFC 6455) with permessage-deflate (RFC 7692), the server's side.
//!
//! The codec does no I/O: bytes in, events out, and the reverse. Only `connection` knows of sockets.
//!
//! * [`handshake`](Handshake): is this request an upgrade, is it valid, and what does a 101 say;
//! * [`Protocol`]: everything after the 101. It alone decides what a client may send, and in which order.
//! * [`WebSocket`]: the two on a connection, with queues and back-pressure between it and the application.
//!
//! Below these: `frame` knows the bits of a frame's head, `mask` the masking, `deflate` the zlib streams,
//! `extension` the header they are agreed upon in, `text` what is UTF-8, and `close` the codes a connection ends with.

mod close;
mod connection;
mod deflate;
mod extension;
mod frame;
mod handshake;
mod mask;
mod protocol;
mod text;

#[cfg(test)]
mod client;

pub use close::{CloseCode, ProtocolError};
pub(crate) use connection::Driver;
pub use connection::{Closed, Message, Upgrade, WebSocket};
pub use extension::DeflateParameters;
pub use handshake::{Handshake, HandshakeError, InvalidSubprotocol, is_upgrade};
pub use protocol::{Event, Kind, Protocol, Settings};
pub use text::Text;
