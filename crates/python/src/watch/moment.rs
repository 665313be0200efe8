//! Points in time that fit an atomic.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the process looked at the clock first; never 0, so that 0 can mean "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) const NONE: Moment = Moment(0);

    pub(crate) fn now() -> Moment {
        Moment::of(Instant::now())
    }

    /// `instant` must not be older than the process's first look at the clock, or counts as that.
    pub(crate) fn of(instant: Instant) -> Moment {
        Moment(nanoseconds(instant.saturating_duration_since(origin())) + 1)
    }

    pub(crate) fn from_number(number: u64) -> Moment {
        Moment(number)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds from `earlier` to here; 0 if that is later.
    pub(crate) fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) fn plus(self, nanoseconds: u64) -> Moment {
        Moment(self.0.saturating_add(nanoseconds))
    }
}

/// As many as fit: 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
