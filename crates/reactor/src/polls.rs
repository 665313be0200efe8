//! The clock, as it is read once a poll: for all who run within one, and need no more.

use std::cell::{Cell, OnceCell};
use std::time::Instant;

/// Shared by the executor, timers and tasks.
pub(crate) struct Polls {
    /// When the poll that is under way began, or the last one ended.
    now: Cell<Instant>,
    is_polling: Cell<bool>,
    /// Somebody wants to know when the poll that is under way has ended.
    is_end_wanted: Cell<bool>,
    on_end: OnceCell<Box<dyn Fn(Instant)>>,
}

impl Polls {
    pub(crate) fn new(now: Instant) -> Polls {
        Polls {
            now: Cell::new(now),
            is_polling: Cell::new(false),
            is_end_wanted: Cell::new(false),
            on_end: OnceCell::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// When the poll that is under way began.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.is_polling.get().then(|| self.now.get())
    }

    pub(crate) fn want_end(&self) {
        self.is_end_wanted.set(self.is_polling.get());
    }

    /// Once; there is nobody to want another.
    pub(crate) fn set_on_end(&self, hook: Box<dyn Fn(Instant)>) {
        let _ = self.on_end.set(hook);
    }

    /// A poll begins, perhaps within another one. Gives what [`Polls::end`] wants.
    pub(crate) fn begin(&self) -> bool {
        self.is_polling.replace(true)
    }

    pub(crate) fn end(&self, now: Instant, outer: bool) {
        self.is_polling.set(outer);
        self.now.set(now);
        if self.is_end_wanted.take()
            && let Some(hook) = self.on_end.get()
        {
            hook(now);
        }
    }
}
