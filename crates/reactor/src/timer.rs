//! Timers: an ordered map of deadlines. Made for few changes, as a connection re-arms its one timer lazily.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::polls::Polls;

/// Every deadline of a reactor.
#[derive(Default)]
pub(crate) struct Timers {
    /// The number makes equal instants distinct.
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_id: Cell<u64>,
}

impl Timers {
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Wakes the owners of all deadlines up to `now`.
    pub(crate) fn fire(&self, now: Instant) {
        loop {
            let due = {
                let mut waiting = self.waiting.borrow_mut();
                match waiting.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => return,
                }
            };
            due.wake();
        }
    }

    fn insert(&self, deadline: Instant, waker: Waker) -> (Instant, u64) {
        let key = (deadline, self.next_id.replace(self.next_id.get() + 1));
        self.waiting.borrow_mut().insert(key, waker);
        key
    }

    fn remove(&self, key: &(Instant, u64)) {
        self.waiting.borrow_mut().remove(key);
    }
}

/// A future that is ready when its deadline has passed. It belongs to the task that polls it first.
pub struct Sleep {
    timers: Rc<Timers>,
    polls: Rc<Polls>,
    deadline: Instant,
    armed: Option<(Instant, u64)>,
}

impl Sleep {
    pub(crate) fn new(timers: Rc<Timers>, polls: Rc<Polls>, deadline: Instant) -> Sleep {
        Sleep { timers, polls, deadline, armed: None }
    }

    /// The instant it waits for.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another instant from now on. The task must poll it again.
    ///
    /// A later deadline costs nothing: the armed timer stays, and re-arms itself when it fires too early.
    pub fn reset(&mut self, deadline: Instant) {
        if let Some(armed) = self.armed
            && deadline < armed.0
        {
            self.timers.remove(&armed);
            self.armed = None;
        }
        self.deadline = deadline;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.polls.now() >= self.deadline {
            if let Some(armed) = self.armed.take() {
                self.timers.remove(&armed);
            }
            return Poll::Ready(());
        }
        // An armed timer whose instant lies ahead has not fired, and will wake the same task.
        if self.armed.is_none_or(|armed| armed.0 <= self.polls.now()) {
            if let Some(armed) = self.armed {
                self.timers.remove(&armed);
            }
            self.armed = Some(self.timers.insert(self.deadline, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(armed) = self.armed {
            self.timers.remove(&armed);
        }
    }
}
