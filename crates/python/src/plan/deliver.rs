//! The way of an answer through the layers around the routes, to whoever made the request.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::call::{Call, get_or_try_init};
use super::layers::Seen;
use super::reply::Reply;
use super::wire::raw_headers;

/// What is left to do for a response.
enum Undelivered {
    Nothing,
    /// To send it in messages.
    Reply(Reply),
    /// To let this application send it.
    Object(Py<PyAny>),
}

impl Call {
    /// Whether there are layers that the plan itself has to apply.
    pub(super) fn is_layered(&self) -> bool {
        // Through ASGI, the application's own stack stands around us.
        self.wire.engine().is_some() && !self.plans().layers.is_empty()
    }

    /// Whether a response has begun, as far as those next to the route know.
    pub(super) fn has_begun(&self) -> bool {
        self.wire.has_started() || self.begun.get().is_some_and(|begun| Python::attach(|py| !begun.bind(py).is_empty()))
    }

    /// Sends a response that is known as a whole. `is_last`: nothing is done after it but what the exit stacks hold.
    pub(super) async fn deliver(&self, reply: Reply, is_last: bool) -> PyResult<()> {
        // What takes time is on the heap, where it does not make the future of most requests larger.
        match self.deliver_now(reply, is_last)? {
            Undelivered::Nothing => Ok(()),
            Undelivered::Reply(reply) => Box::pin(self.wire.send_messages(&self.baton(), reply)).await,
            Undelivered::Object(application) => Box::pin(self.deliver_object(application)).await,
        }
    }

    fn deliver_now(&self, mut reply: Reply, is_last: bool) -> PyResult<Undelivered> {
        if !self.is_layered() {
            let is_last = is_last && Python::attach(|py| self.is_left(py))?;
            let sender = is_last.then_some(&self.plans().runtime.sender);
            return Ok(self.wire.send_whole(reply, sender)?.map_or(Undelivered::Nothing, Undelivered::Reply));
        }
        Python::attach(|py| {
            if self.plans().layers.behind(py, &self.input.headers, self.seen(py).as_ref(), &mut reply)? {
                return Ok(self.wire.send_whole(reply, None)?.map_or(Undelivered::Nothing, Undelivered::Reply));
            }
            let headers = raw_headers(py, reply.headers.iter().map(|(name, value)| (name, value)))?;
            let arguments = (reply.status.as_u16(), headers, PyBytes::new(py, &reply.body));
            let application = self.plans().passage.bind(py).call_method1("whole", arguments)?;
            Ok(Undelivered::Object(application.unbind()))
        })
    }

    /// Lets an ASGI application, a response object most often, send a response.
    pub(super) async fn deliver_object(&self, application: Py<PyAny>) -> PyResult<()> {
        let awaitable = Python::attach(|py| {
            let (receive, send) = self.wire.channel(py)?;
            let scope = self.scope(py)?;
            if !self.is_layered() {
                return PyResult::Ok(application.bind(py).call1((scope, receive, send))?.unbind());
            }
            let begun = get_or_try_init(&self.begun, || Ok(PyList::empty(py).unbind()))?;
            let arguments = (scope, receive, send, self.given_headers(py), application, begun);
            Ok(self.plans().passage.bind(py).call1(arguments)?.unbind())
        })?;
        self.baton().wait_for(awaitable).await.map(drop)
    }

    /// The scope, if anybody has seen it.
    pub(super) fn seen<'py>(&self, py: Python<'py>) -> Option<Seen<'py>> {
        let scope = self.scope.get()?.bind(py).clone();
        Some(Seen { scope, headers: self.given_headers(py) })
    }

    /// The headers that the scope had at first.
    pub(super) fn given_headers<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self.first_headers.get() {
            Some(headers) => headers.bind(py).clone(),
            None => PyList::empty(py).into_any(),
        }
    }
}
