//! Whether the result of a call goes straight into an `await`.
//!
//! `await socket.receive_text()` never lets go of what the method returns: that need be nothing but an iterator. Whatever else
//! is done with the result (`create_task`, `start_soon`, `inspect.iscoroutine`) may look whether it is a coroutine. The
//! caller's bytecode tells the two apart: in the one case the instruction after the call is `GET_AWAITABLE`.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::ffi;

/// What is known of the places that calls came from; the places that are met most, most likely.
pub(crate) struct CallSites {
    places: RefCell<Vec<Option<CallSite>>>,
    opcodes: Opcodes,
}

struct CallSite {
    /// Held, so that no other code gets its address.
    code: Py<PyAny>,
    at: usize,
    is_awaited: bool,
}

/// The numbers of some instructions on this Python, if it has them.
struct Opcodes {
    get_awaitable: Option<u8>,
    /// Python 3.11: comes before `CALL`, and may do its work.
    precall: Option<u8>,
}

impl CallSites {
    pub(crate) fn new(py: Python<'_>) -> PyResult<CallSites> {
        let numbers = py.import("opcode")?.getattr("opmap")?;
        let number = |name: &str| numbers.get_item(name).and_then(|number| number.extract::<u8>()).ok();
        let opcodes = Opcodes { get_awaitable: number("GET_AWAITABLE"), precall: number("PRECALL") };
        Ok(CallSites { places: RefCell::new((0..PLACES).map(|_| None).collect()), opcodes })
    }

    /// Whether the function that Python code has called just now, and that is asking here, is called by an `await`.
    pub(crate) fn is_awaited(&self, py: Python<'_>) -> bool {
        let Some((code, at)) = ffi::call_site(py) else { return false };
        let place = (code.as_ptr() as usize / 16 + at) % PLACES;
        if let Some(known) = &self.places.borrow()[place]
            && known.at == at
            && known.code.is(&code)
        {
            return known.is_awaited;
        }
        let is_awaited = self.opcodes.awaits(&code, at).unwrap_or(false);
        let site = CallSite { code: code.unbind(), at, is_awaited };
        let replaced = self.places.borrow_mut()[place].replace(site);
        drop(replaced);
        is_awaited
    }
}

impl Opcodes {
    fn awaits(&self, code: &Bound<'_, PyAny>, at: usize) -> PyResult<bool> {
        let code = code.getattr("co_code")?;
        let code = code.cast::<PyBytes>()?.as_bytes();
        // Pairs of instruction and argument; caches are instructions of number 0.
        let mut after = code.iter().skip(at).step_by(2);
        let call = after.next();
        let mut after = after.filter(|opcode| **opcode != 0);
        if call.is_some() && call == self.precall.as_ref() {
            after.next();
        }
        Ok(self.get_awaitable.is_some() && after.next() == self.get_awaitable.as_ref())
    }
}

const PLACES: usize = 64;
