//! One HTTP request, from its head to the end of the application's coroutine (ASGI HTTP specification).

mod answer;
mod call;
mod file;
mod framing;
mod messages;
mod pieces;
mod receiving;
mod sending;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, StatusCode, Uri, Version};
use overdrive_http::{BodySender, FileEnd, FileStop, RequestBody, ResponseBody};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(crate) use self::answer::Answer;
pub(super) use self::answer::AnswerSlot;
pub(crate) use self::call::HttpRequestCall;
pub(super) use self::framing::announced_length;
pub(crate) use self::messages::HttpChannel;
pub(crate) use self::receiving::Read;
use self::sending::ResponseHead;
use super::app::Bridge;
use super::scope::{Head, full_path};
use super::side_channel::Record;
use crate::host::Waiters;
use crate::host::loop_bound::LoopBound;
use crate::host::pool::Pool;
use crate::plan::mount::Within;
use crate::plan::runtime::Runtime;
use crate::plan::table::{Plan, Plans};
use crate::watch::{RequestClock, Timed};

/// The state of one request, shared by its coroutine, its `receive` and `send`, and its connection.
pub(crate) struct Exchange {
    bridge: Rc<Bridge>,
    /// What the scope and the access log need of the head.
    pub(crate) line: RequestLine,
    /// `None` once the response is complete: the connection then drops what is left of the body.
    body: RefCell<Option<RequestBody>>,
    /// Read from the body and not yet received by the application.
    peeked: RefCell<Option<Option<Bytes>>>,
    body_received: Cell<bool>,
    /// The request came without a body.
    bodiless: bool,
    /// `http.disconnect` was received: the application may leave it at that.
    told_of_disconnect: Cell<bool>,
    /// Reading the body has just failed for its framing.
    malformed: Cell<bool>,
    stage: Cell<Stage>,
    head: RefCell<Option<ResponseHead>>,
    sender: RefCell<Option<BodySender>>,
    /// The file that is being sent, and how that ended.
    file: RefCell<Option<FileStop>>,
    file_end: Cell<Option<FileEnd>>,
    trailers_follow: Cell<bool>,
    trailers: RefCell<Option<Box<HeaderMap>>>,
    /// Bytes of the body that `content-length` still promises.
    promised: Cell<Option<u64>>,
    answer: AnswerSlot,
    /// The connection has dropped the answer, or ended: whatever is sent goes nowhere.
    disconnected: Cell<bool>,
    receivers: Waiters,
    senders: Waiters,
    /// Told of the status of the response, before it is sent; until the observer is left.
    observing: RefCell<Option<Py<PyAny>>>,
    /// A test client's.
    record: Option<Box<Record>>,
    /// `None`: nobody watches.
    clock: Option<RequestClock>,
}

/// What is kept of a request's first line and addresses.
pub(crate) struct RequestLine {
    pub(crate) method: http::Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// `host:port` for the access log.
    pub(crate) client: Rc<str>,
}

/// Where the response is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Waiting for `http.response.start`.
    Start,
    /// Waiting for the first `http.response.body`; nothing was sent yet.
    FirstBody,
    /// The head is out, waiting for more of the body.
    Body,
    /// Waiting for `http.response.trailers`.
    Trailers,
    Complete,
}

impl Exchange {
    pub(crate) fn new(
        bridge: Rc<Bridge>,
        line: RequestLine,
        body: RequestBody,
        record: Option<Box<Record>>,
        clock: Option<RequestClock>,
    ) -> Rc<Exchange> {
        Rc::new(Exchange {
            bridge,
            line,
            bodiless: body.is_ended(),
            body: RefCell::new(Some(body)),
            peeked: RefCell::default(),
            body_received: Cell::new(false),
            told_of_disconnect: Cell::new(false),
            malformed: Cell::new(false),
            stage: Cell::new(Stage::Start),
            head: RefCell::default(),
            sender: RefCell::default(),
            file: RefCell::default(),
            file_end: Cell::new(None),
            trailers_follow: Cell::new(false),
            trailers: RefCell::default(),
            promised: Cell::new(None),
            answer: AnswerSlot::default(),
            disconnected: Cell::new(false),
            receivers: Waiters::default(),
            senders: Waiters::default(),
            observing: RefCell::default(),
            record,
            clock,
        })
    }

    /// The application is done, one way or the other: whatever is missing of the response is made up for.
    ///
    /// # Errors
    /// What the request's task has to know.
    pub(crate) fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let answered = self.stage.get() == Stage::Complete || self.disconnected.get();
        let unanswered = matches!(self.stage.get(), Stage::Start | Stage::FirstBody);
        let told = self.told_of_disconnect.get();
        if told && self.stage.get() == Stage::Start {
            // Nobody is there to be answered, but hyper has to be told something; it is no line of the access log.
            self.stage.set(Stage::FirstBody);
        }
        if outcome.is_ok() && !answered && !told && self.record.is_none() {
            let what = if self.stage.get() == Stage::Start { "starting" } else { "completing" };
            self.bridge.log_error(py, &format!("ASGI callable returned without {what} response."), None);
        }
        let result = match &self.record {
            Some(record) => {
                record.ended(py, outcome);
                Ok(())
            }
            None => self.bridge.outcome(py, outcome),
        };
        if !answered {
            let head = self.head.take().filter(|_| self.record.is_some());
            if let Some(head) = head {
                // A test client hears of what was said, as its own kind calls the application: at once.
                let announced = head.headers.contains_key(CONTENT_LENGTH);
                self.respond(head, if announced { ResponseBody::channel().1 } else { ResponseBody::empty() });
                self.complete();
            } else if unanswered {
                self.answer_now(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
            } else {
                self.abort();
            }
        }
        result
    }

    /// From now on `observing.noted(status)` is called with the status of each response that the application sends; `None`:
    /// nobody is told any more.
    pub(crate) fn observe(&self, observing: Option<Py<PyAny>>) {
        let before = self.observing.replace(observing);
        drop(before);
    }

    /// The application sends the head of a response.
    fn tell_status(&self, status: impl FnOnce(Python<'_>) -> PyResult<Option<Py<PyAny>>>) -> PyResult<()> {
        if self.observing.borrow().is_none() {
            return Ok(());
        }
        Python::attach(|py| {
            let observing = self.observing.borrow().as_ref().map(|observing| observing.clone_ref(py));
            match (observing, status(py)?) {
                (Some(observing), Some(status)) => {
                    observing.bind(py).call_method1(pyo3::intern!(py, "noted"), (status,)).map(drop)
                }
                _ => Ok(()),
            }
        })
    }

    /// The same, where the head is not a message.
    pub(super) fn tell_status_code(&self, status: StatusCode) -> PyResult<()> {
        self.tell_status(|py| Ok(Some(status.as_u16().into_pyobject(py)?.into_any().unbind())))
    }

    /// Whether the response has begun.
    pub(crate) fn has_started(&self) -> bool {
        self.stage.get() != Stage::Start
    }

    /// A scope for this request; `template`: what to begin with, in the place of the engine's own.
    pub(crate) fn new_scope<'py>(
        &self,
        py: Python<'py>,
        head: &Head<'_>,
        template: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.bridge.http_scope(py, head, self.line.method.as_str(), template)?;
        if let Some(record) = &self.record {
            record.fill(py, &scope)?;
        }
        Ok(scope)
    }

    /// Names what its scope is made from; `None` where a test client has its say.
    pub(crate) fn templates(&self) -> Option<u64> {
        self.record.is_none().then(|| self.bridge.templates().id())
    }

    /// Takes out of a copy of its scope what is of this request.
    pub(crate) fn clear_scope(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        self.bridge.templates().clear_http(py, scope)
    }

    /// The scope's `path`.
    pub(super) fn path(&self) -> Cow<'_, str> {
        full_path(&self.bridge.settings().root_path, &self.line.uri)
    }

    /// The server's `--root-path`, or the test client's.
    pub(crate) fn root_path(&self) -> &str {
        self.record.as_deref().map_or(&self.bridge.settings().root_path, Record::root_path)
    }

    /// What a test client wants to know of this request.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    /// The request's clock, if somebody watches.
    pub(crate) fn clock(&self) -> Option<&RequestClock> {
        self.clock.as_ref()
    }

    /// The request as its clock knows it, if somebody watches.
    pub(crate) fn timed(self: &Rc<Self>) -> Option<Rc<dyn Timed>> {
        self.clock.is_some().then(|| self.clone() as _)
    }

    /// The request's task makes its first step.
    pub(crate) fn began(&self, py: Python<'_>) {
        if let Some(record) = &self.record {
            record.began(py, self.clock.as_ref().map(RequestClock::serial));
        }
    }

    /// The plan is found that is to answer.
    pub(super) fn found(&self, py: Python<'_>, plan: &Plan, within: Option<&Within>) {
        if let Some(clock) = &self.clock {
            let below = within.map(|within| within.mounted(py)).unwrap_or_default();
            clock.found(plan.place(py, clock.watch(), self.line.method.as_str(), &below));
        }
    }

    /// Notes who answers: a plan.
    pub(super) fn answered_by_plan(&self) {
        if let Some(record) = &self.record {
            record.set_answered_by("plan");
        }
    }

    /// Notes who answers: the application, for `reason`.
    pub(super) fn handed_over(&self, plans: &Plans, reason: &str) {
        plans.count_handed_over(reason);
        if let Some(record) = &self.record {
            record.set_answered_by(format!("asgi: {reason}"));
        }
    }

    /// The threads for `def` functions.
    pub(crate) fn pool(&self, py: Python<'_>, runtime: &Runtime) -> &Rc<Pool> {
        self.bridge.pool(py, runtime)
    }

    /// The connection has moved on, or is over (`gone`): wakes those who waited for that. True when nothing is left to do.
    pub(crate) fn progress(&self, py: Python<'_>, gone: bool) -> bool {
        if gone {
            self.disconnected.set(true);
        }
        if !self.receivers.is_empty() && self.peek() {
            self.receivers.wake(py);
        }
        if !self.senders.is_empty() && self.is_drained() {
            self.senders.wake(py);
        }
        gone || (self.stage.get() == Stage::Complete && self.answer.is_empty() && self.senders.is_empty())
    }
}

impl Timed for Exchange {
    fn clock(&self) -> Option<&RequestClock> {
        self.clock.as_ref()
    }

    fn line(&self) -> String {
        self.line.name()
    }
}

/// The head of a request, as far as the exchange keeps it.
pub(crate) fn request_line<B>(request: &Request<B>, client: Rc<str>) -> RequestLine {
    RequestLine { method: request.method().clone(), uri: request.uri().clone(), version: request.version(), client }
}

impl RequestLine {
    /// As people name a request: "GET /items/3".
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.uri.path_and_query().map_or("/", |path| path.as_str()))
    }

    pub(crate) fn version_number(&self) -> &'static str {
        if self.version == Version::HTTP_10 { "1.0" } else { "1.1" }
    }
}

fn traverse(exchange: &LoopBound<Exchange>, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
    let Some(exchange) = exchange.get_here() else {
        return Ok(());
    };
    exchange.receivers.traverse(visit)?;
    exchange.senders.traverse(visit)
}
