//! Python's garbage collector: while it runs nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use super::Shared;
use super::moment::Moment;
use super::number::Number;

/// What it has cost so far. Written with the GIL held, read on any thread. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) runs: Number,
    pub(crate) total: Number,
    pub(crate) longest: Number,
    began: AtomicU64,
    /// When the runs of late began and ended, the oldest of them replaced by the next one.
    late: [(AtomicU64, AtomicU64); LATE_RUNS],
}

impl Default for Collector {
    fn default() -> Collector {
        Collector {
            runs: Number::default(),
            total: Number::default(),
            longest: Number::default(),
            began: AtomicU64::default(),
            late: std::array::from_fn(|_| Default::default()),
        }
    }
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
        let (start, end) = &self.late[self.runs.get() as usize % LATE_RUNS];
        start.store(began.number(), Ordering::Relaxed);
        end.store(now.number(), Ordering::Relaxed);
        self.runs.add(1);
        self.total.add(now.since(began));
        self.longest.raise_to(now.since(began));
    }

    /// For how long it ran between these two, as far as it is remembered.
    pub(super) fn within(&self, from: Moment, to: Moment) -> u64 {
        let moment = |number: &AtomicU64| Moment::from_number(number.load(Ordering::Relaxed));
        self.late.iter().map(|(began, ended)| moment(ended).min(to).since(moment(began).max(from))).sum()
    }
}

const LATE_RUNS: usize = 64;

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
    fn runs_count_where_they_were() {
        let at = Moment::from_number;
        let collector = Collector::default();
        collector.end(at(1));
        assert_eq!(collector.runs.get(), 0, "it began before anybody listened");
        collector.begin(at(10));
        collector.end(at(15));
        assert_eq!((collector.within(at(9), at(20)), collector.within(at(11), at(20))), (5, 4));
        assert_eq!((collector.within(at(1), at(12)), collector.within(at(1), at(9))), (2, 0));
        collector.begin(at(17));
        collector.end(at(19));
        assert_eq!(collector.within(at(9), at(20)), 7, "not the last one alone");
        assert_eq!((collector.runs.get(), collector.total.get(), collector.longest.get()), (2, 7, 5));
    }
}
