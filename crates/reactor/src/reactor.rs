//! The reactor itself: one descriptor, `harvest` and `run`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::executor::{Deferred, Executor, Pinger};
use crate::io::{Driver, WAKER};
use crate::listener::Listener;
use crate::polls::Polls;
use crate::timer::{Sleep, Timers};

/// A reactor and its tasks; see the [crate] for how a host drives it. Dropping it drops all its tasks.
pub struct Reactor {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    driver: Rc<Driver>,
    timers: Rc<Timers>,
    executor: Rc<Executor>,
    polls: Rc<Polls>,
}

impl Reactor {
    /// A reactor for this thread. It fails when the process has no descriptors left.
    pub fn new() -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let driver = Rc::new(Driver::new(poll.registry().try_clone()?));
        let polls = Rc::new(Polls::new(Instant::now()));
        Ok(Reactor {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(EVENTS)),
            driver,
            timers: Rc::default(),
            executor: Rc::new(Executor::new(waker, polls.clone())),
            polls,
        })
    }

    /// What tasks use to spawn, sleep and listen.
    pub fn handle(&self) -> Handle {
        Handle {
            driver: self.driver.clone(),
            timers: self.timers.clone(),
            executor: Rc::downgrade(&self.executor),
            polls: self.polls.clone(),
        }
    }

    /// Sets what is called when a [`Reactor::run`] is needed: at most once before each run, always on this thread.
    pub fn on_schedule(&self, hook: impl Fn() + 'static) {
        self.executor.set_schedule(Rc::new(hook));
        if self.executor.has_queued() {
            self.executor.request_run();
        }
    }

    /// Sets what is told when a task panics. The task is gone, the others go on.
    pub fn on_panic(&self, hook: impl Fn(Box<dyn Any + Send>) + 'static) {
        self.executor.set_on_panic(Rc::new(hook));
    }

    /// Sets, once, what is told when a poll has ended of which a task wants to know that ([`Handle::want_poll_end`]): the time,
    /// which is that of the next poll's begin, so that the clock is read once for both.
    pub fn on_poll_end(&self, hook: impl Fn(Instant) + 'static) {
        self.polls.set_on_end(Box::new(hook));
    }

    /// Collects readiness from the kernel and queues the tasks that waited for it. Runs no task, never blocks.
    pub fn harvest(&self) -> io::Result<()> {
        self.wait(Some(Duration::ZERO))
    }

    /// Has the schedule hook called, unless a run is scheduled already. For the host's timer, at the next deadline.
    pub fn request_run(&self) {
        self.executor.request_run();
    }

    /// Polls the tasks that are due until none is left or `budget` is over (it is looked at between two tasks).
    ///
    /// To be called once for each call of the schedule hook, and not otherwise.
    pub fn run(&self, budget: Duration) {
        if self.driver.is_forked_child() {
            return;
        }
        let now = Instant::now();
        self.timers.fire(now);
        self.executor.run(now, budget);
    }

    /// When [`Reactor::request_run`] should be called although nothing has happened. May change with every run.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.executor.len()
    }

    /// What makes the descriptor readable from any thread.
    pub fn pinger(&self) -> Pinger {
        self.executor.pinger()
    }

    /// Drops every task, and with them their streams and listeners.
    pub fn clear(&self) {
        self.executor.clear();
    }

    /// Drives the reactor on this thread, without a host, until `future` is done.
    pub fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let result = Rc::new(Cell::new(None));
        let slot = result.clone();
        self.executor.spawn(Box::pin(async move { slot.set(Some(future.await)) }));
        loop {
            self.run(Duration::from_millis(1));
            if let Some(value) = result.take() {
                return value;
            }
            let timeout = if self.executor.has_queued() {
                Some(Duration::ZERO)
            } else {
                self.next_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
            };
            self.wait(timeout).expect("the kernel's poll fails only for reasons that no caller can mend");
        }
    }

    fn wait(&self, mut timeout: Option<Duration>) -> io::Result<()> {
        if self.driver.is_forked_child() {
            return Ok(());
        }
        // Borrowed already: the schedule hook harvests. The outer call goes on with that as soon as the hook returns.
        let Ok(mut events) = self.events.try_borrow_mut() else {
            return Ok(());
        };
        loop {
            match self.poll.borrow_mut().poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let mut count = 0;
            for event in &*events {
                count += 1;
                if event.token() == WAKER {
                    self.executor.collect_remote();
                } else {
                    self.driver.dispatch(event);
                }
            }
            if count < EVENTS {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
    }
}

impl AsRawFd for Reactor {
    /// The descriptor a host watches for reading.
    fn as_raw_fd(&self) -> RawFd {
        self.poll.borrow().as_raw_fd()
    }
}

/// A task's access to its reactor. Outliving the reactor is harmless: what it spawns is dropped.
#[derive(Clone)]
pub struct Handle {
    driver: Rc<Driver>,
    timers: Rc<Timers>,
    executor: Weak<Executor>,
    polls: Rc<Polls>,
}

impl Handle {
    /// Runs `future` as a task of its own, from the next run on.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(Box::pin(future));
        }
    }

    /// Has `work` done at the end of the run that is under way, when all tasks that were ready have been polled.
    pub fn defer(&self, work: Rc<dyn Deferred>) {
        if let Some(executor) = self.executor.upgrade() {
            executor.defer(work);
        }
    }

    /// Has `work` done as if it were a task: in a run, behind what is queued already, within the run's budget.
    pub fn queue(&self, work: Rc<dyn Deferred>) {
        if let Some(executor) = self.executor.upgrade() {
            executor.queue(work);
        }
    }

    /// Does at once what was put off to the end of the run: something that may take long comes before it.
    pub fn run_deferred(&self) {
        if let Some(executor) = self.executor.upgrade() {
            executor.run_deferred();
        }
    }

    /// Whether a run is under way, so that its end is near.
    pub fn is_running(&self) -> bool {
        self.executor.upgrade().is_some_and(|executor| executor.is_running())
    }

    /// Ready after `duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(Instant::now() + duration)
    }

    /// Ready at `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::new(self.timers.clone(), self.polls.clone(), deadline)
    }

    /// Lets the other queued tasks go first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }

    /// The time when the running task's poll began: cheap, and exact enough for timeouts.
    pub fn now(&self) -> Instant {
        self.polls.now()
    }

    /// When the poll that is under way began; `None` outside of one.
    pub fn poll_began(&self) -> Option<Instant> {
        self.polls.began()
    }

    /// Has the hook of [`Reactor::on_poll_end`] called when the poll that is under way has ended. Outside of one it is not.
    pub fn want_poll_end(&self) {
        self.polls.want_end();
    }

    /// Accepts connections on a listening socket that somebody else has bound. Works on a duplicate of `fd`.
    pub fn listen(&self, fd: impl AsFd) -> io::Result<Listener> {
        Listener::new(&self.driver, fd)
    }

    /// Takes over a connected TCP socket.
    pub fn connect(&self, socket: std::net::TcpStream) -> io::Result<crate::Stream> {
        crate::Stream::new(&self.driver, socket.into(), true)
    }
}

const EVENTS: usize = 1024;
