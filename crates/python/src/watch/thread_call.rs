//! Calls on threads that a request waits for: those of plans, and those that others have anyio make.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::time::Instant;

use pyo3::prelude::*;

use super::number::Number;
use super::{Timed, Watch, within};
use crate::host::coroutine;
use crate::host::loop_bound::LoopBound;

/// A call on a thread of the plans' pool that somebody waits for. The pool knows whether it runs.
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

/// A call on a thread of anyio's that somebody waits for.
#[must_use = "it counts for as long as it lives"]
pub(super) struct BorrowedCall {
    watch: Rc<Watch>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Wanted,
    Running,
    Over,
}

impl BorrowedCall {
    pub(super) fn new(watch: Rc<Watch>) -> BorrowedCall {
        let call = BorrowedCall { watch, state: Cell::new(State::Over) };
        call.enter(State::Wanted);
        call
    }

    fn enter(&self, state: State) {
        let before = self.state.replace(state);
        if let Some(number) = self.number(before) {
            number.subtract(1);
        }
        if let Some(number) = self.number(state) {
            number.add(1);
        }
    }

    /// Of the calls in that state.
    fn number(&self, state: State) -> Option<&Number> {
        let totals = &self.watch.shared.totals;
        match state {
            State::Wanted => Some(&totals.borrowed_wanted),
            State::Running => Some(&totals.borrowed_running),
            State::Over => None,
        }
    }
}

impl Drop for BorrowedCall {
    fn drop(&mut self) {
        self.enter(State::Over);
    }
}

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct BorrowedThread {
    request: LoopBound<Weak<dyn Timed>>,
    wanted: Instant,
    began: OnceLock<Instant>,
    call: LoopBound<BorrowedCall>,
}

/// See `_overdrive.pyi`.
#[pyfunction]
pub(crate) fn thread_wanted(py: Python<'_>, task: &Bound<'_, PyAny>) -> Option<BorrowedThread> {
    let request = within::request(py).or_else(|| coroutine::request_of(task))?;
    let timed = request.get_here()?.upgrade()?;
    let wanted = Instant::now();
    let call = request.beside(Rc::new(timed.clock()?.wants_borrowed_thread(wanted)));
    Some(BorrowedThread { request, wanted, began: OnceLock::new(), call })
}

#[pymethods]
impl BorrowedThread {
    fn began(&self) {
        let _ = self.began.set(Instant::now());
        self.enter(State::Running);
    }

    fn ended(&self) {
        self.enter(State::Over);
        let Some(timed) = self.request.get_here().and_then(|request| request.upgrade()) else { return };
        if let (Some(clock), Some(began)) = (timed.clock(), self.began.get()) {
            clock.ran_in_thread(self.wanted, *began, Instant::now());
        }
    }
}

impl BorrowedThread {
    fn enter(&self, state: State) {
        if let Some(call) = self.call.get_here() {
            call.enter(state);
        }
    }
}
