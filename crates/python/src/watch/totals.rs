//! What the loop as a whole has come to, whatever the route.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::moment::Moment;
use super::number::{Histogram, Number};
use crate::host::pool::Gauge;

/// Written by the loop's thread, read by any. Times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) received: Number,
    pub(crate) ended: Number,
    /// On the loop, by steps that have ended.
    pub(crate) stepped: Number,
    pub(crate) connections: Number,
    /// Until the loop answered the watcher.
    pub(crate) lag: Histogram,
    longest_lag: AtomicU64,
    pub(crate) stalls: Number,
    pub(crate) stalled: Number,
    /// Calls that want a thread of the plans' pool, those that run on one included.
    pub(crate) thread_calls: Number,
    /// Calls on threads of anyio's that requests wait for: those that wait for one, and those that run.
    pub(crate) borrowed_wanted: Number,
    pub(crate) borrowed_running: Number,
    /// Calls that may run on threads at a time. This and the next two are written by the thread that looks at anyio's limiter
    /// now and then.
    pub(crate) threads_limit: Number,
    /// Calls of which only the limiter knows, as no request waits for them: those that run, and those that wait.
    others_running: Number,
    others_wanted: Number,
    /// The threads, once there are any.
    pub(crate) pool: OnceLock<Gauge>,
}

impl Totals {
    /// The loop has answered.
    pub(super) fn answered(&self, asked: Moment, now: Moment) {
        let lag = now.since(asked);
        self.lag.add(lag);
        self.longest_lag.fetch_max(lag, Ordering::Relaxed);
    }

    /// The longest lag since this was asked last. There is one who asks.
    pub(crate) fn take_longest_lag(&self) -> u64 {
        self.longest_lag.swap(0, Ordering::Relaxed)
    }

    /// Calls that run on threads, and those that wait for one, whoever makes them.
    pub(crate) fn threads(&self) -> (u64, u64) {
        let (running, wanted) = self.requests_threads();
        (running + self.others_running.get(), wanted + self.others_wanted.get())
    }

    /// What anyio's limiter has: the calls of requests are among them, those that wait for a thread of the pool with a token.
    pub(super) fn note_limiter(&self, limit: u64, taken: u64, wanted: u64) {
        let (requests_running, requests_wanted) = self.requests_threads();
        let others = (taken + wanted).saturating_sub(requests_running + requests_wanted);
        let others_wanted = others.min(wanted.saturating_sub(requests_wanted));
        self.threads_limit.set(limit);
        self.others_wanted.set(others_wanted);
        self.others_running.set(others - others_wanted);
    }

    /// Calls that requests wait for: those that run, and those that wait for a thread.
    fn requests_threads(&self) -> (u64, u64) {
        let awake = self.pool.get().map_or(0, |pool| pool.numbers().1) as u64;
        let calls = self.thread_calls.get();
        let running = calls.min(awake);
        (running + self.borrowed_running.get(), calls - running + self.borrowed_wanted.get())
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.ended.get();
        self.received.get().saturating_sub(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_requests_wait_for_are_not_counted_again_as_the_limiters() {
        let totals = Totals::default();
        totals.borrowed_running.set(2);
        totals.borrowed_wanted.set(1);
        assert_eq!(totals.threads(), (2, 1));
        totals.note_limiter(2, 2, 1);
        assert_eq!(totals.threads(), (2, 1));
        totals.note_limiter(5, 5, 2);
        assert_eq!(totals.threads(), (5, 2), "others' calls run and wait besides");
        totals.borrowed_running.set(0);
        totals.borrowed_wanted.set(0);
        assert_eq!(totals.threads(), (3, 1), "what requests wait for is known at once");
    }
}
