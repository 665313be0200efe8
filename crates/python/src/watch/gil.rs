//! Whether the loop waited for the GIL, which another thread kept, or for something of its own.
//!
//! A thread that waits for the GIL sleeps in a lock, and wakes up every few milliseconds to ask for it anew
//! (`sys.setswitchinterval`). One that keeps the GIL itself runs, is in another system call, or sleeps in a lock without
//! waking up. Where the kernel does not tell, nobody else is to blame.

use super::account::Reading;
use super::moment::Moment;

/// A wait of the loop's thread for a lock, which may be the GIL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockWait {
    /// When it was seen first.
    since: Moment,
    ran: u64,
    slices: u64,
    /// When the watcher asked for the GIL.
    asked: Moment,
}

impl LockWait {
    /// `None` if the thread does not wait for a lock.
    pub(super) fn seen(reading: &Reading) -> Option<LockWait> {
        reading.in_lock.then_some(LockWait {
            since: reading.at,
            ran: reading.ran,
            slices: reading.slices,
            asked: Moment::NONE,
        })
    }

    /// The watcher asks for the GIL, and does not get it perhaps.
    pub(super) fn asked(self, now: Moment) -> LockWait {
        LockWait { asked: now, ..self }
    }

    /// For how long the loop has waited for another thread's GIL, in nanoseconds; 0: for none. `reading`: of the moment when
    /// the loop or the watcher has got it.
    pub(super) fn for_gil(&self, reading: &Reading) -> u64 {
        let took = reading.at.since(self.since);
        let ran = reading.ran.saturating_sub(self.ran);
        let woke = reading.slices.saturating_sub(self.slices);
        let was_kept = reading.at.since(self.asked) >= KEPT;
        if was_kept && ran < took / 10 && woke.saturating_mul(SELDOM) >= took { took } else { 0 }
    }
}

/// Code in Python lets go of the GIL sooner, in nanoseconds, unless it is told otherwise.
const KEPT: u64 = 10_000_000;
/// Who waits for the GIL wakes up every 5 ms, and later on a busy machine, but more often than this, in nanoseconds.
const SELDOM: u64 = 20_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(milliseconds: u64, ran: u64, slices: u64) -> Reading {
        let at = Moment::from_number(milliseconds * 1_000_000 + 1);
        Reading { at, ran: ran * 1_000_000, slices, in_lock: true, ..Reading::default() }
    }

    #[test]
    fn it_is_anothers_if_the_loop_asks_again_and_again_and_the_watcher_waits_too() {
        let wait = LockWait::seen(&reading(0, 0, 10)).expect("it waits").asked(reading(50, 0, 0).at);
        assert_eq!(wait.for_gil(&reading(300, 2, 70)), 300_000_000);
        assert_eq!(wait.for_gil(&reading(300, 2, 12)), 0, "it has slept on, for another lock");
        assert_eq!(wait.for_gil(&reading(300, 200, 70)), 0, "it has run");
        assert_eq!(wait.for_gil(&reading(55, 0, 21)), 0, "the watcher has got it at once");
        assert!(LockWait::seen(&Reading { in_lock: false, ..reading(0, 0, 0) }).is_none());
    }
}
