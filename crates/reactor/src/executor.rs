//! Tasks and the run queue.
//!
//! Invariants, kept here and nowhere else:
//! * `Header::queued` is true exactly while the task's key stands in a queue (local or remote). It is cleared before the
//!   task is polled, so that a wake during the poll queues it again.
//! * A task's future is absent from its slot while it is being polled. A nested `run` that meets such a task leaves it
//!   alone and notes the wake (`missed`), for the outer poll to queue again.
//! * Whenever the local queue is not empty, a run has been asked for (`LocalQueue::scheduled`) or is about to look there.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::polls::Polls;

pub(crate) struct Executor {
    tasks: RefCell<Slab<Task>>,
    local: Rc<LocalQueue>,
    remote: Arc<RemoteQueue>,
    polls: Rc<Polls>,
    on_panic: RefCell<Option<PanicHook>>,
    /// What is to be done at the end of the run.
    deferred: RefCell<Vec<Rc<dyn Deferred>>>,
    /// Runs under way: more than one if a task runs a nested loop.
    running: Cell<usize>,
}

/// Work that is put off to the end of a run, to be done for many tasks at once, or that takes its turn among the tasks.
pub trait Deferred {
    /// Called once for each [`Handle::defer`](crate::Handle::defer) or [`Handle::queue`](crate::Handle::queue).
    fn run_deferred(&self);
}

/// Makes the reactor's descriptor readable, so that its host calls `harvest`, and nothing else: a question whether the host
/// is there.
pub struct Pinger(Arc<RemoteQueue>);

impl Pinger {
    /// Harmless when repeated before the host has come to it.
    pub fn ping(&self) {
        // The kernel refuses only when the reactor is gone or a wake-up is pending already.
        let _ = self.0.waker.wake();
    }
}

type PanicHook = Rc<dyn Fn(Box<dyn Any + Send>)>;

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    header: Arc<Header>,
    waker: Waker,
    missed: bool,
}

impl Executor {
    pub(crate) fn new(waker: mio::Waker, polls: Rc<Polls>) -> Executor {
        let local = Rc::new(LocalQueue::default());
        let id = NEXT_REACTOR.fetch_add(1, Ordering::Relaxed);
        let slot = QUEUES.with_borrow_mut(|queues| queues.insert((id, local.clone())));
        let remote = Arc::new(RemoteQueue { id, slot, woken: Mutex::new(Vec::new()), waker });
        Executor {
            tasks: RefCell::default(),
            local,
            remote,
            polls,
            on_panic: RefCell::default(),
            deferred: RefCell::default(),
            running: Cell::new(0),
        }
    }

    pub(crate) fn set_schedule(&self, hook: Rc<dyn Fn()>) {
        *self.local.schedule.borrow_mut() = Some(hook);
    }

    pub(crate) fn set_on_panic(&self, hook: PanicHook) {
        *self.on_panic.borrow_mut() = Some(hook);
    }

    pub(crate) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let header =
            Arc::new(Header { task: entry.key(), queued: AtomicBool::new(false), remote: self.remote.clone() });
        let waker = Waker::from(header.clone());
        entry.insert(Task { future: Some(future), header, waker: waker.clone(), missed: false });
        drop(tasks);
        waker.wake();
    }

    pub(crate) fn pinger(&self) -> Pinger {
        Pinger(self.remote.clone())
    }

    /// Moves what other threads woke into the local queue.
    pub(crate) fn collect_remote(&self) {
        let woken = std::mem::take(&mut *self.remote.woken.lock().expect("no code panics while holding it"));
        for task in woken {
            self.local.push(Turn::Task(task));
        }
    }

    /// Polls queued tasks until none is left or `budget` is used up, from `start` on; asks for another run if any is left.
    pub(crate) fn run(&self, start: Instant, budget: Duration) {
        self.local.scheduled.set(false);
        self.running.set(self.running.get() + 1);
        self.polls.set_now(start);
        loop {
            // A statement of its own: the borrow must end before the task is polled.
            let next = self.local.turns.borrow_mut().pop_front();
            let Some(turn) = next else { break };
            let outer = self.polls.begin();
            match turn {
                Turn::Task(key) => self.poll_task(key),
                Turn::Work(work) => self.do_work(&*work),
            }
            let now = Instant::now();
            self.polls.end(now, outer);
            if now.duration_since(start) >= budget {
                break;
            }
        }
        self.run_deferred();
        self.running.set(self.running.get() - 1);
        if self.has_queued() {
            self.local.request();
        }
    }

    /// Has `work` done at the end of the run that is under way, or else of the next.
    pub(crate) fn defer(&self, work: Rc<dyn Deferred>) {
        self.deferred.borrow_mut().push(work);
        self.local.request();
    }

    /// Has `work` done in its turn, behind all that is queued.
    pub(crate) fn queue(&self, work: Rc<dyn Deferred>) {
        self.local.push(Turn::Work(work));
    }

    /// Whether a run is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.running.get() != 0
    }

    fn do_work(&self, work: &dyn Deferred) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work.run_deferred())) {
            self.tell_panic(panic);
        }
    }

    /// Does what was put off.
    pub(crate) fn run_deferred(&self) {
        let mut deferred = self.deferred.take();
        for work in deferred.drain(..) {
            self.do_work(&*work);
        }
        // Its memory is kept for the next run, unless that has begun already.
        let mut place = self.deferred.borrow_mut();
        if place.is_empty() {
            *place = deferred;
        }
    }

    /// Asks for a run, unless one was asked for already.
    pub(crate) fn request_run(&self) {
        self.local.request();
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.local.turns.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Drops every task. Their destructors may wake and spawn; what they spawn is dropped, too.
    pub(crate) fn clear(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        let turns = std::mem::take(&mut *self.local.turns.borrow_mut());
        drop(turns);
    }

    fn poll_task(&self, key: usize) {
        let (mut future, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(key) else {
                return;
            };
            task.header.queued.store(false, Ordering::Release);
            let Some(future) = task.future.take() else {
                task.missed = true;
                return;
            };
            (future, task.waker.clone())
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => {
                let mut tasks = self.tasks.borrow_mut();
                // Absent after `clear` in the middle of the poll: then the future goes, as the others did.
                let Some(task) = tasks.get_mut(key) else {
                    return;
                };
                task.future = Some(future);
                if std::mem::take(&mut task.missed) {
                    drop(tasks);
                    waker.wake();
                }
            }
            Ok(Poll::Ready(())) => self.forget(key),
            Err(panic) => {
                self.forget(key);
                self.tell_panic(panic);
            }
        }
    }

    fn tell_panic(&self, panic: Box<dyn Any + Send>) {
        let hook = self.on_panic.borrow().clone();
        if let Some(hook) = hook {
            hook(panic);
        }
    }

    fn forget(&self, key: usize) {
        let task = self.tasks.borrow_mut().try_remove(key);
        drop(task);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.clear();
        let slot = self.remote.slot;
        // The thread's storage may be gone already when the reactor is dropped at its end.
        let _ = QUEUES.try_with(|queues| queues.borrow_mut().try_remove(slot));
    }
}

/// What a waker points to.
struct Header {
    task: usize,
    queued: AtomicBool,
    remote: Arc<RemoteQueue>,
}

impl Wake for Header {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let local = QUEUES
            .try_with(|queues| {
                let queues = queues.borrow();
                queues.get(self.remote.slot).filter(|(id, _)| *id == self.remote.id).map(|(_, queue)| queue.clone())
            })
            .ok()
            .flatten();
        match local {
            Some(queue) => queue.push(Turn::Task(self.task)),
            None => self.remote.push(self.task),
        }
    }
}

/// What takes its turn in a run.
enum Turn {
    /// The task with this key is polled.
    Task(usize),
    Work(Rc<dyn Deferred>),
}

/// The run queue as the reactor's own thread sees it.
#[derive(Default)]
struct LocalQueue {
    turns: RefCell<VecDeque<Turn>>,
    schedule: RefCell<Option<Rc<dyn Fn()>>>,
    scheduled: Cell<bool>,
}

impl LocalQueue {
    fn push(&self, turn: Turn) {
        self.turns.borrow_mut().push_back(turn);
        // Also while a run is under way: its task may be running a nested loop, which waits for what is queued here.
        self.request();
    }

    fn request(&self) {
        if !self.scheduled.replace(true) {
            let hook = self.schedule.borrow().clone();
            if let Some(hook) = hook {
                hook();
            }
        }
    }
}

/// The run queue as other threads see it.
struct RemoteQueue {
    /// Never used twice in a process, unlike `slot`.
    id: u64,
    slot: usize,
    woken: Mutex<Vec<usize>>,
    waker: mio::Waker,
}

impl RemoteQueue {
    fn push(&self, task: usize) {
        let was_empty = {
            let mut woken = self.woken.lock().expect("no code panics while holding it");
            woken.push(task);
            woken.len() == 1
        };
        if was_empty {
            // It fails only when the reactor is gone, and then there is nobody to wake.
            let _ = self.waker.wake();
        }
    }
}

static NEXT_REACTOR: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The queues of the reactors of this thread: how a waker finds out that it is used at home.
    static QUEUES: RefCell<Slab<(u64, Rc<LocalQueue>)>> = const { RefCell::new(Slab::new()) };
}
