//! What the listener knows of a process: gathered from its watch, or sent by a worker as a line of JSON.

use serde::{Deserialize, Serialize};

use crate::watch::places::{Fault, Place};
use crate::watch::tally::{Counts, Tally};

/// What has changed in a process since the last time. Points in time are seconds since 1970, durations seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct News {
    pub(super) process: u32,
    /// When this was gathered.
    pub(super) now: f64,
    /// Of so many requests one is traced.
    pub(super) every: u64,
    /// Events that nobody has seen.
    pub(super) missed: u64,
    pub(super) events: Vec<Event>,
    /// The stall that is under way.
    pub(super) under_way: Option<Stall>,
    /// Those that have ended.
    pub(super) stalls: Vec<Stall>,
    /// Once a second, and when there is a new route or a stall has ended.
    pub(super) findings: Option<Findings>,
    /// Once a second.
    pub(super) slowly: Option<Slowly>,
}

/// What verdicts are given on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Findings {
    pub(super) routes: Vec<Tally>,
    pub(super) places: Vec<Place>,
    pub(super) faults: Vec<Fault>,
    /// Seconds from which on a silence is a stall.
    pub(super) threshold: f64,
}

/// What need not be known at once.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Slowly {
    pub(super) numbers: Numbers,
    pub(super) totals: Totals,
}

/// Something that has happened to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) at: f64,
    pub(super) request: u64,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum What {
    Received { line: String },
    Found { route: usize },
    StepBegan,
    StepEnded,
    ThreadWanted,
    ThreadRan { began: f64, ended: f64 },
    Answers { status: u16 },
    Answered,
    Ended,
}

/// A time in which the loop did one thing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Stall {
    pub(super) began: f64,
    pub(super) seconds: f64,
    pub(super) over: bool,
    /// The request whose step it was.
    pub(super) request: Option<u64>,
    /// "GET /items/3"; empty while it is not known, or if there is none.
    pub(super) line: String,
    pub(super) route: Option<usize>,
    /// "the task sync (refresh)", if it was no request's.
    pub(super) task: Option<String>,
    /// The request that has started the task.
    pub(super) started_by: Option<String>,
    /// For how long the garbage collector ran meanwhile.
    pub(super) collected: f64,
    /// Requests that had to wait, at the most so many, and for how long together.
    pub(super) waited: u64,
    pub(super) delayed: f64,
    /// How often the stack was looked at; 0: code that kept the GIL.
    pub(super) looks: usize,
    /// The stack that was seen most often, innermost first.
    pub(super) stack: Vec<Line>,
    /// Which line of the stack is to blame: the innermost of the user's code.
    pub(super) blamed: Option<usize>,
    /// The lines around it.
    pub(super) around: Vec<(u32, String)>,
}

/// A line of a stack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Line {
    /// As people know it, from the current folder on.
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) function: String,
    /// What it says; empty if the file is not to be had.
    pub(super) source: String,
}

/// The numbers of one second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) at: f64,
    /// Until the loop answered, at the most; while it does not, so far.
    pub(super) lag: f64,
    pub(super) in_flight: u64,
    pub(super) connections: u64,
    /// Requests that have ended since the second before.
    pub(super) requests: u64,
    /// The part of the time in which the loop ran steps of requests.
    pub(super) busy: f64,
    /// Calls that may run on threads at a time; threads of the pool; calls that run, and that wait for one.
    pub(super) threads_limit: u64,
    pub(super) threads: u64,
    pub(super) threads_busy: u64,
    pub(super) threads_queued: u64,
    /// Resident, in bytes.
    pub(super) memory: u64,
    /// Processor time, as a part of the second; above 1 with several threads.
    pub(super) processor: f64,
    /// Collections, and the time they took.
    pub(super) collections: u64,
    pub(super) collecting: f64,
}

/// What has been counted since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) lag: Counts,
    pub(super) stalls: u64,
    pub(super) stalled: f64,
    pub(super) collections: u64,
    pub(super) collecting: f64,
    pub(super) processor: f64,
    pub(super) started: f64,
    pub(super) descriptors: u64,
    pub(super) most_descriptors: u64,
    pub(super) virtual_memory: u64,
}
