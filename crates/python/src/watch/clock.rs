//! The clock of one request: when it was received, each step on the loop, each wait, its answer, its end.
//!
//! Looking at the clock is the dearest part of the watch. The reactor does so between two polls anyway, and most steps are
//! within one: the first step of an eager task, which is often the only one. Such a step begins with its poll and ends with
//! it ([`Ending`]). That is the truth as seen by others, too, who cannot run before.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;

use super::Watch;
use super::events::Written;
use super::moment::{Moment, nanoseconds};
use super::pulse::Step;
use super::route::{LONG_STEP, Route};
use super::thread_call::{BorrowedCall, ThreadCall};
use super::within::RequestMark;
use crate::host::ffi;
use crate::host::loop_bound::Graveyard;

/// Kept by the request; what it has come to is added to its route's at the end, at the latest when this is dropped.
pub(crate) struct RequestClock {
    watch: Rc<Watch>,
    pub(super) serial: u64,
    pub(super) route: Cell<Option<usize>>,
    received: Moment,
    steps: Cell<u64>,
    loop_time: Cell<u64>,
    longest_step: Cell<u64>,
    /// The end of the last step.
    pub(super) paused: Cell<Moment>,
    waits: Cell<u64>,
    waited: Cell<u64>,
    thread_calls: Cell<u64>,
    thread_queued: Cell<u64>,
    longest_thread_queue: Cell<u64>,
    thread_ran: Cell<u64>,
    longest_thread_run: Cell<u64>,
    answered: Cell<Moment>,
    /// The response was completed in the step that is under way. As nothing is sent before that ends, it counts from then.
    answered_in_step: Cell<bool>,
    is_running: Cell<bool>,
    status: Cell<u16>,
    ended: Cell<bool>,
    /// Its events are written for those who look.
    traced: Cell<bool>,
    /// Its context says whose it is.
    marked: Cell<bool>,
    /// The last stall that a request of its connection had to wait for.
    pub(super) held_up_by: Rc<Cell<u64>>,
    /// What stalls of others have cost it.
    pub(super) delayed: Cell<u64>,
    pub(super) stalls: Cell<u64>,
    pub(super) stalled: Cell<u64>,
}

impl RequestClock {
    pub(super) fn new(watch: Rc<Watch>, serial: u64, received: Moment, held_up_by: Rc<Cell<u64>>) -> RequestClock {
        RequestClock {
            watch,
            serial,
            route: Cell::new(None),
            received,
            steps: Cell::new(0),
            loop_time: Cell::new(0),
            longest_step: Cell::new(0),
            paused: Cell::new(Moment::NONE),
            waits: Cell::new(0),
            waited: Cell::new(0),
            thread_calls: Cell::new(0),
            thread_queued: Cell::new(0),
            longest_thread_queue: Cell::new(0),
            thread_ran: Cell::new(0),
            longest_thread_run: Cell::new(0),
            answered: Cell::new(Moment::NONE),
            answered_in_step: Cell::new(false),
            is_running: Cell::new(false),
            status: Cell::new(0),
            ended: Cell::new(false),
            traced: Cell::new(false),
            marked: Cell::new(false),
            held_up_by,
            delayed: Cell::new(0),
            stalls: Cell::new(0),
            stalled: Cell::new(0),
        }
    }

    pub(crate) fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }

    /// Writes the events of this request from now on, the first of them being that it was received.
    pub(super) fn trace(&self, method: &str, target: &str) {
        self.traced.set(true);
        self.note(self.received, &Written::Received(method, target));
    }

    fn note(&self, at: Moment, what: &Written<'_>) {
        if self.traced.get() {
            self.watch.shared.events.write(at, self.serial, what);
        }
    }

    fn note_now(&self, what: &Written<'_>) {
        if self.traced.get() {
            self.note(Moment::now(), what);
        }
    }

    /// The route is known from now on.
    pub(crate) fn found(&self, route: usize) {
        self.note_now(&Written::Found(route));
        if self.route.replace(Some(route)).is_none() && !self.ended.get() {
            self.watch.with_route(route, Route::entered);
            self.watch.pulse().found(self.serial, route);
            if self.marked.get() {
                // Its context, and those of the tasks that it has started, know its line alone.
                self.watch.shared.found.note(self.serial, route);
            }
        }
    }

    /// A context for the request that says whose it is, if its route is known by now; else a `fresh` one.
    pub(crate) fn marked_context<'py>(
        &self,
        py: Python<'py>,
        fresh: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(place) = self.route.get() else { return fresh() };
        self.marked.set(true);
        self.watch.context_of(py, place, fresh)
    }

    /// Notes in the running context whose it is, unless it says so already: tasks that are made from here on inherit that.
    /// `timed` is the request whose clock this is.
    pub(crate) fn mark_context(&self, py: Python<'_>, timed: &Rc<dyn Timed>, graveyard: &Arc<Graveyard>) {
        if self.marked.replace(true) {
            return;
        }
        let marked = (timed.line(), self.serial, RequestMark::new(timed, graveyard))
            .into_pyobject(py)
            .and_then(|mark| ffi::set_context_variable(self.watch.origin.bind(py), mark.as_any()));
        if let Err(error) = marked {
            error.write_unraisable(py, None);
        }
    }

    /// The request's number, which its stalls have, too.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn has_route(&self) -> bool {
        self.route.get().is_some()
    }

    /// Whether its route has kept the loop for long, and not long ago: what is to be sent should not wait for the end of the run.
    pub(crate) fn may_keep_loop(&self) -> bool {
        self.route.get().is_some_and(|route| self.watch.with_route(route, Route::may_keep_loop))
    }

    /// A step begins; [`RequestClock::pause`] has to follow.
    pub(crate) fn run(&self) -> Running {
        // Answers that are ready go out before.
        if self.may_keep_loop() {
            self.watch.write_answers();
        }
        let (now, in_poll) = self.watch.step_begins(self.traced.get());
        self.is_running.set(true);
        let paused = self.paused.get();
        if !paused.is_none() {
            self.waits.set(self.waits.get() + 1);
            self.waited.set(self.waited.get() + now.since(paused));
        }
        self.watch.resumed(self, now);
        self.note(now, &Written::StepBegan);
        Running { began: now, in_poll, outer: self.watch.pulse().begin(now, self.serial, self.route.get()) }
    }

    /// The same for a step of a part of the request that is not in its own coroutine; `None` within a step of its own, and
    /// once it is over.
    pub(super) fn run_part(&self) -> Option<Running> {
        (!self.is_running.get() && !self.ended.get()).then(|| self.run())
    }

    /// The step has ended, or does so with the poll that it is in, and so has the request if it `is_last`.
    pub(crate) fn pause(&self, running: Running, timed: &Rc<dyn Timed>, is_last: bool) {
        self.is_running.set(false);
        let in_poll = running.in_poll;
        let ending = Ending { timed: timed.clone(), running, is_last };
        if in_poll { self.watch.end_with_poll(ending) } else { ending.at(Moment::now()) }
    }

    fn paused_at(&self, now: Moment, running: Running, line: impl FnOnce() -> String) {
        self.watch.pulse().end(now, running.outer);
        self.paused.set(now);
        if self.answered_in_step.take() {
            self.answered.set(now);
        }
        self.note(now, &Written::StepEnded);
        let took = now.since(running.began);
        self.watch.shared.totals.stepped.add(took);
        self.steps.set(self.steps.get() + 1);
        self.loop_time.set(self.loop_time.get() + took);
        self.longest_step.set(self.longest_step.get().max(took));
        if took >= LONG_STEP
            && let Some(route) = self.route.get()
        {
            self.watch.with_route(route, Route::kept_loop);
        }
        if took >= self.watch.threshold() || self.watch.pulse().is_stalled() {
            let line = line();
            if self.watch.shared.events.is_open() && !self.traced.get() {
                // Those who look want to see it, whatever the sample is.
                let (method, target) = line.split_once(' ').unwrap_or(("", &line));
                self.trace(method, target);
                self.note(running.began, &Written::StepBegan);
                self.note(now, &Written::StepEnded);
            }
            self.watch.took_long(self, running.began, now, || line);
        }
    }

    /// A call on a thread of the plans' pool is wanted, until what this gives is dropped.
    pub(crate) fn wants_thread(&self, wanted: Instant) -> ThreadCall {
        self.note(Moment::of(wanted), &Written::ThreadWanted);
        ThreadCall::new(self.watch.clone())
    }

    /// A call on a thread of anyio's is wanted.
    pub(super) fn wants_borrowed_thread(&self, wanted: Instant) -> BorrowedCall {
        self.note(Moment::of(wanted), &Written::ThreadWanted);
        BorrowedCall::new(self.watch.clone())
    }

    /// A call on a thread has come back.
    pub(crate) fn ran_in_thread(&self, wanted: Instant, began: Instant, ended: Instant) {
        let queued = nanoseconds(began.saturating_duration_since(wanted));
        self.note_now(&Written::ThreadRan(Moment::of(began), Moment::of(ended)));
        self.thread_calls.set(self.thread_calls.get() + 1);
        self.thread_queued.set(self.thread_queued.get() + queued);
        self.longest_thread_queue.set(self.longest_thread_queue.get().max(queued));
        let ran = nanoseconds(ended.saturating_duration_since(began));
        self.thread_ran.set(self.thread_ran.get() + ran);
        self.longest_thread_run.set(self.longest_thread_run.get().max(ran));
    }

    /// The response has its status.
    pub(crate) fn answers(&self, status: u16) {
        self.status.set(status);
        self.note_now(&Written::Answers(status));
    }

    /// The application has said the last of its response.
    pub(crate) fn answered(&self) {
        if !self.answered.get().is_none() || self.answered_in_step.get() {
            return;
        }
        if self.is_running.get() {
            self.answered_in_step.set(true);
            self.note_now(&Written::Answered);
        } else {
            let now = Moment::now();
            self.answered.set(now);
            self.note(now, &Written::Answered);
        }
    }

    /// The request is over: nothing of it runs any more. Harmless when repeated.
    pub(crate) fn end(&self) {
        if self.ended.replace(true) {
            return;
        }
        let was_found = self.has_route();
        self.note_now(&Written::Ended);
        self.watch.shared.totals.ended.add(1);
        let place = self.route.get().unwrap_or_else(|| self.watch.unrouted());
        self.watch.with_route(place, |route| self.add_to(route, was_found));
    }

    fn add_to(&self, route: &Route, was_found: bool) {
        if was_found {
            route.left();
        }
        let last = match self.paused.get() {
            paused if paused.is_none() => self.answered.get(),
            paused => paused,
        };
        let answered = match self.answered.get() {
            answered if answered.is_none() => last,
            answered => answered,
        };
        route.requests.add(1);
        route.latencies[usize::from(self.status.get() / 100).min(5)].add(answered.since(self.received));
        if last > answered {
            route.afterwards.add(last.since(answered));
        }
        route.steps.add(self.steps.get());
        route.loop_time.add(self.loop_time.get());
        route.was_done(self.longest_step.get());
        if self.waits.get() > 0 {
            route.waits.add(self.waits.get());
            route.waited.add(self.waited.get());
        }
        if self.thread_calls.get() > 0 {
            route.thread_calls.add(self.thread_calls.get());
            route.thread_queued.add(self.thread_queued.get());
            route.longest_thread_queue.raise_to(self.longest_thread_queue.get());
            route.thread_ran.add(self.thread_ran.get());
            route.longest_thread_run.raise_to(self.longest_thread_run.get());
        }
        if self.stalls.get() > 0 {
            route.stalls.add(self.stalls.get());
            route.stalled.add(self.stalled.get());
        }
        if self.delayed.get() > 0 {
            route.delayed.add(self.delayed.get());
        }
    }
}

impl Drop for RequestClock {
    fn drop(&mut self) {
        self.end();
    }
}

/// Who has a clock, and can be named.
pub(crate) trait Timed {
    /// `None` if nobody watches.
    fn clock(&self) -> Option<&RequestClock>;

    /// What the request is called where it has kept others waiting: "GET /items/3".
    fn line(&self) -> String;
}

/// The end of a step of which the time is not known yet.
pub(super) struct Ending {
    timed: Rc<dyn Timed>,
    running: Running,
    is_last: bool,
}

impl Ending {
    pub(super) fn at(self, now: Moment) {
        let Some(clock) = self.timed.clock() else { return };
        clock.paused_at(now, self.running, || self.timed.line());
        if self.is_last {
            clock.end();
        }
    }
}

/// A step that is under way.
#[must_use = "a step ends with RequestClock::pause"]
pub(crate) struct Running {
    began: Moment,
    /// Of the reactor, with which the step ends.
    in_poll: bool,
    outer: Step,
}
