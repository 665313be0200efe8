//! Listening sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use mio::Interest;
use socket2::{Domain, Socket};

use crate::io::{Driver, Registration};
use crate::stream::{Address, Stream};

/// A listening TCP or Unix socket that somebody else has bound.
pub struct Listener {
    // Before the socket, see `Stream`.
    registration: Registration,
    socket: Socket,
    driver: Rc<Driver>,
    is_tcp: bool,
}

impl Listener {
    /// Works on a duplicate of `fd`, which must be a listening stream socket, and makes it non-blocking.
    pub(crate) fn new(driver: &Rc<Driver>, fd: impl AsFd) -> io::Result<Listener> {
        let owned: OwnedFd = fd.as_fd().try_clone_to_owned()?;
        let socket = Socket::from(owned);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is not listening"));
        }
        socket.set_nonblocking(true)?;
        let is_tcp = socket.domain()? != Domain::UNIX;
        let registration = Registration::new(driver, socket.as_raw_fd(), Interest::READABLE)?;
        Ok(Listener { registration, socket, driver: driver.clone(), is_tcp })
    }

    /// The next connection and its peer.
    ///
    /// Errors of a single connection (it was reset before it was accepted) are passed over. `EMFILE` and its like are
    /// returned; the caller should wait before he tries again.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        let source = self.registration.source();
        loop {
            ready!(source.poll_readable(cx));
            match source.try_read(|| self.socket.accept()) {
                Some(Ok((socket, peer))) => match Stream::new(&self.driver, socket, self.is_tcp) {
                    Ok(stream) => return Poll::Ready(Ok((stream, Address::new(&peer)))),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Some(Err(error)) if is_of_one_connection(&error) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {}
            }
        }
    }

    /// Ready when a connection may be waiting.
    pub fn poll_acceptable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.source().poll_readable(cx)
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<Address> {
        Ok(Address::new(&self.socket.local_addr()?))
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
