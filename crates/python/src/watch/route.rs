//! What a route's requests have cost so far: fixed memory, exact, readable from any thread.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::number::{BOUNDS, Histogram, Number};

/// How an endpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Async,
    Def,
    /// Not a function of its own: an ASGI application, for example.
    Unknown,
}

/// What a route is called. Two routes of the same name count as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteName {
    /// "WS" for WebSockets.
    pub(crate) method: String,
    /// As it was declared, with its parameters in braces; what has no route: in parentheses.
    pub(crate) path: String,
    /// The endpoint's module and qualified name; may be empty.
    pub(crate) endpoint: String,
}

impl RouteName {
    /// "GET /items/{number}"
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.method, self.path).trim().to_owned()
    }

    /// "GET /items/{number} (main.read_item)"
    pub(crate) fn full_text(&self) -> String {
        full_name(&self.text(), &self.endpoint)
    }
}

/// A route's name with its endpoint, unless that is all there is to its name.
pub(crate) fn full_name(name: &str, endpoint: &str) -> String {
    if endpoint.is_empty() || name.ends_with(&format!("({endpoint})")) {
        name.to_owned()
    } else {
        format!("{name} ({endpoint})")
    }
}

/// One route. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: RouteName,
    pub(crate) pattern: Pattern,
    /// File and line of the endpoint; empty and 0 if it has none.
    pub(crate) place: (String, u32),
    pub(crate) requests: Number,
    pub(crate) in_flight: Number,
    /// The most that were in flight at the same time.
    pub(crate) most_in_flight: Number,
    /// From the request's head to the end of the response, by the first digit of its status; [0]: none was given.
    pub(crate) latencies: [Histogram; 6],
    /// On the loop.
    pub(crate) loop_time: Number,
    pub(crate) longest_step: Number,
    pub(crate) steps: Number,
    /// Suspended, between two steps.
    pub(crate) waits: Number,
    pub(crate) waited: Number,
    pub(crate) thread_calls: Number,
    /// For a token of the limiter and for a thread.
    pub(crate) thread_queued: Number,
    pub(crate) longest_thread_queue: Number,
    pub(crate) thread_ran: Number,
    pub(crate) longest_thread_run: Number,
    /// After the response: background tasks and what dependencies do on their way out.
    pub(crate) afterwards: Number,
    pub(crate) stalls: Number,
    pub(crate) stalled: Number,
    /// What its stalls may have added to other requests, at the most.
    pub(crate) delayed_others: Number,
    /// What others' stalls may have added to its requests, at the most.
    pub(crate) delayed: Number,
    /// A request has kept the loop for long, and so many more are to be expected to do so.
    wary: Number,
}

impl Route {
    fn new(name: RouteName, pattern: Pattern, place: (String, u32)) -> Route {
        Route {
            name,
            pattern,
            place,
            requests: Number::default(),
            in_flight: Number::default(),
            most_in_flight: Number::default(),
            latencies: Default::default(),
            loop_time: Number::default(),
            longest_step: Number::default(),
            steps: Number::default(),
            waits: Number::default(),
            waited: Number::default(),
            thread_calls: Number::default(),
            thread_queued: Number::default(),
            longest_thread_queue: Number::default(),
            thread_ran: Number::default(),
            longest_thread_run: Number::default(),
            afterwards: Number::default(),
            stalls: Number::default(),
            stalled: Number::default(),
            delayed_others: Number::default(),
            delayed: Number::default(),
            wary: Number::default(),
        }
    }

    /// A request of this route has kept the loop for [`LONG_STEP`] and more.
    pub(crate) fn kept_loop(&self) {
        self.wary.set(WARY_REQUESTS);
    }

    /// A request is over that kept the loop for `longest` nanoseconds at a time, at the most.
    pub(crate) fn was_done(&self, longest: u64) {
        self.longest_step.raise_to(longest);
        if longest < LONG_STEP && self.may_keep_loop() {
            self.wary.subtract(1);
        }
    }

    /// Whether the next request may keep the loop for long, as one did not long ago.
    pub(crate) fn may_keep_loop(&self) -> bool {
        self.wary.get() > 0
    }

    /// Latencies whatever the status, and their sum.
    pub(crate) fn latency(&self) -> ([u64; BOUNDS.len() + 1], u64) {
        let counts = self.latencies.each_ref().map(Histogram::counts);
        let sum = self.latencies.iter().map(Histogram::sum).sum();
        (std::array::from_fn(|place| counts.iter().map(|counts| counts[place]).sum()), sum)
    }

    pub(crate) fn longest_latency(&self) -> u64 {
        self.latencies.iter().map(Histogram::longest).max().unwrap_or(0)
    }

    /// Answers by the first digit of their status; [0]: none was given.
    pub(crate) fn statuses(&self) -> [u64; 6] {
        self.latencies.each_ref().map(|latency| latency.counts().iter().sum())
    }

    pub(crate) fn entered(&self) {
        self.in_flight.add(1);
        self.most_in_flight.raise_to(self.in_flight.get());
    }

    pub(crate) fn left(&self) {
        self.in_flight.subtract(1);
    }
}

/// Nanoseconds on the loop from which on others should have their answers before.
pub(crate) const LONG_STEP: u64 = 1_000_000;
/// So many requests of a route have to be short until it is trusted again.
const WARY_REQUESTS: u64 = 256;

/// All routes that a request has found. They only ever grow more, up to [`MOST_ROUTES`].
#[derive(Debug, Default)]
pub(crate) struct Routes {
    all: RwLock<Vec<Arc<Route>>>,
}

impl Routes {
    pub(crate) fn snapshot(&self) -> Vec<Arc<Route>> {
        self.all.read().expect("no code panics while holding it").clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.read().expect("no code panics while holding it").len()
    }

    pub(crate) fn get(&self, place: usize) -> Option<Arc<Route>> {
        self.all.read().expect("no code panics while holding it").get(place).cloned()
    }

    fn push(&self, route: Arc<Route>) {
        self.all.write().expect("no code panics while holding it").push(route);
    }
}

/// The routes as the loop's thread finds them.
#[derive(Debug, Default)]
pub(crate) struct RouteIndex {
    by_name: HashMap<RouteName, usize>,
    all: Vec<Arc<Route>>,
}

impl RouteIndex {
    /// The place of a route; `describe` is asked for the pattern and the place of the endpoint of a new one.
    pub(crate) fn find(
        &mut self,
        shared: &Routes,
        name: RouteName,
        describe: impl FnOnce() -> (Pattern, (String, u32)),
    ) -> usize {
        if let Some(place) = self.by_name.get(&name) {
            return *place;
        }
        if self.all.len() >= MOST_ROUTES {
            let others = RouteName { method: String::new(), path: "(more routes)".to_owned(), endpoint: String::new() };
            if let Some(place) = self.by_name.get(&others) {
                return *place;
            }
            return self.add(shared, others, Pattern::Unknown, (String::new(), 0));
        }
        let (pattern, place) = describe();
        self.add(shared, name, pattern, place)
    }

    pub(crate) fn get(&self, place: usize) -> &Arc<Route> {
        &self.all[place]
    }

    fn add(&mut self, shared: &Routes, name: RouteName, pattern: Pattern, place: (String, u32)) -> usize {
        let route = Arc::new(Route::new(name.clone(), pattern, place));
        shared.push(route.clone());
        self.all.push(route);
        self.by_name.insert(name, self.all.len() - 1);
        self.all.len() - 1
    }
}

/// From here on routes are counted together. An application whose paths are no routes (an ASGI application) has but one each.
const MOST_ROUTES: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> RouteName {
        RouteName { method: "GET".to_owned(), path: path.to_owned(), endpoint: String::new() }
    }

    #[test]
    fn routes_of_the_same_name_are_one_and_there_is_an_end_to_them() {
        let (shared, mut index) = (Routes::default(), RouteIndex::default());
        let describe = || (Pattern::Async, ("main.py".to_owned(), 3));
        let first = index.find(&shared, name("/a"), describe);
        assert_eq!(index.find(&shared, name("/a"), || unreachable!("it is known")), first);
        for number in 0..MOST_ROUTES + 10 {
            index.find(&shared, name(&format!("/{number}")), describe);
        }
        assert_eq!(shared.snapshot().len(), MOST_ROUTES + 1);
        let last = index.find(&shared, name("/another"), || unreachable!("there is no room"));
        assert_eq!(index.get(last).name.path, "(more routes)");
    }

    #[test]
    fn the_most_in_flight_is_kept() {
        let route = Route::new(name("/"), Pattern::Def, (String::new(), 0));
        route.entered();
        route.entered();
        route.left();
        route.entered();
        assert_eq!((route.in_flight.get(), route.most_in_flight.get()), (2, 2));
    }
}
