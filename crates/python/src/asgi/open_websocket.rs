//! The messages of an open WebSocket, for the methods of Starlette's `WebSocket` that a compiled endpoint calls.
//!
//! [`OpenMessages`] is what the class of `overdrive.compiler.websocket` has before Starlette's among its bases. What its methods
//! return is no coroutine, so they answer for themselves only
//!
//! * when they are called by an `await`, which does not mind (see [`crate::host::call_site`]);
//! * when the connection is open, and both of the object's states say so;
//! * when the object's `receive` and `send` are those of the channel that it was made with, and nobody has put methods of his
//!   own into it.
//!
//! In all other cases, and for all that goes wrong, it is the next class's turn.

use std::sync::atomic::{AtomicIsize, Ordering};
use std::task::Poll;

use overdrive_http::Message as Frame;
use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyBytes, PyDict, PyString, PySuper};

use super::websocket::{Session, WebSocketChannel};
use crate::host::awaited::{self, Awaited, awaited_methods};
use crate::host::loop_bound::LoopBound;
use crate::host::steps::Resume;
use crate::host::{Host, ffi};

/// See the [module](self) and `_overdrive.pyi`.
#[pyclass(subclass, module = "overdrive._overdrive")]
pub(crate) struct OpenMessages {
    /// `None`: what it was made with is not a channel of ours.
    channel: Option<Channel>,
    connected: Py<PyAny>,
    /// How many attributes there were when nothing was found that is not as it was made, and both states were right; -1 since
    /// one has been set.
    checked: AtomicIsize,
    /// The last reception, to be used again.
    spare: Option<Py<Reception>>,
}

struct Channel {
    session: LoopBound<Session>,
    receive: Py<PyAny>,
    send: Py<PyAny>,
}

/// Registers the class with `collections.abc.Coroutine`.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    awaited::register::<Reception>(py)
}

impl Channel {
    fn of(receive: &Bound<'_, PyAny>, send: &Bound<'_, PyAny>) -> PyResult<Option<Channel>> {
        let (Some(channel), Some(of_send)) = (ffi::bound_to(receive), ffi::bound_to(send)) else { return Ok(None) };
        let Ok(channel) = channel.cast_into::<WebSocketChannel>() else { return Ok(None) };
        let named = |method: &Bound<'_, PyAny>, name| method.getattr("__name__")?.eq(name);
        if !of_send.is(&channel) || !named(receive, "receive")? || !named(send, "send")? {
            return Ok(None);
        }
        let Ok(session) = channel.get().session().another() else { return Ok(None) };
        Ok(Some(Channel { session, receive: receive.clone().unbind(), send: send.clone().unbind() }))
    }
}

impl OpenMessages {
    /// What `receive_*` returns, unless it is not for us to say.
    fn reception<'py>(this: &Bound<'py, Self>, wanted: Wanted) -> PyResult<Option<Bound<'py, Reception>>> {
        let py = this.py();
        let spare = {
            let open = this.borrow();
            let Some(channel) = &open.channel else { return Ok(None) };
            let Some(session) = channel.session.get_here() else { return Ok(None) };
            if !session.is_open()
                || !open.is_untouched(this, session.host())?
                || !session.host().call_sites.is_awaited(py)
            {
                return Ok(None);
            }
            drop(open);
            this.borrow_mut().spare.take()
        };
        let reception = match spare {
            Some(spare) => spare.into_bound(py),
            None => {
                let session = match &this.borrow().channel {
                    Some(channel) => channel.session.another()?,
                    None => return Ok(None),
                };
                Bound::new(py, Reception { session, wanted, socket: None, future: None, is_waiting: false })?
            }
        };
        {
            let mut begun = reception.borrow_mut();
            begun.wanted = wanted;
            begun.socket = Some(this.clone().unbind());
        }
        Ok(Some(reception))
    }

    /// Whether both states are those of an open connection, and nobody has put a method of his own into the object.
    fn is_untouched(&self, this: &Bound<'_, Self>, host: &Host) -> PyResult<bool> {
        let Some(channel) = &self.channel else { return Ok(false) };
        let py = this.py();
        let dict = ffi::instance_dict(this)?;
        let count = dict.len() as isize;
        if self.checked.load(Ordering::Relaxed) == count {
            return Ok(true);
        }
        let (names, is) = (&host.names, |name: &Py<PyString>| ffi::value_at(&dict, name.bind(py)));
        let is_untouched = is(&names.application_state) == self.connected.as_ptr()
            && is(&names.client_state) == self.connected.as_ptr()
            && is(&names.own_receive) == channel.receive.as_ptr()
            && is(&names.own_send) == channel.send.as_ptr()
            && is(&names.receive).is_null()
            && is(&names.send).is_null()
            && is(&names.raise_on_disconnect).is_null();
        if is_untouched {
            self.checked.store(count, Ordering::Relaxed);
        }
        Ok(is_untouched)
    }

    /// Sends with `act`, unless it is not for us to do so.
    fn send(
        this: &Bound<'_, Self>,
        act: impl FnOnce(&overdrive_http::WebSocket) -> PyResult<bool>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = this.py();
        let open = this.borrow();
        let Some(channel) = &open.channel else { return Ok(None) };
        let Some(session) = channel.session.get_here() else { return Ok(None) };
        if !open.is_untouched(this, session.host())? || !session.host().call_sites.is_awaited(py) {
            return Ok(None);
        }
        let Some(socket) = session.open_socket() else { return Ok(None) };
        if !act(&socket)? {
            return Ok(None);
        }
        Session::sent(&channel.session, py).map(Some)
    }

    /// The method of the next class.
    fn next(this: &Bound<'_, Self>, name: &str, argument: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let method = PySuper::new(&this.py().get_type::<Self>(), this)?.getattr(name)?;
        match argument {
            Some(argument) => method.call1((argument,)),
            None => method.call0(),
        }
        .map(Bound::unbind)
    }
}

#[pymethods]
impl OpenMessages {
    /// `connected` of the class is what the states are on an open connection.
    #[new]
    #[classmethod]
    fn new(
        class: &Bound<'_, pyo3::types::PyType>,
        scope: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
    ) -> PyResult<OpenMessages> {
        let _ = scope;
        let connected = class.getattr(pyo3::intern!(class.py(), "_connected"))?.unbind();
        let channel = Channel::of(receive, send)?;
        Ok(OpenMessages { channel, connected, checked: AtomicIsize::new(UNCHECKED), spare: None })
    }

    fn __setattr__(this: &Bound<'_, Self>, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        this.borrow().checked.store(UNCHECKED, Ordering::Relaxed);
        ffi::set_attribute(this, name, Some(value))
    }

    fn __delattr__(this: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        this.borrow().checked.store(UNCHECKED, Ordering::Relaxed);
        ffi::set_attribute(this, name, None)
    }

    fn receive_text(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        match Self::reception(this, Wanted::Text)? {
            Some(reception) => Ok(reception.into_any().unbind()),
            None => Self::next(this, "receive_text", None),
        }
    }

    fn receive_bytes(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        match Self::reception(this, Wanted::Bytes)? {
            Some(reception) => Ok(reception.into_any().unbind()),
            None => Self::next(this, "receive_bytes", None),
        }
    }

    fn send_text(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let sent = match data.cast::<PyString>() {
            Ok(text) => Self::send(this, |socket| send_text(socket, text))?,
            Err(_) => None,
        };
        sent.map_or_else(|| Self::next(this, "send_text", Some(data)), Ok)
    }

    fn send_bytes(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let sent = match data.cast::<PyBytes>() {
            Ok(data) => Self::send(this, |socket| {
                socket.send_binary(data.as_bytes());
                Ok(true)
            })?,
            Err(_) => None,
        };
        sent.map_or_else(|| Self::next(this, "send_bytes", Some(data)), Ok)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        if let Some(channel) = &self.channel {
            visit.call(&channel.receive)?;
            visit.call(&channel.send)?;
        }
        visit.call(&self.connected)?;
        visit.call(&self.spare)
    }

    fn __clear__(&mut self) {
        self.channel = None;
        self.spare = None;
    }
}

const UNCHECKED: isize = -1;

/// False where the text cannot be sent: who says so is not we.
fn send_text(socket: &overdrive_http::WebSocket, text: &Bound<'_, PyString>) -> PyResult<bool> {
    let Ok(text) = text.to_str() else { return Ok(false) };
    socket.send_text(text);
    Ok(true)
}

/// What a message is wanted as.
#[derive(Clone, Copy)]
enum Wanted {
    Text,
    Bytes,
}

/// Ends with the next message's content, or with what comes of the connection's end.
#[pyclass(module = "overdrive._overdrive")]
pub(crate) struct Reception {
    session: LoopBound<Session>,
    wanted: Wanted,
    /// Whose message it is. `None` once it has ended.
    socket: Option<Py<OpenMessages>>,
    /// What it waits for, to be waited for again.
    future: Option<Py<PyAny>>,
    is_waiting: bool,
}

impl Reception {
    /// One step: what is to be yielded, or the value that was received.
    fn step<'py>(this: &Bound<'py, Self>) -> PyResult<PySendResult<'py>> {
        let py = this.py();
        let (wanted, waited_for) = {
            let mut reception = this.borrow_mut();
            if reception.socket.is_none() {
                return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
            }
            let was_waiting = std::mem::take(&mut reception.is_waiting);
            (reception.wanted, if was_waiting { reception.future.take() } else { None })
        };
        if let Some(future) = waited_for {
            let here = future.bind(py);
            if here.call_method0(pyo3::intern!(py, "done"))?.is_truthy()? {
                // Cancelled, or the loop has set its result.
                here.call_method0(pyo3::intern!(py, "result"))?;
            } else {
                this.borrow_mut().future = Some(future);
            }
        }
        let polled = this.borrow().session.get()?.poll_frame(py);
        match polled {
            Poll::Pending => {
                let kept = this.borrow_mut().future.take();
                let session = this.borrow().session.another()?;
                let session = session.get()?;
                let future = match kept {
                    Some(future) => future.into_bound(py),
                    None => session.host().future(py)?,
                };
                // As the iterator of a future does: the task that gets it looks whether it was awaited.
                future.setattr(pyo3::intern!(py, "_asyncio_future_blocking"), true)?;
                session.wait_with(&future);
                let mut reception = this.borrow_mut();
                reception.is_waiting = true;
                reception.future = Some(future.clone().unbind());
                Ok(PySendResult::Next(future))
            }
            Poll::Ready(received) => {
                let socket = this.borrow_mut().socket.take();
                let Some(socket) = socket else { return Err(PyRuntimeError::new_err("received twice")) };
                let socket = socket.bind(py);
                let value = match received? {
                    Ok(frame) => wanted.value(py, frame)?,
                    // Raises.
                    Err(message) => ended(socket, &message)?,
                };
                // The next one need not be made.
                socket.borrow_mut().spare = Some(this.clone().unbind());
                Ok(PySendResult::Return(value))
            }
        }
    }
}

/// Starlette's object is told that it has ended, and raises what comes of it.
fn ended<'py>(socket: &Bound<'py, OpenMessages>, message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    socket.call_method1(pyo3::intern!(socket.py(), "_ended"), (message,))
}

impl Wanted {
    fn value<'py>(self, py: Python<'py>, frame: Frame) -> PyResult<Bound<'py, PyAny>> {
        match (self, frame) {
            (Wanted::Text, Frame::Text(text)) => Ok(PyString::new(py, text.as_str()).into_any()),
            (Wanted::Bytes, Frame::Binary(data)) => Ok(PyBytes::new(py, &data).into_any()),
            // The key that the message does not have.
            (Wanted::Text, Frame::Binary(_)) => Err(PyKeyError::new_err("text")),
            (Wanted::Bytes, Frame::Text(_)) => Err(PyKeyError::new_err("bytes")),
        }
    }
}

impl Awaited for Reception {
    fn go_on<'py>(this: &Bound<'py, Self>, resume: Resume) -> PyResult<PySendResult<'py>> {
        awaited::step_or_close(this, resume, Self::step)
    }

    /// Nothing was received.
    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let held = {
            let mut reception = this.borrow_mut();
            reception.is_waiting = false;
            (reception.socket.take(), reception.future.take())
        };
        drop(held);
        Ok(())
    }
}

awaited_methods!(Reception {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.socket)?;
        visit.call(&self.future)
    }

    fn __clear__(&mut self) {
        self.socket = None;
        self.future = None;
    }
});
