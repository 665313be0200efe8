//! Responses in pieces: generator endpoints, and response objects that iterate.
//!
//! FastAPI's order is kept by anyio's own task group: the request's task waits in it for the client to leave, a task of the
//! group iterates, and whichever ends first ends the other. What is not Python's is the waiting and the iterating. Pieces go
//! straight to the connection; there are no messages, and for events none of FastAPI's queues and their tasks.
//!
//! Events are produced by a task of their own in FastAPI, which begins before the exit stack of the function is left and
//! ends after the background tasks. Where that can be told apart, and below middleware, FastAPI's structure is built as it is
//! (`overdrive.compiler.streams`).

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use pyo3::exceptions::{PyException, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMemoryView};

use super::asgi::PlanCoroutine;
use super::call::Call;
use super::exits::Which;
use super::item::{Items, Stream, StreamKind};
use super::node::Node;
use super::reply::{bytes_of, raw_headers, status_code};
use super::respond::Outgoing;
use crate::asgi::http::Exchange;
use crate::host::ffi;
use crate::host::loop_bound::LoopBound;
use crate::host::steps::{Baton, Steps};

/// A response in pieces, on its way.
pub(super) struct Flow {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Source,
    background: Option<Py<PyAny>>,
}

/// Where pieces come from.
struct Source {
    /// An asynchronous iterable.
    iterable: Py<PyAny>,
    pieces: Pieces,
    /// The loop gets its turn after every piece.
    pauses: bool,
    keeps_alive: bool,
}

/// What an iterable gives.
enum Pieces {
    /// Values.
    Items(Items),
    /// Bytes, or text in this encoding.
    Chunks(Option<Py<PyAny>>),
}

impl Call {
    /// Begins what a generator endpoint answers.
    pub(super) async fn begin_stream(
        &self,
        stream: Stream,
        node: &Node,
        arguments: &[Option<Py<PyAny>>],
    ) -> PyResult<Outgoing> {
        let generator = Python::attach(|py| {
            ffi::call_keywords(node.call.bind(py), arguments, node.names.bind(py)).map(Bound::unbind)
        })?;
        let direct = self.wire.engine().is_some()
            && self.leaves_stream(stream.kind)?
            && match stream.kind {
                StreamKind::Lines => true,
                StreamKind::Events => self.background.get().is_none() && !self.has_function_exits()?,
                StreamKind::Raw => false,
            };
        if direct {
            return Python::attach(|py| self.flow(py, stream, generator)).map(Outgoing::Flow);
        }
        let content = Python::attach(|py| {
            let runtime = &self.plans().runtime;
            PyResult::Ok(match stream.kind {
                StreamKind::Lines => {
                    let items = Py::new(py, self.items(stream.kind))?;
                    let lines = if stream.is_async { &runtime.lines } else { &runtime.lines_of_thread };
                    Ok(lines.bind(py).call1((generator, items))?.unbind())
                }
                StreamKind::Events => {
                    let items = Py::new(py, self.items(stream.kind))?;
                    let stack = &self.stacks(py)?.request;
                    Err(runtime.events.bind(py).call1((generator, stream.is_async, items, stack))?.unbind())
                }
                StreamKind::Raw if stream.is_async => Ok(runtime.raw.bind(py).call1((generator,))?.unbind()),
                StreamKind::Raw => Ok(generator),
            })
        })?;
        let content = match content {
            Ok(content) => content,
            Err(entering) => self.baton().wait_for(entering).await?,
        };
        Python::attach(|py| self.streaming_object(py, stream.kind, content)).map(Outgoing::Object)
    }

    /// Whether the layers around the routes change but the head.
    fn leaves_stream(&self, kind: StreamKind) -> PyResult<bool> {
        if !self.is_layered() {
            return Ok(true);
        }
        let given = if kind == StreamKind::Lines { LINES } else { EVENTS };
        Python::attach(|py| self.plans().layers.leaves_pieces(py, Some(&HeaderValue::from_static(given))))
    }

    /// Whether the exit stack of the function would be left with anything in it.
    fn has_function_exits(&self) -> PyResult<bool> {
        if !self.function_exits.borrow().is_empty() {
            return Ok(true);
        }
        Python::attach(|py| Ok(!self.is_empty(py, Which::Function)?))
    }

    fn items(&self, kind: StreamKind) -> Items {
        Items {
            plans: Python::attach(|py| self.plans_object().clone_ref(py)),
            plan: self.plan().clone(),
            kind,
            method: self.wire.method().to_owned(),
            root_path: self.root_path().to_owned(),
        }
    }

    fn flow(&self, py: Python<'_>, stream: Stream, generator: Py<PyAny>) -> PyResult<Flow> {
        let runtime = &self.plans().runtime;
        let mut headers = Vec::with_capacity(4);
        if stream.kind == StreamKind::Lines {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(LINES)));
        } else {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(EVENTS)));
            headers.push((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
            headers.push((HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")));
        }
        if let Some(response) = self.response.get() {
            let raw = response.bind(py).getattr(pyo3::intern!(py, "raw_headers"))?;
            headers.extend(raw_headers(&raw)?);
        }
        let items = self.items(stream.kind);
        let is_events = stream.kind == StreamKind::Events;
        let source = match (stream.is_async, is_events) {
            (true, _) => {
                Source { iterable: generator, pieces: Pieces::Items(items), pauses: true, keeps_alive: is_events }
            }
            (false, true) => Source {
                iterable: runtime.iterate_in_threadpool.bind(py).call1((generator,))?.unbind(),
                pieces: Pieces::Items(items),
                pauses: true,
                keeps_alive: true,
            },
            // Serialized where they are made.
            (false, false) => {
                let lines = runtime.lines_of_thread.bind(py).call1((generator, Py::new(py, items)?))?;
                Source {
                    iterable: runtime.iterate_in_threadpool.bind(py).call1((lines,))?.unbind(),
                    pieces: Pieces::Chunks(None),
                    pauses: false,
                    keeps_alive: false,
                }
            }
        };
        let status = self.status(py)?.unwrap_or(200);
        let background = self.background.get().map(|background| background.clone_ref(py));
        Ok(Flow { status: status_code(status)?, headers, source, background })
    }

    /// As FastAPI makes it, to send itself.
    fn streaming_object(&self, py: Python<'_>, kind: StreamKind, content: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let runtime = &self.plans().runtime;
        let keywords = PyDict::new(py);
        keywords.set_item("content", content)?;
        keywords.set_item("background", self.background.get())?;
        if let Some(status) = self.status(py)? {
            keywords.set_item("status_code", status)?;
        }
        let class = match kind {
            StreamKind::Lines => &runtime.lines_response,
            StreamKind::Events => &runtime.events_response,
            StreamKind::Raw => &self.plan().answer.class,
        };
        let response = class.bind(py).call((), Some(&keywords))?;
        if let Some(injected) = self.response.get() {
            let raw = response.getattr("headers")?.getattr("raw")?;
            raw.call_method1("extend", (injected.bind(py).getattr("headers")?.getattr("raw")?,))?;
        }
        Ok(response.unbind())
    }

    /// What a response object would send that iterates, if nothing of that is the user's own way.
    pub(super) fn flow_of_object(&self, py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<Option<Flow>> {
        let Some(methods) = &self.plans().runtime.streaming else { return Ok(None) };
        let (call, stream, listen) = methods;
        let class = response.get_type();
        let is = |found: Bound<'_, PyAny>, known: &Py<PyAny>| {
            found.getattr_opt(pyo3::intern!(py, "__func__")).map(|found| found.is_some_and(|found| found.is(known)))
        };
        if !class.getattr(pyo3::intern!(py, "__call__"))?.is(call)
            || !is(response.getattr(pyo3::intern!(py, "stream_response"))?, stream)?
            || !is(response.getattr(pyo3::intern!(py, "listen_for_disconnect"))?, listen)?
        {
            return Ok(None);
        }
        let background = response.getattr(pyo3::intern!(py, "background"))?;
        let source = Source {
            iterable: response.getattr(pyo3::intern!(py, "body_iterator"))?.unbind(),
            pieces: Pieces::Chunks(Some(response.getattr(pyo3::intern!(py, "charset"))?.unbind())),
            pauses: false,
            keeps_alive: false,
        };
        Ok(Some(Flow {
            status: status_code(response.getattr(pyo3::intern!(py, "status_code"))?.extract()?)?,
            headers: raw_headers(&response.getattr(pyo3::intern!(py, "raw_headers"))?)?,
            source,
            background: Some(background.unbind()).filter(|background| !background.is_none(py)),
        }))
    }

    /// Sends a response in pieces; returns its background tasks once it is sent, or the client has left.
    pub(super) async fn send_flow(&self, flow: Flow) -> PyResult<Option<Py<PyAny>>> {
        let exchange = self.wire.engine().expect("without an engine response objects send themselves");
        let Flow { status, mut headers, source, background } = flow;
        let sending = Python::attach(|py| {
            let plans = self.plans();
            if self.is_layered() {
                plans.layers.on_head(py, &self.input.headers, self.seen(py).as_ref(), &mut headers)?;
            }
            let pulse =
                Rc::new(Pulse { exchange: exchange.clone(), last: Cell::new(Instant::now()), idle: Cell::new(false) });
            let pinger = match source.keeps_alive {
                true => Some(Py::new(py, Pinger(LoopBound::new(pulse.clone(), &plans.graveyard)))?),
                false => None,
            };
            let baton = Rc::new(Baton::default());
            let work = Pump { exchange: exchange.clone(), baton: baton.clone(), source, pulse }.run(status, headers);
            let body = PlanCoroutine::new(Steps::new(baton, work), &plans.graveyard);
            let gone = exchange.gone(py)?;
            let sending = match pinger {
                Some(pinger) => plans.runtime.send_events.bind(py).call1((body, gone, pinger))?,
                None => plans.runtime.send_pieces.bind(py).call1((body, gone))?,
            };
            PyResult::Ok(sending.unbind())
        })?;
        self.baton().wait_for(sending).await?;
        Ok(background)
    }
}

/// Carries pieces from an iterable to the connection.
struct Pump {
    exchange: Rc<Exchange>,
    baton: Rc<Baton>,
    source: Source,
    pulse: Rc<Pulse>,
}

impl Pump {
    async fn run(self, status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>) -> PyResult<()> {
        let Pump { exchange, baton, source, pulse } = self;
        exchange.begin_pieces(status, headers)?;
        let iterator = Python::attach(|py| {
            let iterable = source.iterable.bind(py);
            iterable.call_method0(pyo3::intern!(py, "__aiter__")).map(Bound::unbind)
        })?;
        if source.keeps_alive {
            return events(&exchange, &baton, &source, &pulse, iterator).await;
        }
        loop {
            let next = next_of(&iterator)?;
            let Some(item) = unless_ended(baton.wait_for(next).await)? else { break };
            let piece = Python::attach(|py| source.pieces.piece(item.into_bound(py)))?;
            if exchange.push_piece(piece)? {
                drained(&exchange, &baton).await?;
            }
            if source.pauses {
                baton.pause().await?;
            }
        }
        exchange.end_pieces()
    }
}

/// Carries events.
///
/// FastAPI makes them in one task, and sends them from others behind it. So an event goes out once the generator has gone on
/// and come to its next or to a wait; one that is followed at once by an exception is lost, as there. If the exception comes
/// when all before it is out, the stream ends as if it were whole, as there; else it is cut off.
async fn events(
    exchange: &Rc<Exchange>,
    baton: &Baton,
    source: &Source,
    pulse: &Pulse,
    iterator: Py<PyAny>,
) -> PyResult<()> {
    let mut held: Option<Bytes> = None;
    let mut is_first = true;
    loop {
        let next = next_of(&iterator)?;
        let mut waits = 0;
        let mut pushed = Ok(false);
        let item = {
            let mut waiting = pin!(baton.wait_for(next));
            pulse.idle.set(true);
            let item = std::future::poll_fn(|context| {
                let polled = waiting.as_mut().poll(context);
                if polled.is_pending() {
                    waits += if baton.yields_none() { 1 } else { SETTLES };
                    if let Some(event) = held.take() {
                        pushed = exchange.push_piece(event);
                    }
                }
                polled
            })
            .await;
            pulse.idle.set(false);
            item
        };
        let item = unless_ended(item).and_then(|item| {
            item.map(|item| Python::attach(|py| source.pieces.piece(item.into_bound(py)))).transpose()
        });
        let event = match item {
            Ok(event) => event,
            Err(error) => {
                let has_settled = waits >= if is_first { 1 } else { SETTLES };
                if has_settled && Python::attach(|py| error.is_instance_of::<PyException>(py)) {
                    exchange.end_pieces()?;
                }
                return Err(error);
            }
        };
        let mut is_full = pushed?;
        if let Some(before) = held.take() {
            is_full |= exchange.push_piece(before)?;
        }
        held = event;
        if held.is_none() {
            return exchange.end_pieces();
        }
        is_first = false;
        pulse.last.set(Instant::now());
        if is_full {
            drained(exchange, baton).await?;
        }
        baton.pause().await?;
    }
}

const LINES: &str = "application/jsonl";
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// After so many turns of the loop an event has gone through the tasks of FastAPI's.
const SETTLES: usize = 4;

fn next_of(iterator: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    Python::attach(|py| iterator.bind(py).call_method0(pyo3::intern!(py, "__anext__")).map(Bound::unbind))
}

/// What was iterated; `None` at the end.
fn unless_ended(next: PyResult<Py<PyAny>>) -> PyResult<Option<Py<PyAny>>> {
    match next {
        Ok(item) => Ok(Some(item)),
        Err(error) if Python::attach(|py| error.is_instance_of::<PyStopAsyncIteration>(py)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn drained(exchange: &Rc<Exchange>, baton: &Baton) -> PyResult<()> {
    let drained = Python::attach(|py| exchange.drained(py))?;
    baton.wait_for(drained).await.map(drop)
}

impl Pieces {
    fn piece(&self, item: Bound<'_, PyAny>) -> PyResult<Bytes> {
        match self {
            Pieces::Items(items) => items.write(&item),
            Pieces::Chunks(_) if item.is_instance_of::<PyBytes>() || item.is_instance_of::<PyMemoryView>() => {
                bytes_of(&item)
            }
            Pieces::Chunks(charset) => bytes_of(&item.call_method1(pyo3::intern!(item.py(), "encode"), (charset,))?),
        }
    }
}

/// When something last happened in a stream of events.
struct Pulse {
    exchange: Rc<Exchange>,
    last: Cell<Instant>,
    /// It waits for the generator, not for the client.
    idle: Cell<bool>,
}

/// A stream of events as the timer sees it that keeps it alive.
#[pyclass(frozen, module = "overdrive._overdrive")]
struct Pinger(LoopBound<Pulse>);

#[pymethods]
impl Pinger {
    /// For how many seconds no event has come.
    fn idle(&self) -> PyResult<f64> {
        let pulse = self.0.get()?;
        Ok(if pulse.idle.get() { pulse.last.get().elapsed().as_secs_f64() } else { 0.0 })
    }

    /// Sends a comment.
    fn ping(&self, comment: &Bound<'_, PyBytes>) -> PyResult<()> {
        let pulse = self.0.get()?;
        pulse.last.set(Instant::now());
        pulse.exchange.push_piece(bytes_of(comment)?).map(drop)
    }
}
