//! The pauses of the thread that reports, which whoever stops it may cut short.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Pauses {
    over: Mutex<bool>,
    changed: Condvar,
}

impl Pauses {
    /// Whether there are to be no more.
    pub(super) fn over(&self) -> MutexGuard<'_, bool> {
        self.over.lock().expect("no code panics while holding it")
    }

    /// Waits for so long, or until there are to be no more.
    pub(super) fn wait<'a>(&self, over: MutexGuard<'a, bool>, at_most: Duration) -> MutexGuard<'a, bool> {
        self.changed.wait_timeout(over, at_most).expect("no code panics while holding it").0
    }

    pub(super) fn end(&self) {
        *self.over() = true;
        self.changed.notify_all();
    }
}
