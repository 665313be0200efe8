//! The C calls that PyO3 has no safe face for. `unsafe`, each a thin wrapper with its own reason.

use std::hint::black_box;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyTuple, PyType};

/// `callable(*args, **{name: value for name, value in zip(names, …)})`: the values of `names` are the last of `args`.
///
/// PyO3 passes keywords as a dict, which the callee takes apart again; this is the vectorcall protocol itself (PEP 590).
pub(crate) fn call_with_names<'py, const N: usize>(
    callable: &Bound<'py, PyAny>,
    args: [&Bound<'py, PyAny>; N],
    names: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let pointers = args.map(Bound::as_ptr);
    let positional = N - names.len();
    // SAFETY: the pointers are borrowed from live objects for the length of the call, there are `positional` arguments and
    // as many values as names behind them, and the result is a new reference or null with an exception set.
    unsafe {
        let result = vectorcall(callable, pointers.as_ptr(), positional, names.as_ptr());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Resumes a coroutine or iterator: `gen.send(value)` without an attribute look-up and without `StopIteration`.
pub(crate) fn send<'py>(iterator: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<PySendResult<'py>> {
    let py = iterator.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both are live objects; `PyIter_Send` accepts any object, and fills `result` with a new reference unless it
    // reports an error, for which it has set an exception. The type is the same but for how it may be left.
    unsafe {
        let send: unsafe extern "C" fn(_, _, _) -> _ = ffi::PyIter_Send;
        let send: Send = std::mem::transmute(black_box(send));
        let stop = StopForGood;
        let sent = send(iterator.as_ptr(), value.as_ptr(), &raw mut result);
        std::mem::forget(stop);
        match sent {
            ffi::PySendResult::PYGEN_RETURN => Ok(PySendResult::Return(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_NEXT => Ok(PySendResult::Next(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// `iterator.throw(…)`, with the iterator's end as a result rather than as an exception.
///
/// An iterator without the method sees nothing of the exception (PEP 380).
pub(crate) fn throw<'py>(
    iterator: &Bound<'py, PyAny>,
    (kind, value, traceback): (&Bound<'py, PyAny>, Option<&Bound<'py, PyAny>>, Option<&Bound<'py, PyAny>>),
) -> PyResult<PySendResult<'py>> {
    let py = iterator.py();
    let Some(throw) = iterator.getattr_opt(pyo3::intern!(py, "throw"))? else {
        return Err(super::awaited::thrown(kind, value, traceback));
    };
    let none = py.None();
    let pointer = |given: Option<&Bound<'py, PyAny>>| given.map_or(none.as_ptr(), Bound::as_ptr);
    let pointers = [kind.as_ptr(), pointer(value), pointer(traceback)];
    // The form with several arguments is deprecated from Python 3.12 on.
    let count = if value.is_none() && traceback.is_none() { 1 } else { pointers.len() };
    // SAFETY: borrowed from live objects for the length of the call; a new reference or null with an exception set.
    let result = unsafe {
        let result = vectorcall(&throw, pointers.as_ptr(), count, std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, result)
    };
    match result {
        Ok(yielded) => Ok(PySendResult::Next(yielded)),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
            Ok(PySendResult::Return(error.value(py).getattr("value")?))
        }
        Err(error) => Err(error),
    }
}

type Send =
    unsafe extern "C-unwind" fn(*mut ffi::PyObject, *mut ffi::PyObject, *mut *mut ffi::PyObject) -> ffi::PySendResult;

type Vectorcall = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// `PyObject_Vectorcall`.
///
/// # Safety
/// As of that; `arguments` are `count` positional ones, and the values of `names` (a tuple, or null) behind them.
unsafe fn vectorcall(
    callable: &Bound<'_, PyAny>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let call: unsafe extern "C" fn(_, _, _, _) -> _ = ffi::PyObject_Vectorcall;
    // SAFETY: the type is the same but for how it may be left, and the caller vouches for the arguments.
    unsafe {
        let call: Vectorcall = std::mem::transmute(black_box(call));
        let stop = StopForGood;
        let result = call(callable.as_ptr(), arguments, count, names);
        std::mem::forget(stop);
        result
    }
}

/// Around calls into code of the user's: a thread that is ended in there stops here instead, for good.
///
/// Once the interpreter is finalized, a daemon thread that asks for the GIL is ended by `pthread_exit`, which unwinds its stack.
/// That must not come through our frames: `catch_unwind` in one of them would end the process. From Python 3.14 on the
/// interpreter itself has such threads stop, and PyO3 does so where it takes the GIL. Nothing else unwinds out of C code.
///
/// The functions are called through [`black_box`], as the compiler knows them as ones that nothing unwinds out of.
struct StopForGood;

impl Drop for StopForGood {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// The code of the innermost Python function, and the place in it where it is, in bytes.
pub(crate) fn call_site(py: Python<'_>) -> Option<(Bound<'_, PyAny>, usize)> {
    // SAFETY: the frame is borrowed from the running thread, and lives as long as nothing else runs; its code is a new
    // reference, never null.
    unsafe {
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return None;
        }
        let at = usize::try_from(ffi::PyFrame_GetLasti(frame)).ok()?;
        Some((Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(frame).cast()), at))
    }
}

/// The `__dict__` of an object that has one.
pub(crate) fn instance_dict<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
    // SAFETY: a live object; gives a new reference to its dict, or null with an exception set.
    unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Ok(Bound::from_owned_ptr_or_err(object.py(), dict)?.cast_into()?)
    }
}

/// `object.__setattr__(name, value)`; without a value `object.__delattr__(name)`.
pub(crate) fn set_attribute(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: live objects, or null for a value, which deletes; anything but a string as name gives an error.
    match unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(object.py())),
    }
}

/// The value of a key, as an address to compare; null if there is none.
pub(crate) fn value_at(
    dict: &Bound<'_, pyo3::types::PyDict>,
    key: &Bound<'_, pyo3::types::PyString>,
) -> *mut ffi::PyObject {
    // SAFETY: live objects; a borrowed reference that is never looked into, or null without an exception, as strings can be
    // hashed and compared.
    unsafe { ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr()) }
}

/// The object that a method of a class in C or Rust is bound to.
pub(crate) fn bound_to<'py>(method: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the type is checked before it is asked; a borrowed reference or null.
    unsafe {
        if ffi::PyCFunction_Check(method.as_ptr()) == 0 {
            return None;
        }
        Bound::from_borrowed_ptr_or_opt(method.py(), ffi::PyCFunction_GetSelf(method.as_ptr()))
    }
}

/// Whether an object is a coroutine of an `async def` function.
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: reads the type of a live object.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// `context.copy()`.
pub(crate) fn copy_context<'py>(context: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object; anything but a `Context` gives a `TypeError`.
    unsafe { Bound::from_owned_ptr_or_err(context.py(), ffi::PyContext_Copy(context.as_ptr())) }
}

/// `contextvars.Context()`.
pub(crate) fn new_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: takes nothing; gives a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) }
}

/// `callable(**dict(zip(names, values)))`; all the values must be there.
pub(crate) fn call_keywords<'py>(
    callable: &Bound<'py, PyAny>,
    values: &[Option<Py<PyAny>>],
    names: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    assert_eq!(values.len(), names.len());
    assert!(values.iter().all(Option::is_some));
    // SAFETY: `Option<Py<PyAny>>` that is not `None` is a pointer to a live object and nothing else (`Py` is a transparent
    // wrapper of a `NonNull`), borrowed for the length of the call; there are as many values as names, and the result is a new
    // reference or null with an exception set.
    unsafe {
        let result = vectorcall(callable, values.as_ptr().cast(), 0, names.as_ptr());
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// An object of a class whose constructor is not to run: `class.__new__(class)`.
pub(crate) fn new_instance<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let none = PyTuple::empty(py);
    // SAFETY: a live type, whose slot was inherited or set when the class was made, and takes a tuple and perhaps a dict; the
    // result is a new reference or null with an exception set.
    unsafe {
        let make = (*class.as_type_ptr()).tp_new.expect("classes made in Python inherit one from object");
        Bound::from_owned_ptr_or_err(py, make(class.as_type_ptr(), none.as_ptr(), std::ptr::null_mut()))
    }
}

/// Appends `repr(value)` of a finite float.
pub(crate) fn write_float(py: Python<'_>, value: f64, out: &mut Vec<u8>) -> PyResult<()> {
    // SAFETY: `r` with precision 0 is the shortest text that reads back as the same number (`float.__repr__`); the result is
    // a C string of our own, freed here, or null with an exception set.
    unsafe {
        let text = ffi::PyOS_double_to_string(value, b'r' as _, 0, ffi::Py_DTSF_ADD_DOT_0, std::ptr::null_mut());
        if text.is_null() {
            return Err(PyErr::fetch(py));
        }
        out.extend_from_slice(std::ffi::CStr::from_ptr(text).to_bytes());
        ffi::PyMem_Free(text.cast());
    }
    Ok(())
}

/// Lends the descriptor that a Python number stands for.
pub(crate) fn with_descriptor<T>(fd: std::os::fd::RawFd, act: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> T) -> T {
    // SAFETY: not -1, which the callers check; if it is closed, the system calls made on it fail, as with any number that
    // Python code passes.
    act(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

/// Whether a list holds exactly these objects, in this order.
pub(crate) fn list_is(list: &Bound<'_, pyo3::types::PyList>, items: &[Py<PyAny>]) -> bool {
    let list = list.as_ptr();
    // SAFETY: a live list; its items are read while nothing else runs, and only compared as addresses.
    unsafe {
        ffi::PyList_GET_SIZE(list) == items.len() as ffi::Py_ssize_t
            && (0..items.len())
                .all(|place| std::ptr::eq(ffi::PyList_GET_ITEM(list, place as ffi::Py_ssize_t), items[place].as_ptr()))
    }
}

/// `context.run(act)` without a callable object.
pub(crate) fn in_context<T>(context: &Bound<'_, PyAny>, act: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let py = context.py();
    // SAFETY: a live object; anything but a context that nobody has entered gives an error.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let result = act();
    // SAFETY: entered above, on this thread, and left in reverse order by everybody.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    result
}

/// A copy of the current context.
pub(crate) fn copy_current_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: takes nothing; gives a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// `variable.set(value)` in the current context.
pub(crate) fn set_context_variable(variable: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: live objects; gives a new reference, dropped at once, or null with an exception set.
    unsafe {
        Bound::from_owned_ptr_or_err(variable.py(), ffi::PyContextVar_Set(variable.as_ptr(), value.as_ptr())).map(drop)
    }
}

/// The value of a context variable in the current context, if it has one.
pub(crate) fn get_context_variable<'py>(variable: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: a live object; what it fills in is null or a new reference.
    unsafe {
        if ffi::PyContextVar_Get(variable.as_ptr(), std::ptr::null_mut(), &raw mut value) != 0 {
            let error = PyErr::fetch(variable.py());
            error.write_unraisable(variable.py(), Some(variable));
            return None;
        }
        Bound::from_owned_ptr_or_opt(variable.py(), value)
    }
}

/// How much of the processors this process has used, all threads together.
pub(crate) fn processor_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the structure it is given; the clock exists on every system we build for.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes of a page of memory.
pub(crate) fn page_size() -> u64 {
    // SAFETY: asks for a constant.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// How many descriptors this process may have open.
pub(crate) fn most_descriptors() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills the structure it is given.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { limit.rlim_cur } else { 0 }
}

/// Keeps the garbage collector from running while it lives.
///
/// From Python 3.12 on it runs between two bytecode instructions alone, and there is nothing to do.
pub(crate) struct CollectorPause {
    paused: bool,
}

impl CollectorPause {
    pub(crate) fn new(py: Python<'_>) -> CollectorPause {
        // SAFETY: the GIL is held; gives whether it was on.
        CollectorPause { paused: py.version_info() < (3, 12) && unsafe { ffi::PyGC_Disable() } != 0 }
    }
}

impl Drop for CollectorPause {
    fn drop(&mut self) {
        if self.paused {
            // SAFETY: whoever has made it holds the GIL, and it does not leave that scope.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// The identifier by which the `threading` module knows this thread.
pub(crate) fn thread_ident() -> u64 {
    // SAFETY: takes nothing, and needs no GIL.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}
