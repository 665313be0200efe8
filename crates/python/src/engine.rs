//! `Engine`: the server inside one asyncio loop. See `_overdrive.pyi` for its Python face.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use overdrive_http::{Application, Report, Server, Share};
use overdrive_reactor::Reactor;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asgi::app::{AsgiApplication, Bridge};
use crate::asgi::settings::EngineSettings;
use crate::host::loop_bound::LoopBound;
use crate::host::{Host, LoopTimer, ffi};
use crate::plan::table::Plans;
use crate::watch::detector::Detector;
use crate::watch::python::PyWatch;

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Engine {
    core: LoopBound<Core>,
    fd: RawFd,
}

struct Core {
    host: Rc<Host>,
    bridge: Rc<Bridge>,
    server: Server<AsgiApplication>,
    reactor: Reactor,
    timer: LoopTimer,
    /// The bound methods that the loop calls; `None` before `attach` and after `close`.
    callbacks: RefCell<Option<Callbacks>>,
    on_request_limit: RefCell<Option<Py<PyAny>>>,
    request_limit: Option<u64>,
    /// What `drain` has returned.
    drained: RefCell<Option<Py<PyAny>>>,
    watch: Option<Py<PyWatch>>,
    /// While the engine is attached, if it is watched.
    detector: RefCell<Option<Detector>>,
    closed: Cell<bool>,
}

struct Callbacks {
    run: Py<PyAny>,
    timer: Py<PyAny>,
    settle: Py<PyAny>,
}

#[pymethods]
impl Engine {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "keywords of a Python class")]
    #[pyo3(signature = (app, event_loop, settings, *, context, state = None, on_request_limit = None, side_channel = None, watch = None))]
    fn new(
        app: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        settings: &Bound<'_, EngineSettings>,
        context: &Bound<'_, PyAny>,
        state: Option<Py<PyDict>>,
        on_request_limit: Option<Py<PyAny>>,
        side_channel: Option<Py<PyAny>>,
        watch: Option<Py<PyWatch>>,
    ) -> PyResult<Engine> {
        let py = event_loop.py();
        let reactor = Reactor::new()?;
        let fd = reactor.as_raw_fd();
        let on_loop = watch.as_ref().map(|watch| watch.get().on_loop(py, reactor.handle()));
        let host = Host::new(event_loop, context, settings.get().reset_contextvars, on_loop)?;
        let bridge = Bridge::new(py, host.clone(), app, settings, state, reactor.handle(), side_channel)?;
        let application = Rc::new(AsgiApplication(bridge.clone()));
        let server = Server::new(application, reactor.handle(), settings.get().http.clone());
        bridge.set_connections(server.connection_count());
        let core = Rc::new(Core {
            host: host.clone(),
            bridge,
            server,
            reactor,
            timer: LoopTimer::default(),
            callbacks: RefCell::default(),
            on_request_limit: RefCell::new(on_request_limit),
            request_limit: settings.get().limit_max_requests,
            drained: RefCell::default(),
            watch,
            detector: RefCell::default(),
            closed: Cell::new(false),
        });
        core.install_hooks();
        Ok(Engine { core: LoopBound::new(core, &host.graveyard), fd })
    }

    fn attach(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let core = this.get().open()?;
        if core.callbacks.borrow().is_some() {
            return Err(PyRuntimeError::new_err("the engine is attached already"));
        }
        let callbacks = Callbacks {
            run: this.getattr("_run")?.unbind(),
            timer: this.getattr("_timer_fired")?.unbind(),
            settle: this.getattr("_settle")?.unbind(),
        };
        core.callbacks.replace(Some(callbacks));
        let harvest = this.getattr("_harvest")?;
        core.host.event_loop.bind(py).call_method1("add_reader", (this.get().fd, harvest))?;
        if let Some(watch) = &core.watch {
            let (shared, origin) = (watch.get().shared().clone(), watch.get().origin().clone_ref(py));
            let event_loop = core.host.event_loop.bind(py);
            core.detector.replace(Some(Detector::start(event_loop, shared, core.reactor.pinger(), origin)?));
        }
        // What was spawned before had nobody to schedule it.
        core.schedule();
        Ok(())
    }

    fn fileno(&self) -> RawFd {
        self.fd
    }

    fn listen(&self, fd: RawFd) -> PyResult<()> {
        let fd = duplicate(fd)?;
        self.open()?.server.listen(fd)?;
        Ok(())
    }

    fn share(&self, fd: RawFd, slot: usize, slots: usize) -> PyResult<()> {
        let share =
            Share::join(duplicate(fd)?, slot, slots).map_err(|error| PyValueError::new_err(error.to_string()))?;
        self.open()?.server.set_share(share);
        Ok(())
    }

    #[pyo3(signature = (plans))]
    fn set_plans(&self, plans: Option<Py<Plans>>) -> PyResult<()> {
        self.open()?.bridge.set_plans(plans);
        Ok(())
    }

    fn drain(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let core = self.open()?;
        if let Some(future) = &*core.drained.borrow() {
            return Ok(future.clone_ref(py));
        }
        let future = core.host.future(py)?.unbind();
        core.drained.replace(Some(future.clone_ref(py)));
        core.server.drain();
        core.check_drained(py)?;
        Ok(future)
    }

    fn cancel(&self, py: Python<'_>, message: &str) -> PyResult<usize> {
        let core = self.open()?;
        core.bridge.set_cancelling();
        core.host.cancel_all(py, message)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.core.get()?;
        if core.closed.replace(true) {
            return Ok(());
        }
        let detector = core.detector.take();
        if let Some(detector) = detector {
            detector.stop(py);
        }
        core.reactor.clear();
        core.timer.cancel(py)?;
        core.bridge.close();
        let callbacks = core.callbacks.take();
        if callbacks.is_some() {
            core.host.event_loop.bind(py).call_method1("remove_reader", (self.fd,))?;
        }
        core.on_request_limit.take();
        core.host.graveyard.empty();
        core.check_drained(py)
    }

    fn abandon(&self, py: Python<'_>) {
        // Held for the whole of it; see `host::loop_bound`.
        let _ = py;
        self.core.abandon();
    }

    #[getter]
    fn connections(&self) -> PyResult<usize> {
        Ok(self.core.get()?.server.connections())
    }

    #[getter]
    fn tasks(&self) -> PyResult<usize> {
        Ok(self.core.get()?.host.running())
    }

    #[getter]
    fn total_requests(&self) -> PyResult<u64> {
        Ok(self.core.get()?.bridge.total_requests())
    }

    #[getter]
    fn thread_waits(&self) -> PyResult<(u64, f64, f64)> {
        let waits = self.core.get()?.bridge.thread_waits();
        Ok((waits.calls, waits.total.as_secs_f64(), waits.longest.as_secs_f64()))
    }

    /// The reader callback: the engine's descriptor is readable.
    fn _harvest(&self) -> PyResult<()> {
        let core = self.core.get()?;
        core.reactor.harvest()?;
        if let Some(watch) = &core.host.watch {
            watch.answer(core.server.connections());
        }
        Ok(())
    }

    /// Runs what is due, for `BUDGET` at the most.
    fn _run(&self, py: Python<'_>) -> PyResult<()> {
        self.core.get()?.run(py)
    }

    fn _timer_fired(&self) -> PyResult<()> {
        let core = self.core.get()?;
        core.timer.fired();
        // Not `run` itself: that belongs to the callback which was scheduled for it. A run besides would let the one that is
        // queued schedule another, and each would go on doing so: many budgets in one iteration of the loop.
        core.reactor.request_run();
        Ok(())
    }

    /// Some turns after a stall.
    fn _settle(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(watch) = &self.core.get()?.host.watch {
            watch.settle(py);
        }
        Ok(())
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let Some(core) = self.core.get_here() else {
            return Ok(());
        };
        if let Ok(callbacks) = core.callbacks.try_borrow()
            && let Some(callbacks) = &*callbacks
        {
            visit.call(&callbacks.run)?;
            visit.call(&callbacks.timer)?;
            visit.call(&callbacks.settle)?;
        }
        visit.call(&core.bridge.app)
    }
}

impl Engine {
    fn open(&self) -> PyResult<&Rc<Core>> {
        let core = self.core.get()?;
        if core.closed.get() { Err(PyRuntimeError::new_err("the engine is closed")) } else { Ok(core) }
    }
}

impl Core {
    fn install_hooks(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        self.reactor.on_schedule(move || with(&weak, |core| core.schedule()));
        let weak = Rc::downgrade(self);
        self.reactor.on_panic(move |panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            with(&weak, |core| AsgiApplication(core.bridge.clone()).report(Report::Panicked(&message)));
        });
        if let Some(watch) = &self.host.watch {
            let weak = Rc::downgrade(self);
            watch.set_schedule_settling(Rc::new(move || with(&weak, |core| core.schedule_settling())));
            // Weak: the watch has the reactor.
            let weak = Rc::downgrade(watch);
            self.reactor.on_poll_end(move |now| {
                if let Some(watch) = weak.upgrade() {
                    watch.poll_ended(now);
                }
            });
        }
        let weak = Rc::downgrade(self);
        self.host.set_on_idle(Rc::new(move |py| with(&weak, |core| report(py, core.check_drained(py)))));
    }

    /// Has the loop call `run` soon.
    fn schedule(&self) {
        Python::attach(|py| {
            let run = self.callbacks.borrow().as_ref().map(|callbacks| callbacks.run.clone_ref(py));
            if let Some(run) = run {
                report(py, self.host.call_soon(py, run.bind(py)));
            }
        });
    }

    /// Has the loop call `_settle` soon.
    fn schedule_settling(&self) {
        Python::attach(|py| {
            let settle = self.callbacks.borrow().as_ref().map(|callbacks| callbacks.settle.clone_ref(py));
            if let Some(settle) = settle {
                report(py, self.host.call_soon(py, settle.bind(py)));
            }
        });
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.get() {
            return Ok(());
        }
        if let Some(watch) = &self.host.watch {
            watch.runs(py);
        }
        self.host.within_run(py, || self.reactor.run(BUDGET))?;
        self.host.graveyard.empty();
        let timer = self.callbacks.borrow().as_ref().map(|callbacks| callbacks.timer.clone_ref(py));
        if let Some(timer) = timer {
            self.timer.arm(py, &self.host, &self.reactor, timer.bind(py))?;
        }
        if self.drained.borrow().is_some() {
            self.check_drained(py)?;
        }
        if self.request_limit.is_some_and(|limit| self.bridge.total_requests() >= limit) {
            let callback = self.on_request_limit.take();
            if let Some(callback) = callback {
                callback.bind(py).call0()?;
            }
        }
        self.host.take_fatal().map_or(Ok(()), Err)
    }

    /// Completes the future of `drain` when nothing is left.
    fn check_drained(&self, py: Python<'_>) -> PyResult<()> {
        if self.host.running() != 0 || self.server.connections() != 0 {
            return Ok(());
        }
        let Some(future) = self.drained.borrow().as_ref().map(|future| future.clone_ref(py)) else {
            return Ok(());
        };
        let future = future.bind(py);
        if !future.call_method0("done")?.is_truthy()? {
            future.call_method1("set_result", (py.None(),))?;
        }
        Ok(())
    }
}

fn with(core: &Weak<Core>, act: impl FnOnce(&Core)) {
    if let Some(core) = core.upgrade() {
        act(&core);
    }
}

/// For errors in hooks, which have no caller to tell.
fn report(py: Python<'_>, result: PyResult<()>) {
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}

pub(crate) fn duplicate(fd: RawFd) -> PyResult<OwnedFd> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!("not a file descriptor: {fd}")));
    }
    ffi::with_descriptor(fd, |fd: BorrowedFd<'_>| fd.try_clone_to_owned()).map_err(PyErr::from)
}

/// How long the engine may keep the loop from its other callbacks.
const BUDGET: Duration = Duration::from_micros(500);
