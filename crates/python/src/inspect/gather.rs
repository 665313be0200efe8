//! Reads what a watch has to tell. On any thread, without the GIL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::model;
use super::process::{Usage, wall_clock};
use crate::watch::Shared;
use crate::watch::events::{Event, What};
use crate::watch::moment::{Moment, seconds};
use crate::watch::places::outside_of_requests;
use crate::watch::source::Sources;
use crate::watch::stall::{Culprit, Stall};
use crate::watch::tally::Counts;

/// How often there are news.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// What has been told of a watch, so that only the rest is.
pub(super) struct Gatherer {
    shared: Arc<Shared>,
    sources: Sources,
    /// The wall clock minus [`Moment`]'s.
    offset: f64,
    started: f64,
    next_event: u64,
    /// How many there were.
    routes: usize,
    slowly_at: Option<Instant>,
    before: Before,
}

/// What was counted when the last second was told.
#[derive(Default)]
struct Before {
    at: f64,
    requests: u64,
    stepped: u64,
    processor: f64,
    collections: u64,
    collecting: u64,
}

impl Gatherer {
    /// From here on events are recorded, until this is dropped.
    pub(super) fn new(shared: Arc<Shared>) -> Gatherer {
        shared.events.open();
        let now = wall_clock();
        Gatherer {
            next_event: shared.events.next(),
            shared,
            sources: Sources::new(),
            routes: 0,
            offset: now - seconds(Moment::now().number()),
            started: now,
            slowly_at: None,
            before: Before::default(),
        }
    }

    pub(super) fn news(&mut self) -> model::News {
        let batch = self.shared.events.read(self.next_event);
        self.next_event = batch.next;
        // The end of a stall is in its own list before it leaves this one, or else it is told of twice: that is mended by
        // whoever receives it, as both are of the same beginning.
        let under_way = self.shared.under_way.lock().clone();
        let late = self.shared.take_late_stalls();
        let is_due = self.slowly_at.is_none_or(|due| Instant::now() >= due);
        let routes = self.shared.routes.len();
        let is_new = std::mem::replace(&mut self.routes, routes) != routes;
        model::News {
            process: std::process::id(),
            now: self.wall(Moment::now()),
            every: self.shared.events.every(),
            missed: batch.missed,
            events: batch.events.into_iter().map(|event| self.event(event)).collect(),
            under_way: under_way.map(|stall| self.stall(&stall)),
            stalls: late.iter().map(|stall| self.stall(stall)).collect(),
            findings: (is_due || is_new || !late.is_empty()).then(|| self.findings()),
            slowly: is_due.then(|| self.slowly()),
        }
    }

    fn wall(&self, moment: Moment) -> f64 {
        self.offset + seconds(moment.number())
    }

    fn event(&self, event: Event) -> model::Event {
        let what = match event.what {
            What::Received(line) => model::What::Received { line },
            What::Found(route) => model::What::Found { route },
            What::StepBegan => model::What::StepBegan,
            What::StepEnded => model::What::StepEnded,
            What::ThreadWanted => model::What::ThreadWanted,
            What::ThreadRan { began, ended } => {
                model::What::ThreadRan { began: self.wall(began), ended: self.wall(ended) }
            }
            What::Answers(status) => model::What::Answers { status },
            What::Answered => model::What::Answered,
            What::Ended => model::What::Ended,
        };
        model::Event { at: self.wall(event.at), request: event.request, what }
    }

    fn stall(&mut self, stall: &Stall) -> model::Stall {
        let request = match &stall.culprit {
            Culprit::Request { serial, .. } => Some(*serial),
            Culprit::Elsewhere(_) | Culprit::OtherThread(_) => None,
        };
        let task = stall.culprit.task();
        let origin = task.and_then(|task| task.origin.as_ref());
        let started_by = origin.and_then(|origin| origin.text(&self.shared.routes.snapshot()));
        let shared = self.shared.clone();
        let usual = shared.libraries.usual(stall.samples.iter().map(|sample| sample.stack.as_slice()));
        let blamed = shared.libraries.blame(usual).filter(|place| *place < MOST_LINES);
        let ended = if stall.ended.is_none() { Moment::now() } else { stall.ended };
        model::Stall {
            began: self.wall(stall.began),
            seconds: seconds(ended.since(stall.began)),
            over: !stall.ended.is_none(),
            request,
            line: stall.culprit.line().to_owned(),
            route: stall.culprit.route(),
            task: outside_of_requests(&stall.culprit),
            started_by,
            collected: seconds(stall.collected),
            waited: stall.waited,
            delayed: seconds(stall.delayed),
            looks: stall.samples.len(),
            stack: usual
                .iter()
                .take(MOST_LINES)
                .map(|frame| model::Line {
                    file: self.sources.short(&frame.file),
                    line: frame.line,
                    function: frame.function.clone(),
                    source: self.sources.line(&frame.file, frame.line),
                })
                .collect(),
            blamed,
            around: blamed
                .map(|place| self.sources.around(&usual[place].file, usual[place].line, MARGIN))
                .unwrap_or_default(),
        }
    }

    fn findings(&self) -> model::Findings {
        let (places, faults) = self.shared.places_so_far();
        let routes = self.shared.tallies(&self.sources);
        model::Findings { routes, places, faults, threshold: seconds(self.shared.threshold) }
    }

    fn slowly(&mut self) -> model::Slowly {
        self.slowly_at = Some(Instant::now() + SLOW_PERIOD);
        let usage = Usage::now();
        let numbers = self.numbers(&usage);
        let totals = &self.shared.totals;
        model::Slowly {
            numbers,
            totals: model::Totals {
                lag: Counts::of(&totals.lag),
                stalls: totals.stalls.get(),
                stalled: seconds(totals.stalled.get()),
                collections: self.shared.collector.runs.get(),
                collecting: seconds(self.shared.collector.total.get()),
                processor: usage.processor,
                started: self.started,
                descriptors: usage.descriptors,
                most_descriptors: usage.most_descriptors,
                virtual_memory: usage.virtual_memory,
            },
        }
    }

    fn numbers(&mut self, usage: &Usage) -> model::Numbers {
        let now = Moment::now();
        let totals = &self.shared.totals;
        let pulse = &self.shared.pulse;
        // A loop that is silent has no lag yet, and a step that is under way no duration.
        let silent = if pulse.is_asked() { now.since(pulse.asked()) } else { 0 };
        let step = pulse.step().map_or(0, |step| now.since(step.began));
        let threads = totals.pool.get().map_or(0, |pool| pool.numbers().0);
        let (threads_busy, threads_queued) = totals.threads();
        let at = self.wall(now);
        let current = Before {
            at,
            requests: totals.ended.get(),
            stepped: totals.stepped.get() + step,
            processor: usage.processor,
            collections: self.shared.collector.runs.get(),
            collecting: self.shared.collector.total.get(),
        };
        let before = std::mem::replace(&mut self.before, current);
        let after = &self.before;
        // Before the first second there is none to compare with.
        let span = if before.at > 0.0 { (at - before.at).max(1e-3) } else { f64::INFINITY };
        model::Numbers {
            at,
            // While a step is under way the loop is not asked, but would not answer either.
            lag: seconds(totals.take_longest_lag().max(silent).max(step)),
            in_flight: totals.in_flight(),
            connections: totals.connections.get(),
            requests: if span.is_finite() { after.requests.saturating_sub(before.requests) } else { 0 },
            busy: (seconds(after.stepped.saturating_sub(before.stepped)) / span).min(1.0),
            threads_limit: totals.threads_limit.get(),
            threads: threads as u64,
            threads_busy,
            threads_queued,
            memory: usage.memory,
            processor: ((after.processor - before.processor) / span).max(0.0),
            collections: after.collections.saturating_sub(before.collections),
            collecting: seconds(after.collecting.saturating_sub(before.collecting)),
        }
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        self.shared.events.close();
    }
}

/// How often numbers and routes are told.
const SLOW_PERIOD: Duration = Duration::from_secs(1);
/// Of a stack.
const MOST_LINES: usize = 60;
/// Lines before and after the one to blame.
const MARGIN: u32 = 3;
