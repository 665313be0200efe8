//! hyper's view of a connection's stream. `unsafe` for handing hyper's uninitialized buffer to the kernel.
//!
//! [`Link`] is what the parts of a connection share: hyper holds the [`Transport`], the request body and the connection's
//! own state machine hold the link. It also records what hyper does not tell: whether bytes of a next request have come,
//! whether a write is stuck.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use overdrive_reactor::{Deferred, Handle, Stream};

/// The shared state of one connection.
pub(crate) struct Link {
    pub(crate) stream: Stream,
    /// A request has been handed to the application, and its answer is not wholly in hyper's hands.
    pub(crate) in_flight: Cell<bool>,
    /// Requests so far.
    pub(crate) requests: Cell<u64>,
    /// Bytes have come since the last request was handed out: the beginning of another.
    pub(crate) received: Cell<bool>,
    /// Bytes were written since the last request was handed out.
    pub(crate) answered: Cell<bool>,
    /// The socket took less than hyper wanted to write.
    pub(crate) write_blocked: Cell<bool>,
    /// The connection is over; nothing will be read or written any more.
    pub(crate) gone: Cell<bool>,
    /// The rest of a request body that the application did not want, see [`crate::connection`].
    pub(crate) leftover: RefCell<Option<Incoming>>,
    /// Bytes to be read before those of the stream.
    pub(crate) unread: RefCell<Bytes>,
    /// Small writes, which go out together at the end of the reactor's run.
    outbox: RefCell<Vec<u8>>,
    handle: Handle,
    /// Wakes the connection's task.
    waker: RefCell<Waker>,
}

impl Link {
    pub(crate) fn new(stream: Stream, handle: Handle) -> Rc<Link> {
        Rc::new(Link {
            stream,
            in_flight: Cell::new(false),
            requests: Cell::new(0),
            received: Cell::new(false),
            answered: Cell::new(false),
            write_blocked: Cell::new(false),
            gone: Cell::new(false),
            leftover: RefCell::default(),
            unread: RefCell::default(),
            outbox: RefCell::default(),
            handle,
            waker: RefCell::new(Waker::noop().clone()),
        })
    }

    /// Polls the connection's task soon.
    pub(crate) fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.borrow_mut().clone_from(waker);
    }

    /// Writes an informational response (1xx) past hyper, which knows none.
    ///
    /// It may only be called while a request waits for its answer: hyper has then handed over the answer before it, unless
    /// the socket is stuck; in that case the informational response is dropped, as RFC 9110 section 15.2 allows.
    pub(crate) fn write_informational(self: &Rc<Self>, head: &[u8]) {
        if !self.write_blocked.get() && !self.gone.get() {
            self.put_off(head);
        }
    }

    /// Has `work` done at the end of the run, if one is under way.
    pub(crate) fn defer_in_run(&self, work: impl FnOnce() -> Rc<dyn Deferred>) -> bool {
        let is_running = self.handle.is_running();
        if is_running {
            self.handle.defer(work());
        }
        is_running
    }

    /// Gives buffers back: the connection is idle.
    pub(crate) fn shed(&self) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            *outbox = Vec::new();
        }
    }

    /// What was put off and is still not sent, for whoever takes the stream over.
    pub(crate) fn take_unsent(&self) -> Vec<u8> {
        self.outbox.take()
    }

    /// Sends what was put off.
    pub(crate) fn poll_outbox(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            let result = self.stream.poll_write(cx, &outbox);
            self.write_blocked.set(result.is_pending());
            let written = ready!(result)?;
            outbox.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps small writes for the end of the run, so that all connections that are answered in one run are written to one
    /// after the other: the client's side is woken once and not for each, and pipelined answers share a system call.
    fn put_off(self: &Rc<Self>, bytes: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            self.handle.defer(self.clone());
        }
        outbox.extend_from_slice(bytes);
    }

    fn may_put_off(&self, size: usize) -> bool {
        !self.write_blocked.get() && self.outbox.borrow().len() + size <= PUT_OFF
    }
}

impl Deferred for Link {
    fn run_deferred(&self) {
        let mut outbox = self.outbox.borrow_mut();
        match self.stream.try_write(&outbox) {
            Ok(written) if written == outbox.len() => {
                outbox.clear();
                if outbox.capacity() > KEPT_OUTBOX {
                    *outbox = Vec::new();
                }
            }
            // The connection's task goes on, or meets the error itself.
            Ok(written) => {
                outbox.drain(..written);
                self.write_blocked.set(true);
                self.wake();
            }
            Err(_) => {
                outbox.clear();
                self.wake();
            }
        }
    }
}

/// What hyper reads from and writes to.
pub(crate) struct Transport(pub(crate) Rc<Link>);

impl Read for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let link = &*self.0;
        let mut unread = link.unread.borrow_mut();
        if !unread.is_empty() {
            let count = unread.len().min(buffer.remaining());
            buffer.put_slice(&unread[..count]);
            unread.advance(count);
            link.received.set(true);
            return Poll::Ready(Ok(()));
        }
        // SAFETY: the slice is only passed on to `recv`, which writes into it and never de-initializes.
        let slice = unsafe { buffer.as_mut() };
        let read = ready!(link.stream.poll_read(cx, slice))?;
        if read > 0 {
            link.received.set(true);
        }
        // SAFETY: `recv` has initialized the first `read` bytes.
        unsafe { buffer.advance(read) };
        Poll::Ready(Ok(()))
    }
}

impl Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.answered.set(true);
        if self.0.may_put_off(bytes.len()) {
            self.0.put_off(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.0.poll_outbox(cx))?;
        let result = self.0.stream.poll_write(cx, bytes);
        self.0.write_blocked.set(result.is_pending());
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.answered.set(true);
        let total = buffers.iter().map(|buffer| buffer.len()).sum();
        if self.0.may_put_off(total) {
            for buffer in buffers {
                self.0.put_off(buffer);
            }
            return Poll::Ready(Ok(total));
        }
        ready!(self.0.poll_outbox(cx))?;
        let result = self.0.stream.poll_write_vectored(cx, buffers);
        self.0.write_blocked.set(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was put off is as good as written: the run's end is near.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_outbox(cx))?;
        match self.0.stream.shutdown() {
            // The client was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

/// Writes up to this size are put off; larger ones, and what follows them, go out at once and without a copy.
const PUT_OFF: usize = 16 * 1024;
/// A connection keeps an outbox of this size.
const KEPT_OUTBOX: usize = 1024;
