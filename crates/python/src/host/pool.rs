//! The threads that `def` endpoints and dependencies run on.
//!
//! Threads are Python's (`threading.Thread`), running [`Worker::run`] for as long as they live, so that `threading.local`,
//! debuggers and coverage find them as usual. A job goes out through a queue and comes back through the reactor's notifier.
//!
//! What costs is not the work but the hand-over of the GIL, so as few threads as possible are awake: a worker takes job after
//! job without letting go, and wakes one other (never more than one that is looking for work) when it leaves jobs behind. A
//! new thread is made when jobs have waited for a while with the processor at rest: then the others are blocked.
//!
//! Locks: the queue's mutex is held for a few instructions, never while Python code runs or the GIL is waited for.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use overdrive_reactor::{Handle, Receiver, Sender, channel};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use slab::Slab;

use super::{Host, ffi};

/// A call to be made on another thread.
pub(crate) struct Job {
    pub(crate) call: Py<PyAny>,
    pub(crate) arguments: Vec<Option<Py<PyAny>>>,
    pub(crate) names: Py<PyTuple>,
    /// Entered for the call, and nobody else's.
    pub(crate) context: Py<PyAny>,
    /// When the call was wanted, before it had a token.
    pub(crate) wanted: Instant,
}

/// How long calls have waited for their tokens and their threads, all together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    pub(crate) calls: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

impl Waits {
    fn add(&mut self, waited: Duration) {
        self.calls += 1;
        self.total += waited;
        self.longest = self.longest.max(waited);
    }
}

/// The pool's numbers, for any thread.
pub(crate) struct Gauge(Arc<Shared>);

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gauge").finish_non_exhaustive()
    }
}

impl Gauge {
    /// Threads, those of them that are not asleep, and jobs that wait for one.
    pub(crate) fn numbers(&self) -> (usize, usize, usize) {
        let state = self.0.lock();
        (state.threads, state.threads.saturating_sub(state.idle), state.jobs.len())
    }
}

/// The pool, as the loop's thread sees it.
pub(crate) struct Pool {
    host: Rc<Host>,
    handle: Handle,
    shared: Arc<Shared>,
    /// What the first thread's is made after.
    worker: Worker,
    /// Jobs that somebody waits for.
    waiting: RefCell<Slab<Rc<Slot>>>,
    limiter: OnceCell<Py<PyAny>>,
}

/// Where a job's result arrives.
pub(crate) struct Slot {
    /// An asyncio future, done when the result is there.
    pub(crate) future: Py<PyAny>,
    result: RefCell<Option<PyResult<Py<PyAny>>>>,
    /// When the call began, and when it ended.
    times: Cell<Option<(Instant, Instant)>>,
    cancelled: Arc<AtomicBool>,
}

impl Slot {
    /// The result, once the future is done.
    pub(crate) fn take(&self) -> PyResult<Py<PyAny>> {
        self.result.take().unwrap_or_else(|| Err(PyRuntimeError::new_err("the thread pool was closed")))
    }

    /// When the call began, and when it ended, once it has.
    pub(crate) fn times(&self) -> Option<(Instant, Instant)> {
        self.times.get()
    }

    /// Nobody waits any more: the call is not made if it has not begun.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Pool {
    /// `start_thread`: `(worker, loop) -> None`, starts a thread that calls `worker.run()`; `library_variable`: by which
    /// sniffio tells an asynchronous library, `None` without sniffio.
    pub(crate) fn new(
        py: Python<'_>,
        host: Rc<Host>,
        handle: Handle,
        start_thread: Py<PyAny>,
        library_variable: Option<Py<PyAny>>,
    ) -> Rc<Pool> {
        let (results, receiver) = channel();
        let shared: Arc<Shared> = Arc::default();
        let event_loop = host.event_loop.clone_ref(py);
        let pool = Rc::new(Pool {
            host,
            handle: handle.clone(),
            worker: Worker { shared: shared.clone(), results, start_thread, event_loop, library_variable },
            shared,
            waiting: RefCell::default(),
            limiter: OnceCell::new(),
        });
        handle.spawn(deliver(Rc::downgrade(&pool), receiver));
        pool
    }

    /// anyio's default limiter of this loop; `find` is anyio's function that gives it.
    pub(crate) fn limiter<'py>(&self, py: Python<'py>, find: &Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(limiter) = self.limiter.get() {
            return Ok(limiter.bind(py).clone());
        }
        let limiter = find.bind(py).call0()?;
        Ok(self.limiter.get_or_init(|| limiter.unbind()).bind(py).clone())
    }

    /// Hands a call over. At the first job this starts a thread.
    pub(crate) fn submit(self: &Rc<Self>, py: Python<'_>, job: Job) -> PyResult<Rc<Slot>> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let slot = Rc::new(Slot {
            future: self.host.future(py)?.unbind(),
            result: RefCell::default(),
            times: Cell::new(None),
            cancelled: cancelled.clone(),
        });
        let key = self.waiting.borrow_mut().insert(slot.clone());
        let (threads, watched) = {
            let mut state = self.shared.lock();
            state.jobs.push_back(Queued { key, job, cancelled, since: Instant::now() });
            self.shared.wake_one(&mut state);
            let watched = std::mem::replace(&mut state.watched, true);
            (state.threads, watched)
        };
        if threads == 0 {
            self.start(py, 1)?;
        }
        if !watched {
            self.handle.spawn(grow(Rc::downgrade(self)));
        }
        Ok(slot)
    }

    /// Starts a thread, which starts the others: who starts one waits until it runs, and that is not for the loop to do.
    fn start(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        {
            let mut state = self.shared.lock();
            state.threads += count;
            state.unstarted += count;
        }
        self.worker.start(py)
    }

    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(self.shared.clone())
    }

    pub(crate) fn waits(&self) -> Waits {
        self.shared.lock().waits
    }

    /// Lets the threads end when they are idle. Jobs under way go on; nobody hears of their results.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Brings results home.
async fn deliver(pool: std::rc::Weak<Pool>, mut results: Receiver<Finished>) {
    while let Some(finished) = results.receive().await {
        let Some(pool) = pool.upgrade() else { return };
        let slot = pool.waiting.borrow_mut().try_remove(finished.key);
        let Some(slot) = slot else { continue };
        slot.result.replace(Some(finished.result));
        slot.times.set(Some(finished.times));
        Python::attach(|py| {
            let future = slot.future.bind(py);
            let done = future.call_method0(pyo3::intern!(py, "done")).and_then(|done| done.is_truthy());
            if matches!(done, Ok(false))
                && let Err(error) = future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),))
            {
                error.write_unraisable(py, Some(future));
            }
        });
    }
}

/// Watches over jobs that wait, and starts threads for them.
async fn grow(pool: std::rc::Weak<Pool>) {
    let mut before = (Instant::now(), processor_time());
    loop {
        let Some(handle) = pool.upgrade().map(|pool| pool.handle.clone()) else { return };
        handle.sleep(PATIENCE).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = (Instant::now(), processor_time());
        let share = now.1.saturating_sub(before.1).as_secs_f64() / (now.0 - before.0).as_secs_f64();
        before = now;
        let wanted = {
            let mut state = pool.shared.lock();
            let Some(first) = state.jobs.front() else {
                state.watched = false;
                return;
            };
            let waited = now.0.duration_since(first.since);
            if state.idle > 0 { 0 } else { threads_to_add(state.jobs.len(), waited, share) }
        };
        if wanted > 0
            && let Err(error) = Python::attach(|py| pool.start(py, wanted))
        {
            Python::attach(|py| error.write_unraisable(py, None));
        }
    }
}

/// How many threads to add for `jobs` that wait, the first of them since `waited`, while the process had `share` of a processor.
///
/// A processor at work means that threads take turns at the GIL, and more of them would not be faster. Code that works outside
/// the GIL looks the same, so after a longer wait there is another one all the same.
fn threads_to_add(jobs: usize, waited: Duration, share: f64) -> usize {
    if waited < PATIENCE {
        0
    } else if share < 0.5 {
        jobs
    } else if waited > LONG_WAIT {
        1
    } else {
        0
    }
}

fn processor_time() -> Duration {
    ffi::processor_time()
}

/// What the loop's thread and the workers share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Queued>,
    /// Those that are still to be started among them.
    threads: usize,
    unstarted: usize,
    /// Threads that sleep.
    idle: usize,
    /// A thread was woken and has not looked for a job yet.
    searching: bool,
    /// Somebody looks after the queue's growth.
    watched: bool,
    closed: bool,
    waits: Waits,
}

struct Queued {
    key: usize,
    job: Job,
    cancelled: Arc<AtomicBool>,
    since: Instant,
}

struct Finished {
    key: usize,
    result: PyResult<Py<PyAny>>,
    /// When the call began, and when it ended.
    times: (Instant, Instant),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while holding it")
    }

    fn wake_one(&self, state: &mut State) {
        if state.idle > 0 && !state.searching {
            state.searching = true;
            self.work.notify_one();
        }
    }

    /// The next job. `searcher`: this thread was woken to look for one.
    fn take(&self, searcher: bool) -> Option<Queued> {
        let mut state = self.lock();
        if searcher {
            state.searching = false;
        }
        let queued = state.jobs.pop_front();
        if let Some(queued) = &queued {
            state.waits.add(queued.job.wanted.elapsed());
        }
        if !state.jobs.is_empty() {
            self.wake_one(&mut state);
        }
        queued
    }

    /// Sleeps until there is a job; false when the thread is to end.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        state.idle += 1;
        let mut stays = true;
        while state.jobs.is_empty() {
            if state.closed {
                stays = false;
                break;
            }
            let (again, timeout) =
                self.work.wait_timeout(state, MAX_IDLE).expect("no code panics while holding the lock");
            state = again;
            if state.jobs.is_empty() {
                // Woken for a job that another thread has taken meanwhile: the search is over, the next job may wake again.
                state.searching = false;
            }
            if timeout.timed_out() && state.jobs.is_empty() {
                stays = false;
                break;
            }
        }
        state.idle -= 1;
        if !stays {
            state.threads -= 1;
        }
        stays
    }
}

/// What a thread of the pool runs.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    results: Sender<Finished>,
    start_thread: Py<PyAny>,
    event_loop: Py<PyAny>,
    library_variable: Option<Py<PyAny>>,
}

#[pymethods]
impl Worker {
    /// Makes the calls that are waiting, until the pool is closed or there was nothing to do for a while.
    fn run(&self, py: Python<'_>) {
        if let Err(error) = self.start(py) {
            error.write_unraisable(py, None);
        }
        let mut searcher = false;
        loop {
            match self.shared.take(std::mem::take(&mut searcher)) {
                Some(queued) => self.execute(py, queued),
                None => {
                    searcher = py.detach(|| self.shared.wait());
                    if !searcher {
                        return;
                    }
                }
            }
        }
    }
}

impl Worker {
    /// Starts one of the threads that are wanted, if any is; it will start the next one.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        {
            let mut state = self.shared.lock();
            let Some(left) = state.unstarted.checked_sub(1) else { return Ok(()) };
            state.unstarted = left;
        }
        let worker = Worker {
            shared: self.shared.clone(),
            results: self.results.clone(),
            start_thread: self.start_thread.clone_ref(py),
            event_loop: self.event_loop.clone_ref(py),
            library_variable: self.library_variable.as_ref().map(|variable| variable.clone_ref(py)),
        };
        let started = Bound::new(py, worker).and_then(|worker| {
            let names = PyTuple::empty(py);
            ffi::call_with_names(self.start_thread.bind(py), [worker.as_any(), self.event_loop.bind(py)], &names)
        });
        if started.is_err() {
            // Nor would the others be.
            let mut state = self.shared.lock();
            state.threads -= 1 + std::mem::take(&mut state.unstarted);
        }
        started.map(drop)
    }

    fn execute(&self, py: Python<'_>, queued: Queued) {
        let began = Instant::now();
        let result = if queued.cancelled.load(Ordering::Relaxed) {
            Err(PyRuntimeError::new_err("cancelled before it began"))
        } else {
            self.call(py, &queued.job)
        };
        // The reactor is gone only when nobody waits any more.
        let _ = self.results.send(Finished { key: queued.key, result, times: (began, Instant::now()) });
    }

    fn call(&self, py: Python<'_>, job: &Job) -> PyResult<Py<PyAny>> {
        let result = ffi::in_context(job.context.bind(py), || {
            if let Some(variable) = &self.library_variable {
                // No asynchronous library runs in this thread, whatever the copied context says.
                ffi::set_context_variable(variable.bind(py), &py.None().into_bound(py))?;
            }
            ffi::call_keywords(job.call.bind(py), &job.arguments, job.names.bind(py)).map(Bound::unbind)
        });
        result.map_err(|error| {
            if !error.is_instance_of::<PyStopIteration>(py) {
                return error;
            }
            // It would end the coroutine that waits; anyio says the same.
            let replacement = PyRuntimeError::new_err("coroutine raised StopIteration");
            replacement.set_cause(py, Some(error));
            replacement
        })
    }
}

/// How long a job waits before the pool asks itself why.
const PATIENCE: Duration = Duration::from_millis(1);
const LONG_WAIT: Duration = Duration::from_millis(20);
/// As anyio's threads.
const MAX_IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_for_blocked_ones_and_not_for_a_busy_processor() {
        let short = Duration::from_micros(300);
        let long = Duration::from_millis(2);
        assert_eq!(threads_to_add(5, short, 0.0), 0);
        assert_eq!(threads_to_add(5, long, 0.1), 5);
        assert_eq!(threads_to_add(5, long, 0.9), 0);
        assert_eq!(threads_to_add(5, Duration::from_millis(30), 0.9), 1);
    }
}
