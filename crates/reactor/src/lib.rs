//! A reactor and executor for one thread, made to live inside somebody else's event loop.
//!
//! The whole reactor stands behind one file descriptor (an epoll or kqueue instance). A host loop watches that
//! descriptor and makes two calls, always on the thread that created the reactor:
//!
//! * [`Reactor::harvest`] when the descriptor is readable. It only collects readiness and queues the tasks that
//!   wait for it; it runs nothing. Afterwards the descriptor is unreadable again.
//! * [`Reactor::run`] whenever the *schedule hook* has asked for it. It polls queued tasks within a time budget.
//!
//! The two are separate because a task may become runnable without any I/O (code of the host wakes it) and because
//! edge-triggered events are consumed by harvesting: a reactor that ran tasks only when its descriptor is readable would
//! lose wake-ups. The hook ([`Reactor::on_schedule`]) is called at most once before each `run`, when the run queue becomes
//! non-empty on the reactor's own thread. Wakers may be used from any thread; from a foreign one they make the descriptor
//! readable.
//!
//! Nothing here needs a lock or an atomic read-modify-write on the way of a request: tasks, streams and timers belong to
//! the thread. Both calls are re-entrant: no internal borrow is held while a task or the hook runs.
//!
//! ```
//! use std::{cell::Cell, rc::Rc, time::Duration};
//! use overdrive_reactor::Reactor;
//!
//! let reactor = Reactor::new()?;
//! let handle = reactor.handle();
//! let woke = Rc::new(Cell::new(false));
//! let seen = woke.clone();
//! reactor.block_on(async move {
//!     handle.sleep(Duration::from_millis(1)).await;
//!     seen.set(true);
//! });
//! assert!(woke.get());
//! # Ok::<(), std::io::Error>(())
//! ```

mod channel;
mod executor;
mod fork;
mod io;
mod listener;
mod polls;
mod reactor;
mod stream;
mod timer;

pub use channel::{Receiver, Sender, channel};
pub use executor::{Deferred, Pinger};
pub use listener::Listener;
pub use reactor::{Handle, Reactor};
pub use stream::{Address, Stream};
pub use timer::Sleep;
