//! What has happened, told step by step: a row for each turn of a request, to be read and to be taken along.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;

use super::model::{Event, Stall, What};
use crate::watch::tally::Tally;

/// One row of the table.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    /// Seconds since 1970.
    pub(super) at: f64,
    /// "#3 GET /items/3"; with several workers "2: #3 GET /items/3".
    pub(super) request: String,
    /// "async main.read_item"; empty while it is not known.
    pub(super) handler: String,
    pub(super) action: String,
    /// What the loop does then.
    pub(super) server: String,
    /// Status and latency, once it is answered.
    pub(super) response: String,
}

/// What the events do not say of themselves.
pub(super) trait Lookup {
    fn route(&self, worker: u32, place: usize) -> Option<&Tally>;
    /// The stall that a request was, at the end of a step.
    fn stall(&self, worker: u32, request: u64, ended: f64) -> Option<&Stall>;
    fn has_several_workers(&self) -> bool;
}

/// The rows that these events make, in their order.
pub(super) fn rows<'a>(events: impl Iterator<Item = (u32, &'a Event)>, lookup: &impl Lookup) -> Vec<Row> {
    let mut table = Table { lookup, rows: Vec::new(), requests: HashMap::new(), running: HashMap::new() };
    for (worker, event) in events {
        table.take(worker, event);
    }
    table.rows
}

/// As text with a line a row and commas between (RFC 4180).
pub(super) fn csv(rows: &[Row]) -> String {
    let mut text = "at,request,handler,action,server,response\r\n".to_owned();
    for row in rows {
        let cells = [&row.request, &row.handler, &row.action, &row.server, &row.response].map(|cell| quoted(cell));
        write!(text, "{:.6},{}\r\n", row.at, cells.join(",")).expect("a string takes everything");
    }
    text
}

/// In quotes, and never what a spreadsheet takes for a formula.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

struct Table<'a, L> {
    lookup: &'a L,
    rows: Vec<Row>,
    requests: HashMap<(u32, u64), Request>,
    /// Whose step is under way, by worker.
    running: HashMap<u32, u64>,
}

/// A request, as far as its events have come.
struct Request {
    name: String,
    handler: String,
    received: f64,
    /// When its step began.
    began: f64,
    steps: usize,
    wants_thread: bool,
    status: u16,
    answered: Option<f64>,
    /// The row of its last step's end.
    paused: Option<usize>,
}

impl<L: Lookup> Table<'_, L> {
    fn take(&mut self, worker: u32, event: &Event) {
        let key = (worker, event.request);
        if let What::Received { line } = &event.what {
            let number = event.request;
            let of = if self.lookup.has_several_workers() { format!("{worker}: ") } else { String::new() };
            let request = Request {
                name: format!("{of}#{number} {line}"),
                handler: String::new(),
                received: event.at,
                began: event.at,
                steps: 0,
                wants_thread: false,
                status: 0,
                answered: None,
                paused: None,
            };
            self.push(event.at, &request, "is received".to_owned(), self.loop_state(worker), String::new());
            self.requests.insert(key, request);
            return;
        }
        let Some(mut request) = self.requests.remove(&key) else { return };
        if !self.happens(worker, event, &mut request) {
            self.requests.insert(key, request);
        }
    }

    /// Gives whether that was the last of it.
    fn happens(&mut self, worker: u32, event: &Event, request: &mut Request) -> bool {
        let at = event.at;
        match &event.what {
            What::Received { .. } => {}
            What::Found { route } => {
                if let Some(route) = self.lookup.route(worker, *route) {
                    request.handler = format!("{} {}", route.pattern, route.endpoint).trim().to_owned();
                    // Known by then, most often, but not told.
                    for row in self.rows.iter_mut().rev().take(NEAR).filter(|row| row.request == request.name) {
                        row.handler.clone_from(&request.handler);
                    }
                }
            }
            What::StepBegan => {
                self.running.insert(worker, event.request);
                request.began = at;
                request.steps += 1;
                let action = if request.steps == 1 { "begins on the loop" } else { "goes on" };
                self.push(at, request, action.to_owned(), "runs it".to_owned(), String::new());
            }
            What::StepEnded => {
                self.running.remove(&worker);
                let what = if request.wants_thread { "waits for a thread" } else { "waits" };
                let ran = duration(at - request.began);
                let server = match self.lookup.stall(worker, event.request, at) {
                    Some(stall) => format!("was blocked for {}", duration(stall.seconds)),
                    None => "is free".to_owned(),
                };
                request.paused = Some(self.rows.len());
                self.push(at, request, format!("{what}, ran {ran}"), server, String::new());
            }
            What::ThreadWanted => request.wants_thread = true,
            What::ThreadRan { began, ended } => {
                request.wants_thread = false;
                let ran = duration(ended - began);
                self.push(
                    at,
                    request,
                    format!("is back from a thread that ran {ran}"),
                    "runs it".to_owned(),
                    String::new(),
                );
            }
            What::Answers { status } => request.status = *status,
            What::Answered => {
                request.answered = Some(at);
                let response = format!("{} after {}", request.status, duration(at - request.received));
                let state = self.loop_state_for(worker, event.request);
                self.push(at, request, "is answered".to_owned(), state, response);
            }
            What::Ended => {
                // Its last step was followed by nothing: it does not wait.
                match request.paused {
                    Some(place) => {
                        let row = &mut self.rows[place];
                        row.action = format!("ends, ran {}", duration(row.at - request.began));
                    }
                    None => self.push(at, request, "ends".to_owned(), self.loop_state(worker), String::new()),
                }
                return true;
            }
        }
        false
    }

    fn loop_state(&self, worker: u32) -> String {
        match self.running.get(&worker) {
            Some(other) => format!("runs #{other}"),
            None => "is free".to_owned(),
        }
    }

    fn loop_state_for(&self, worker: u32, request: u64) -> String {
        if self.running.get(&worker) == Some(&request) { "runs it".to_owned() } else { self.loop_state(worker) }
    }

    fn push(&mut self, at: f64, request: &Request, action: String, server: String, response: String) {
        let (name, handler) = (request.name.clone(), request.handler.clone());
        self.rows.push(Row { at, request: name, handler, action, server, response });
    }
}

/// As people read it.
fn duration(seconds: f64) -> String {
    let milliseconds = seconds * 1e3;
    if milliseconds >= 10_000.0 {
        format!("{seconds:.1} s")
    } else if milliseconds >= 10.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{milliseconds:.2} ms")
    }
}

/// A request's route is known at most so many rows after it was received.
const NEAR: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    struct Known {
        route: Tally,
        stall: Stall,
    }

    impl Lookup for Known {
        fn route(&self, _worker: u32, place: usize) -> Option<&Tally> {
            (place == 0).then_some(&self.route)
        }

        fn stall(&self, _worker: u32, request: u64, _ended: f64) -> Option<&Stall> {
            (request == 2).then_some(&self.stall)
        }

        fn has_several_workers(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_blocking_request_is_told_beside_one_that_waits() {
        let route = Tally { pattern: "async".to_owned(), endpoint: "main.f".to_owned(), ..Tally::default() };
        let known = Known { route, stall: Stall { seconds: 0.3, ..Stall::default() } };
        let received = |line: &str| What::Received { line: line.to_owned() };
        let events = [
            (1, 1.0, received("GET /a")),
            (1, 1.0, What::Found { route: 0 }),
            (1, 1.0, What::StepBegan),
            (1, 1.001, What::StepEnded),
            (2, 1.1, received("GET /b")),
            (2, 1.1, What::StepBegan),
            (2, 1.4, What::Answers { status: 200 }),
            (2, 1.4, What::Answered),
            (2, 1.4, What::StepEnded),
            (2, 1.4, What::Ended),
        ]
        .map(|(request, at, what)| Event { at, request, what });
        let rows = rows(events.iter().map(|event| (1, event)), &known);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.request.as_str(), row.handler.as_str(), row.action.as_str(), row.server.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("#1 GET /a", "async main.f", "is received", "is free"),
                ("#1 GET /a", "async main.f", "begins on the loop", "runs it"),
                ("#1 GET /a", "async main.f", "waits, ran 1.00 ms", "is free"),
                ("#2 GET /b", "", "is received", "is free"),
                ("#2 GET /b", "", "begins on the loop", "runs it"),
                ("#2 GET /b", "", "is answered", "runs it"),
                ("#2 GET /b", "", "ends, ran 300 ms", "was blocked for 300 ms"),
            ]
        );
        assert_eq!(rows[5].response, "200 after 300 ms");
        assert!(
            csv(&rows).contains("\r\n1.400000,\"#2 GET /b\",\"\",\"is answered\",\"runs it\",\"200 after 300 ms\"\r\n")
        );
    }

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("say \"x\""), "\"say \"\"x\"\"\"");
    }
}
