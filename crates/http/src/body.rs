//! Bodies: the request's, as the application reads it, and the response's, as hyper does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::file::{FileEnd, FilePart, FileReader, FileStop};
use crate::transport::Link;

/// The body of a request. Nothing is read from the socket but what is asked for here.
///
/// Dropped before its end, the connection reads the rest and drops it (within [`crate::Settings::discard_limit`]), so that
/// the client gets to see its answer, and the connection can be used again.
pub struct RequestBody {
    incoming: Option<Incoming>,
    link: Rc<Link>,
    /// The client waits for `100 Continue`, which hyper sends at the first read.
    expects_continue: bool,
    failure: Option<BodyFailure>,
}

/// Why a request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure {
    /// The client has left.
    Disconnected,
    /// It is not framed as RFC 9112 section 7.1 has it: to be answered with 400.
    Malformed,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, link: Rc<Link>, expects_continue: bool) -> RequestBody {
        let incoming = Some(incoming).filter(|incoming| !incoming.is_end_stream());
        RequestBody { incoming, link, expects_continue, failure: None }
    }

    /// The next piece; `None` at the end, or when the client left before it ([`RequestBody::is_complete`] tells).
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while let Some(incoming) = &mut self.incoming {
            self.expects_continue = false;
            match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers have no place in ASGI, and RFC 9110 section 6.5.1 allows to drop them.
                    let Ok(data) = frame.into_data() else { continue };
                    if incoming.is_end_stream() {
                        self.incoming = None;
                    }
                    return Poll::Ready(Some(data));
                }
                Some(Err(error)) => {
                    self.incoming = None;
                    self.failure = Some(classify(&error));
                }
                None => self.incoming = None,
            }
        }
        Poll::Ready(None)
    }

    /// As [`RequestBody::poll_data`], to be awaited.
    pub async fn data(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_data(cx)).await
    }

    /// Nothing more will come: all was read, or the client broke off.
    pub fn is_ended(&self) -> bool {
        self.incoming.is_none()
    }

    /// All was read.
    pub fn is_complete(&self) -> bool {
        self.incoming.is_none() && self.failure.is_none()
    }

    /// Why it ended early, if it did.
    pub fn failure(&self) -> Option<BodyFailure> {
        self.failure
    }

    /// The client is gone, or has at least closed its side: nobody promises to read the answer.
    pub fn is_disconnected(&self) -> bool {
        self.failure.is_some() || self.link.gone.get() || (self.incoming.is_none() && self.link.stream.read_closed())
    }

    /// Sends an informational response (`103 Early Hints`) before the answer. `head` is complete, status line to empty line.
    pub fn send_informational(&self, head: &[u8]) {
        self.link.write_informational(head);
    }
}

/// hyper's decoder reports what it cannot read as invalid input, and everything else as what the socket said.
fn classify(error: &hyper::Error) -> BodyFailure {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)
        {
            return BodyFailure::Malformed;
        }
        cause = error.source();
    }
    BodyFailure::Disconnected
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // A client that still waits for "100 Continue" after the answer may never send its body: nothing to drop then.
        if let Some(incoming) = self.incoming.take()
            && !self.expects_continue
            && !self.link.gone.get()
        {
            *self.link.leftover.borrow_mut() = Some(incoming);
            self.link.wake();
        }
    }
}

/// The body of a response.
pub struct ResponseBody(Kind);

enum Kind {
    /// `None`: nothing, or nothing more. An empty whole is not the same to hyper: it leaves the `content-length` that the
    /// application gave in its place among the headers.
    Full(Option<Bytes>),
    Channel(Rc<Channel>),
    /// On the heap, as it would make all the others larger.
    File(Box<FileReader>),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> ResponseBody {
        ResponseBody(Kind::Full(None))
    }

    /// A body that is known as a whole; hyper sends its length.
    pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody(Kind::Full(Some(bytes.into())))
    }

    /// A body in pieces, from the sender to the client: chunked unless the head has a `content-length`.
    pub fn channel() -> (BodySender, ResponseBody) {
        let channel = Rc::new(Channel::default());
        (BodySender(channel.clone()), ResponseBody(Kind::Channel(channel)))
    }

    /// A file's content, read by threads of the engine.
    pub fn file(file: std::fs::File) -> ResponseBody {
        ResponseBody(Kind::File(Box::new(FileReader::whole(file))))
    }

    /// Parts of a file, which is shorter than none of them; `on_end` hears how it ended.
    pub fn file_parts(
        file: std::fs::File,
        parts: Vec<FilePart>,
        on_end: impl FnOnce(FileEnd) + 'static,
    ) -> (FileStop, ResponseBody) {
        let (reader, stop) = FileReader::new(file, parts, on_end);
        (stop, ResponseBody(Kind::File(Box::new(reader))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match &mut self.get_mut().0 {
            Kind::Full(whole) => {
                Poll::Ready(whole.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Channel(channel) => channel.poll_frame(cx),
            Kind::File(file) => {
                file.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data).map_err(|_| Aborted)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(whole) => whole.is_none(),
            Kind::Channel(channel) => channel.is_end_stream(),
            Kind::File(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(whole) => SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Channel(_) | Kind::File(_) => SizeHint::default(),
        }
    }
}

/// The application's end of a response body in pieces. Dropping it before [`BodySender::finish`] aborts the response.
pub struct BodySender(Rc<Channel>);

impl BodySender {
    /// Adds a piece. It is dropped silently when the client is gone.
    pub fn push(&self, data: Bytes) {
        let channel = &*self.0;
        if channel.receiver_gone.get() || data.is_empty() {
            return;
        }
        channel.buffered.set(channel.buffered.get() + data.len());
        channel.pieces.borrow_mut().push_back(data);
        channel.wake();
    }

    /// Ends the body, with trailers when the client and the head allow them (RFC 9110 section 6.5.1).
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        *self.0.trailers.borrow_mut() = trailers;
        self.0.end.set(End::Finished);
        self.0.wake();
    }

    /// Bytes that nobody has taken yet. A sender should pause while they are more than it wants to hold.
    pub fn buffered(&self) -> usize {
        self.0.buffered.get()
    }

    /// Nobody will take anything any more.
    pub fn is_closed(&self) -> bool {
        self.0.receiver_gone.get()
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if self.0.end.get() == End::Open {
            self.0.end.set(End::Aborted);
            self.0.wake();
        }
    }
}

/// A response that ended before its announced end; its connection is closed, so that the client notices.
#[derive(Debug)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application broke off its response")
    }
}

impl std::error::Error for Aborted {}

#[derive(Default)]
struct Channel {
    pieces: RefCell<VecDeque<Bytes>>,
    buffered: Cell<usize>,
    trailers: RefCell<Option<HeaderMap>>,
    end: Cell<End>,
    abort_announced: Cell<bool>,
    receiver_gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    Open,
    Finished,
    Aborted,
}

impl Channel {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if let Some(data) = self.pieces.borrow_mut().pop_front() {
            self.buffered.set(self.buffered.get() - data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.end.get() {
            End::Open => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Finished => Poll::Ready(self.trailers.borrow_mut().take().map(|fields| Ok(Frame::trailers(fields)))),
            // The error makes hyper drop what it has not written yet, so it gets the time to write first.
            End::Aborted if !self.abort_announced.replace(true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Aborted => Poll::Ready(Some(Err(Aborted))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end.get() == End::Finished && self.pieces.borrow().is_empty() && self.trailers.borrow().is_none()
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Kind::Channel(channel) = &self.0 {
            channel.receiver_gone.set(true);
            channel.buffered.set(0);
            channel.pieces.borrow_mut().clear();
        }
    }
}
