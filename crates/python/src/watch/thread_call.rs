//! Calls on threads that a request waits for: those of plans, and those that others have anyio make.

use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::time::Instant;

use pyo3::prelude::*;

use super::{Timed, Watch, within};
use crate::host::coroutine;
use crate::host::loop_bound::LoopBound;

/// A call on a thread that somebody waits for.
#[must_use = "it counts for as long as it lives"]
pub(crate) struct ThreadCall(Rc<Watch>);

impl ThreadCall {
    pub(super) fn new(watch: Rc<Watch>) -> ThreadCall {
        watch.shared.totals.thread_calls.add(1);
        ThreadCall(watch)
    }
}

impl Drop for ThreadCall {
    fn drop(&mut self) {
        self.0.shared.totals.thread_calls.subtract(1);
    }
}

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct BorrowedThread {
    request: LoopBound<Weak<dyn Timed>>,
    wanted: Instant,
    began: OnceLock<Instant>,
    _call: LoopBound<ThreadCall>,
}

/// See `_overdrive.pyi`.
#[pyfunction]
pub(crate) fn thread_wanted(py: Python<'_>, task: &Bound<'_, PyAny>) -> Option<BorrowedThread> {
    let request = within::request(py).or_else(|| coroutine::request_of(task))?;
    let timed = request.get_here()?.upgrade()?;
    let wanted = Instant::now();
    let call = request.beside(Rc::new(timed.clock()?.wants_thread(wanted)));
    Some(BorrowedThread { request, wanted, began: OnceLock::new(), _call: call })
}

#[pymethods]
impl BorrowedThread {
    fn began(&self) {
        let _ = self.began.set(Instant::now());
    }

    fn ended(&self) {
        let Some(timed) = self.request.get_here().and_then(|request| request.upgrade()) else { return };
        if let (Some(clock), Some(began)) = (timed.clock(), self.began.get()) {
            clock.ran_in_thread(self.wanted, *began, Instant::now());
        }
    }
}
