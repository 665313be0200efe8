//! Stalls: times in which the loop did one thing and nothing else.

use std::sync::{Arc, Mutex, MutexGuard};

use super::gil::LockWait;
use super::moment::Moment;
use super::route::Route;
use super::stack::Frame;

/// Who had the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    /// A step of a request.
    Request {
        serial: u64,
        /// "GET /items/3", as far as it is known yet.
        line: String,
        /// The place of its route, as far as it is known yet.
        route: Option<usize>,
    },
    /// Anything else: a callback, a start-up hook, or a task of the application's.
    Elsewhere(Option<Task>),
    /// Nobody: the loop waited for the GIL, which another thread kept. With the place of the only route that had a call on a
    /// thread then, if there was one.
    OtherThread(Option<usize>),
}

/// A task that is no request's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// Whose coroutine it runs.
    pub(crate) function: String,
    /// That is a framework's: what a request goes through runs in a task of its own, as `BaseHTTPMiddleware` has it.
    pub(crate) is_frameworks: bool,
    /// The request in whose context it was made.
    pub(crate) origin: Option<Origin>,
}

/// A request, as the context of its tasks names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The place of its route.
    Route(usize),
    /// "GET /items/3", where that was not known yet.
    Line(String),
}

impl Origin {
    /// As people name it: "GET /items/{number} (main.read_item)".
    pub(crate) fn text(&self, routes: &[Arc<Route>]) -> Option<String> {
        match self {
            Origin::Route(place) => routes.get(*place).map(|route| route.name.full_text()),
            Origin::Line(line) => Some(line.clone()),
        }
    }
}

impl Task {
    /// The request that it does a part of.
    pub(crate) fn serves(&self) -> Option<&Origin> {
        self.origin.as_ref().filter(|_| self.is_frameworks)
    }
}

impl Culprit {
    /// The place of the route that is to blame, as far as it is known.
    pub(crate) fn route(&self) -> Option<usize> {
        match self {
            Culprit::Request { route, .. } => *route,
            Culprit::Elsewhere(task) => match task.as_ref()?.serves()? {
                Origin::Route(place) => Some(*place),
                Origin::Line(_) => None,
            },
            Culprit::OtherThread(_) => None,
        }
    }

    /// "GET /items/3", as far as it is known.
    pub(crate) fn line(&self) -> &str {
        match self {
            Culprit::Request { line, .. } => line,
            Culprit::Elsewhere(task) => match task.as_ref().and_then(Task::serves) {
                Some(Origin::Line(line)) => line,
                _ => "",
            },
            Culprit::OtherThread(_) => "",
        }
    }

    /// The task that is to blame, where that is no request.
    pub(crate) fn task(&self) -> Option<&Task> {
        match self {
            Culprit::Request { .. } | Culprit::OtherThread(_) => None,
            Culprit::Elsewhere(task) => task.as_ref().filter(|task| task.serves().is_none()),
        }
    }
}

/// A look at the stack of the loop's thread.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Moment,
    /// Innermost first.
    pub(crate) stack: Vec<Frame>,
}

/// One stall.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    pub(crate) culprit: Culprit,
    pub(crate) began: Moment,
    /// [`Moment::NONE`] while it lasts.
    pub(crate) ended: Moment,
    pub(crate) samples: Vec<Sample>,
    /// Requests that could not go on, or not begin, meanwhile.
    pub(crate) waited: u64,
    /// What it may have added to them together, in nanoseconds.
    pub(crate) delayed: u64,
    /// For how long the garbage collector ran meanwhile, in nanoseconds.
    pub(crate) collected: u64,
    /// For how long the loop waited for the GIL, which another thread kept, in nanoseconds; and the wait that is under way.
    pub(super) behind: u64,
    pub(super) lock_wait: Option<LockWait>,
    /// The stack of that thread, as far as it is known which one it was.
    pub(super) keeper: Option<Sample>,
}

impl Stall {
    pub(crate) fn new(culprit: Culprit, began: Moment) -> Stall {
        Stall {
            culprit,
            began,
            ended: Moment::NONE,
            samples: Vec::new(),
            waited: 0,
            delayed: 0,
            collected: 0,
            behind: 0,
            lock_wait: None,
            keeper: None,
        }
    }

    pub(crate) fn duration(&self) -> u64 {
        self.ended.since(self.began)
    }

    /// The garbage collector was most of it: whoever ran then is not to blame.
    pub(crate) fn is_collectors(&self) -> bool {
        self.collected * 2 > self.duration()
    }

    /// Another thread's GIL was most of it: who had the loop is not to blame.
    pub(super) fn put_down_to_its_thread(&mut self, threaded: impl FnOnce() -> Option<usize>) {
        if self.behind * 2 > self.duration() {
            self.culprit = Culprit::OtherThread(threaded());
            self.samples = self.keeper.take().into_iter().collect();
        }
    }

    /// Nothing that the loop ran was seen: it was kept from running, or ran a function in C.
    pub(crate) fn is_of_nobody(&self) -> bool {
        self.culprit == Culprit::Elsewhere(None) && self.samples.iter().all(|sample| sample.stack.is_empty())
    }

    /// Adds a look; of a long stall fewer and fewer are kept, spread evenly.
    pub(crate) fn add(&mut self, sample: Sample) {
        if self.samples.len() >= MOST_SAMPLES {
            let mut place = 0;
            self.samples.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.samples.push(sample);
    }
}

/// The stall that is under way, as the watcher's thread and the loop's share it. Locked for a few instructions, and only
/// when there is a stall.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<Option<Stall>>);

impl UnderWay {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Stall>> {
        self.0.lock().expect("no code panics while holding it")
    }
}

const MOST_SAMPLES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(file: &str, line: u32) -> Frame {
        Frame { file: file.to_owned(), line, function: "f".to_owned() }
    }

    fn seen(stack: Vec<Frame>) -> Sample {
        Sample { at: Moment::from_number(1), stack }
    }

    #[test]
    fn the_thread_that_has_kept_the_gil_for_most_of_it_is_to_blame() {
        let mut stall = Stall::new(Culprit::Request { serial: 1, line: String::new(), route: Some(2) }, Moment::NONE);
        stall.add(seen(vec![frame("main.py", 1)]));
        (stall.ended, stall.behind) = (Moment::from_number(100), 50);
        stall.put_down_to_its_thread(|| Some(3));
        assert_eq!((stall.culprit.route(), stall.samples.len()), (Some(2), 1));
        stall.behind = 51;
        stall.put_down_to_its_thread(|| Some(3));
        assert_eq!((stall.culprit.route(), stall.samples.len()), (None, 0));
    }

    fn elsewhere() -> Stall {
        Stall::new(Culprit::Elsewhere(None), Moment::from_number(1))
    }

    #[test]
    fn a_long_stall_keeps_looks_from_all_of_it() {
        let mut stall = elsewhere();
        for line in 0..1000 {
            stall.add(seen(vec![frame("main.py", line)]));
        }
        assert!(stall.samples.len() <= MOST_SAMPLES);
        assert_eq!(stall.samples[0].stack[0].line, 0);
        assert_eq!(stall.samples.last().expect("there are some").stack[0].line, 999);
    }
}
