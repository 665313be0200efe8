//! Whose a silence is: the loop's own, or the machine's, which ran other things meanwhile.

use super::moment::Moment;

/// What the kernel says at a moment. Durations are in nanoseconds, since some time in the past.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) at: Moment,
    /// For how long the loop's thread has run.
    pub(super) ran: u64,
    /// How often it was let run.
    pub(super) slices: u64,
    /// For how long it was ready, and no processor was free.
    pub(super) delayed: u64,
    /// For how long anything on the machine was.
    pub(super) pressed: u64,
    /// For how long the other threads of the process were, all together; not always asked for.
    pub(super) others: Option<u64>,
    pub(super) doing: Doing,
    /// It sleeps in a lock; not always asked for.
    pub(super) in_lock: bool,
}

/// What the loop's thread does at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    /// It runs and is asked itself, or it sleeps for a lock, of which the GIL is one; or nobody has looked.
    #[default]
    Settled,
    /// It is in a system call, and for no lock: it has itself asked to wait.
    Blocked,
    /// It runs or is ready to, or another thread of the process is, for which it may wait. The kernel counts a delay only when
    /// it is over.
    Unsettled,
}

/// The silence that is under way, as far as it has been looked at. The watcher keeps it, one reading after the other.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// [`Moment::NONE`] between silences.
    since: Moment,
    lost: u64,
    last: Reading,
    /// What `pressed` was before the silence.
    pressed_before: u64,
}

impl Account {
    /// There is no silence.
    pub(super) fn rest(&mut self, reading: Reading) {
        *self = Account { since: Moment::NONE, lost: 0, last: reading, pressed_before: reading.pressed };
    }

    /// The silence that began at `since` goes on. `late`: for how long the watcher was itself kept from looking.
    ///
    /// Gives how much of it is the loop's own doing so far.
    pub(super) fn goes_on(&mut self, since: Moment, reading: Reading, late: u64) -> u64 {
        let lost = self.lost_by(since, reading, late);
        if self.since != since {
            self.since = since;
            self.pressed_before = self.last.pressed;
        } else if reading.doing == Doing::Unsettled {
            // The next reading knows better, of this time too.
            return reading.at.since(since).saturating_sub(lost);
        }
        self.lost = lost;
        self.last = reading;
        reading.at.since(since).saturating_sub(lost)
    }

    /// How much of a silence that is over was the loop's own doing: all but what the machine was busy with other things.
    /// `pause`: how often the watcher looks, unless it is kept from it, as everything is in a process that was stopped.
    pub(super) fn own(&self, since: Moment, reading: Reading, pause: u64) -> u64 {
        let late = kept_from_looking(reading.at.since(self.last.at).saturating_sub(pause), pause);
        reading.at.since(since).saturating_sub(self.lost_by(since, reading, late))
    }

    /// For how long anything on the machine had to wait while the silence lasted.
    pub(super) fn pressed(&self, reading: Reading) -> u64 {
        reading.pressed.saturating_sub(self.pressed_before)
    }

    fn lost_by(&self, since: Moment, reading: Reading, late: u64) -> u64 {
        let part = self.lost_since_last(reading, late);
        if self.since == since {
            self.lost + part
        } else {
            // What was lost before it began cannot be told apart. It is not for long that nobody has looked, unless the watcher
            // was kept from it.
            part.min(reading.at.since(since))
        }
    }

    /// What the machine has kept from the loop since the last reading.
    fn lost_since_last(&self, reading: Reading, late: u64) -> u64 {
        let last = &self.last;
        let at_rest = reading.at.since(last.at).saturating_sub(reading.ran.saturating_sub(last.ran));
        let delayed = reading.delayed.saturating_sub(last.delayed);
        let asleep = at_rest.saturating_sub(delayed);
        // A thread that has the GIL, or another lock that the loop waits for, may itself be kept from running.
        let behind_others = match (reading.doing, reading.others, last.others) {
            (Doing::Blocked, ..) => 0,
            (Doing::Settled, Some(now), Some(then)) => now.saturating_sub(then),
            _ => reading.pressed.saturating_sub(last.pressed),
        };
        (delayed + behind_others.min(asleep)).max(late).min(at_rest)
    }
}

/// For how long the watcher was kept from looking, who comes `late` after a `pause`. If everything was stopped the pause may have
/// passed meanwhile, too.
pub(super) fn kept_from_looking(late: u64, pause: u64) -> u64 {
    if late > pause { late + pause } else { late }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Moment {
        Moment::from_number(number)
    }

    /// 100 after the machine was started, and a silence that began at 110 was looked at.
    fn account(at_first: Reading) -> Account {
        let mut account = Account::default();
        account.rest(Reading { at: at(100), ..Reading::default() });
        account.goes_on(at(110), at_first, 0);
        account
    }

    #[test]
    fn what_the_loop_runs_or_sleeps_is_its_own() {
        let quiet = account(Reading { at: at(150), ran: 50, ..Reading::default() });
        assert_eq!(quiet.own(at(110), Reading { at: at(300), ran: 200, ..Reading::default() }, 1000), 190);
        assert_eq!(quiet.own(at(110), Reading { at: at(300), ran: 50, ..Reading::default() }, 1000), 190);
    }

    #[test]
    fn what_it_was_not_let_run_is_not() {
        let busy = account(Reading { at: at(150), ran: 10, delayed: 40, ..Reading::default() });
        assert_eq!(busy.own(at(110), Reading { at: at(300), ran: 60, delayed: 140, ..Reading::default() }, 1000), 50);
    }

    #[test]
    fn before_it_was_first_seen_no_more_is_lost_than_it_has_lasted() {
        let busy = account(Reading { at: at(300), delayed: 200, ..Reading::default() });
        assert_eq!(busy.own(at(110), Reading { at: at(400), delayed: 200, ran: 100, ..Reading::default() }, 1000), 100);
    }

    #[test]
    fn a_lock_that_a_starved_thread_has_is_the_machines_fault() {
        let first = Reading { at: at(150), ran: 50, others: Some(0), ..Reading::default() };
        let later = Reading { at: at(300), others: Some(500), pressed: 150, ..first };
        assert_eq!(account(first).own(at(110), later, 1000), 40);
        assert_eq!(
            account(first).own(at(110), Reading { doing: Doing::Blocked, ..later }, 1000),
            190,
            "it sleeps for itself"
        );
        assert_eq!(account(first).own(at(110), Reading { others: None, ..later }, 1000), 40, "perhaps");
        assert_eq!(
            account(first).own(at(110), Reading { others: None, pressed: 0, ..later }, 1000),
            190,
            "nobody has waited"
        );
    }

    #[test]
    fn a_delay_that_is_not_over_counts_and_is_counted_once() {
        let mut starved = account(Reading { at: at(150), ran: 50, ..Reading::default() });
        let waiting = Reading {
            at: at(300),
            ran: 50,
            pressed: 150,
            doing: Doing::Unsettled,
            others: Some(0),
            ..Reading::default()
        };
        assert_eq!(starved.goes_on(at(110), waiting, 0), 40);
        let ran = Reading { at: at(400), ran: 70, delayed: 200, pressed: 230, ..waiting };
        assert_eq!(starved.goes_on(at(110), Reading { doing: Doing::Settled, ..ran }, 0), 60);
    }

    #[test]
    fn a_loop_that_runs_is_not_excused_by_a_busy_machine() {
        let mut busy = account(Reading { at: at(150), ran: 50, ..Reading::default() });
        let running = Reading { at: at(300), ran: 200, pressed: 200, doing: Doing::Unsettled, ..Reading::default() };
        assert_eq!(busy.goes_on(at(110), running, 0), 190);
    }

    #[test]
    fn a_process_that_was_stopped_is_not_to_blame() {
        let stopped = account(Reading { at: at(150), ran: 50, ..Reading::default() });
        assert_eq!(stopped.own(at(110), Reading { at: at(900), ran: 60, ..Reading::default() }, 50), 50);
    }

    #[test]
    fn a_watcher_that_comes_late_was_kept_from_it_by_the_machine_unless_the_loop_ran() {
        let mut slow = account(Reading { at: at(150), ran: 40, ..Reading::default() });
        let own = slow.goes_on(at(110), Reading { at: at(300), ran: 80, ..Reading::default() }, 120);
        assert_eq!(own, 80);
    }
}
