//! The Python stack of a thread, as plain text.
//!
//! Taken by the watcher's thread while the loop's is stalled, so no bytecode runs here: a pure Python function could be
//! interrupted, and block on what the loop's thread holds.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::blame::Libraries;
use crate::host::ffi;

/// A line of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) function: String,
}

/// The stack of the Python thread `ident`, innermost first, without its `below` outermost frames.
pub(crate) fn of_thread(py: Python<'_>, ident: u64, below: usize) -> PyResult<Vec<Frame>> {
    // Before Python 3.12 the garbage collector runs in whichever thread allocates: not in this one.
    let _pause = ffi::CollectorPause::new(py);
    let frames = py.import(pyo3::intern!(py, "sys"))?.call_method0(pyo3::intern!(py, "_current_frames"))?;
    let Some(innermost) = frames.cast::<PyDict>()?.get_item(ident)? else { return Ok(Vec::new()) };
    let above = depth(&innermost)?.saturating_sub(below);
    frames_of(innermost, above)
}

/// The stack of the thread beside `ident` that runs the user's code; `None` unless there is one such thread.
pub(crate) fn of_the_other(py: Python<'_>, ident: u64, libraries: &Libraries) -> PyResult<Option<Vec<Frame>>> {
    let _pause = ffi::CollectorPause::new(py);
    let frames = py.import(pyo3::intern!(py, "sys"))?.call_method0(pyo3::intern!(py, "_current_frames"))?;
    let mut found = None;
    for (other, innermost) in frames.cast::<PyDict>()?.iter() {
        if other.extract::<u64>()? == ident {
            continue;
        }
        let stack = frames_of(innermost, DEPTH)?;
        let waits = stack.first().is_some_and(|frame| WAITING.iter().any(|file| frame.file.ends_with(file)));
        if !waits && stack.iter().any(|frame| libraries.is_users(&frame.file)) && found.replace(stack).is_some() {
            return Ok(None);
        }
    }
    Ok(found)
}

/// The stack that ends in `innermost`, as far as its frame `above` of all.
fn frames_of(innermost: Bound<'_, PyAny>, above: usize) -> PyResult<Vec<Frame>> {
    let py = innermost.py();
    let mut stack = Vec::new();
    let mut next = Some(innermost);
    while let Some(frame) = next.take().filter(|_| stack.len() < above.min(DEPTH)) {
        let code = frame.getattr(pyo3::intern!(py, "f_code"))?;
        let text = |name: &Bound<'_, PyString>| PyResult::Ok(code.getattr(name)?.str()?.to_string_lossy().into_owned());
        stack.push(Frame {
            file: text(pyo3::intern!(py, "co_filename"))?,
            // None where the compiler has made an instruction that belongs to no line.
            line: frame.getattr(pyo3::intern!(py, "f_lineno"))?.extract().unwrap_or(0),
            function: text(pyo3::intern!(py, "co_qualname"))?,
        });
        next = Some(frame.getattr(pyo3::intern!(py, "f_back"))?).filter(|outer| !outer.is_none());
    }
    Ok(stack)
}

/// How many frames the calling thread has now.
pub(crate) fn depth_here(py: Python<'_>) -> PyResult<usize> {
    depth(&py.import(pyo3::intern!(py, "sys"))?.call_method0(pyo3::intern!(py, "_getframe"))?)
}

fn depth(innermost: &Bound<'_, PyAny>) -> PyResult<usize> {
    let mut depth = 0;
    let mut next = innermost.clone();
    while !next.is_none() {
        depth += 1;
        next = next.getattr(pyo3::intern!(innermost.py(), "f_back"))?;
    }
    Ok(depth)
}

/// Files of Python's library in which a thread waits, without the GIL.
const WAITING: [&str; 4] = ["/threading.py", "/queue.py", "/selectors.py", "/concurrent/futures/_base.py"];
const DEPTH: usize = 200;
