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
    /// Calls that want a thread, those that run on one included.
    pub(crate) thread_calls: Number,
    /// Calls that may run on threads at a time, those that do, and those that wait: whoever makes them, as anyio's limiter has
    /// it. Written by the thread that looks at it now and then.
    pub(crate) threads_limit: Number,
    pub(crate) threads_taken: Number,
    pub(crate) threads_wanted: Number,
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

    /// Calls that run on threads, and those that wait for one: as the pool and the limiter have it, whichever is later.
    pub(crate) fn threads(&self) -> (u64, u64) {
        let awake = self.pool.get().map_or(0, |pool| pool.numbers().1) as u64;
        let calls = self.thread_calls.get();
        let busy = calls.min(awake).max(self.threads_taken.get());
        (busy, calls.saturating_sub(awake).max(self.threads_wanted.get()))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.ended.get();
        self.received.get().saturating_sub(ended)
    }
}
