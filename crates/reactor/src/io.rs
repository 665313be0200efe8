//! Readiness: what the kernel said about each descriptor, and who waits for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::fork;

/// The token of the reactor's own waker; every other token is a key of `sources`.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// The registered descriptors of a reactor.
pub(crate) struct Driver {
    registry: Registry,
    sources: RefCell<Slab<Rc<Source>>>,
    /// See [`fork`].
    pub(crate) generation: u32,
}

impl Driver {
    pub(crate) fn new(registry: Registry) -> Driver {
        Driver { registry, sources: RefCell::default(), generation: fork::generation() }
    }

    pub(crate) fn is_forked_child(&self) -> bool {
        fork::generation() != self.generation
    }

    pub(crate) fn dispatch(&self, event: &Event) {
        // An event may be for a source that an earlier event's owner has dropped.
        let source = self.sources.borrow().get(event.token().0).cloned();
        if let Some(source) = source {
            source.mark(event);
        }
    }
}

/// A descriptor's place in the driver. Dropping it deregisters; the owner closes the descriptor afterwards.
pub(crate) struct Registration {
    driver: Rc<Driver>,
    source: Rc<Source>,
    key: usize,
    fd: RawFd,
}

impl Registration {
    /// Watches a non-blocking descriptor, edge-triggered. `fd` must stay open until the registration is dropped.
    pub(crate) fn new(driver: &Rc<Driver>, fd: RawFd, interest: Interest) -> io::Result<Registration> {
        let source = Rc::new(Source::default());
        let key = driver.sources.borrow_mut().insert(source.clone());
        if let Err(error) = driver.registry.register(&mut SourceFd(&fd), Token(key), interest) {
            driver.sources.borrow_mut().remove(key);
            return Err(error);
        }
        Ok(Registration { driver: driver.clone(), source, key, fd })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.driver.sources.borrow_mut().try_remove(self.key);
        if !self.driver.is_forked_child() {
            // Explicitly, as a forked child that holds a copy of the descriptor would keep it registered.
            let _ = self.driver.registry.deregister(&mut SourceFd(&self.fd));
        }
    }
}

/// The readiness of one descriptor.
///
/// It is a hint that only the kernel can take back: readiness is set by events and cleared by whoever was told
/// `WouldBlock`, or knows that he would be. `READ_CLOSED` is never cleared, because the event that brings a FIN may be
/// the same that brings the last data, and does not come again.
pub(crate) struct Source {
    ready: Cell<u8>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
    watcher: RefCell<Option<Waker>>,
}

impl Default for Source {
    fn default() -> Source {
        // Optimistic: one needless `WouldBlock` is cheaper than a trip through the poll.
        Source {
            ready: Cell::new(READABLE | WRITABLE),
            reader: RefCell::default(),
            writer: RefCell::default(),
            watcher: RefCell::default(),
        }
    }
}

impl Source {
    pub(crate) fn read_closed(&self) -> bool {
        self.ready.get() & READ_CLOSED != 0
    }

    pub(crate) fn readable(&self) -> bool {
        self.ready.get() & READABLE != 0
    }

    /// To be called after a read that emptied the socket: without more data only a FIN is worth another read.
    pub(crate) fn clear_readable(&self) {
        if !self.read_closed() {
            self.ready.set(self.ready.get() & !READABLE);
        }
    }

    pub(crate) fn clear_writable(&self) {
        self.ready.set(self.ready.get() & !WRITABLE);
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.readable() {
            return Poll::Ready(());
        }
        store(&self.reader, cx);
        Poll::Pending
    }

    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ready.get() & WRITABLE != 0 {
            return Poll::Ready(());
        }
        store(&self.writer, cx);
        Poll::Pending
    }

    pub(crate) fn poll_read_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.read_closed() {
            return Poll::Ready(());
        }
        store(&self.watcher, cx);
        Poll::Pending
    }

    /// Runs a read or an accept until it gives something or would block.
    pub(crate) fn try_read<T>(&self, mut read: impl FnMut() -> io::Result<T>) -> Option<io::Result<T>> {
        loop {
            match read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.set(self.ready.get() & !READABLE);
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Some(result),
            }
        }
    }

    pub(crate) fn try_write(&self, mut write: impl FnMut() -> io::Result<usize>) -> Option<io::Result<usize>> {
        loop {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.clear_writable();
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Some(result),
            }
        }
    }

    fn mark(&self, event: &Event) {
        let mut ready = self.ready.get();
        let closed = event.is_read_closed() || event.is_error();
        if event.is_readable() || closed {
            ready |= READABLE;
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            ready |= WRITABLE;
        }
        if closed {
            ready |= READ_CLOSED;
        }
        self.ready.set(ready);
        if ready & READABLE != 0 {
            wake(&self.reader);
        }
        if ready & WRITABLE != 0 {
            wake(&self.writer);
        }
        if closed {
            wake(&self.watcher);
        }
    }
}

fn store(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    match &mut *slot.borrow_mut() {
        Some(waker) => waker.clone_from(cx.waker()),
        empty => *empty = Some(cx.waker().clone()),
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const READ_CLOSED: u8 = 4;
