//! The thread that notices a loop which does not answer.
//!
//! It asks the loop for a sign of life by making the reactor's descriptor readable, and reads the pulse that the loop leaves
//! behind; for neither does it need the GIL. Only when there is a stall does it take the GIL, to read the stack of the loop's
//! thread. It holds no lock of ours meanwhile, and runs no bytecode.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use overdrive_reactor::Pinger;
use pyo3::prelude::*;

use super::account::kept_from_looking;
use super::gil::LockWait;
use super::machine::Machine;
use super::moment::{Moment, nanoseconds};
use super::pulse::Silence;
use super::stall::{Culprit, Origin, Sample, Stall, Task};
use super::{Shared, UNKNOWN, stack};
use crate::host::ffi;

/// The watcher's thread. Dropping it stops the thread, but does not wait for it.
pub(crate) struct Detector {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    wanted: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits; true when the thread is to end.
    fn wait(&self, pause: Duration) -> bool {
        let wanted = self.wanted.lock().expect("no code panics while holding it");
        let (wanted, _) = self
            .changed
            .wait_timeout_while(wanted, pause, |wanted| !*wanted)
            .expect("no code panics while holding the lock");
        *wanted
    }

    fn set(&self) {
        *self.wanted.lock().expect("no code panics while holding it") = true;
        self.changed.notify_all();
    }
}

impl Detector {
    /// Watches the calling thread, which is the loop's.
    ///
    /// `origin`: the context variable that says which request a task was made for.
    pub(crate) fn start(
        event_loop: &Bound<'_, PyAny>,
        shared: Arc<Shared>,
        pinger: Pinger,
        origin: Py<PyAny>,
    ) -> PyResult<Detector> {
        let py = event_loop.py();
        let stop = Arc::new(Stop::default());
        let watched = Watched {
            shared,
            pinger,
            machine: Machine::for_this_thread(),
            ident: ffi::thread_ident(),
            current_tasks: py.import("asyncio.tasks")?.getattr_opt("_current_tasks")?.map(Bound::unbind),
            event_loop: event_loop.clone().unbind(),
            origin,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("overdrive-watch".to_owned()).spawn(move || watched.watch())?;
        Ok(Detector { stop, thread: Some(thread) })
    }

    /// Ends the thread, which may be waiting for the GIL.
    pub(crate) fn stop(mut self, py: Python<'_>) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // It catches nothing, and so a panic of its own has ended it already; there is nobody to tell.
            py.detach(|| drop(thread.join()));
        }
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// The loop, as the watcher sees it.
struct Watched {
    shared: Arc<Shared>,
    pinger: Pinger,
    machine: Machine,
    /// By which Python knows the loop's thread.
    ident: u64,
    event_loop: Py<PyAny>,
    origin: Py<PyAny>,
    /// asyncio's own dict of the task that each loop runs; `None` where Python keeps it elsewhere.
    current_tasks: Option<Py<PyAny>>,
    stop: Arc<Stop>,
}

impl Watched {
    fn watch(self) {
        let threshold = self.shared.threshold;
        let tick = Duration::from_nanos(threshold / 2);
        let mut pause = tick;
        let mut looks = 0;
        let mut silent_since = Moment::NONE;
        // Since when the loop has been seen to wait for a lock.
        let mut lock_wait = None;
        // For how long a look took, which is next to nothing unless everything was stopped meanwhile.
        let mut looking = 0;
        loop {
            let asleep = Moment::now();
            if self.stop.wait(pause) {
                // Objects of Python's die with the GIL held, or else never.
                if Python::try_attach(|_| ()).is_none() {
                    std::mem::forget(self);
                }
                return;
            }
            let now = Moment::now();
            let late = kept_from_looking(now.since(asleep.plus(nanoseconds(pause))) + looking, nanoseconds(pause));
            if late > threshold / 2 {
                self.shared.slow_machine.fetch_add(1, Ordering::Relaxed);
            }
            if self.shared.suspended.load(Ordering::Relaxed) {
                (looks, silent_since, pause, looking) = (0, Moment::NONE, tick, 0);
                continue;
            }
            pause = match self.shared.pulse.silence() {
                None => {
                    (looks, silent_since) = (0, Moment::NONE);
                    self.shared.account().rest(self.machine.reading(now));
                    self.shared.pulse.ask(now);
                    self.pinger.ping();
                    looking = Moment::now().since(now);
                    tick
                }
                Some(silence) => {
                    if silence.since != silent_since {
                        (looks, silent_since, lock_wait) = (0, silence.since, None);
                    }
                    let mut reading = self.machine.reading(now);
                    // Most silences are short, and what follows is not for nothing.
                    if now.since(silence.since) >= threshold / 4 {
                        self.machine.look_closer(&mut reading);
                    }
                    lock_wait = LockWait::seen(&reading).map(|seen| lock_wait.unwrap_or(seen));
                    looking = Moment::now().since(now);
                    // Nobody keeps this thread from running but the machine, and it may have kept the loop, too.
                    let quiet = self.shared.account().goes_on(silence.since, reading, late);
                    if quiet < threshold {
                        tick.min(Duration::from_nanos(threshold - quiet))
                    } else {
                        self.look(silence, lock_wait.take());
                        looks += 1;
                        // A deadlock lasts for hours.
                        if looks < FREQUENT_LOOKS { tick } else { tick.max(SELDOM) }
                    }
                }
            };
        }
    }

    /// The loop is stalled: reads its stack.
    fn look(&self, silence: Silence, lock_wait: Option<LockWait>) {
        let lock_wait = lock_wait.map(|wait| wait.asked(Moment::now()));
        // Before the GIL is asked for: code that keeps it stalls the loop, too, and can be seen to.
        self.noted(silence, None, |stall| stall.lock_wait = lock_wait);
        // Nothing is attached once the interpreter is on its way out.
        let _ = Python::try_attach(|py| {
            // The route of a request may have become known meanwhile.
            let Some(silence) = self.shared.pulse.silence().filter(|now| now.is_same(&silence)) else { return };
            // With the GIL held the loop's thread cannot end its step, so this is the stack of that very silence.
            let below = self.shared.loop_depth.load(Ordering::Relaxed);
            let found = stack::of_thread(py, self.ident, if below == UNKNOWN { 0 } else { below });
            let Ok(stack) = found else { return };
            let task = if silence.request.is_none() { self.task(py) } else { None };
            let now = Moment::now();
            let behind = lock_wait.map_or(0, |wait| wait.for_gil(&self.machine.reading(now)));
            let keeper = if behind > 0 { self.shared.keeper(py, self.ident) } else { None };
            self.noted(silence, task, |stall| {
                stall.lock_wait = None;
                stall.behind += behind;
                stall.keeper = keeper.or(stall.keeper.take());
                stall.add(Sample { at: now, stack });
            });
        });
    }

    /// The task that the loop runs.
    fn task(&self, py: Python<'_>) -> Option<Task> {
        let task = self.current_tasks.as_ref()?.bind(py).get_item(&self.event_loop).ok()?;
        // The accelerated class alone: any other may run bytecode for its name.
        let class = task.get_type();
        if class.module().ok()? != "_asyncio" {
            return None;
        }
        let name: String = task.call_method0("get_name").ok()?.extract().ok()?;
        let coroutine = task.getattr("_coro").ok()?;
        let function: String = coroutine.getattr("__qualname__").ok()?.extract().ok()?;
        let is_frameworks = ffi::is_coroutine(&coroutine) && self.is_frameworks(&coroutine).unwrap_or(false);
        Some(Task { name, function, is_frameworks, origin: self.origin(&task) })
    }

    fn is_frameworks(&self, coroutine: &Bound<'_, PyAny>) -> PyResult<bool> {
        let file: String = coroutine.getattr("cr_code")?.getattr("co_filename")?.extract()?;
        Ok(self.shared.libraries.is_frameworks(&file))
    }

    /// Before Python 3.12 a task does not let its context be seen.
    fn origin(&self, task: &Bound<'_, PyAny>) -> Option<Origin> {
        let context = task.call_method0("get_context").ok()?;
        let origin = context.call_method1("get", (self.origin.bind(task.py()),)).ok()?;
        if let Ok(place) = origin.extract() {
            return Some(Origin::Route(place));
        }
        let (line, request, _): (String, u64, Bound<'_, PyAny>) = origin.extract().ok()?;
        Some(self.shared.found.of(request).map_or(Origin::Line(line), Origin::Route))
    }

    /// Keeps what is known of the stall in mind; `add` has more of it.
    fn noted(&self, silence: Silence, task: Option<Task>, add: impl FnOnce(&mut Stall)) {
        let mut under_way = self.shared.under_way.lock();
        let is_new = under_way.as_ref().is_none_or(|stall| stall.began != silence.since);
        if is_new {
            let culprit = match silence.request {
                Some((serial, route)) => Culprit::Request { serial, line: String::new(), route },
                None => Culprit::Elsewhere(None),
            };
            *under_way = Some(Stall::new(culprit, silence.since));
        }
        if let Some(stall) = &mut *under_way {
            match (&mut stall.culprit, silence.request) {
                (Culprit::Request { route, .. }, Some((_, found))) => *route = route.or(found),
                (Culprit::Elsewhere(known), None) if task.is_some() => *known = task,
                _ => {}
            }
            add(stall);
        }
        self.shared.pulse.set_stalled(true);
    }
}

/// So many looks at a stall come quickly, one after the other.
const FREQUENT_LOOKS: u32 = 50;
const SELDOM: Duration = Duration::from_secs(1);
