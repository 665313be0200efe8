//! Every limit and timeout of the engine, in one place.

use std::collections::HashMap;
use std::time::Duration;

use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// What a [`crate::Server`] needs to know; the defaults suit a public server behind nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection may stay idle between two requests.
    pub keep_alive: Duration,
    /// How long a client may take from the first byte of a request to the end of its head.
    pub header_read: Duration,
    /// Bytes of a request's head, beyond which the answer is 431.
    pub max_header_size: usize,
    /// Header lines of a request, beyond which the answer is 431.
    pub max_headers: usize,
    /// Open connections, beyond which nothing is accepted.
    pub max_connections: usize,
    /// Whether responses without a `date` get one (RFC 9110 section 6.6.1).
    pub date_header: bool,
    /// After how long an idle connection gives its buffers back.
    pub park_after: Duration,
    /// How much of a request body that nobody wants is read and dropped, so that the client gets to see the answer.
    pub discard_limit: u64,
    /// How long that may take.
    pub discard_timeout: Duration,
    /// Reason phrases that differ from those which RFC 9110 suggests.
    pub reasons: Reasons,
    /// WebSocket limits.
    pub websocket: WebSocketSettings,
}

/// Reason phrases by status; a status that is not in it has its usual phrase.
#[derive(Clone, Debug, Default)]
pub struct Reasons(HashMap<StatusCode, ReasonPhrase>);

impl Reasons {
    /// Sets the phrase of a status, unless it is the usual one. Nothing happens if no response can have it.
    pub fn set(&mut self, status: StatusCode, phrase: &str) {
        if status.canonical_reason() != Some(phrase)
            && let Ok(phrase) = ReasonPhrase::try_from(phrase.as_bytes())
        {
            self.0.insert(status, phrase);
        }
    }

    /// The phrase that goes out with a status.
    pub fn phrase(&self, status: StatusCode) -> &str {
        match self.0.get(&status) {
            Some(phrase) => std::str::from_utf8(phrase.as_bytes()).unwrap_or(""),
            None => status.canonical_reason().unwrap_or(""),
        }
    }

    /// Marks a response with the phrase of its status.
    pub(crate) fn apply<B>(&self, response: &mut Response<B>) {
        let status = response.status();
        // By far the most responses are this one.
        if status != StatusCode::OK
            && let Some(phrase) = self.0.get(&status)
        {
            response.extensions_mut().insert(phrase.clone());
        }
    }
}

/// The part of [`Settings`] that is about WebSockets.
#[derive(Clone, Debug)]
pub struct WebSocketSettings {
    /// Bytes of a message after decompression, beyond which the connection is closed with 1009.
    pub max_message_size: usize,
    /// Messages that wait for the application, beyond which the socket is not read.
    pub max_queue: usize,
    /// How often a ping is sent; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long its pong may take before the connection is closed with 1011; `None`: for ever.
    pub ping_timeout: Option<Duration>,
    /// Whether permessage-deflate (RFC 7692) is agreed to when the client offers it.
    pub deflate: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            keep_alive: Duration::from_secs(5),
            header_read: Duration::from_secs(30),
            max_header_size: 64 * 1024,
            max_headers: 100,
            max_connections: usize::MAX,
            date_header: true,
            park_after: Duration::from_millis(100),
            discard_limit: 64 << 20,
            discard_timeout: Duration::from_secs(10),
            reasons: Reasons::default(),
            websocket: WebSocketSettings::default(),
        }
    }
}

impl Default for WebSocketSettings {
    fn default() -> WebSocketSettings {
        WebSocketSettings {
            max_message_size: 16 << 20,
            max_queue: 32,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Some(Duration::from_secs(20)),
            deflate: true,
        }
    }
}
