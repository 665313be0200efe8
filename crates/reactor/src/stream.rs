//! Connected sockets, TCP and Unix alike. `unsafe` for naming the part of a buffer that the kernel has filled.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use mio::Interest;
use socket2::{SockAddr, Socket};

use crate::io::{Driver, Registration};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket's path; empty for the unnamed end of a client.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn new(address: &SockAddr) -> Address {
        match address.as_socket() {
            Some(ip) => Address::Ip(ip),
            None => Address::Unix(
                address
                    .as_pathname()
                    .map(PathBuf::from)
                    .or_else(|| address.as_abstract_namespace().map(|name| std::ffi::OsStr::from_bytes(name).into()))
                    .unwrap_or_default(),
            ),
        }
    }
}

/// A connected stream socket, TCP or Unix. Its methods belong to the reactor's thread.
pub struct Stream {
    // Before the socket: fields are dropped in order, and a registration needs its descriptor open.
    registration: Registration,
    socket: Socket,
}

impl Stream {
    /// Takes over a connected socket and makes it non-blocking; TCP gets `TCP_NODELAY`.
    pub(crate) fn new(driver: &Rc<Driver>, socket: Socket, is_tcp: bool) -> io::Result<Stream> {
        socket.set_nonblocking(true)?;
        if is_tcp {
            // It fails on a connection that is already reset, which the first read tells better.
            let _ = socket.set_tcp_nodelay(true);
        }
        let registration = Registration::new(driver, socket.as_raw_fd(), Interest::READABLE.add(Interest::WRITABLE))?;
        Ok(Stream { registration, socket })
    }

    /// Reads into the front of `buffer` and returns how much; 0 is the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        let source = self.registration.source();
        loop {
            ready!(source.poll_readable(cx));
            match source.try_read(|| self.socket.recv(buffer)) {
                Some(Ok(read)) => {
                    if read != 0 && read < buffer.len() {
                        source.clear_readable();
                    }
                    return Poll::Ready(Ok(read));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {}
            }
        }
    }

    /// As [`Stream::poll_read`]; gives what was read.
    pub fn poll_read_slice<'a>(
        &self,
        cx: &mut Context<'_>,
        buffer: &'a mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<&'a [u8]>> {
        let read = ready!(self.poll_read(cx, buffer))?;
        let filled = &buffer[..read];
        // SAFETY: `recv` has initialized the first `read` bytes.
        Poll::Ready(Ok(unsafe { &*(std::ptr::from_ref(filled) as *const [u8]) }))
    }

    /// Ready when the socket may take bytes.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.source().poll_writable(cx)
    }

    /// Writes the front of `bytes` and returns how much was taken.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), || (&self.socket).write(bytes))
    }

    /// As [`Stream::poll_write`], from several buffers at once.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total = buffers.iter().map(|buffer| buffer.len()).sum();
        self.poll_write_with(cx, total, || (&self.socket).write_vectored(buffers))
    }

    /// Writes what the socket takes at once: `Ok(0)` when it takes nothing now.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.registration.source().try_write(|| (&self.socket).write(bytes)).unwrap_or(Ok(0))
    }

    /// Ready when a read would not block (data, end or error).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.source().poll_readable(cx)
    }

    /// Looks whether something can be read without reading it; false also when the hint was stale.
    pub fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let source = self.registration.source();
        loop {
            ready!(source.poll_readable(cx));
            let mut byte = [MaybeUninit::uninit()];
            if let Some(result) = source.try_read(|| self.socket.peek(&mut byte)) {
                return Poll::Ready(result);
            }
        }
    }

    /// True from the moment the peer's end of data (or a reset) was seen, whether or not the data before it were read.
    pub fn read_closed(&self) -> bool {
        self.registration.source().read_closed()
    }

    /// Ready when [`Stream::read_closed`] is true.
    pub fn poll_read_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.source().poll_read_closed(cx)
    }

    /// Ends our side of the stream (sends a FIN after what was written).
    pub fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// The client's address.
    pub fn peer_address(&self) -> io::Result<Address> {
        Ok(Address::new(&self.socket.peer_addr()?))
    }

    /// Our own address.
    pub fn local_address(&self) -> io::Result<Address> {
        Ok(Address::new(&self.socket.local_addr()?))
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut write: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let source = self.registration.source();
        loop {
            ready!(source.poll_writable(cx));
            match source.try_write(&mut write) {
                Some(Ok(written)) => {
                    if written < wanted {
                        source.clear_writable();
                    }
                    return Poll::Ready(Ok(written));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {}
            }
        }
    }
}
