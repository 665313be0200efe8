//! Stalls, gathered by the place that caused them, and other faults: what verdicts are given on.

use serde::{Deserialize, Serialize};

use super::blame::Libraries;
use super::moment::seconds;
use super::route::Route;
use super::source::Sources;
use super::stack::Frame;
use super::stall::{Culprit, Stall, Task};
use super::verdict;

/// A place that has stalled the loop. Times are in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The endpoint's route, or the task.
    pub(crate) culprit: String,
    /// The endpoint of that route; empty if it is none. Two routes may have the same method and path.
    pub(crate) endpoint: String,
    /// "main.py:12 time.sleep(3)"; empty where nobody could look, as C code kept the GIL.
    pub(crate) line: String,
    pub(crate) remedy: String,
    pub(crate) count: u64,
    pub(crate) total: f64,
    pub(crate) longest: f64,
    /// Requests that had to wait, at the most so many, and for how long together.
    pub(crate) waited: u64,
    pub(crate) delayed: f64,
}

impl Place {
    fn is_same(&self, other: &Place) -> bool {
        self.culprit == other.culprit && self.endpoint == other.endpoint && self.line == other.line
    }
}

/// Something that goes wrong in silence, beside the stalls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// What, and where.
    pub(crate) text: String,
    pub(crate) remedy: String,
    pub(crate) count: u64,
}

/// All places and faults since the start.
pub(crate) struct Places {
    pub(crate) stalls: Vec<Place>,
    pub(crate) faults: Vec<Fault>,
    sources: Sources,
}

impl Default for Places {
    fn default() -> Places {
        Places { stalls: Vec::new(), faults: Vec::new(), sources: Sources::new() }
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("stalls", &self.stalls).field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Places {
    /// Counts a stall that is over.
    pub(super) fn add(&mut self, stall: &Stall, route: Option<&Route>, libraries: &Libraries) {
        let new = self.place_of(stall, route, libraries);
        merge(&mut self.stalls, &new);
    }

    /// One stall, which need not be over, as a place of its own.
    pub(super) fn place_of(&mut self, stall: &Stall, route: Option<&Route>, libraries: &Libraries) -> Place {
        let stack = libraries.usual(stall.samples.iter().map(|sample| sample.stack.as_slice()));
        let (mut line, mut clue) = (String::new(), String::new());
        if let Some(place) = libraries.blame(stack) {
            let frame = &stack[place];
            let source = self.sources.line(&frame.file, frame.line);
            line = format!("{}:{} {source}", self.sources.short(&frame.file), frame.line).trim_end().to_owned();
            clue = if libraries.is_users(&frame.file) { source } else { format!("{source} {}", frame.file) };
            if let Some(called) = place.checked_sub(1).map(|inner| &stack[inner]) {
                clue = format!("{clue} {} {} {}", called.file, called.line, called.function);
            }
        }
        let is_collectors = stall.is_collectors() && !self.is_users_run(stack, libraries);
        if is_collectors {
            (line, clue) = ("at any line".to_owned(), "the garbage collector".to_owned());
        }
        let duration = seconds(stall.duration());
        Place {
            culprit: if is_collectors { clue.clone() } else { culprit(&stall.culprit, route) },
            endpoint: route.filter(|_| !is_collectors).map(|route| route.name.endpoint.clone()).unwrap_or_default(),
            line,
            remedy: match stall.culprit {
                Culprit::OtherThread(_) => {
                    "a process pool: C code that keeps the GIL blocks the loop from a thread, too"
                }
                _ => verdict::remedy(&clue),
            }
            .to_owned(),
            count: 1,
            total: duration,
            longest: duration,
            waited: stall.waited,
            delayed: seconds(stall.delayed),
        }
    }

    /// Whether it is known who is to blame for a run of the garbage collector: who has asked for it, or whose `__del__` it is
    /// that takes long.
    fn is_users_run(&mut self, stack: &[Frame], libraries: &Libraries) -> bool {
        stack.iter().filter(|frame| libraries.is_users(&frame.file)).any(|frame| {
            frame.function.rsplit('.').next() == Some("__del__")
                || self.sources.line(&frame.file, frame.line).contains("gc.collect(")
        })
    }

    /// Counts a fault.
    pub(super) fn note(&mut self, text: &str, remedy: &str) {
        merge_fault(&mut self.faults, &Fault { text: text.to_owned(), remedy: remedy.to_owned(), count: 1 });
    }
}

/// Adds a place's numbers to those of the same place among others.
pub(crate) fn merge(places: &mut Vec<Place>, new: &Place) {
    let has_room = places.len() < MOST_PLACES;
    let known = places.iter_mut().find(|place| place.is_same(new));
    match known {
        Some(place) => {
            place.count += new.count;
            place.total += new.total;
            place.longest = place.longest.max(new.longest);
            place.waited += new.waited;
            place.delayed += new.delayed;
        }
        None if has_room => places.push(new.clone()),
        None => {}
    }
}

/// As [`merge`], for faults.
pub(crate) fn merge_fault(faults: &mut Vec<Fault>, new: &Fault) {
    let has_room = faults.len() < MOST_PLACES;
    match faults.iter_mut().find(|fault| fault.text == new.text) {
        Some(fault) => fault.count += new.count,
        None if has_room => faults.push(new.clone()),
        None => {}
    }
}

/// Whom a stall is put down to.
pub(super) fn culprit(culprit: &Culprit, route: Option<&Route>) -> String {
    match (culprit, route) {
        (Culprit::Request { .. } | Culprit::Elsewhere(_), Some(route)) => route.name.text(),
        (Culprit::Request { .. }, None) => "a request without a route".to_owned(),
        (Culprit::Elsewhere(Some(task)), None) => of_task(task),
        (Culprit::Elsewhere(None), None) => "a callback outside of requests".to_owned(),
        (Culprit::OtherThread(_), _) => OTHER_THREAD.to_owned(),
    }
}

/// Whom a stall is put down to that is no request's.
pub(crate) fn outside_of_requests(culprit: &Culprit) -> Option<String> {
    match culprit {
        Culprit::OtherThread(_) => Some(OTHER_THREAD.to_owned()),
        _ => culprit.task().map(task_text),
    }
}

/// A task by what it runs. Of those with a number in their name, asyncio's own or an application's, there is no end.
fn of_task(task: &Task) -> String {
    if task.serves().is_some() {
        "a request's own task".to_owned()
    } else if task.name.contains(|c: char| c.is_ascii_digit()) && task.function != LIFESPAN {
        format!("a task of {}", task.function)
    } else {
        task_text(task)
    }
}

/// A single task.
fn task_text(task: &Task) -> String {
    if task.function == LIFESPAN {
        "the application's start-up or shutdown".to_owned()
    } else {
        format!("the task {} ({})", task.name, task.function)
    }
}

const OTHER_THREAD: &str = "another thread that kept the GIL";
/// The coroutine in which the lifespan runs.
const LIFESPAN: &str = "Lifespan._run";

/// Places that are kept apart; whatever comes later is counted in the totals only.
const MOST_PLACES: usize = 1000;
