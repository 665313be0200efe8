//! The listener's Python face, see `_overdrive.pyi`.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::listener::{Listening, Opening};
use crate::watch::python::PyWatch;

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Inspector {
    listening: Mutex<Option<Listening>>,
}

#[pymethods]
impl Inspector {
    #[new]
    #[pyo3(signature = (sockets, *, token, nonce, watch = None))]
    fn new(sockets: Vec<RawFd>, token: String, nonce: String, watch: Option<&Bound<'_, PyWatch>>) -> PyResult<Inspector> {
        let opening = Opening {
            sockets: sockets.into_iter().map(listener).collect::<PyResult<_>>()?,
            token,
            nonce,
            watch: watch.map(|watch| watch.get().shared().clone()),
        };
        Ok(Inspector { listening: Mutex::new(Some(Listening::start(opening)?)) })
    }

    fn close(&self, py: Python<'_>) {
        let listening = self.listening.lock().expect("no code panics while holding it").take();
        if let Some(listening) = listening {
            py.detach(|| listening.stop());
        }
    }
}

/// A duplicate of a descriptor that the caller keeps.
fn listener(fd: RawFd) -> PyResult<TcpListener> {
    if fd < 0 {
        return Err(PyRuntimeError::new_err("the socket is closed"));
    }
    // SAFETY: the caller has it open for the length of this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?.into())
}
