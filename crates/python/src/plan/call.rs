//! One request on its way through a plan, in FastAPI's order.
//!
//! Body, dependencies in post-order, endpoint, serialization; then the function's exit stack, the response, its background
//! tasks, the request's exit stack; then, if anything was raised, the application's exception handlers. This file owns that
//! order; nothing of it is decided elsewhere.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use pyo3::exceptions::{PyException, PyUnboundLocalError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::body::Body;
use super::exits::{Stacks, Which};
use super::form::{Form, Reading};
use super::input::Input;
use super::mount::Within;
use super::observed::Observed;
use super::reply::Reply;
use super::respond::Outgoing;
use super::table::{Plan, Plans, Reads};
use super::wire::{Place, Wire};
use crate::asgi::http::Read;
use crate::host::coroutine::{Begun, Request};
use crate::host::loop_bound::LoopBound;
use crate::host::steps::{Baton, Steps};
use crate::watch::Timed;

/// See the [module](self).
pub(crate) struct Call {
    plans: Py<Plans>,
    plan: Arc<Plan>,
    pub(super) wire: Wire,
    /// The mounts that it has passed; `None`: it is the outermost application's.
    pub(super) within: Option<Box<Within>>,
    /// Of whichever coroutine is at work: the request's own, or one of a part of it within an instrument.
    baton: RefCell<Rc<Baton>>,
    pub(super) input: Input,
    /// The body's bytes and its JSON, as the request object gets them.
    pub(super) raw_body: OnceCell<Py<PyBytes>>,
    pub(super) json: OnceCell<Py<PyAny>>,
    /// What was read of the body, once that is done.
    body: OnceCell<Body>,
    /// What was read as a form.
    pub(super) form: OnceCell<Rc<Form>>,
    /// What was read of the body before the plan began, and whether that is all of it.
    pub(super) gathered: RefCell<Gathered>,
    pub(super) stacks: OnceCell<Stacks>,
    pub(super) scope: OnceCell<Py<PyDict>>,
    /// The scope's list of headers, whatever stands in the scope by now.
    pub(super) first_headers: OnceCell<Py<PyAny>>,
    pub(super) request: OnceCell<Py<PyAny>>,
    /// The `Response` that was injected, if one was asked for.
    pub(super) response: OnceCell<Py<PyAny>>,
    pub(super) background: OnceCell<Py<PyAny>>,
    /// Asynchronous generators to be left, where the plan does it itself.
    pub(super) function_exits: RefCell<Vec<Py<PyAny>>>,
    pub(super) request_exits: RefCell<Vec<Py<PyAny>>>,
    /// The plan has entered one of them, whether it is left already or not.
    pub(super) entered: Cell<bool>,
    /// Code of the user's has seen the request object, and may have changed what it holds.
    pub(super) exposed: Cell<bool>,
    /// The answer that takes the place of whatever is raised next.
    pub(super) ready: RefCell<Option<Reply>>,
    /// FastAPI's telemetry of this request.
    pub(super) telemetry: OnceCell<Py<PyAny>>,
    /// What instruments around parts of it have been shown.
    pub(super) observed: Observed,
    /// Not empty once an answer has begun that goes out through the middleware's own code.
    pub(super) begun: OnceCell<Py<PyList>>,
    /// The scope as the server has it, where an observer was shown it.
    pub(super) shown_scope: OnceCell<Py<PyDict>>,
    /// What the observer around the application holds for this request, once it was entered.
    pub(super) observing: OnceCell<Py<PyAny>>,
    /// The observer has left it to the application as a whole.
    pub(super) passed_on: Cell<bool>,
}

/// A body on its way.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) bytes: Vec<u8>,
    pub(super) end: Option<End>,
    pub(super) form: Reading,
}

/// How a body ended.
pub(super) enum End {
    Complete,
    /// The client left before.
    Gone,
}

impl From<Read> for Option<End> {
    fn from(read: Read) -> Option<End> {
        match read {
            Read::Pending => None,
            Read::Complete => Some(End::Complete),
            Read::Gone => Some(End::Gone),
        }
    }
}

impl Call {
    pub(crate) fn new(
        plans: Py<Plans>,
        plan: Arc<Plan>,
        wire: Wire,
        within: Option<Box<Within>>,
        input: Input,
    ) -> Rc<Call> {
        Rc::new(Call {
            plans,
            plan,
            wire,
            within,
            baton: RefCell::default(),
            input,
            raw_body: OnceCell::new(),
            json: OnceCell::new(),
            body: OnceCell::new(),
            form: OnceCell::new(),
            gathered: RefCell::default(),
            stacks: OnceCell::new(),
            scope: OnceCell::new(),
            first_headers: OnceCell::new(),
            request: OnceCell::new(),
            response: OnceCell::new(),
            background: OnceCell::new(),
            function_exits: RefCell::default(),
            request_exits: RefCell::default(),
            entered: Cell::new(false),
            exposed: Cell::new(false),
            ready: RefCell::default(),
            telemetry: OnceCell::new(),
            observed: Observed::default(),
            begun: OnceCell::new(),
            shown_scope: OnceCell::new(),
            observing: OnceCell::new(),
            passed_on: Cell::new(false),
        })
    }

    /// Reads what there is of a body that the plan needs as a whole; true when it may begin.
    ///
    /// A task that waited for its body would cost another turn of the loop, and nothing of the user's runs before it.
    pub(crate) fn gather(&self) -> bool {
        match self.plan().reads {
            Reads::Nothing => return true,
            Reads::Form => return self.gather_form(),
            Reads::Json => {}
        }
        let Some(exchange) = self.wire.engine() else { return true };
        let gathered = &mut *self.gathered.borrow_mut();
        gathered.end = exchange.read(&mut gathered.bytes).into();
        gathered.end.is_some()
    }

    /// What was read of the body.
    pub(super) fn body(&self) -> &Body {
        self.body.get().unwrap_or(&Body::Undefined)
    }

    pub(super) fn baton(&self) -> Rc<Baton> {
        self.baton.borrow().clone()
    }

    /// Another coroutine is at work from now on; gives the one before.
    pub(super) fn pass_baton(&self, baton: Rc<Baton>) -> Rc<Baton> {
        self.baton.replace(baton)
    }

    pub(super) fn plans(&self) -> &Plans {
        self.plans.get()
    }

    pub(super) fn plans_object(&self) -> &Py<Plans> {
        &self.plans
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(super) async fn run(self: Rc<Self>) -> PyResult<()> {
        match self.within_stacks().await {
            Ok(()) => self.leave(Which::File, Ok(())).await.map(drop),
            Err(error) => self.failed(error).await,
        }
    }

    /// What FastAPI does between its two exit stacks.
    async fn within_stacks(self: &Rc<Self>) -> PyResult<()> {
        let made = match &self.plan().around {
            // An observer that was entered has done what stands around the request handler, too.
            Some(around) if self.observing.get().is_none() => Box::pin(self.respond_within(around)).await,
            _ => self.respond().await,
        };
        let sent = match self.leave(Which::Function, made).await {
            Ok(Some(response)) => self.send(response).await,
            // The name is FastAPI's, the error Python's: what its code comes to when an exception was swallowed there.
            Ok(None) => Err(PyUnboundLocalError::new_err(
                "cannot access local variable 'response' where it is not associated with a value",
            )),
            Err(error) => Err(error),
        };
        match self.leave(Which::Request, sent).await? {
            Some(()) => Ok(()),
            None => {
                Python::attach(|py| Err(PyErr::from_value(self.plans().runtime.response_not_awaited.bind(py).call0()?)))
            }
        }
    }

    pub(super) async fn respond(self: &Rc<Self>) -> PyResult<Outgoing> {
        self.tell_request()?;
        let body = match self.plan().reads {
            Reads::Nothing => Body::Undefined,
            Reads::Json => self.read_body().await?,
            Reads::Form => self.read_form().await?,
        };
        let _ = self.body.set(body);
        self.tell_body()?;
        let arguments = self.arguments().await?;
        if let Some(stream) = self.plan().answer.stream {
            let (endpoint, arguments) = self.endpoint(&arguments);
            return self.begin_stream(stream, endpoint, arguments).await;
        }
        let value = self.run_endpoint(arguments).await?;
        self.answer(value).await
    }

    /// What was raised goes to the application's handlers, as through its own stack.
    async fn failed(&self, error: PyErr) -> PyResult<()> {
        let ready = self.ready.take();
        if let Some(reply) = ready {
            let delivered = self.deliver(reply, true).await;
            return self.leave(Which::File, delivered).await.map(drop);
        }
        let started = self.has_begun();
        if Python::attach(|py| !error.is_instance_of::<PyException>(py)) {
            return self.leave(Which::File, Err::<(), _>(error)).await.map(drop);
        }
        if !started && let Some(reply) = Python::attach(|py| self.reply_to(py, &error))? {
            let delivered = self.deliver(reply, true).await;
            if delivered.is_ok() && !self.plans().runtime.keeps_tracebacks {
                Python::attach(|py| error.value(py).setattr(pyo3::intern!(py, "__traceback__"), py.None()))?;
            }
            return self.leave(Which::File, delivered).await.map(drop);
        }
        let awaitable = Python::attach(|py| {
            let (receive, send) = self.wire.channel(py)?;
            self.raised(py, (receive, send), error, started)
        })?;
        self.baton().wait_for(awaitable).await.map(drop)
    }

    /// The awaitable that sends an exception through all that stands around the route.
    pub(super) fn raised(
        &self,
        py: Python<'_>,
        (receive, send): (Bound<'_, PyAny>, Bound<'_, PyAny>),
        error: PyErr,
        started: bool,
    ) -> PyResult<Py<PyAny>> {
        let plans = self.plans();
        let (scope, request, error) = (self.scope(py)?, self.request(py)?, error.into_value(py));
        match self.wire.place() {
            Place::Application => {}
            Place::Handlers => {
                let raise = plans.raise_within.bind(py);
                return Ok(raise.call1((scope, receive, send, request, error, started))?.unbind());
            }
            // The application's stack stands around us.
            Place::Router => {
                let raise = plans.runtime.raise_innermost.bind(py);
                return Ok(raise.call1((scope, receive, send, request, error, started))?.unbind());
            }
        }
        let raise = match &self.within {
            None => plans.raise_through.bind(py).clone(),
            Some(within) => within.raising(py, &plans.runtime, &plans.raise_through)?,
        };
        let progress = (started, self.wire.has_started());
        Ok(raise.call1((scope, receive, send, request, error, progress, self.given_headers(py)))?.unbind())
    }

    /// Where requests are counted: with the application that all others are mounted in.
    pub(super) fn counting(&self) -> &Plans {
        self.within.as_ref().map_or_else(|| self.plans(), |within| within.outermost())
    }

    /// The answer to an exception for which FastAPI's own handler is in charge.
    fn reply_to(&self, py: Python<'_>, error: &PyErr) -> PyResult<Option<Reply>> {
        let plans = self.plans();
        let value = error.value(py);
        let Some(handler) = plans.handler_of(py, value)? else { return Ok(None) };
        let is = |default: &Option<Py<PyAny>>| default.as_ref().is_some_and(|default| handler.is(default));
        if is(&plans.default_http_handler) && value.is_instance(plans.runtime.http_exception.bind(py))? {
            return Reply::of_http_exception(py, &plans.runtime, value);
        }
        if is(&plans.default_validation_handler)
            && value.get_type().is(&plans.runtime.request_validation_error_class)
            && let Ok(errors) = value.getattr(pyo3::intern!(py, "_errors"))?.cast::<PyList>()
        {
            return Reply::of_validation_errors(py, &plans.runtime, errors);
        }
        Ok(None)
    }
}

/// The call as a future with its baton.
pub(super) fn steps(call: Rc<Call>) -> Steps {
    match call.observer() {
        Some(observer) => Steps::new(call.baton(), call.run_observed(observer)),
        None => Steps::new(call.baton(), call.run()),
    }
}

/// A request that a plan answers, as its coroutine sees it.
pub(crate) struct PlannedRequest(pub(crate) LoopBound<Call>);

impl Request for PlannedRequest {
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Begun<'py>> {
        if let Some(exchange) = self.0.get()?.wire.engine() {
            exchange.began(py);
        }
        Ok(Begun::Steps(steps(self.0.get()?.clone())))
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let call = self.0.get()?;
        if !call.passed_on.get() {
            call.counting().count_answered();
        }
        match call.wire.engine() {
            Some(exchange) => exchange.ended(py, outcome),
            None => outcome,
        }
    }

    fn timed(&self) -> Option<Rc<dyn Timed>> {
        self.0.get_here()?.wire.engine()?.timed()
    }

    /// The plan has said it all.
    fn paused(&self, _: Python<'_>) {}

    fn traverse(&self, _: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        Ok(())
    }
}

/// `OnceCell::get_or_try_init`, which is not stable yet.
pub(super) fn get_or_try_init<T>(cell: &OnceCell<T>, init: impl FnOnce() -> PyResult<T>) -> PyResult<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}
