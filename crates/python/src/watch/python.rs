//! `Watch`: the watch's Python face, see `_overdrive.pyi`. Everything here copies; nothing is held while Python runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use overdrive_reactor::Handle;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::blame::Libraries;
use super::collector::CollectorCallback;
use super::moment::{Moment, seconds};
use super::number::BOUNDS;
use super::places::{Fault, culprit, outside_of_requests};
use super::report::table;
use super::route::{Pattern, Route};
use super::source::Sources;
use super::stack::Frame;
use super::stall::{Culprit, Stall};
use super::unawaited::UnawaitedCallback;
use super::verdict::{Verdict, verdicts};
use super::{Shared, Watch};

/// See `_overdrive.pyi`.
#[pyclass(frozen, weakref, name = "Watch", module = "overdrive._overdrive")]
pub(crate) struct PyWatch {
    shared: Arc<Shared>,
    describe: Py<PyAny>,
    on_stall: Py<PyAny>,
    origin: Py<PyAny>,
}

#[pymethods]
impl PyWatch {
    #[new]
    #[pyo3(signature = (*, threshold, describe, on_stall, origin, libraries))]
    fn new(
        threshold: f64,
        describe: Py<PyAny>,
        on_stall: Py<PyAny>,
        origin: Py<PyAny>,
        libraries: (Vec<String>, Vec<String>, Vec<String>),
    ) -> PyResult<PyWatch> {
        if !(threshold.is_finite() && threshold >= 0.001) {
            return Err(PyValueError::new_err(format!("threshold: 0.001 seconds at the least, not {threshold}")));
        }
        let (own, python, packages) = libraries;
        let libraries = Libraries { own, python, packages };
        Ok(PyWatch { shared: Arc::new(Shared::new((threshold * 1e9) as u64, libraries)), describe, on_stall, origin })
    }

    /// One dict a route.
    fn routes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let routes = self.shared.routes.snapshot();
        PyList::new(py, routes.iter().map(|one| route(py, one)).collect::<PyResult<Vec<_>>>()?)
    }

    /// What a route is called, by its place.
    fn route_name<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.shared.routes.get(place).map(|route| name(py, &route)).transpose()
    }

    /// The place of the route that a request has found, by its number.
    fn found_route(&self, request: u64) -> Option<usize> {
        self.shared.found.of(request)
    }

    /// What `gc.callbacks` is to call, so that pauses are known.
    fn collector(&self) -> CollectorCallback {
        CollectorCallback::new(self.shared.clone())
    }

    /// What Python is to call for each coroutine that dies without having begun: it warns as `warn` does, and calls `note`.
    #[staticmethod]
    fn unawaited(warn: Py<PyAny>, note: Py<PyAny>) -> UnawaitedCallback {
        UnawaitedCallback::new(warn, note)
    }

    /// How often the garbage collector ran, for how many seconds in all, and at the longest.
    fn collections(&self) -> (u64, f64, f64) {
        let collector = &self.shared.collector;
        (collector.runs.get(), seconds(collector.total.get()), seconds(collector.longest.get()))
    }

    /// What anyio's limiter has: calls that may run on threads at a time, those that do, those that wait.
    fn note_threads(&self, limit: u64, taken: u64, wanted: u64) {
        self.shared.totals.note_limiter(limit, taken, wanted);
    }

    /// What the loop as a whole has come to.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = &self.shared.totals;
        let (threads_busy, threads_queued) = totals.threads();
        let dict = PyDict::new(py);
        for (name, number) in [
            ("in_flight", totals.in_flight()),
            ("connections", totals.connections.get()),
            ("stalls", totals.stalls.get()),
            ("threads_limit", totals.threads_limit.get()),
            ("threads_busy", threads_busy),
            ("threads_queued", threads_queued),
            ("collections", self.shared.collector.runs.get()),
        ] {
            dict.set_item(name, number)?;
        }
        dict.set_item("stalled", seconds(totals.stalled.get()))?;
        dict.set_item("stepped", seconds(totals.stepped.get()))?;
        dict.set_item("collecting", seconds(self.shared.collector.total.get()))?;
        Ok(dict)
    }

    /// Counts something that went wrong in silence.
    fn note_fault(&self, text: &str, remedy: &str) {
        self.shared.places().note(text, remedy);
    }

    /// Text, remedy and count of each.
    fn faults(&self) -> Vec<(String, String, u64)> {
        let places = self.shared.places();
        places.faults.iter().map(|fault| (fault.text.clone(), fault.remedy.clone(), fault.count)).collect()
    }

    /// One dict an endpoint.
    fn verdicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let verdicts = self.judge().0;
        PyList::new(py, verdicts.iter().map(|one| verdict(py, one)).collect::<PyResult<Vec<_>>>()?)
    }

    #[pyo3(signature = (*, colors = false))]
    fn report(&self, colors: bool) -> String {
        let (verdicts, faults) = self.judge();
        table(&verdicts, &faults, colors)
    }

    /// Waits for about so many seconds, without the GIL; and for as long as the detector waits for it, to see what keeps
    /// the loop. No longer than until `end_pauses`.
    fn pause(&self, py: Python<'_>, seconds: f64) {
        let ends = Instant::now() + Duration::from_secs_f64(seconds);
        py.detach(|| {
            let mut over = self.shared.pauses.over();
            while !*over && (Instant::now() < ends || self.shared.is_stall_unseen()) {
                let left = ends.saturating_duration_since(Instant::now()).clamp(MOMENT, PATIENCE);
                over = self.shared.pauses.wait(over, left);
            }
        });
    }

    /// Ends the pause that is under way, and all that are to come.
    fn end_pauses(&self, py: Python<'_>) {
        py.detach(|| self.shared.pauses.end());
    }

    /// The stall that is under way.
    fn under_way<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let stall = self.shared.under_way.lock().clone();
        let routes = self.shared.routes.snapshot();
        stall.map(|stall| describe_stall(py, &stall, &routes)).transpose()
    }

    /// The server itself is about to keep the loop's thread, which is nobody's fault.
    fn suspend(&self) {
        self.shared.suspended.store(true, Ordering::Relaxed);
    }

    /// From now on the loop is expected to answer again.
    fn resume(&self) {
        self.shared.pulse.answer(Moment::now());
        self.shared.suspended.store(false, Ordering::Relaxed);
    }

    /// How often the machine, rather than the loop, was slow.
    #[getter]
    fn slow_machine(&self) -> u64 {
        self.shared.slow_machine.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.describe)?;
        visit.call(&self.origin)?;
        visit.call(&self.on_stall)
    }
}

impl PyWatch {
    fn judge(&self) -> (Vec<Verdict>, Vec<Fault>) {
        let tallies = self.shared.tallies(&Sources::new());
        let (places, faults) = self.shared.places_so_far();
        (verdicts(&tallies, &places, seconds(self.shared.threshold)), faults)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn origin(&self) -> &Py<PyAny> {
        &self.origin
    }

    /// The watch of the calling thread's loop.
    pub(crate) fn on_loop(&self, py: Python<'_>, reactor: Handle) -> std::rc::Rc<Watch> {
        Watch::new(
            self.shared.clone(),
            reactor,
            self.describe.clone_ref(py),
            self.on_stall.clone_ref(py),
            self.origin.clone_ref(py),
        )
    }
}

fn verdict<'py>(py: Python<'py>, verdict: &Verdict) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("endpoint", &verdict.endpoint)?;
    dict.set_item("pattern", &verdict.pattern)?;
    dict.set_item("requests", verdict.requests)?;
    dict.set_item("concurrency", verdict.concurrency)?;
    dict.set_item("longest", verdict.longest)?;
    dict.set_item("total", verdict.total)?;
    dict.set_item("delay", verdict.delay)?;
    dict.set_item("word", verdict.word.text())?;
    dict.set_item("line", &verdict.line)?;
    dict.set_item("remedy", &verdict.remedy)?;
    Ok(dict)
}

/// A stall, with its route.
pub(super) fn describe_stall<'py>(
    py: Python<'py>,
    stall: &Stall,
    routes: &[Arc<Route>],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let serial = match &stall.culprit {
        Culprit::Request { serial, .. } => Some(*serial),
        Culprit::Elsewhere(_) | Culprit::OtherThread(_) => None,
    };
    let route = stall.culprit.route().and_then(|place| routes.get(place));
    let task = stall.culprit.task();
    dict.set_item("request", serial)?;
    dict.set_item("line", stall.culprit.line())?;
    dict.set_item("task", outside_of_requests(&stall.culprit))?;
    dict.set_item("culprit", culprit(&stall.culprit, route.map(|route| &**route)))?;
    dict.set_item("route", route.map(|route| name(py, route)).transpose()?)?;
    dict.set_item("started_by", task.and_then(|task| task.origin.as_ref()).and_then(|origin| origin.text(routes)))?;
    let beside = if let Culprit::OtherThread(place) = &stall.culprit { *place } else { None };
    dict.set_item("beside", beside.and_then(|place| routes.get(place)).map(|route| route.name.full_text()))?;
    let ended = if stall.ended.is_none() { Moment::now() } else { stall.ended };
    dict.set_item("seconds", seconds(ended.since(stall.began)))?;
    dict.set_item("is_over", !stall.ended.is_none())?;
    dict.set_item("waited", stall.waited)?;
    dict.set_item("delayed", seconds(stall.delayed))?;
    dict.set_item("collected", seconds(stall.collected))?;
    let samples = stall.samples.iter().map(|sample| {
        let stack =
            PyTuple::new(py, sample.stack.iter().map(|frame| frame_tuple(py, frame)).collect::<PyResult<Vec<_>>>()?)?;
        PyTuple::new(py, [seconds(sample.at.since(stall.began)).into_pyobject(py)?.into_any(), stack.into_any()])
    });
    dict.set_item("samples", PyList::new(py, samples.collect::<PyResult<Vec<_>>>()?)?)?;
    Ok(dict)
}

fn frame_tuple<'py>(py: Python<'py>, frame: &Frame) -> PyResult<Bound<'py, PyTuple>> {
    (&frame.file, frame.line, &frame.function).into_pyobject(py)
}

fn name<'py>(py: Python<'py>, route: &Route) -> PyResult<Bound<'py, PyTuple>> {
    (&route.name.method, &route.name.path, &route.name.endpoint).into_pyobject(py)
}

fn route<'py>(py: Python<'py>, route: &Route) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("method", &route.name.method)?;
    dict.set_item("path", &route.name.path)?;
    dict.set_item("endpoint", &route.name.endpoint)?;
    let pattern = match route.pattern {
        Pattern::Async => "async",
        Pattern::Def => "def",
        Pattern::Unknown => "",
    };
    dict.set_item("pattern", pattern)?;
    dict.set_item("file", &route.place.0)?;
    dict.set_item("lineno", route.place.1)?;
    for (name, number) in [
        ("requests", &route.requests),
        ("in_flight", &route.in_flight),
        ("most_in_flight", &route.most_in_flight),
        ("steps", &route.steps),
        ("waits", &route.waits),
        ("thread_calls", &route.thread_calls),
        ("stalls", &route.stalls),
    ] {
        dict.set_item(name, number.get())?;
    }
    for (name, number) in [
        ("loop_time", &route.loop_time),
        ("longest_step", &route.longest_step),
        ("waited", &route.waited),
        ("thread_queued", &route.thread_queued),
        ("longest_thread_queue", &route.longest_thread_queue),
        ("thread_ran", &route.thread_ran),
        ("longest_thread_run", &route.longest_thread_run),
        ("afterwards", &route.afterwards),
        ("stalled", &route.stalled),
        ("delayed_others", &route.delayed_others),
        ("delayed", &route.delayed),
    ] {
        dict.set_item(name, seconds(number.get()))?;
    }
    dict.set_item("statuses", route.statuses())?;
    let (counts, sum) = route.latency();
    let buckets = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]).zip(counts);
    dict.set_item("latency", PyList::new(py, buckets)?)?;
    dict.set_item("latency_sum", seconds(sum))?;
    dict.set_item("longest_latency", seconds(route.longest_latency()))?;
    Ok(dict)
}

const MOMENT: Duration = Duration::from_millis(5);
/// [`PyWatch::pause`] looks up so often.
const PATIENCE: Duration = Duration::from_millis(50);
