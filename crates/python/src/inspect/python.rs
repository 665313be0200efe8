//! The listener's Python face, see `_overdrive.pyi`.

use std::os::fd::RawFd;
use std::sync::Mutex;

use pyo3::prelude::*;

use super::listener::{Listening, Opening};
use crate::engine::duplicate;
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
    fn new(
        sockets: Vec<RawFd>,
        token: String,
        nonce: String,
        watch: Option<&Bound<'_, PyWatch>>,
    ) -> PyResult<Inspector> {
        let opening = Opening {
            sockets: sockets.into_iter().map(|fd| duplicate(fd).map(Into::into)).collect::<PyResult<_>>()?,
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
