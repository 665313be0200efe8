//! What the loop's thread leaves behind at every step, for the thread that watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::moment::Moment;

/// Where the loop is. Written by its thread, but for `asked`.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When the step that is under way began; [`Moment::NONE`] between steps.
    step: AtomicU64,
    /// The request that it belongs to.
    request: AtomicU64,
    /// The place of its route and 1; 0 while that is not known.
    route: AtomicUsize,
    /// When the loop showed a sign of life last: the end of a step, or an answer to the watcher.
    alive: AtomicU64,
    /// When the watcher asked; [`Moment::NONE`] once the loop has answered.
    asked: AtomicU64,
    /// There is a stall whose end the loop's thread has to note.
    stalled: AtomicBool,
}

/// A step as the watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) began: Moment,
    pub(crate) request: u64,
    pub(crate) route: Option<usize>,
}

impl Pulse {
    /// A step begins. Gives what was under way: a step inside of another, if a loop runs within a loop.
    pub(crate) fn begin(&self, now: Moment, request: u64, route: Option<usize>) -> Step {
        let outer = Step {
            began: Moment::from_number(self.step.load(Ordering::Relaxed)),
            request: self.request.load(Ordering::Relaxed),
            route: self.route.load(Ordering::Relaxed).checked_sub(1),
        };
        self.request.store(request, Ordering::Relaxed);
        self.route.store(route.map_or(0, |place| place + 1), Ordering::Relaxed);
        // Behind the request and its route: whoever sees this step sees that.
        self.step.store(now.number(), Ordering::Release);
        outer
    }

    /// The route of the request whose step is under way has become known.
    pub(crate) fn found(&self, request: u64, route: usize) {
        if self.step.load(Ordering::Relaxed) != 0 && self.request.load(Ordering::Relaxed) == request {
            self.route.store(route + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn end(&self, now: Moment, outer: Step) {
        self.alive.store(now.number(), Ordering::Relaxed);
        self.request.store(outer.request, Ordering::Relaxed);
        self.route.store(outer.route.map_or(0, |place| place + 1), Ordering::Relaxed);
        self.step.store(outer.began.number(), Ordering::Release);
    }

    pub(crate) fn is_in_step(&self) -> bool {
        self.step.load(Ordering::Relaxed) != 0
    }

    /// The step that is under way.
    pub(crate) fn step(&self) -> Option<Step> {
        let began = Moment::from_number(self.step.load(Ordering::Acquire));
        let request = self.request.load(Ordering::Relaxed);
        let route = self.route.load(Ordering::Relaxed).checked_sub(1);
        (!began.is_none()).then_some(Step { began, request, route })
    }

    pub(crate) fn alive(&self) -> Moment {
        Moment::from_number(self.alive.load(Ordering::Relaxed))
    }

    /// The loop has answered.
    pub(crate) fn answer(&self, now: Moment) {
        self.alive.store(now.number(), Ordering::Relaxed);
        self.asked.store(0, Ordering::Release);
    }

    pub(crate) fn is_asked(&self) -> bool {
        !self.asked().is_none()
    }

    /// When the watcher asked for what has not been answered.
    pub(crate) fn asked(&self) -> Moment {
        Moment::from_number(self.asked.load(Ordering::Acquire))
    }

    pub(crate) fn ask(&self, now: Moment) {
        self.asked.store(now.number(), Ordering::Release);
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }
}

/// How long the loop has been silent: in which step, or in none, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) since: Moment,
    /// And its route, as far as it is known.
    pub(crate) request: Option<(u64, Option<usize>)>,
}

impl Silence {
    /// Whether it is the same one, however much is known of it.
    pub(crate) fn is_same(&self, other: &Silence) -> bool {
        let request = |silence: &Silence| silence.request.map(|(serial, _)| serial);
        self.since == other.since && request(self) == request(other)
    }
}

impl Pulse {
    /// The silence that the watcher sees now; `None` if nothing is owed to anybody.
    pub(crate) fn silence(&self) -> Option<Silence> {
        if let Some(step) = self.step() {
            return Some(Silence { since: step.began, request: Some((step.request, step.route)) });
        }
        let asked = self.asked();
        (!asked.is_none()).then(|| Silence { since: asked.max(self.alive()), request: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Moment {
        Moment::from_number(number)
    }

    #[test]
    fn a_step_is_silent_since_its_begin() {
        let pulse = Pulse::default();
        assert_eq!(pulse.silence(), None);
        let outer = pulse.begin(at(5), 1, None);
        assert_eq!(pulse.silence(), Some(Silence { since: at(5), request: Some((1, None)) }));
        let inner = pulse.begin(at(6), 2, Some(7));
        assert_eq!(pulse.silence(), Some(Silence { since: at(6), request: Some((2, Some(7))) }));
        pulse.end(at(7), inner);
        assert_eq!(pulse.silence(), Some(Silence { since: at(5), request: Some((1, None)) }));
        pulse.end(at(8), outer);
        assert_eq!(pulse.silence(), None);
    }

    #[test]
    fn a_route_that_is_found_in_a_step_is_known_in_it() {
        let pulse = Pulse::default();
        pulse.found(1, 3);
        let outer = pulse.begin(at(5), 1, None);
        let before = pulse.silence().expect("there is a step");
        pulse.found(2, 3);
        assert_eq!(pulse.silence(), Some(before), "it is another request's");
        pulse.found(1, 3);
        let after = pulse.silence().expect("there is a step");
        assert_eq!(after.request, Some((1, Some(3))));
        assert!(before.is_same(&after));
        pulse.end(at(6), outer);
    }

    #[test]
    fn between_steps_the_last_sign_of_life_counts() {
        let pulse = Pulse::default();
        pulse.ask(at(10));
        assert_eq!(pulse.silence(), Some(Silence { since: at(10), request: None }));
        let outer = pulse.begin(at(11), 1, None);
        pulse.end(at(20), outer);
        assert_eq!(pulse.silence(), Some(Silence { since: at(20), request: None }), "many short steps are no stall");
        pulse.answer(at(21));
        assert_eq!(pulse.silence(), None);
    }
}
