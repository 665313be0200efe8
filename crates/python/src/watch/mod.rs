//! The watch: what the loop does, for which request, and who keeps it.
//!
//! The loop's thread notes where every step of a request begins and ends ([`RequestClock`]), and leaves a pulse behind; a
//! thread of its own ([`detector`]) notices when there is none. Whatever any other thread may read is in [`Shared`]: atomics
//! that one thread writes, and locks that are taken when there is a stall or a new route.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use overdrive_reactor::Handle;
use pyo3::prelude::*;

use crate::host::pool::Gauge;

mod account;
pub(crate) mod blame;
mod by_scope;
mod clock;
mod collector;
pub(crate) mod declared;
pub(crate) mod detector;
pub(crate) mod events;
mod found;
mod gil;
mod machine;
pub(crate) mod moment;
pub(crate) mod number;
mod pauses;
pub(crate) mod places;
mod pulse;
pub(crate) mod python;
pub(crate) mod report;
pub(crate) mod route;
pub(crate) mod source;
pub(crate) mod stack;
pub(crate) mod stall;
pub(crate) mod tally;
pub(crate) mod thread_call;
mod totals;
mod unawaited;
pub(crate) mod verdict;
pub(crate) mod within;

use account::Account;
use blame::Libraries;
use by_scope::RoutesByScope;
use clock::Ending;
pub(crate) use clock::{RequestClock, Timed};
use collector::Collector;
use declared::MountPatterns;
use events::{Events, Sampler};
use found::FoundRoutes;
use machine::Machine;
use moment::Moment;
use pauses::Pauses;
use places::{Fault, Place, Places, merge};
use pulse::Pulse;
use route::{Pattern, Route, RouteIndex, RouteName, Routes};
use source::Sources;
use stall::{Culprit, Sample, Stall, UnderWay};
use tally::Tally;
use totals::Totals;

use crate::host::ffi;

/// What the loop's thread, the watcher's and those who ask share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// In nanoseconds: from here on a silence is a stall.
    pub(crate) threshold: u64,
    pub(crate) libraries: Libraries,
    pub(crate) pulse: Pulse,
    pub(crate) routes: Routes,
    pub(crate) found: FoundRoutes,
    pub(crate) under_way: UnderWay,
    pub(crate) totals: Totals,
    places: Mutex<Places>,
    /// What of the present silence is the machine's. The watcher keeps it; the loop's thread asks when it is over.
    account: Mutex<Account>,
    /// How often the watcher itself was kept from running.
    slow_machine: AtomicU64,
    /// What happens to requests, while somebody looks.
    pub(crate) events: Events,
    /// The stalls of late, while somebody looks.
    late_stalls: Mutex<VecDeque<Stall>>,
    pub(crate) collector: Collector,
    /// Nobody is to be blamed at the moment: the server itself has the loop.
    suspended: AtomicBool,
    /// Of the thread that reports.
    pauses: Pauses,
    /// The frames below those of whatever the loop runs: the loop's own, and of those who run it. [`UNKNOWN`] until then.
    loop_depth: AtomicUsize,
}

const UNKNOWN: usize = usize::MAX;

impl Shared {
    pub(crate) fn new(threshold: u64, libraries: Libraries) -> Shared {
        Shared {
            threshold,
            libraries,
            totals: Totals::default(),
            places: Mutex::default(),
            pulse: Pulse::default(),
            routes: Routes::default(),
            found: FoundRoutes::default(),
            under_way: UnderWay::default(),
            account: Mutex::default(),
            slow_machine: AtomicU64::new(0),
            events: Events::default(),
            late_stalls: Mutex::default(),
            collector: Collector::default(),
            suspended: AtomicBool::new(false),
            pauses: Pauses::default(),
            loop_depth: AtomicUsize::new(UNKNOWN),
        }
    }
}

impl Shared {
    /// Stalls by their places, and other faults. Locked where there is one, and where somebody asks.
    pub(crate) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("no code panics while holding it")
    }

    /// Copies of the stalls by their places, that under way among them, and of the other faults.
    pub(crate) fn places_so_far(&self) -> (Vec<Place>, Vec<Fault>) {
        let under_way = self.under_way.lock().clone();
        let mut places = self.places();
        let mut stalls = places.stalls.clone();
        if let Some(mut stall) = under_way {
            stall.ended = Moment::now();
            let routes = self.routes.snapshot();
            let route = stall.culprit.route().and_then(|place| routes.get(place));
            merge(&mut stalls, &places.place_of(&stall, route.map(|route| &**route), &self.libraries));
        }
        (stalls, places.faults.clone())
    }

    /// What each route has come to.
    pub(crate) fn tallies(&self, sources: &Sources) -> Vec<Tally> {
        self.routes.snapshot().iter().map(|route| Tally::of(route, sources)).collect()
    }

    /// The stalls that have ended since this was asked last. There is one who asks.
    pub(crate) fn take_late_stalls(&self) -> VecDeque<Stall> {
        std::mem::take(&mut *self.late_stalls.lock().expect("no code panics while holding it"))
    }

    fn keep(&self, stall: &Stall) {
        let mut late = self.late_stalls.lock().expect("no code panics while holding it");
        if late.len() < MOST_LATE_STALLS {
            late.push_back(stall.clone());
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("no code panics while holding it")
    }

    /// The stack of the thread that has just kept the GIL from the loop's, `ident`, and waits for it now.
    fn keeper(&self, py: Python<'_>, ident: u64) -> Option<Sample> {
        let stack = stack::of_the_other(py, ident, &self.libraries).ok().flatten()?;
        Some(Sample { at: Moment::now(), stack })
    }

    /// The place of the only `def` endpoint whose requests are under way, if there is one.
    fn threaded(&self) -> Option<usize> {
        let routes = self.routes.snapshot();
        let is_threaded = |route: &Route| route.pattern == Pattern::Def && route.in_flight.get() > 0;
        let mut found = (0..routes.len()).filter(|place| is_threaded(&routes[*place]));
        found.next().filter(|_| found.next().is_none())
    }

    /// There is a stall, and nobody has seen its stack yet.
    fn is_stall_unseen(&self) -> bool {
        self.pulse.is_stalled() && self.under_way.lock().as_ref().is_some_and(|stall| stall.samples.is_empty())
    }
}

/// The watch as the loop's thread has it.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    reactor: Handle,
    /// The step that ends with the poll which is under way.
    ending: RefCell<Option<Ending>>,
    index: RefCell<RouteIndex>,
    serial: Cell<u64>,
    sampler: Sampler,
    machine: Machine,
    /// The stall that has just ended, while those who had to wait for it are counted.
    aftermath: RefCell<Option<Aftermath>>,
    /// Names this watch among those of the process; never 0.
    id: u32,
    /// How often a stall has ended; names the last one.
    stalls: Cell<u64>,
    /// When the last one began.
    last: Cell<Moment>,
    /// `(endpoint) -> (name, file, line, pattern)`
    describe: Py<PyAny>,
    /// Called with each stall once it is over.
    on_stall: Py<PyAny>,
    /// The context variable that says whose a context is: the place of a route, or the line of a request, its number and its mark.
    origin: Py<PyAny>,
    /// For each route a context that says so, to be copied, as that costs less than to set the variable.
    contexts: RefCell<Vec<Option<Py<PyAny>>>>,
    /// Has the loop call [`Watch::settle`] soon.
    schedule_settling: RefCell<Option<Rc<dyn Fn()>>>,
    /// The place of what has no route.
    unrouted: Cell<Option<usize>>,
    by_scope: RoutesByScope,
    mounts: MountPatterns,
}

/// Where a plan keeps the place of its route: in that watch which asked for it last.
#[derive(Debug, Default)]
pub(crate) struct PlaceCache {
    /// The watch, and the place.
    place: AtomicU64,
    /// As [`packed`] has it.
    method: AtomicU64,
    /// Of what the path begins with, for where it is mounted.
    below: AtomicUsize,
}

struct Aftermath {
    stall: Stall,
    /// The route of the request that the stall was a part of, until it goes on: it did not wait for anybody else.
    own: Option<usize>,
    /// Turns of the loop to go.
    turns: u32,
}

impl Watch {
    fn new(
        shared: Arc<Shared>,
        reactor: Handle,
        describe: Py<PyAny>,
        on_stall: Py<PyAny>,
        origin: Py<PyAny>,
    ) -> Rc<Watch> {
        Rc::new(Watch {
            shared,
            reactor,
            ending: RefCell::default(),
            index: RefCell::default(),
            serial: Cell::new(0),
            sampler: Sampler::new(),
            machine: Machine::for_this_thread(),
            aftermath: RefCell::default(),
            id: NEXT_WATCH.fetch_add(1, Ordering::Relaxed),
            stalls: Cell::new(0),
            last: Cell::new(Moment::NONE),
            describe,
            on_stall,
            origin,
            contexts: RefCell::default(),
            schedule_settling: RefCell::default(),
            unrouted: Cell::new(None),
            by_scope: RoutesByScope::default(),
            mounts: MountPatterns::default(),
        })
    }

    /// The threads whose numbers those who look may see.
    pub(crate) fn has_pool(&self, gauge: Gauge) {
        // Another pool of the same loop is not looked at.
        let _ = self.shared.totals.pool.set(gauge);
    }

    pub(crate) fn set_schedule_settling(&self, schedule: Rc<dyn Fn()>) {
        *self.schedule_settling.borrow_mut() = Some(schedule);
    }

    /// The clock of a request whose head was received at `received`.
    ///
    /// `held_up_by`: its connection's, which remembers the last stall that one of its requests had to wait for.
    pub(crate) fn received(
        self: &Rc<Self>,
        received: Moment,
        method: &str,
        target: &str,
        held_up_by: &Rc<Cell<u64>>,
    ) -> RequestClock {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        self.shared.totals.received.add(1);
        let clock = RequestClock::new(self.clone(), serial, received, held_up_by.clone());
        let events = &self.shared.events;
        if events.is_open() && self.sampler.takes(events, received, serial) {
            clock.trace(method, target);
        }
        clock
    }

    /// The loop runs. To be called straight from the loop.
    pub(crate) fn runs(&self, py: Python<'_>) {
        if self.shared.loop_depth.load(Ordering::Relaxed) == UNKNOWN
            && let Ok(depth) = stack::depth_here(py)
        {
            self.shared.loop_depth.store(depth, Ordering::Relaxed);
        }
    }

    /// The loop has come to the watcher's question.
    pub(crate) fn answer(&self, connections: usize) {
        let pulse = self.pulse();
        if !pulse.is_asked() {
            return;
        }
        self.shared.totals.connections.set(connections as u64);
        let now = Moment::now();
        self.shared.totals.answered(pulse.asked(), now);
        let silent_since = pulse.asked().max(pulse.alive());
        pulse.answer(now);
        self.silence_is_over(silent_since, now);
    }

    /// Something goes on after a silence outside of requests' steps, that was a stall perhaps.
    fn silence_is_over(&self, since: Moment, now: Moment) {
        if now.since(since) >= self.threshold() || self.pulse().is_stalled() {
            self.over(since, now, |culprit| {
                if matches!(culprit, Culprit::Request { .. }) {
                    *culprit = Culprit::Elsewhere(None);
                }
            });
        }
    }

    /// The place of a route. `endpoint`: the callable behind it, if there is one.
    pub(crate) fn place(&self, method: &str, path: &str, endpoint: Option<&Bound<'_, PyAny>>) -> usize {
        let (name, pattern, place) = endpoint
            .and_then(|endpoint| {
                let (name, file, line, pattern) = self.described(endpoint)?;
                let pattern = match pattern.as_str() {
                    "async" => Pattern::Async,
                    "def" => Pattern::Def,
                    _ => Pattern::Unknown,
                };
                Some((name, pattern, (file, line)))
            })
            .unwrap_or_else(|| (String::new(), Pattern::Unknown, (String::new(), 0)));
        let name = RouteName { method: method.to_owned(), path: path.to_owned(), endpoint: name };
        self.index.borrow_mut().find(&self.shared.routes, name, || (pattern, place))
    }

    /// Name, file, line and pattern of an endpoint. That it has none is not worth more than a nameless entry in a report.
    fn described(&self, endpoint: &Bound<'_, PyAny>) -> Option<(String, String, u32, String)> {
        self.describe.bind(endpoint.py()).call1((endpoint,)).ok()?.extract().ok()
    }

    /// As [`Watch::place`], for the price of a look at the cache once it is known.
    ///
    /// `below`: what the path begins with; `find` gives the rest of it, which is always the same, and the endpoint.
    pub(crate) fn cached_place<'py>(
        &self,
        cache: &PlaceCache,
        method: &str,
        below: &str,
        find: impl FnOnce() -> (String, Option<Bound<'py, PyAny>>),
    ) -> usize {
        let cached = cache.place.load(Ordering::Relaxed);
        let (watch, place) = ((cached >> 32) as u32, (cached & 0xffff_ffff) as usize);
        let packed = packed(method);
        if watch == self.id && packed == cache.method.load(Ordering::Relaxed) && packed != 0 {
            // Most are mounted nowhere, and there is no need to look at the name then.
            let is_same = below.len() == cache.below.load(Ordering::Relaxed)
                && (below.is_empty() || self.index.borrow().get(place).name.path.starts_with(below));
            if is_same {
                return place;
            }
        }
        let (own, endpoint) = find();
        let place = self.place(method, &format!("{below}{own}"), endpoint.as_ref());
        cache.method.store(packed, Ordering::Relaxed);
        cache.below.store(below.len(), Ordering::Relaxed);
        cache.place.store(u64::from(self.id) << 32 | place as u64, Ordering::Relaxed);
        place
    }

    /// A context for a request of this route; `fresh` makes one that knows of no route.
    fn context_of<'py>(
        &self,
        py: Python<'py>,
        place: usize,
        fresh: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let known = self.contexts.borrow().get(place).and_then(|known| known.as_ref().map(|known| known.clone_ref(py)));
        if let Some(known) = known {
            return ffi::copy_context(known.bind(py));
        }
        let context = fresh()?;
        let set = self.origin.bind(py).getattr(pyo3::intern!(py, "set"))?;
        context.call_method1(pyo3::intern!(py, "run"), (set, place))?;
        let copy = ffi::copy_context(&context)?;
        let mut contexts = self.contexts.borrow_mut();
        if contexts.len() <= place {
            contexts.resize_with(place + 1, || None);
        }
        contexts[place] = Some(context.unbind());
        Ok(copy)
    }

    fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    fn threshold(&self) -> u64 {
        self.shared.threshold
    }

    fn with_route<T>(&self, place: usize, act: impl FnOnce(&Route) -> T) -> T {
        act(self.index.borrow().get(place))
    }

    /// The route of requests that found none.
    fn unrouted(&self) -> usize {
        if let Some(place) = self.unrouted.get() {
            return place;
        }
        let name = RouteName { method: String::new(), path: "(no route)".to_owned(), endpoint: String::new() };
        let describe = || (Pattern::Unknown, (String::new(), 0));
        let place = self.index.borrow_mut().find(&self.shared.routes, name, describe);
        self.unrouted.set(Some(place));
        place
    }

    /// Writes what was put off to the end of the run.
    pub(crate) fn write_answers(&self) {
        self.reactor.run_deferred();
    }

    /// A step begins: when, and whether it may end with the poll that it is in. Who `is_traced` wants to know exactly.
    fn step_begins(&self, is_traced: bool) -> (Moment, bool) {
        let ending = self.ending.take();
        if let Some(ending) = ending {
            // Another one in the same poll, as of a client that does not wait for its answers.
            let now = Moment::now();
            ending.at(now);
            return (now, !is_traced);
        }
        // A step in a loop that runs within a step has a poll around it that began long ago.
        let poll = self.reactor.poll_began().filter(|_| !is_traced && !self.pulse().is_in_step()).map(Moment::of);
        match poll.filter(|began| *began >= self.pulse().alive()) {
            Some(began) => (began, true),
            None => (Moment::now(), false),
        }
    }

    fn end_with_poll(&self, ending: Ending) {
        self.ending.replace(Some(ending));
        self.reactor.want_poll_end();
    }

    /// The poll has ended that a step wanted to end with.
    pub(crate) fn poll_ended(&self, now: Instant) {
        let ending = self.ending.take();
        if let Some(ending) = ending {
            ending.at(Moment::of(now));
        }
    }

    /// A request goes on; perhaps it had to wait for a stall.
    fn resumed(&self, clock: &RequestClock, now: Moment) {
        let pulse = self.pulse();
        // Whatever kept the loop is over now, though the loop has not come to the question yet.
        if pulse.is_asked() && pulse.step().is_none() {
            self.silence_is_over(pulse.asked().max(pulse.alive()), now);
        }
        let Ok(mut aftermath) = self.aftermath.try_borrow_mut() else { return };
        let Some(aftermath) = &mut *aftermath else { return };
        if clock.held_up_by.replace(self.stalls.get()) == self.stalls.get() {
            return;
        }
        let stall = &mut aftermath.stall;
        if matches!(&stall.culprit, Culprit::Request { serial, .. } if *serial == clock.serial) {
            return;
        }
        if aftermath.own.is_some() && aftermath.own == clock.route.get() {
            aftermath.own = None;
            return;
        }
        let waited_since = clock.paused.get().max(stall.began);
        // When it could have gone on is not known: at the earliest when it was suspended, or when the stall began.
        let delay = now.since(waited_since).min(stall.duration());
        stall.waited += 1;
        stall.delayed += delay;
        clock.delayed.set(clock.delayed.get() + delay);
    }

    /// A step was a stall, or the watcher believes so.
    fn took_long(&self, clock: &RequestClock, began: Moment, now: Moment, line: impl FnOnce() -> String) {
        let route = clock.route.get();
        let serial = clock.serial;
        let took = self.over(began, now, |culprit| {
            *culprit = Culprit::Request { serial, line: line(), route };
        });
        if let Some(took) = took {
            clock.stalls.set(clock.stalls.get() + 1);
            clock.stalled.set(clock.stalled.get() + took);
        }
    }

    /// A silence that began at `began` is over. Gives how long it was, if it was a stall of its own making.
    fn over(&self, began: Moment, now: Moment, name: impl FnOnce(&mut Culprit)) -> Option<u64> {
        self.pulse().set_stalled(false);
        if self.shared.suspended.load(Ordering::Relaxed) {
            return None;
        }
        let seen = self.shared.under_way.lock().take();
        let seen = seen.filter(|stall| stall.began == began);
        let was_seen = seen.is_some();
        let mut stall = seen.unwrap_or_else(|| Stall::new(Culprit::Elsewhere(None), began));
        stall.ended = now;
        if stall.is_of_nobody() {
            // Somebody else had the GIL, and may not have been let run with it.
            let pressed = self.shared.account().pressed(self.machine.reading(now));
            if stall.duration().saturating_sub(pressed) < self.threshold() {
                return None;
            }
        }
        stall.collected = self.shared.collector.within(began, now);
        if !was_seen {
            // The watcher did not get to it; what it keeps in mind is kept in mind here, too.
            let own = self.shared.account().own(began, self.machine.reading(now), self.threshold() / 2);
            if own < self.threshold() || self.last.get() == began {
                return None;
            }
        }
        self.last.set(began);
        name(&mut stall.culprit);
        if let Some(wait) = stall.lock_wait.take() {
            // The watcher has waited for the GIL all the time.
            stall.behind += wait.for_gil(&self.machine.reading(now));
        }
        if stall.behind > 0 && stall.keeper.is_none() {
            stall.keeper = Python::attach(|py| self.shared.keeper(py, ffi::thread_ident()));
        }
        stall.put_down_to_its_thread(|| self.shared.threaded());
        let duration = stall.duration();
        self.shared.totals.stalls.add(1);
        self.shared.totals.stalled.add(duration);
        self.shared.totals.answered(began, now);
        self.stalls.set(self.stalls.get() + 1);
        let is_anothers = stall.is_collectors() || matches!(stall.culprit, Culprit::OtherThread(_));
        let own = if matches!(stall.culprit, Culprit::Elsewhere(_)) { stall.culprit.route() } else { None };
        let earlier = self.aftermath.borrow_mut().replace(Aftermath { stall, own, turns: SETTLING_TURNS });
        if let Some(earlier) = earlier {
            Python::attach(|py| self.tell(py, &earlier.stall));
        } else {
            self.ask_to_settle();
        }
        (!is_anothers).then_some(duration)
    }

    /// The loop has turned once more since a stall; from the last turn on nobody can have waited for it.
    pub(crate) fn settle(&self, py: Python<'_>) {
        let settled = {
            let mut aftermath = self.aftermath.borrow_mut();
            match &mut *aftermath {
                Some(waiting) if waiting.turns > 1 => {
                    waiting.turns -= 1;
                    None
                }
                Some(_) => aftermath.take(),
                None => return,
            }
        };
        match settled {
            None => self.ask_to_settle(),
            Some(settled) => self.tell(py, &settled.stall),
        }
    }

    fn ask_to_settle(&self) {
        let schedule = self.schedule_settling.borrow().clone();
        if let Some(schedule) = schedule {
            schedule();
        }
    }

    fn tell(&self, py: Python<'_>, stall: &Stall) {
        let place = stall.culprit.route();
        if let Some(place) = place.filter(|_| !stall.is_collectors()) {
            self.with_route(place, |route| {
                route.delayed_others.add(stall.delayed);
                if matches!(stall.culprit, Culprit::Elsewhere(_)) {
                    route.stalls.add(1);
                    route.stalled.add(stall.duration());
                }
            });
        }
        {
            let index = self.index.borrow();
            let route = place.map(|place| &**index.get(place));
            self.shared.places().add(stall, route, &self.shared.libraries);
        }
        if self.shared.events.is_open() {
            self.shared.keep(stall);
        }
        let routes = self.shared.routes.snapshot();
        let told = python::describe_stall(py, stall, &routes)
            .and_then(|stall| self.on_stall.bind(py).call1((stall,)).map(drop));
        if let Err(error) = told {
            error.write_unraisable(py, Some(self.on_stall.bind(py)));
        }
    }
}

/// A method as a number; 0 if it is longer than any that has a name.
fn packed(method: &str) -> u64 {
    let mut bytes = [0; 8];
    match bytes.get_mut(..method.len()) {
        Some(place) => place.copy_from_slice(method.as_bytes()),
        None => return 0,
    }
    u64::from_ne_bytes(bytes)
}

/// Requests that had to wait make their next step within so many turns of the loop: in the first one it hears of what has
/// happened meanwhile, in the second futures are done and new requests read, in the third their tasks run.
const SETTLING_TURNS: u32 = 4;
/// Until somebody takes them, several times a second.
const MOST_LATE_STALLS: usize = 100;

static NEXT_WATCH: AtomicU32 = AtomicU32::new(1);
