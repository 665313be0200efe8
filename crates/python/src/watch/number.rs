//! Numbers that the loop's thread keeps and any thread may read, at the price of plain ones.

use std::sync::atomic::{AtomicU64, Ordering};

/// Changed by one thread alone, so that no change needs an atomic read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }

    pub(crate) fn subtract(&self, value: u64) {
        self.set(self.get().saturating_sub(value));
    }

    /// The greater of the two.
    pub(crate) fn raise_to(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}

/// How often a duration fell below each of [`BOUNDS`], and how long all took together.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [Number; BOUNDS.len() + 1],
    sum: Number,
    longest: Number,
}

/// Upper bounds in nanoseconds: those that Prometheus's clients use, and 1 ms and 2.5 ms besides.
pub(crate) const BOUNDS: [u64; 13] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

impl Histogram {
    pub(crate) fn add(&self, nanoseconds: u64) {
        let place = BOUNDS.iter().position(|bound| nanoseconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[place].add(1);
        self.sum.add(nanoseconds);
        self.longest.raise_to(nanoseconds);
    }

    /// Not cumulative; the last is of those above every bound.
    pub(crate) fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|place| self.counts[place].get())
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum.get()
    }

    pub(crate) fn longest(&self) -> u64 {
        self.longest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_below_their_bounds() {
        let histogram = Histogram::default();
        for duration in [1, 1_000_000, 1_000_001, 20_000_000_000] {
            histogram.add(duration);
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[BOUNDS.len()]), (2, 1, 1));
        assert_eq!((histogram.sum(), histogram.longest()), (20_002_000_002, 20_000_000_000));
    }
}
