//! A route and what it has come to, as plain data: for verdicts, for JSON, and to be added to another worker's.

use serde::{Deserialize, Serialize};

use super::moment::seconds;
use super::number::Histogram;
use super::route::{Pattern, Route, full_name};
use super::source::Sources;

/// A route. Times are in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) endpoint: String,
    /// "async", "def" or "".
    pub(crate) pattern: String,
    /// As people know it, from the current folder on.
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    pub(crate) most_in_flight: u64,
    /// By the first digit of the status; the first: none was given.
    pub(crate) latencies: Vec<Counts>,
    pub(crate) longest_latency: f64,
    pub(crate) loop_time: f64,
    pub(crate) longest_step: f64,
    pub(crate) steps: u64,
    pub(crate) waits: u64,
    pub(crate) waited: f64,
    pub(crate) thread_calls: u64,
    pub(crate) thread_queued: f64,
    pub(crate) longest_thread_queue: f64,
    pub(crate) thread_ran: f64,
    pub(crate) longest_thread_run: f64,
    pub(crate) stalls: u64,
    pub(crate) stalled: f64,
    pub(crate) delayed_others: f64,
    pub(crate) delayed: f64,
}

/// A histogram over [`super::number::BOUNDS`], not cumulative; the last count is of what lies above every bound.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

impl Tally {
    pub(crate) fn of(route: &Route, sources: &Sources) -> Tally {
        let pattern = match route.pattern {
            Pattern::Async => "async",
            Pattern::Def => "def",
            Pattern::Unknown => "",
        };
        Tally {
            method: route.name.method.clone(),
            path: route.name.path.clone(),
            endpoint: route.name.endpoint.clone(),
            pattern: pattern.to_owned(),
            file: sources.short(&route.place.0),
            line: route.place.1,
            requests: route.requests.get(),
            in_flight: route.in_flight.get(),
            most_in_flight: route.most_in_flight.get(),
            latencies: route.latencies.iter().map(Counts::of).collect(),
            longest_latency: seconds(route.longest_latency()),
            loop_time: seconds(route.loop_time.get()),
            longest_step: seconds(route.longest_step.get()),
            steps: route.steps.get(),
            waits: route.waits.get(),
            waited: seconds(route.waited.get()),
            thread_calls: route.thread_calls.get(),
            thread_queued: seconds(route.thread_queued.get()),
            longest_thread_queue: seconds(route.longest_thread_queue.get()),
            thread_ran: seconds(route.thread_ran.get()),
            longest_thread_run: seconds(route.longest_thread_run.get()),
            stalls: route.stalls.get(),
            stalled: seconds(route.stalled.get()),
            delayed_others: seconds(route.delayed_others.get()),
            delayed: seconds(route.delayed.get()),
        }
    }

    /// "GET /items/{number}"
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path).trim().to_owned()
    }

    /// "GET /items/{number} (main.read_item)"
    pub(crate) fn full_name(&self) -> String {
        full_name(&self.name(), &self.endpoint)
    }

    /// Latencies whatever the status.
    pub(crate) fn latency(&self) -> Counts {
        let mut all = Counts::default();
        self.latencies.iter().for_each(|one| all.add(one));
        all
    }

    pub(crate) fn is_same_route(&self, other: &Tally) -> bool {
        self.method == other.method && self.path == other.path && self.endpoint == other.endpoint
    }

    /// What another worker's route of the same name has come to.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.in_flight += other.in_flight;
        // Not the sum: they need not have been at the same time.
        self.most_in_flight = self.most_in_flight.max(other.most_in_flight);
        for (mine, others) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(others);
        }
        self.longest_latency = self.longest_latency.max(other.longest_latency);
        self.loop_time += other.loop_time;
        self.longest_step = self.longest_step.max(other.longest_step);
        self.steps += other.steps;
        self.waits += other.waits;
        self.waited += other.waited;
        self.thread_calls += other.thread_calls;
        self.thread_queued += other.thread_queued;
        self.longest_thread_queue = self.longest_thread_queue.max(other.longest_thread_queue);
        self.thread_ran += other.thread_ran;
        self.longest_thread_run = self.longest_thread_run.max(other.longest_thread_run);
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.delayed_others += other.delayed_others;
        self.delayed += other.delayed;
    }
}

impl Counts {
    pub(crate) fn of(histogram: &Histogram) -> Counts {
        Counts { counts: histogram.counts().to_vec(), sum: seconds(histogram.sum()) }
    }

    fn add(&mut self, other: &Counts) {
        if self.counts.is_empty() {
            self.counts = vec![0; other.counts.len()];
        }
        for (mine, others) in self.counts.iter_mut().zip(&other.counts) {
            *mine += others;
        }
        self.sum += other.sum;
    }
}
