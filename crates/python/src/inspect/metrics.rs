//! The numbers in Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use super::hub::Worker;

use crate::watch::moment::seconds;
use crate::watch::number::BOUNDS;
use crate::watch::tally::{Counts, Tally};

/// What a scraper gets. Every series names its worker, so that those of several stay apart.
pub(super) fn text<'a>(workers: impl Iterator<Item = &'a Worker>) -> String {
    let workers: Vec<&Worker> = workers.collect();
    let mut page = Page::default();
    let name = "overdrive_http_request_duration_seconds";
    page.family(name, "histogram", "From a request's head to the end of its response.");
    for (worker, route) in routes(&workers) {
        // A WebSocket lasts for as long as its client likes.
        for (class, latency) in route.latencies.iter().enumerate().filter(|_| route.method != "WS") {
            if latency.counts.iter().any(|count| *count > 0) {
                page.histogram(name, &format!("{},status=\"{}\"", route_labels(worker, route), status(class)), latency);
            }
        }
    }
    for (name, kind, help, value) in BY_ROUTE {
        page.family(name, kind, help);
        for (worker, route) in routes(&workers) {
            page.sample(name, &route_labels(worker, route), value(route));
        }
    }
    page.family("overdrive_loop_lag_seconds", "histogram", "Until the event loop answered a question of the watch.");
    for worker in &workers {
        page.histogram("overdrive_loop_lag_seconds", &process_labels(worker), &worker.last.totals.lag);
    }
    for (name, kind, help, value) in PLAIN {
        page.family(name, kind, help);
        for worker in &workers {
            page.sample(name, &process_labels(worker), value(worker));
        }
    }
    page.family("overdrive_workers", "gauge", "Processes that serve.");
    page.sample("overdrive_workers", "", workers.len() as f64);
    page.0
}

fn routes<'a>(workers: &[&'a Worker]) -> impl Iterator<Item = (&'a Worker, &'a Tally)> {
    workers.iter().flat_map(|worker| worker.findings.routes.iter().map(|route| (*worker, route)))
}

type ByRoute = (&'static str, &'static str, &'static str, fn(&Tally) -> f64);

/// One number a route.
const BY_ROUTE: [ByRoute; 4] = [
    ("overdrive_http_requests_in_flight", "gauge", "Requests that have found their route and not ended.", |route| {
        route.in_flight as f64
    }),
    ("overdrive_http_loop_seconds_total", "counter", "Time on the event loop.", |route| route.loop_time),
    ("overdrive_http_stalled_seconds_total", "counter", "Time in steps that were stalls.", |route| route.stalled),
    (
        "overdrive_http_delayed_others_seconds_total",
        "counter",
        "What those may have added to other requests.",
        |route| route.delayed_others,
    ),
];

type Plain = (&'static str, &'static str, &'static str, fn(&Worker) -> f64);

/// One number a process.
const PLAIN: [Plain; 20] = [
    ("overdrive_loop_stalls_total", "counter", "Silences of the event loop beyond the threshold.", |w| {
        w.last.totals.stalls as f64
    }),
    ("overdrive_loop_stalled_seconds_total", "counter", "How long they were together.", |w| w.last.totals.stalled),
    ("overdrive_loop_busy_ratio", "gauge", "Part of the last second in which steps of requests ran.", |w| {
        w.last.numbers.busy
    }),
    ("overdrive_requests_in_flight", "gauge", "Requests that have not ended.", |w| w.last.numbers.in_flight as f64),
    ("overdrive_connections", "gauge", "Open connections, WebSockets among them.", |w| {
        w.last.numbers.connections as f64
    }),
    ("overdrive_threadpool_limit", "gauge", "Calls of `def` functions that may run at a time.", |w| {
        w.last.numbers.threads_limit as f64
    }),
    ("overdrive_threadpool_threads", "gauge", "Threads of the plans' pool.", |w| w.last.numbers.threads as f64),
    ("overdrive_threadpool_busy_threads", "gauge", "Calls of `def` functions that run.", |w| {
        w.last.numbers.threads_busy as f64
    }),
    ("overdrive_threadpool_queued_calls", "gauge", "Calls that wait for a thread.", |w| {
        w.last.numbers.threads_queued as f64
    }),
    ("overdrive_threadpool_calls_total", "counter", "Calls that a thread has run.", |w| {
        sum(w, |r| r.thread_calls as f64)
    }),
    ("overdrive_threadpool_queue_seconds_total", "counter", "How long they waited for one.", |w| {
        sum(w, |r| r.thread_queued)
    }),
    ("overdrive_threadpool_run_seconds_total", "counter", "How long they ran.", |w| sum(w, |r| r.thread_ran)),
    ("overdrive_gc_collections_total", "counter", "Runs of the garbage collector.", |w| {
        w.last.totals.collections as f64
    }),
    ("overdrive_gc_seconds_total", "counter", "How long they took, the loop waiting.", |w| w.last.totals.collecting),
    ("process_cpu_seconds_total", "counter", "Processor time, of the user's and the system's.", |w| {
        w.last.totals.processor
    }),
    ("process_resident_memory_bytes", "gauge", "Resident memory.", |w| w.last.numbers.memory as f64),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory.", |w| w.last.totals.virtual_memory as f64),
    ("process_open_fds", "gauge", "Open descriptors.", |w| w.last.totals.descriptors as f64),
    ("process_max_fds", "gauge", "How many there may be.", |w| w.last.totals.most_descriptors as f64),
    ("process_start_time_seconds", "gauge", "When the process started to serve, since 1970.", |w| {
        w.last.totals.started
    }),
];

fn sum(worker: &Worker, number: impl Fn(&Tally) -> f64) -> f64 {
    // Not `sum`, which makes -0 of nothing.
    worker.findings.routes.iter().map(number).fold(0.0, |sum, number| sum + number)
}

fn process_labels(worker: &Worker) -> String {
    format!("worker=\"{}\"", worker.number)
}

fn route_labels(worker: &Worker, route: &Tally) -> String {
    let [method, path, endpoint] = [&route.method, &route.path, &route.endpoint].map(|text| escaped(text));
    format!("worker=\"{}\",method=\"{method}\",route=\"{path}\",endpoint=\"{endpoint}\"", worker.number)
}

/// A class of statuses.
fn status(class: usize) -> String {
    if class == 0 { "none".to_owned() } else { format!("{class}xx") }
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        if labels.is_empty() {
            self.write(format_args!("{name} {value}\n"));
        } else {
            self.write(format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Counts) {
        let mut count = 0;
        for (place, number) in histogram.counts.iter().enumerate() {
            count += number;
            match BOUNDS.get(place) {
                Some(bound) => {
                    self.write(format_args!("{name}_bucket{{{labels},le=\"{}\"}} {count}\n", seconds(*bound)));
                }
                None => self.write(format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n")),
            }
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative_and_labels_escaped() {
        let mut page = Page::default();
        let counts = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
        let labels = format!("route=\"{}\"", escaped("/a\"b\\c"));
        page.histogram("x_seconds", &labels, &Counts { counts, sum: 1.5 });
        assert!(page.0.starts_with("x_seconds_bucket{route=\"/a\\\"b\\\\c\",le=\"0.001\"} 1\n"), "{}", page.0);
        assert!(page.0.contains("le=\"0.0025\"} 3\n"));
        assert!(page.0.contains("le=\"+Inf\"} 6\n"));
        assert!(
            page.0.ends_with("x_seconds_sum{route=\"/a\\\"b\\\\c\"} 1.5\nx_seconds_count{route=\"/a\\\"b\\\\c\"} 6\n")
        );
    }
}
