//! A WebSocket connection: the codec, a socket, and the queues between them and the application.
//!
//! [`WebSocket`] is the application's handle. [`Driver`] is the connection's side of it, polled by the connection's task.
//! The two share a state that only the loop's thread touches. Who has said what in the closing handshake is known to the
//! [`Protocol`]; when the connection is over for the application is known to `State::closed`, which is set once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use overdrive_reactor::{Deferred, Sleep, Stream};

use super::{CloseCode, Event, Handshake, InvalidSubprotocol, Protocol, Settings, Text};
use crate::body::ResponseBody;
use crate::settings::WebSocketSettings;
use crate::transport::Link;

/// A valid handshake that waits for the application's decision.
pub struct Upgrade {
    handshake: Handshake,
    settings: WebSocketSettings,
    link: Rc<Link>,
    accepted: Rc<RefCell<Option<WebSocket>>>,
}

impl Upgrade {
    pub(crate) fn new(
        handshake: Handshake,
        settings: &WebSocketSettings,
        link: Rc<Link>,
        accepted: Rc<RefCell<Option<WebSocket>>>,
    ) -> Upgrade {
        Upgrade { handshake, settings: settings.clone(), link, accepted }
    }

    /// What the client would like to speak, the best first.
    pub fn subprotocols(&self) -> &[String] {
        self.handshake.subprotocols()
    }

    /// Whether the client has left.
    pub fn is_disconnected(&self) -> bool {
        self.link.gone.get() || self.link.stream.read_closed()
    }

    /// The response that opens the WebSocket, and its handle. What is sent before the response is out waits for it.
    ///
    /// After an error nothing has happened, and another try may follow; after success there is no other.
    pub fn accept(
        &self,
        subprotocol: Option<&str>,
        headers: HeaderMap,
    ) -> Result<(Response<ResponseBody>, WebSocket), InvalidSubprotocol> {
        let (own_headers, deflate) = self.handshake.accept(subprotocol, self.settings.deflate)?;
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        response.headers_mut().extend(own_headers);
        let protocol = Protocol::new(Settings { max_message_size: self.settings.max_message_size, deflate });
        let socket = WebSocket(Rc::new(State {
            protocol: RefCell::new(protocol),
            inbox: RefCell::default(),
            outbox: RefCell::default(),
            settings: self.settings.clone(),
            link: self.link.clone(),
            open: Cell::new(false),
            deferred: Cell::new(false),
            closed: RefCell::default(),
            waker: RefCell::default(),
        }));
        *self.accepted.borrow_mut() = Some(socket.clone());
        Ok((response, socket))
    }
}

/// A message of the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

/// How a WebSocket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1005 for a close frame without one, 1006 for a connection that broke.
    pub code: u16,
    /// The reason given with it, often empty.
    pub reason: String,
}

/// A WebSocket as the application sees it. Clones are handles to the same connection.
#[derive(Clone)]
pub struct WebSocket(Rc<State>);

struct State {
    protocol: RefCell<Protocol>,
    inbox: RefCell<VecDeque<Message>>,
    outbox: RefCell<BytesMut>,
    settings: WebSocketSettings,
    link: Rc<Link>,
    /// The 101 is out, and the stream is ours to write to.
    open: Cell<bool>,
    /// What is in the outbox will be written at the end of the run.
    deferred: Cell<bool>,
    closed: RefCell<Option<Closed>>,
    waker: RefCell<Option<Waker>>,
}

impl WebSocket {
    /// The next message, if one has come. `Err` when none will come any more.
    pub fn try_receive(&self) -> Option<Result<Message, Closed>> {
        let state = &*self.0;
        let (message, was_full) = {
            let mut inbox = state.inbox.borrow_mut();
            let was_full = inbox.len() >= state.settings.max_queue;
            (inbox.pop_front(), was_full)
        };
        match message {
            Some(message) => {
                if was_full {
                    state.link.wake();
                }
                Some(Ok(message))
            }
            None => state.closed.borrow().clone().map(Err),
        }
    }

    /// Whether [`WebSocket::try_receive`] has something to give.
    pub fn is_ready(&self) -> bool {
        !self.0.inbox.borrow().is_empty() || self.0.closed.borrow().is_some()
    }

    /// As [`WebSocket::try_receive`], to be awaited by one task.
    pub async fn receive(&self) -> Result<Message, Closed> {
        std::future::poll_fn(|cx| match self.try_receive() {
            Some(result) => Poll::Ready(result),
            None => {
                *self.0.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Sends a text message. Lost silently when the connection is closed, or closing.
    pub fn send_text(&self, text: &str) {
        self.send(|protocol, out| protocol.send_text(text, out));
    }

    /// Sends a binary message, as [`WebSocket::send_text`].
    pub fn send_binary(&self, data: &[u8]) {
        self.send(|protocol, out| protocol.send_binary(data, out));
    }

    /// Begins the closing handshake. Harmless when it has begun.
    pub fn close(&self, code: u16, reason: &str) {
        self.close_with(code, reason);
        self.0.link.wake();
    }

    /// Bytes that the socket has not taken yet. A sender should pause while they are more than it wants to hold.
    pub fn buffered(&self) -> usize {
        self.0.outbox.borrow().len()
    }

    /// How it ended, when it has.
    pub fn closed(&self) -> Option<Closed> {
        self.0.closed.borrow().clone()
    }

    /// Puts the end of the HTTP response, if any is unsent, before everything else.
    pub(crate) fn write_before(&self, unsent: &[u8]) {
        if !unsent.is_empty() {
            let mut outbox = self.0.outbox.borrow_mut();
            let behind = std::mem::replace(&mut *outbox, BytesMut::from(unsent));
            outbox.extend_from_slice(&behind);
        }
    }

    /// The connection has ended without a close frame. What was put off goes out if it still can.
    pub(crate) fn lost(&self) {
        self.0.write();
        self.set_closed(CloseCode::Abnormal.into(), "");
    }

    fn send(&self, encode: impl FnOnce(&mut Protocol, &mut BytesMut)) {
        let state = &*self.0;
        if state.closed.borrow().is_some() || state.protocol.borrow().close_sent() {
            return;
        }
        let (was_empty, length) = {
            let mut outbox = state.outbox.borrow_mut();
            let was_empty = outbox.is_empty();
            encode(&mut state.protocol.borrow_mut(), &mut outbox);
            (was_empty, outbox.len())
        };
        let is_deferred = state.deferred.get();
        if !state.open.get() || !(was_empty || is_deferred) {
            // The task writes when it can.
            state.link.wake();
        } else if length > PUT_OFF {
            state.write();
        } else if !is_deferred {
            // What is sent in a run goes out at its end, that of all connections together: the clients' side is woken once
            // and not for each, and messages that follow each other share a system call.
            match state.link.defer_in_run(|| self.0.clone()) {
                true => state.deferred.set(true),
                false => state.write(),
            }
        }
    }

    fn close_with(&self, code: u16, reason: &str) {
        {
            let mut protocol = self.0.protocol.borrow_mut();
            if protocol.close_sent() {
                return;
            }
            protocol.send_close(Some(code), reason, &mut self.0.outbox.borrow_mut());
        }
        self.set_closed(code, reason);
    }

    fn set_closed(&self, code: u16, reason: &str) {
        let mut closed = self.0.closed.borrow_mut();
        if closed.is_none() {
            *closed = Some(Closed { code, reason: reason.to_owned() });
        }
        drop(closed);
        self.wake_receiver();
    }

    fn wake_receiver(&self) {
        let waker = self.0.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Writes what the socket takes at once; the rest, and an error, are the task's.
    fn write(&self) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            return;
        }
        let written = self.link.stream.try_write(&outbox).unwrap_or(0);
        outbox.advance(written);
        if !outbox.is_empty() {
            self.link.wake();
        }
    }
}

impl Deferred for State {
    fn run_deferred(&self) {
        self.deferred.set(false);
        self.write();
    }
}

/// The connection's side of a WebSocket.
pub(crate) struct Driver {
    socket: WebSocket,
    input: BytesMut,
    pings: Pings,
    /// When our close frame went out.
    closing_since: Option<Instant>,
    /// The client broke the protocol: nothing more of it is read.
    failed: bool,
}

impl Driver {
    pub(crate) fn new(socket: WebSocket, read_ahead: &Bytes, now: Instant) -> Driver {
        socket.0.open.set(true);
        let next = socket.0.settings.ping_interval.map(|interval| now + interval);
        Driver {
            socket,
            input: BytesMut::from(&read_ahead[..]),
            pings: Pings { next, unanswered: None, count: 0 },
            closing_since: None,
            failed: false,
        }
    }

    /// Reads, writes, keeps the connection alive; ready when it is over.
    pub(crate) fn poll(&mut self, timer: &mut Sleep, now: Instant, draining: bool, cx: &mut Context<'_>) -> Poll<()> {
        if draining {
            self.socket.close_with(CloseCode::ServiceRestart.into(), "");
        }
        let socket = self.socket.clone();
        let stream = &socket.0.link.stream;
        loop {
            if self.poll_write(stream, cx).is_err() {
                socket.lost();
                return Poll::Ready(());
            }
            self.parse();
            if !socket.0.outbox.borrow().is_empty() && !self.is_write_blocked(stream, cx) {
                continue;
            }
            if self.is_over() {
                let _ = stream.shutdown();
                return Poll::Ready(());
            }
            if !self.wants_input() {
                break;
            }
            match self.poll_read(stream, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => {
                    socket.lost();
                    return Poll::Ready(());
                }
                Poll::Pending => break,
            }
        }
        self.poll_timer(timer, now, cx)
    }

    /// Everything that can be parsed, into the inbox, as long as that has room.
    fn parse(&mut self) {
        let state = &*self.socket.0;
        while !self.failed && state.inbox.borrow().len() < state.settings.max_queue {
            let event = state.protocol.borrow_mut().receive(&mut self.input);
            match event {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => self.deliver(Message::Text(text)),
                Ok(Some(Event::Binary(data))) => self.deliver(Message::Binary(data)),
                Ok(Some(Event::Ping(data))) => {
                    let mut protocol = state.protocol.borrow_mut();
                    if !protocol.close_sent() {
                        protocol.send_pong(&data, &mut state.outbox.borrow_mut());
                    }
                }
                Ok(Some(Event::Pong(data))) => self.pings.answered(&data),
                Ok(Some(Event::Close { code, reason })) => {
                    {
                        let mut protocol = state.protocol.borrow_mut();
                        if !protocol.close_sent() {
                            protocol.send_close(code, "", &mut state.outbox.borrow_mut());
                        }
                    }
                    self.socket.set_closed(code.unwrap_or(CloseCode::NoStatus.into()), reason.as_str());
                }
                Err(error) => {
                    self.failed = true;
                    self.socket.close_with(error.code(), error.reason());
                }
            }
        }
        if self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = BytesMut::new();
        }
    }

    fn deliver(&self, message: Message) {
        self.socket.0.inbox.borrow_mut().push_back(message);
        self.socket.wake_receiver();
    }

    fn wants_input(&self) -> bool {
        !self.failed && self.socket.0.inbox.borrow().len() < self.socket.0.settings.max_queue
    }

    /// Both sides have said that they close, or there is nobody to talk to.
    fn is_over(&self) -> bool {
        let state = &*self.socket.0;
        let protocol = state.protocol.borrow();
        state.outbox.borrow().is_empty() && protocol.close_sent() && (self.failed || protocol.close_received())
    }

    fn poll_write(&self, stream: &Stream, cx: &mut Context<'_>) -> std::io::Result<()> {
        let mut outbox = self.socket.0.outbox.borrow_mut();
        while !outbox.is_empty() {
            match stream.poll_write(cx, &outbox) {
                Poll::Ready(Ok(written)) => outbox.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if outbox.capacity() > KEPT_BUFFER {
            *outbox = BytesMut::new();
        }
        Ok(())
    }

    fn is_write_blocked(&self, stream: &Stream, cx: &mut Context<'_>) -> bool {
        stream.poll_writable(cx).is_pending()
    }

    fn poll_read(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        // By way of the stack, so that an idle connection has no buffer and a small message needs a small one.
        let mut buffer = [MaybeUninit::uninit(); READ];
        let read = std::task::ready!(stream.poll_read_slice(cx, &mut buffer))?;
        self.input.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    fn poll_timer(&mut self, timer: &mut Sleep, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let state = &*self.socket.0;
        if state.protocol.borrow().close_sent() {
            let since = *self.closing_since.get_or_insert(now);
            timer.reset(since + CLOSE_TIMEOUT);
            return Pin::new(timer).poll(cx);
        }
        loop {
            let settings = &state.settings;
            let Some((deadline, is_answer)) = self.pings.next_deadline(settings) else { return Poll::Pending };
            timer.reset(deadline);
            std::task::ready!(Pin::new(&mut *timer).poll(cx));
            if is_answer && !self.wants_input() {
                // The pong may lie in the socket, which the application's full queue keeps us from reading.
                self.pings.unanswered = Some(now);
            } else if is_answer {
                self.socket.close_with(CloseCode::InternalError.into(), "keepalive ping timeout");
                self.failed = true;
                // To write the close frame.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else {
                let payload = self.pings.sent(now, settings);
                state.protocol.borrow_mut().send_ping(&payload, &mut state.outbox.borrow_mut());
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// The automatic pings.
struct Pings {
    next: Option<Instant>,
    /// When the last ping was sent, while its pong has not come.
    unanswered: Option<Instant>,
    count: u32,
}

impl Pings {
    /// What comes next: the end of the wait for a pong (true), or the time for a ping.
    fn next_deadline(&self, settings: &WebSocketSettings) -> Option<(Instant, bool)> {
        let answer = self.unanswered.zip(settings.ping_timeout).map(|(sent, timeout)| (sent + timeout, true));
        let next = self.next.map(|next| (next, false));
        match (answer, next) {
            (Some(answer), Some(next)) => Some(if answer.0 <= next.0 { answer } else { next }),
            (answer, next) => answer.or(next),
        }
    }

    fn sent(&mut self, now: Instant, settings: &WebSocketSettings) -> [u8; 4] {
        self.next = settings.ping_interval.map(|interval| now + interval);
        self.unanswered.get_or_insert(now);
        self.count = self.count.wrapping_add(1);
        self.count.to_be_bytes()
    }

    fn answered(&mut self, payload: &[u8]) {
        if payload == self.count.to_be_bytes() {
            self.unanswered = None;
        }
    }
}

const READ: usize = 16 * 1024;
/// More than this is not kept for the end of the run.
const PUT_OFF: usize = 16 * 1024;
/// A write buffer larger than this is given back when it is empty.
const KEPT_BUFFER: usize = 4096;
/// How long the client may take to answer our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
