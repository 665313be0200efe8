//! Python's garbage collector: while it runs nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use super::Shared;
use super::moment::Moment;
use super::number::Number;

/// What it has cost so far. Written with the GIL held, read on any thread. Times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) runs: Number,
    pub(crate) total: Number,
    pub(crate) longest: Number,
    began: AtomicU64,
    ended: AtomicU64,
}

impl Collector {
    fn begin(&self, now: Moment) {
        self.began.store(now.number(), Ordering::Relaxed);
    }

    fn end(&self, now: Moment) {
        let began = Moment::from_number(self.began.load(Ordering::Relaxed));
        if began.is_none() {
            return;
        }
        self.ended.store(now.number(), Ordering::Relaxed);
        self.runs.add(1);
        self.total.add(now.since(began));
        self.longest.raise_to(now.since(began));
    }

    /// How long the last run took, if it was between these two.
    pub(super) fn within(&self, from: Moment, to: Moment) -> u64 {
        let began = Moment::from_number(self.began.load(Ordering::Relaxed));
        let ended = Moment::from_number(self.ended.load(Ordering::Relaxed));
        if began >= from && ended <= to { ended.since(began) } else { 0 }
    }
}

/// For `gc.callbacks`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct CollectorCallback {
    shared: Arc<Shared>,
}

impl CollectorCallback {
    pub(super) fn new(shared: Arc<Shared>) -> CollectorCallback {
        CollectorCallback { shared }
    }
}

#[pymethods]
impl CollectorCallback {
    fn __call__(&self, phase: &str, _info: &Bound<'_, PyAny>) {
        match phase {
            "start" => self.shared.collector.begin(Moment::now()),
            _ => self.shared.collector.end(Moment::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_counts_where_it_was() {
        let at = Moment::from_number;
        let collector = Collector::default();
        collector.end(at(1));
        assert_eq!(collector.runs.get(), 0, "it began before anybody listened");
        collector.begin(at(10));
        collector.end(at(15));
        assert_eq!((collector.within(at(9), at(20)), collector.within(at(11), at(20))), (5, 0));
        assert_eq!((collector.runs.get(), collector.total.get(), collector.longest.get()), (1, 5, 5));
    }
}
