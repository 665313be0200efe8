//! The one trait between the engine and whatever it serves.

use std::future::Future;
use std::io;

use http::{Request, Response};
use overdrive_reactor::Address;

use crate::body::{RequestBody, ResponseBody};
use crate::websocket::Upgrade;

/// What the engine serves. All calls come on the reactor's thread.
///
/// A connection handles one request at a time: pipelined requests wait for the answer before them. Code that answers
/// outside of [`Application::request`]'s future (a Python coroutine, say) keeps its state in `Connection` and looks at it
/// whenever [`Application::progress`] says that something may have changed.
pub trait Application: 'static {
    /// What the application keeps of a connection, from its first byte to its end.
    type Connection: 'static;
    /// The way to a response. Dropped unfinished when the client is gone.
    type Answer: Future<Output = Response<ResponseBody>> + 'static;

    /// A connection was accepted.
    fn connected(&self, peer: Address, local: Address) -> Self::Connection;

    /// A request's head is complete and valid.
    fn request(&self, connection: &Self::Connection, request: Request<RequestBody>) -> Self::Answer;

    /// As [`Application::request`], for a valid WebSocket handshake. The answer is what [`Upgrade::accept`] made, or any
    /// other response to deny it.
    fn websocket(&self, connection: &Self::Connection, request: Request<()>, upgrade: Upgrade) -> Self::Answer;

    /// The connection has made a step: it may have read or written. `gone` at the last, when it is over.
    fn progress(&self, _connection: &Self::Connection, _gone: bool) {}

    /// Something happened that an operator wants to know.
    fn report(&self, report: Report<'_>) {
        eprintln!("{report}");
    }
}

/// Events for the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report<'a> {
    /// Accepting failed for want of descriptors or memory; it is tried again a little later.
    AcceptFailed(&'a io::Error),
    /// A client sent what is not a valid request; it got an answer of the 4xx class, and the connection is closed.
    InvalidRequest(&'a str),
    /// A task panicked: a defect of the engine. Its connection is closed.
    Panicked(&'a str),
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Report::AcceptFailed(error) => write!(f, "Cannot accept connections at the moment: {error}"),
            Report::InvalidRequest(reason) => write!(f, "Invalid HTTP request received: {reason}"),
            Report::Panicked(message) => write!(f, "The engine closed a connection after an internal error: {message}"),
        }
    }
}
