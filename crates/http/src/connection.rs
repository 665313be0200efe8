//! One connection, from accept to close: the state machine around hyper.
//!
//! A connection is one task, and always in one of four phases:
//!
//! * *parked*: nothing but the socket. Between requests hyper holds some 10 KiB; a connection that has been idle for
//!   [`Settings::park_after`](crate::Settings) gives them back and takes them again with the next byte;
//! * *active*: hyper reads and writes;
//! * *WebSocket*: hyper is done, the stream belongs to [`crate::websocket`];
//! * *lingering*: all was said; what the client still sends is dropped for a moment, because closing a socket with unread
//!   data makes the kernel send a reset, which can destroy the answer on its way.
//!
//! All timeouts are kept here by one lazily armed timer. hyper gets no timer: its header timeout would also close idle
//! connections, and allocates for each request.

use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Body;
use hyper::server::conn::http1;
use overdrive_reactor::{Address, Deferred, Sleep, Stream};

use crate::application::{Application, Report};
use crate::server::{Place, Shared};
use crate::service::{AppConnection, Service};
use crate::transport::{Link, Transport};
use crate::websocket::Driver;

/// The task of one connection.
pub(crate) struct Connection<A: Application> {
    shared: Rc<Shared<A>>,
    link: Rc<Link>,
    app: Rc<AppConnection<A>>,
    phase: Phase<A>,
    timer: Sleep,
    /// When the phase, or its present wait, began.
    since: Instant,
    place: Place,
}

enum Phase<A: Application> {
    Parked { first: bool },
    Active(Box<Active<A>>),
    WebSocket(Box<Driver>),
    Lingering { dropped: usize },
}

impl<A: Application> Connection<A> {
    pub(crate) fn new(
        shared: Rc<Shared<A>>,
        stream: Stream,
        peer: Address,
        local: Address,
        place: Place,
    ) -> Connection<A> {
        let link = Link::new(stream, shared.handle.clone());
        let app = Rc::new(AppConnection::new(shared.clone(), link.clone(), shared.app.connected(peer, local)));
        let since = shared.handle.now();
        let timer = shared.handle.sleep_until(since + shared.settings.header_read);
        Connection { shared, link, app, phase: Phase::Parked { first: true }, timer, since, place }
    }

    /// Runs the present phase; gives the next one, or `None` when the connection is over.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Phase<A>>> {
        match &mut self.phase {
            Phase::Parked { first } => {
                let first = *first;
                self.poll_parked(first, cx)
            }
            Phase::Active(active) => {
                let outcome = active.poll(&self.shared, &self.link, &mut self.timer, cx);
                self.shared.app.progress(&self.app.connection, false);
                match std::task::ready!(outcome) {
                    Outcome::Park { since } => {
                        self.since = since;
                        Poll::Ready(Some(Phase::Parked { first: false }))
                    }
                    Outcome::Upgrade(read_ahead) => Poll::Ready(self.upgrade(read_ahead)),
                    Outcome::Linger => {
                        self.since = self.shared.handle.now();
                        Poll::Ready(Some(Phase::Lingering { dropped: 0 }))
                    }
                    Outcome::Close => Poll::Ready(None),
                }
            }
            Phase::WebSocket(socket) => {
                let draining = self.shared.connections.is_draining();
                let outcome = socket.poll(&mut self.timer, self.shared.handle.now(), draining, cx);
                self.shared.app.progress(&self.app.connection, false);
                std::task::ready!(outcome);
                self.since = self.shared.handle.now();
                Poll::Ready(Some(Phase::Lingering { dropped: 0 }))
            }
            Phase::Lingering { dropped } => {
                let deadline = self.since + LINGER;
                self.timer.reset(deadline);
                if linger(&self.link.stream, dropped, cx).is_ready() || Pin::new(&mut self.timer).poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            }
        }
    }

    fn poll_parked(&mut self, first: bool, cx: &mut Context<'_>) -> Poll<Option<Phase<A>>> {
        let settings = &self.shared.settings;
        if !self.link.unread.borrow().is_empty() {
            // hyper held the beginning of a request without having told.
            return Poll::Ready(Some(Phase::Active(Active::new(&self.app, &self.link, settings))));
        }
        match self.link.stream.poll_peek(cx) {
            Poll::Ready(Ok(1..)) => {
                return Poll::Ready(Some(Phase::Active(Active::new(&self.app, &self.link, settings))));
            }
            Poll::Ready(_) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if self.shared.connections.is_draining() {
            return Poll::Ready(None);
        }
        self.timer.reset(self.since + if first { settings.header_read } else { settings.keep_alive });
        Pin::new(&mut self.timer).poll(cx).map(|()| None)
    }

    fn upgrade(&mut self, read_ahead: Bytes) -> Option<Phase<A>> {
        let socket = self.app.accepted.borrow().clone()?;
        socket.write_before(&self.link.take_unsent());
        Some(Phase::WebSocket(Box::new(Driver::new(socket, &read_ahead, self.shared.handle.now()))))
    }
}

impl<A: Application> Future for Connection<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.place.enter(cx);
        this.link.set_waker(cx.waker());
        loop {
            match std::task::ready!(this.step(cx)) {
                Some(phase) => this.phase = phase,
                None => return Poll::Ready(()),
            }
        }
    }
}

impl<A: Application> Drop for Connection<A> {
    fn drop(&mut self) {
        self.link.gone.set(true);
        self.link.run_deferred();
        // hyper, and with it the answer under way, goes first; then the application hears of the end.
        self.phase = Phase::Lingering { dropped: 0 };
        self.link.leftover.take();
        if let Some(socket) = self.app.accepted.take() {
            socket.lost();
        }
        self.shared.app.progress(&self.app.connection, true);
        // Whoever keeps a request's body keeps the stream open; the client is not to wait for that.
        let _ = self.link.stream.shutdown();
    }
}

/// How the active phase ends.
enum Outcome {
    Park { since: Instant },
    Upgrade(Bytes),
    Linger,
    Close,
}

/// The active phase: hyper, and what it is not told.
struct Active<A: Application> {
    /// `None` once it has ended.
    hyper: Option<http1::Connection<Transport, Service<A>>>,
    app: Rc<AppConnection<A>>,
    /// Requests when the last idle time began, and when that was.
    idle: Option<(u64, Instant)>,
    /// When the first byte of the request under way came.
    head_since: Option<Instant>,
    discarding: Option<Discarding>,
    graceful: bool,
}

struct Discarding {
    left: u64,
    deadline: Instant,
}

impl<A: Application> Active<A> {
    fn new(app: &Rc<AppConnection<A>>, link: &Rc<Link>, settings: &crate::Settings) -> Box<Active<A>> {
        let mut builder = http1::Builder::new();
        builder
            // A client that has only closed its own side still gets its answer.
            .half_close(true)
            .header_read_timeout(None)
            .max_headers(settings.max_headers)
            .max_header_size(settings.max_header_size)
            .max_buf_size(settings.max_header_size.max(BUFFER))
            .auto_date_header(settings.date_header);
        let hyper = builder.serve_connection(Transport(link.clone()), Service::new(app.clone()));
        Box::new(Active {
            hyper: Some(hyper),
            app: app.clone(),
            idle: None,
            head_since: None,
            discarding: None,
            graceful: false,
        })
    }

    fn poll(&mut self, shared: &Rc<Shared<A>>, link: &Link, timer: &mut Sleep, cx: &mut Context<'_>) -> Poll<Outcome> {
        if shared.connections.is_draining() && !self.graceful {
            self.graceful = true;
            if link.requests.get() > 0 && self.is_idle(link) && !link.received.get() {
                // Nothing is unread that a reset could destroy: there is no need to wait for the client.
                return Poll::Ready(Outcome::Close);
            }
            if let Some(hyper) = &mut self.hyper {
                Pin::new(hyper).graceful_shutdown();
            }
        }
        if link.write_blocked.get() {
            // An error comes again when hyper reads or writes.
            let _ = link.poll_outbox(cx);
        }
        let hyper = self.hyper.as_mut().expect("not polled after its end");
        if let Poll::Ready(result) = Pin::new(hyper).poll(cx) {
            return Poll::Ready(self.end(shared, link, result));
        }
        self.poll_discard(shared, link, cx);
        if link.stream.poll_read_closed(cx).is_ready() && self.is_idle(link) && !link.received.get() {
            return Poll::Ready(Outcome::Close);
        }
        self.poll_timer(shared, link, timer, cx)
    }

    /// Nothing is being answered, sent or dropped.
    fn is_idle(&self, link: &Link) -> bool {
        !link.in_flight.get() && !link.write_blocked.get() && self.discarding.is_none()
    }

    fn poll_timer(
        &mut self,
        shared: &Rc<Shared<A>>,
        link: &Link,
        timer: &mut Sleep,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let settings = &shared.settings;
        let now = shared.handle.now();
        if let Some(discarding) = &self.discarding {
            timer.reset(discarding.deadline);
            if Pin::new(timer).poll(cx).is_ready() {
                // hyper closes the connection when it sees that nobody reads.
                self.discarding = None;
                link.leftover.take();
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if !self.is_idle(link) {
            self.idle = None;
            self.head_since = None;
            return Poll::Pending;
        }
        if link.received.get() {
            let deadline = *self.head_since.get_or_insert(now) + settings.header_read;
            timer.reset(deadline);
            std::task::ready!(Pin::new(timer).poll(cx));
            shared.app.report(Report::InvalidRequest("the request's head took too long"));
            let _ = link.stream.try_write(REQUEST_TIMEOUT);
            let _ = link.stream.shutdown();
            return Poll::Ready(Outcome::Linger);
        }
        self.head_since = None;
        let requests = link.requests.get();
        let since = match self.idle {
            Some((at, since)) if at == requests => since,
            _ => now,
        };
        self.idle = Some((requests, since));
        if self.graceful {
            return Poll::Ready(Outcome::Close);
        }
        timer.reset(since + settings.park_after.min(settings.keep_alive));
        std::task::ready!(Pin::new(timer).poll(cx));
        let hyper = self.hyper.take().expect("not polled after its end");
        let parts = hyper.into_parts();
        if !parts.read_buf.is_empty() {
            // Even an empty rest would keep hyper's whole buffer.
            *link.unread.borrow_mut() = parts.read_buf;
        }
        link.shed();
        Poll::Ready(Outcome::Park { since })
    }

    /// Reads and drops the rest of a body that the application did not want.
    fn poll_discard(&mut self, shared: &Rc<Shared<A>>, link: &Link, cx: &mut Context<'_>) {
        let Some(mut incoming) = link.leftover.take() else {
            self.discarding = None;
            return;
        };
        let settings = &shared.settings;
        let discarding = self.discarding.get_or_insert_with(|| Discarding {
            left: settings.discard_limit,
            deadline: shared.handle.now() + settings.discard_timeout,
        });
        while let Poll::Ready(frame) = Pin::new(&mut incoming).poll_frame(cx) {
            let size = match frame {
                Some(Ok(frame)) => Some(frame.data_ref().map_or(0, |data| data.len() as u64)),
                Some(Err(_)) | None => None,
            };
            match size.and_then(|size| discarding.left.checked_sub(size)) {
                Some(left) => discarding.left = left,
                None => {
                    // The end of the body or of our patience: hyper has to look again what that means.
                    self.discarding = None;
                    link.received.set(false);
                    cx.waker().wake_by_ref();
                    return;
                }
            }
        }
        *link.leftover.borrow_mut() = Some(incoming);
    }

    fn end(&mut self, shared: &Rc<Shared<A>>, link: &Link, result: hyper::Result<()>) -> Outcome {
        let hyper = self.hyper.take().expect("not polled after its end");
        if let Err(error) = &result {
            if error.is_parse() {
                shared.app.report(Report::InvalidRequest(&error.to_string()));
                if !link.answered.get() {
                    // hyper answers what it cannot parse, but not the preface of HTTP/2.
                    let _ = link.stream.try_write(BAD_REQUEST);
                    let _ = link.stream.shutdown();
                }
            }
        } else if self.app.accepted.borrow().is_some() {
            return Outcome::Upgrade(hyper.into_parts().read_buf);
        }
        drop(hyper);
        if result.is_err() {
            // hyper closes what it ends in order; a client of what was broken off is to see the end at once, too.
            link.run_deferred();
            let _ = link.stream.shutdown();
        }
        if link.stream.read_closed() { Outcome::Close } else { Outcome::Linger }
    }
}

/// Reads and drops; ready when nothing more will come, or too much came.
fn linger(stream: &Stream, dropped: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    loop {
        match std::task::ready!(stream.poll_read(cx, &mut buffer)) {
            Ok(read @ 1..) if *dropped < LINGER_BYTES => *dropped += read,
            _ => return Poll::Ready(()),
        }
    }
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// The most that hyper reads ahead or holds for writing, in bytes.
const BUFFER: usize = 256 * 1024;
/// How long, and how much, a connection reads after its last word.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
