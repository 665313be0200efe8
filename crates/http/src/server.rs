//! Listening, accepting, draining.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use overdrive_reactor::{Address, Handle, Listener, Sleep, Stream};
use slab::Slab;

use crate::application::{Application, Report};
use crate::connection::Connection;
use crate::settings::Settings;
use crate::share::Share;

/// Serves an application on any number of listeners. Clones are handles to the same server.
pub struct Server<A: Application>(Rc<Shared<A>>);

impl<A: Application> Clone for Server<A> {
    fn clone(&self) -> Server<A> {
        Server(self.0.clone())
    }
}

impl<A: Application> Server<A> {
    /// A server whose connections are tasks of `handle`'s reactor.
    pub fn new(app: Rc<A>, handle: Handle, settings: Settings) -> Server<A> {
        let connections = Rc::new(Connections::default());
        Server(Rc::new(Shared { app, handle, settings, connections, share: RefCell::default() }))
    }

    /// Accepts connections on a listening socket (a duplicate of it) until [`Server::drain`].
    pub fn listen(&self, fd: impl AsFd) -> io::Result<()> {
        let listener = self.0.handle.listen(fd)?;
        self.0.handle.spawn(accept(self.0.clone(), listener));
        Ok(())
    }

    /// Joins the workers that listen on the same socket, see [`Share`].
    pub fn set_share(&self, share: Share) {
        *self.0.share.borrow_mut() = Some(share);
    }

    /// Stops accepting, closes idle connections, lets the others answer what they have begun. WebSockets are closed with 1012.
    pub fn drain(&self) {
        self.0.connections.drain();
        if let Some(share) = &*self.0.share.borrow() {
            share.leave();
        }
    }

    /// Open connections, WebSockets among them.
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// As [`Server::connections`], for the application itself, which its server owns.
    pub fn connection_count(&self) -> ConnectionCount {
        ConnectionCount(Rc::downgrade(&self.0.connections))
    }
}

/// The number of open connections of a server that may be gone.
pub struct ConnectionCount(Weak<Connections>);

impl ConnectionCount {
    /// Open connections, WebSockets among them.
    pub fn get(&self) -> usize {
        self.0.upgrade().map_or(0, |connections| connections.count())
    }
}

pub(crate) struct Shared<A: Application> {
    pub(crate) app: Rc<A>,
    pub(crate) handle: Handle,
    pub(crate) settings: Settings,
    pub(crate) connections: Rc<Connections>,
    share: RefCell<Option<Share>>,
}

impl<A: Application> Shared<A> {
    fn publish(&self) {
        if let Some(share) = &*self.share.borrow() {
            share.publish(self.connections.count());
        }
    }

    fn is_over_share(&self) -> bool {
        self.share.borrow().as_ref().is_some_and(|share| share.is_over(self.connections.count()))
    }
}

/// The open connections and the accepting tasks: who must hear of a drain.
#[derive(Default)]
pub(crate) struct Connections {
    draining: Cell<bool>,
    open: Cell<usize>,
    /// One for each connection and each listener.
    wakers: RefCell<Slab<Waker>>,
    /// Listeners that wait for a connection to end.
    waiting: RefCell<Vec<Waker>>,
}

impl Connections {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn count(&self) -> usize {
        self.open.get()
    }

    fn drain(&self) {
        self.draining.set(true);
        // Cloned, as a waker may run the host's code, and that may come back here.
        let wakers: Vec<Waker> = self.wakers.borrow().iter().map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A connection's or listener's place among the [`Connections`].
pub(crate) struct Place {
    connections: Rc<Connections>,
    key: Cell<Option<usize>>,
    counts: bool,
}

impl Place {
    fn new(connections: &Rc<Connections>, counts: bool) -> Place {
        if counts {
            connections.open.set(connections.open.get() + 1);
        }
        Place { connections: connections.clone(), key: Cell::new(None), counts }
    }

    /// To be called in the task's first poll.
    pub(crate) fn enter(&self, cx: &Context<'_>) {
        if self.key.get().is_none() {
            self.key.set(Some(self.connections.wakers.borrow_mut().insert(cx.waker().clone())));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(key) = self.key.get() {
            self.connections.wakers.borrow_mut().remove(key);
        }
        if self.counts {
            self.connections.open.set(self.connections.open.get() - 1);
            self.connections.wake_waiting();
        }
    }
}

async fn accept<A: Application>(shared: Rc<Shared<A>>, listener: Listener) {
    let place = Place::new(&shared.connections, false);
    let mut turn = Turn { pause: None, may_exceed_share: false };
    loop {
        match poll_fn(|cx| turn.poll(&shared, &listener, &place, cx)).await {
            Some(()) => shared.handle.yield_now().await,
            None => return,
        }
    }
}

/// The state of a listener's accepting.
struct Turn {
    pause: Option<Sleep>,
    /// The pause for the sake of the other workers is over, and nobody has taken what waits.
    may_exceed_share: bool,
}

impl Turn {
    /// Accepts a few; `Some` when there may be more, `None` when there must be no more.
    fn poll<A: Application>(
        &mut self,
        shared: &Rc<Shared<A>>,
        listener: &Listener,
        place: &Place,
        cx: &mut Context<'_>,
    ) -> Poll<Option<()>> {
        place.enter(cx);
        for _ in 0..ACCEPTS {
            if shared.connections.is_draining() {
                return Poll::Ready(None);
            }
            if let Some(pause) = &mut self.pause {
                std::task::ready!(std::pin::Pin::new(pause).poll(cx));
                self.pause = None;
            }
            if shared.connections.count() >= shared.settings.max_connections {
                shared.connections.waiting.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            std::task::ready!(listener.poll_acceptable(cx));
            if !self.may_exceed_share && shared.is_over_share() {
                self.may_exceed_share = true;
                self.pause = Some(shared.handle.sleep(SHARE_PAUSE));
                continue;
            }
            self.may_exceed_share = false;
            match listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, peer))) => spawn_connection(shared, stream, peer),
                Poll::Ready(Err(error)) => {
                    shared.app.report(Report::AcceptFailed(&error));
                    self.pause = Some(shared.handle.sleep(FAILURE_PAUSE));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Some(()))
    }
}

fn spawn_connection<A: Application>(shared: &Rc<Shared<A>>, stream: Stream, peer: Address) {
    // A socket that is reset already has no local address any more, and nothing else of use.
    let Ok(local) = stream.local_address() else { return };
    let place = Place::new(&shared.connections, true);
    let connection = Connection::new(shared.clone(), stream, peer, local, place);
    shared.publish();
    let owner = shared.clone();
    shared.handle.spawn(async move {
        connection.await;
        owner.publish();
    });
}

/// Connections accepted in one poll, so that a flood of them does not hold up those that are open.
const ACCEPTS: usize = 32;
/// How long a worker with more than its share leaves a new connection to the others.
const SHARE_PAUSE: Duration = Duration::from_millis(2);
/// How long to wait after `EMFILE` and its like.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);
