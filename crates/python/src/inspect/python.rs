//! The listener's Python face, see `_overdrive.pyi`.

use std::os::fd::RawFd;
use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::feed::{Ear, Feed, hear};
use super::listener::{Listening, Opening};
use crate::engine::duplicate;
use crate::watch::python::PyWatch;

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Inspector {
    open: Mutex<Option<Open>>,
}

struct Open {
    listening: Listening,
    workers: Vec<Ear>,
    /// Names the next worker to the listener.
    next: u64,
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
        let listening = Listening::start(opening)?;
        Ok(Inspector { open: Mutex::new(Some(Open { listening, workers: Vec::new(), next: 1 })) })
    }

    fn add_worker(&self, fd: RawFd, number: u32) -> PyResult<()> {
        let stream = duplicate(fd)?.into();
        let mut open = self.open.lock().expect("no code panics while holding it");
        let open = open.as_mut().ok_or_else(|| PyRuntimeError::new_err("the listener is closed"))?;
        let ear = hear(stream, open.next, number, open.listening.messages.clone())?;
        open.next += 1;
        // Those of workers that have ended long since are worth no descriptor.
        open.workers.retain(Ear::is_open);
        open.workers.push(ear);
        Ok(())
    }

    fn close(&self, py: Python<'_>) {
        let open = self.open.lock().expect("no code panics while holding it").take();
        if let Some(open) = open {
            py.detach(|| {
                drop(open.workers);
                open.listening.stop();
            });
        }
    }
}

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct InspectorFeed {
    feed: Mutex<Option<Feed>>,
}

#[pymethods]
impl InspectorFeed {
    #[new]
    fn new(fd: RawFd, watch: &Bound<'_, PyWatch>) -> PyResult<InspectorFeed> {
        let feed = Feed::start(duplicate(fd)?.into(), watch.get().shared().clone())?;
        Ok(InspectorFeed { feed: Mutex::new(Some(feed)) })
    }

    fn close(&self, py: Python<'_>) {
        let feed = self.feed.lock().expect("no code panics while holding it").take();
        if let Some(feed) = feed {
            py.detach(|| feed.stop());
        }
    }
}
