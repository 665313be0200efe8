//! Ending an iteration with a value, as `StopIteration(value)` does. `unsafe` for using one exception again and again.
//!
//! Making the exception and taking it apart costs more than all else in an `await` that need not wait. The interpreter
//! takes the value out and lets go of the exception at once, unless somebody wants to see it. So there is one that is
//! raised again while a run of the engine's lasts. Invariants:
//! * it is touched with the GIL held, and changed only while [`KEPT`] holds the one reference to it;
//! * what it carried lives on until it is used again, and no longer than the run: [`Reuse`] empties it;
//! * one that anybody has left a trace in (a traceback, a context) is not used again.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;

/// The exception, or null; a reference of its own.
static KEPT: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// A run is under way, which will empty what is kept.
static IN_RUN: AtomicBool = AtomicBool::new(false);

/// While it lives, the exception is used again.
pub(super) struct Reuse<'py> {
    _py: Python<'py>,
    is_outermost: bool,
}

impl Reuse<'_> {
    pub(super) fn begin(py: Python<'_>) -> Reuse<'_> {
        Reuse { _py: py, is_outermost: !IN_RUN.swap(true, Ordering::Relaxed) }
    }
}

impl Drop for Reuse<'_> {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        IN_RUN.store(false, Ordering::Relaxed);
        let kept = KEPT.swap(ptr::null_mut(), Ordering::Relaxed);
        if kept.is_null() {
            return;
        }
        // SAFETY: `KEPT` held an object of the very type, and its reference is ours now. Letting go of a value may run
        // anything, while the exception is in nobody's hands but ours.
        unsafe {
            if !is_pristine(kept) {
                return ffi::Py_DECREF(kept);
            }
            ffi::Py_XDECREF(ptr::replace(value_of(kept), ptr::null_mut()));
            keep(kept);
        }
    }
}

/// Sets `StopIteration(value)`, to be followed by returning "nothing" from `__next__`.
///
/// PyO3's way, an `Err`, makes the exception twice: once as its own lazy state, once for Python.
#[expect(deprecated, reason = "what has taken the place of PyErr_Restore begins with Python 3.12")]
pub(crate) fn stop_iteration(value: &Bound<'_, PyAny>) {
    let class = value.py().get_type::<PyStopIteration>().as_ptr();
    // SAFETY: live objects, of which `PyErr_Restore` takes over a reference each. The exception is made here, and not by
    // `PyErr_SetObject`, which would take a tuple for its arguments and an exception for itself (PEP 380).
    unsafe {
        if !IN_RUN.load(Ordering::Relaxed) {
            let stop = ffi::PyObject_CallOneArg(class, value.as_ptr());
            if !stop.is_null() {
                ffi::PyErr_Restore(ffi::Py_NewRef(class), stop, ptr::null_mut());
            }
            return;
        }
        let mut stop = KEPT.swap(ptr::null_mut(), Ordering::Relaxed);
        if stop.is_null() || !is_pristine(stop) {
            ffi::Py_XDECREF(stop);
            stop = ffi::PyObject_CallNoArgs(class);
            if stop.is_null() {
                return; // `MemoryError` is set.
            }
        }
        // It may run anything: before an exception is set, and while this one is in nobody's hands but ours.
        ffi::Py_XDECREF(ptr::replace(value_of(stop), ptr::null_mut()));
        *value_of(stop) = ffi::Py_NewRef(value.as_ptr());
        keep(ffi::Py_NewRef(stop));
        ffi::PyErr_Restore(ffi::Py_NewRef(class), stop, ptr::null_mut());
    }
}

/// Puts a reference of ours where it is found again; another that has come there meanwhile is let go.
///
/// # Safety
///
/// `stop` is a `StopIteration` and the reference ours.
unsafe fn keep(stop: *mut ffi::PyObject) {
    let other = KEPT.swap(stop, Ordering::Relaxed);
    // SAFETY: the static's own reference, which nobody has now.
    unsafe { ffi::Py_XDECREF(other) };
}

/// Whether nobody else holds it, and nobody has left anything in it.
///
/// # Safety
///
/// `stop` is a live `StopIteration`.
unsafe fn is_pristine(stop: *mut ffi::PyObject) -> bool {
    // SAFETY: the type of the object, exactly, which has this layout.
    unsafe {
        let object = &*stop.cast::<ffi::PyStopIterationObject>();
        ffi::Py_REFCNT(stop) == 1
            && object.dict.is_null()
            && object.notes.is_null()
            && object.traceback.is_null()
            && object.context.is_null()
            && object.cause.is_null()
    }
}

/// # Safety
///
/// `stop` is a live `StopIteration`.
unsafe fn value_of(stop: *mut ffi::PyObject) -> *mut *mut ffi::PyObject {
    // SAFETY: as above.
    unsafe { &raw mut (*stop.cast::<ffi::PyStopIterationObject>()).value }
}
