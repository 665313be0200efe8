//! What the listener knows of all processes, bounded: events and numbers of the last minutes, stalls, the last state of each
//! route.

use std::collections::VecDeque;

use serde::Serialize;

use super::model::{Event, Findings, News, Numbers, Slowly, Stall};
use super::process::wall_clock;
use super::steps::{self, Lookup, Row};
use crate::watch::places::{merge, merge_fault};
use crate::watch::report::table;
use crate::watch::tally::{Counts, Tally};
use crate::watch::verdict::{Verdict, of_route, verdicts};

/// All processes. One without workers is the only one.
#[derive(Default)]
pub(super) struct Hub {
    workers: Vec<Worker>,
    events: VecDeque<Numbered>,
    next_event: u64,
}

/// A process.
#[derive(Default)]
pub(super) struct Worker {
    key: u64,
    pub(super) number: u32,
    pub(super) process: u32,
    every: u64,
    missed: u64,
    under_way: Option<Stall>,
    stalls: VecDeque<Stall>,
    series: VecDeque<Numbers>,
    pub(super) findings: Findings,
    pub(super) last: Slowly,
}

/// An event of all processes'.
#[derive(Serialize)]
struct Numbered {
    number: u64,
    worker: u32,
    #[serde(flatten)]
    event: Event,
}

impl Hub {
    /// A process that will have news. It takes the place of one of the same number, whose end was not heard of yet.
    pub(super) fn join(&mut self, key: u64, number: u32) {
        self.workers.retain(|worker| worker.number != number);
        self.workers.push(Worker { key, number, ..Worker::default() });
        self.workers.sort_by_key(|worker| worker.number);
    }

    /// It has ended.
    pub(super) fn leave(&mut self, key: u64) {
        self.workers.retain(|worker| worker.key != key);
    }

    pub(super) fn tell(&mut self, key: u64, news: News) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.key == key) else { return };
        let number = worker.number;
        worker.process = news.process;
        worker.every = news.every;
        worker.missed += news.missed;
        for event in news.events {
            self.events.push_back(Numbered { number: self.next_event, worker: number, event });
            self.next_event += 1;
        }
        while self.events.len() > MOST_EVENTS {
            self.events.pop_front();
        }
        worker.hear_of_stalls(news.under_way, news.stalls);
        if let Some(findings) = news.findings {
            worker.findings = findings;
        }
        if let Some(slowly) = news.slowly {
            worker.series.push_back(slowly.numbers.clone());
            while worker.series.len() > MOST_SECONDS {
                worker.series.pop_front();
            }
            worker.last = slowly;
        }
    }

    /// The processes, or that one of them.
    pub(super) fn chosen(&self, number: Option<u32>) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(move |worker| number.is_none_or(|number| worker.number == number))
    }

    /// The events from `since` on, the last `last` of them, as JSON.
    pub(super) fn events(&self, since: u64, last: usize, number: Option<u32>) -> String {
        #[derive(Serialize)]
        struct Answer<'a> {
            now: f64,
            next: u64,
            /// Of so many requests one is traced.
            every: u64,
            missed: u64,
            events: Vec<&'a Numbered>,
        }
        let first = self.events.front().map_or(self.next_event, |event| event.number);
        let known = usize::try_from(since.saturating_sub(first)).unwrap_or(usize::MAX);
        let skip = known.max(self.events.len().saturating_sub(last));
        let is_wanted = |event: &&Numbered| number.is_none_or(|number| event.worker == number);
        json(&Answer {
            now: wall_clock(),
            next: self.next_event,
            every: self.chosen(number).map(|worker| worker.every).max().unwrap_or(1),
            missed: self.chosen(number).map(|worker| worker.missed).sum(),
            events: self.events.iter().skip(skip).filter(is_wanted).collect(),
        })
    }

    /// The stalls, the latest last, as JSON.
    pub(super) fn stalls(&self, number: Option<u32>) -> String {
        #[derive(Serialize)]
        struct One<'a> {
            worker: u32,
            #[serde(flatten)]
            stall: &'a Stall,
        }
        #[derive(Serialize)]
        struct Answer<'a> {
            now: f64,
            stalls: Vec<One<'a>>,
        }
        let stalls = self.chosen(number).flat_map(|worker| {
            worker.stalls.iter().chain(&worker.under_way).map(|stall| One { worker: worker.number, stall })
        });
        let mut stalls: Vec<One> = stalls.collect();
        stalls.sort_by(|one, other| one.stall.began.total_cmp(&other.stall.began));
        json(&Answer { now: wall_clock(), stalls })
    }

    /// The routes of that process, or of all together, with their verdicts, as JSON.
    pub(super) fn routes(&self, number: Option<u32>) -> String {
        #[derive(Serialize)]
        struct One<'a> {
            #[serde(flatten)]
            route: &'a Tally,
            latency: Counts,
            verdict: Verdict,
            /// Where each worker has it.
            places: Vec<(u32, usize)>,
        }
        let all = self.together(number);
        let routes = all.routes.iter().map(|route| One {
            route,
            latency: route.latency(),
            verdict: of_route(route, &all.places, all.threshold),
            places: self.places_of(route, number),
        });
        json(&routes.collect::<Vec<_>>())
    }

    /// The verdicts, as a table for a terminal.
    pub(super) fn report(&self, number: Option<u32>) -> String {
        let all = self.together(number);
        table(&verdicts(&all.routes, &all.places, all.threshold), &all.faults, false)
    }

    /// What has happened step by step, the last `last` rows of those whose request has `only` in its name.
    pub(super) fn steps(&self, number: Option<u32>, only: &str, last: usize) -> Vec<Row> {
        let wanted = self.events.iter().filter(|event| number.is_none_or(|number| event.worker == number));
        let mut rows = steps::rows(wanted.map(|event| (event.worker, &event.event)), self);
        rows.retain(|row| row.request.contains(only));
        let surplus = rows.len().saturating_sub(last);
        rows.drain(..surplus);
        rows
    }

    /// What the processes have come to together.
    fn together(&self, number: Option<u32>) -> Findings {
        let mut all = Findings::default();
        for worker in self.chosen(number) {
            for route in &worker.findings.routes {
                match all.routes.iter_mut().find(|known| known.is_same_route(route)) {
                    Some(known) => known.add(route),
                    None => all.routes.push(route.clone()),
                }
            }
            worker.findings.places.iter().for_each(|place| merge(&mut all.places, place));
            worker.findings.faults.iter().for_each(|fault| merge_fault(&mut all.faults, fault));
            all.threshold = worker.findings.threshold;
        }
        all
    }

    fn places_of(&self, route: &Tally, number: Option<u32>) -> Vec<(u32, usize)> {
        let place = |worker: &Worker| worker.findings.routes.iter().position(|known| known.is_same_route(route));
        self.chosen(number).filter_map(|worker| Some((worker.number, place(worker)?))).collect()
    }

    /// Each process's numbers, a second at a time, as JSON.
    pub(super) fn numbers(&self, since: f64, number: Option<u32>) -> String {
        #[derive(Serialize)]
        struct One<'a> {
            worker: u32,
            process: u32,
            seconds: Vec<&'a Numbers>,
        }
        let workers = self.chosen(number).map(|worker| One {
            worker: worker.number,
            process: worker.process,
            seconds: worker.series.iter().filter(|second| second.at > since).collect(),
        });
        json(&workers.collect::<Vec<_>>())
    }
}

impl Lookup for Hub {
    fn route(&self, worker: u32, place: usize) -> Option<&Tally> {
        self.chosen(Some(worker)).next()?.findings.routes.get(place)
    }

    fn stall(&self, worker: u32, request: u64, ended: f64) -> Option<&Stall> {
        let stalls = &self.chosen(Some(worker)).next()?.stalls;
        stalls
            .iter()
            .find(|stall| stall.request == Some(request) && (stall.began + stall.seconds - ended).abs() < SAME_MOMENT)
    }

    fn has_several_workers(&self) -> bool {
        self.workers.len() > 1
    }
}

impl Worker {
    fn hear_of_stalls(&mut self, under_way: Option<Stall>, over: Vec<Stall>) {
        for stall in over {
            self.stalls.push_back(stall);
        }
        while self.stalls.len() > MOST_STALLS {
            self.stalls.pop_front();
        }
        self.under_way = under_way.filter(|stall| self.stalls.iter().all(|known| !is_same(known, stall)));
    }
}

fn is_same(one: &Stall, other: &Stall) -> bool {
    (one.began - other.began).abs() < SAME_MOMENT
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("nothing here has a map whose keys are no strings")
}

/// Seconds that two tellings of one moment may be apart: a fraction is kept to less than a microsecond.
const SAME_MOMENT: f64 = 1e-5;
const MOST_EVENTS: usize = 40_000;
const MOST_STALLS: usize = 200;
/// Ten minutes.
const MOST_SECONDS: usize = 600;
