//! HTTP/1.1 and WebSocket connections on the overdrive reactor, for any application behind one trait.
//!
//! Everything happens on one thread, inside [`overdrive_reactor::Reactor::run`]: hyper parses, the [`Application`] answers,
//! hyper writes. The engine adds what hyper leaves to its users: accepting, limits and timeouts, parking of idle
//! connections, dropping the unread rest of bodies, graceful draining, the checks of RFC 9112 that hyper is lenient about,
//! files, and WebSockets with permessage-deflate.

mod application;
mod body;
mod connection;
mod file;
mod server;
mod service;
mod settings;
mod share;
mod transport;
mod validate;
pub mod websocket;

pub use application::{Application, Report};
pub use body::{Aborted, BodyFailure, BodySender, RequestBody, ResponseBody};
pub use file::{FileEnd, FilePart, FileStop};
pub use overdrive_reactor::Address;
pub use server::{ConnectionCount, Server};
pub use settings::{Reasons, Settings, WebSocketSettings};
pub use share::Share;
pub use websocket::{Closed, Message, Upgrade, WebSocket};
