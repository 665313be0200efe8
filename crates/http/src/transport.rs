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
use overdrive_reactor::Stream;

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
    /// Informational responses that the socket did not take at once.
    informational: RefCell<Bytes>,
    /// Wakes the connection's task.
    waker: RefCell<Waker>,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Rc<Link> {
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
            informational: RefCell::default(),
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
    /// It may only be called while a request waits for its answer. hyper has then flushed the answer before it, unless the
    /// socket is stuck: in that case the informational response is dropped, as RFC 9110 section 15.2 allows.
    pub(crate) fn write_informational(&self, head: &[u8]) {
        if self.write_blocked.get() || self.gone.get() {
            return;
        }
        let mut waiting = self.informational.borrow_mut();
        if waiting.is_empty() {
            // An error comes again at hyper's next write.
            let written = self.stream.try_write(head).unwrap_or(head.len());
            *waiting = Bytes::copy_from_slice(&head[written..]);
        }
    }

    fn poll_informational(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.informational.borrow_mut();
        while !waiting.is_empty() {
            let written = ready!(self.stream.poll_write(cx, &waiting))?;
            waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        self.write_blocked.set(result.is_pending());
        self.answered.set(true);
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
        ready!(self.0.poll_informational(cx))?;
        let result = self.0.stream.poll_write(cx, bytes);
        self.0.note_write(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_informational(cx))?;
        let result = self.0.stream.poll_write_vectored(cx, buffers);
        self.0.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.stream.shutdown() {
            // The client was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
