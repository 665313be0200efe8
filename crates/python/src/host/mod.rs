//! The engine as a guest of an asyncio loop: its callbacks, its tasks, its timer.
//!
//! The rules, each learnt from a fault of the obvious way:
//! * the reader callback only harvests; tasks run in a callback of their own, in a clean copy of the server's context, so that
//!   no context variable of one request reaches another;
//! * a request's task runs in a fresh copy of that context, too, and is held here until its coroutine has ended, as asyncio
//!   itself holds tasks weakly;
//! * `SystemExit` and `KeyboardInterrupt` of an application leave through `run`, as they would through any loop callback.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use overdrive_reactor::Reactor;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use slab::Slab;

pub(crate) mod awaitable;
pub(crate) mod awaited;
pub(crate) mod call_site;
pub(crate) mod coroutine;
pub(crate) mod ffi;
pub(crate) mod loop_bound;
pub(crate) mod names;
pub(crate) mod pool;
pub(crate) mod steps;
pub(crate) mod stop_iteration;
pub(crate) mod wake;

use call_site::CallSites;
use coroutine::{Request, RequestCoroutine};
use loop_bound::{Graveyard, LoopBound};
use names::Names;
use stop_iteration::Reuse;

use crate::watch::Watch;

/// What everything on the loop's thread shares.
pub(crate) struct Host {
    pub(crate) event_loop: Py<PyAny>,
    pub(crate) names: Names,
    pub(crate) graveyard: Arc<Graveyard>,
    /// The context of `Server.serve()`; never entered itself.
    base: Py<PyAny>,
    reset_context: bool,
    task_class: Py<PyAny>,
    /// `loop` and `eager_start`; `context` is added for each call. One dict for all of them, as the class takes its keywords as
    /// a dict and does not keep it.
    eager_keywords: Py<PyDict>,
    /// `("loop", "context")`
    plain_keywords: Py<PyTuple>,
    /// `("context",)`
    context_keyword: Py<PyTuple>,
    /// Whether this Python has eager tasks.
    eager: bool,
    task_maker: Cell<TaskMaker>,
    create_future: Py<PyAny>,
    call_soon: Py<PyAny>,
    running_loop: Py<PyAny>,
    current_task: Py<PyAny>,
    /// A future that is done, for tasks that are told that one is.
    done: Py<PyAny>,
    /// A run is under way, and no task: see [`wake`].
    may_step: Cell<bool>,
    pub(crate) call_sites: CallSites,
    tasks: RefCell<Slab<Py<PyAny>>>,
    /// Coroutines that have begun and not ended; more than `tasks`, which knows no eager task in its first step.
    running: Cell<usize>,
    /// To be raised from `run`.
    fatal: RefCell<Option<PyErr>>,
    /// `None`: nobody watches.
    pub(crate) watch: Option<Rc<Watch>>,
    /// Called when the last task has ended.
    on_idle: RefCell<Option<IdleHook>>,
}

type IdleHook = Rc<dyn Fn(Python<'_>)>;

impl Host {
    pub(crate) fn new(
        event_loop: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
        reset_context: bool,
        watch: Option<Rc<Watch>>,
    ) -> PyResult<Rc<Host>> {
        let py = event_loop.py();
        let asyncio = py.import("asyncio")?;
        let names = Names::new(py);
        let eager_keywords = PyDict::new(py);
        eager_keywords.set_item(&names.loop_, event_loop)?;
        eager_keywords.set_item(&names.eager_start, true)?;
        let done = event_loop.call_method0("create_future")?;
        done.call_method1("set_result", (py.None(),))?;
        Ok(Rc::new(Host {
            event_loop: event_loop.clone().unbind(),
            graveyard: Arc::default(),
            base: context.clone().unbind(),
            reset_context,
            task_class: asyncio.getattr("Task")?.unbind(),
            eager_keywords: eager_keywords.unbind(),
            plain_keywords: PyTuple::new(py, [&names.loop_, &names.context])?.unbind(),
            context_keyword: PyTuple::new(py, [&names.context])?.unbind(),
            eager: py.version_info() >= (3, 12),
            task_maker: Cell::new(TaskMaker::Plain),
            create_future: event_loop.getattr("create_future")?.unbind(),
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            running_loop: asyncio.getattr("_get_running_loop")?.unbind(),
            current_task: asyncio.getattr("current_task")?.unbind(),
            done: done.unbind(),
            may_step: Cell::new(false),
            call_sites: CallSites::new(py)?,
            names,
            tasks: RefCell::default(),
            running: Cell::new(0),
            fatal: RefCell::default(),
            watch,
            on_idle: RefCell::default(),
        }))
    }

    /// To be called at the start of each `run`, which is `act`: how tasks are made may change at any time.
    pub(crate) fn within_run(&self, py: Python<'_>, act: impl FnOnce()) -> PyResult<()> {
        let event_loop = self.event_loop.bind(py);
        let factory = event_loop.call_method0(pyo3::intern!(py, "get_task_factory"))?;
        let is_here = self.running_loop.bind(py).call0()?.is(event_loop);
        self.task_maker.set(match factory.is_none() {
            false => TaskMaker::Factory,
            true if self.eager && is_here => TaskMaker::Eager,
            true => TaskMaker::Plain,
        });
        let may_step = is_here && self.current_task.bind(py).call1((event_loop,))?.is_none();
        // A nested run finds its own answer, which is none for the run around it.
        let around = self.may_step.replace(may_step);
        let reuse = Reuse::begin(py);
        act();
        drop(reuse);
        self.may_step.set(around);
        Ok(())
    }

    /// Whether a task may be stepped from here: a run is under way, and no task is.
    fn may_step(&self) -> bool {
        self.may_step.get()
    }

    /// Starts a request as a task of its own. From Python 3.12 on it has made its first step when this returns.
    ///
    /// It runs in `context`, or else in a copy of the server's.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        py: Python<'_>,
        request: Box<dyn Request>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let context = match context {
            Some(context) => Ok(context),
            None => match request.timed().as_ref().and_then(|timed| timed.clock()) {
                Some(clock) => clock.marked_context(py, || self.fresh_context(py)),
                None => self.fresh_context(py),
            },
        };
        let host = LoopBound::new(self.clone(), &self.graveyard);
        let coroutine = Bound::new(py, RequestCoroutine::new(request, host))?;
        self.running.set(self.running.get() + 1);
        match context.and_then(|context| self.make_task(py, coroutine.as_any(), context)) {
            Ok(task) if coroutine.get().has_ended() => drop(task),
            Ok(task) => coroutine.get().set_key(self.tasks.borrow_mut().insert(task.unbind())),
            Err(error) if coroutine.get().has_ended() => return Err(error),
            // There is no task: the request ends before it has begun.
            Err(error) => return coroutine.get().end(py, Err(error)),
        }
        Ok(())
    }

    fn make_task<'py>(
        &self,
        py: Python<'py>,
        coroutine: &Bound<'py, PyAny>,
        context: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.event_loop.bind(py);
        match self.task_maker.get() {
            TaskMaker::Eager => {
                let keywords = self.eager_keywords.bind(py);
                keywords.set_item(&self.names.context, context)?;
                let task = self.task_class.bind(py).call((coroutine,), Some(keywords));
                // Nothing keeps the context of a request that is over.
                keywords.set_item(&self.names.context, py.None())?;
                task
            }
            TaskMaker::Plain => {
                let args = [coroutine, event_loop, &context];
                ffi::call_with_names(self.task_class.bind(py), args, self.plain_keywords.bind(py))
            }
            TaskMaker::Factory => {
                // The factory itself, as `loop.create_task` calls it, but within the context: a factory need not know that
                // argument, and uvloop hands on more than asyncio's own eager factory takes on Python 3.13.
                let factory = event_loop.call_method0(pyo3::intern!(py, "get_task_factory"))?;
                context.call_method1(pyo3::intern!(py, "run"), (factory, event_loop, coroutine))
            }
        }
    }

    /// A request's coroutine has ended; `key` is what `spawn` gave it, if it got that far.
    pub(crate) fn ended(&self, py: Python<'_>, key: Option<usize>) {
        let task = key.and_then(|key| self.tasks.borrow_mut().try_remove(key));
        drop(task);
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            self.notify_idle(py);
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.get()
    }

    /// Calls `task.cancel(message)` on every task that has not ended.
    pub(crate) fn cancel_all(&self, py: Python<'_>, message: &str) -> PyResult<usize> {
        let tasks: Vec<Py<PyAny>> = self.tasks.borrow().iter().map(|(_, task)| task.clone_ref(py)).collect();
        let keywords = PyDict::new(py);
        keywords.set_item("msg", message)?;
        for task in &tasks {
            task.bind(py).call_method("cancel", (), Some(&keywords))?;
        }
        Ok(tasks.len())
    }

    pub(crate) fn set_on_idle(&self, hook: IdleHook) {
        *self.on_idle.borrow_mut() = Some(hook);
    }

    pub(crate) fn notify_idle(&self, py: Python<'_>) {
        let hook = self.on_idle.borrow().clone();
        if let Some(hook) = hook {
            hook(py);
        }
    }

    /// `loop.create_future()`.
    pub(crate) fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.create_future.bind(py).call0()
    }

    /// Schedules `callback` in a clean context.
    pub(crate) fn call_soon(&self, py: Python<'_>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        let context = ffi::copy_context(self.base.bind(py))?;
        ffi::call_with_names(self.call_soon.bind(py), [callback, &context], self.context_keyword.bind(py))?;
        Ok(())
    }

    /// Keeps an exception that must end the loop until `run` can raise it.
    pub(crate) fn raise_from_run(&self, error: PyErr) {
        self.fatal.borrow_mut().get_or_insert(error);
    }

    pub(crate) fn take_fatal(&self) -> Option<PyErr> {
        self.fatal.borrow_mut().take()
    }

    fn fresh_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.reset_context { ffi::new_context(py) } else { ffi::copy_context(self.base.bind(py)) }
    }
}

/// How a request's task is made.
#[derive(Clone, Copy)]
enum TaskMaker {
    /// `asyncio.Task(…, eager_start=True)`, from Python 3.12 on, while our loop runs.
    Eager,
    /// `asyncio.Task(…)`.
    Plain,
    /// The task factory that the application has set.
    Factory,
}

/// Futures that wait for something of a request, to be completed together: each waiter looks again for itself.
#[derive(Default)]
pub(crate) struct Waiters(RefCell<Vec<Py<PyAny>>>);

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn add<'py>(&self, py: Python<'py>, host: &Host) -> PyResult<Bound<'py, PyAny>> {
        let future = host.future(py)?;
        self.0.borrow_mut().push(future.clone().unbind());
        Ok(future)
    }

    /// Completes all of them that are not done (cancelled, most often) already.
    pub(crate) fn wake(&self, py: Python<'_>) {
        let waiting = std::mem::take(&mut *self.0.borrow_mut());
        for future in waiting {
            let future = future.bind(py);
            let done = future.call_method0(pyo3::intern!(py, "done")).and_then(|done| done.is_truthy());
            if matches!(done, Ok(false))
                && let Err(error) = future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),))
            {
                error.write_unraisable(py, Some(future));
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // Borrowed mutably only within this file, where nothing that could collect garbage runs meanwhile.
        match self.0.try_borrow() {
            Ok(waiting) => waiting.iter().try_for_each(|future| visit.call(future)),
            Err(_) => Ok(()),
        }
    }
}

/// The loop's one timer of the engine: armed for the reactor's next deadline.
#[derive(Default)]
pub(crate) struct LoopTimer {
    armed: RefCell<Option<(Instant, Py<PyAny>)>>,
}

impl LoopTimer {
    /// Makes sure that `callback` is called no later than the reactor's next deadline.
    pub(crate) fn arm(
        &self,
        py: Python<'_>,
        host: &Host,
        reactor: &Reactor,
        callback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let Some(deadline) = reactor.next_deadline() else {
            return Ok(());
        };
        if self.armed.borrow().as_ref().is_some_and(|(armed, _)| *armed <= deadline) {
            // An early call finds nothing to do and arms again.
            return Ok(());
        }
        self.cancel(py)?;
        // A little late rather than early, which would only mean another round.
        let delay = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let keywords = PyDict::new(py);
        keywords.set_item(&host.names.context, ffi::copy_context(host.base.bind(py))?)?;
        let timer =
            host.event_loop.bind(py).call_method("call_later", (delay.as_secs_f64(), callback), Some(&keywords))?;
        *self.armed.borrow_mut() = Some((deadline, timer.unbind()));
        Ok(())
    }

    /// The timer has fired.
    pub(crate) fn fired(&self) {
        let armed = self.armed.borrow_mut().take();
        drop(armed);
    }

    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let armed = self.armed.borrow_mut().take();
        if let Some((_, timer)) = armed {
            timer.bind(py).call_method0("cancel")?;
        }
        Ok(())
    }
}
