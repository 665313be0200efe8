//! The ASGI application behind the engine's `Application` trait.

mod connection;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use overdrive_http::{ConnectionCount, RequestBody, Upgrade};
use overdrive_reactor::{Deferred, Handle};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(crate) use self::connection::AsgiApplication;
use self::connection::{Connection, Current};
use super::access::{AccessLog, Entry, quoted};
use super::http::{Exchange, HttpRequestCall, RequestLine, request_line};
use super::scope::{Head, ScopeTemplates, forwarded, full_path};
use super::settings::EngineSettings;
use super::side_channel::{Record, SideChannel};
use super::through::ThroughMiddleware;
use super::websocket::{ClientDisconnected, Session, WebSocketCall};
use crate::host::Host;
use crate::host::coroutine;
use crate::host::loop_bound::LoopBound;
use crate::host::pool::{Pool, Waits};
use crate::plan::call::{Call, PlannedRequest};
use crate::plan::input::Input;
use crate::plan::layers::Incoming;
use crate::plan::mount::{At, Within};
use crate::plan::runtime::Runtime;
use crate::plan::table::{Destination, Plan, Plans, Sent, TOO_LARGE};
use crate::plan::wire::{Peer, Wire};
use crate::plan::{Converted, Reply, UNCONVERTIBLE, convert_path, redirect, route_path};
use crate::watch::RequestClock;
use crate::watch::moment::Moment;

/// What all requests of an engine share.
pub(crate) struct Bridge {
    pub(crate) host: Rc<Host>,
    pub(crate) app: Py<PyAny>,
    settings: Py<EngineSettings>,
    scopes: ScopeTemplates,
    access: Option<AccessLog>,
    error_logger: Py<PyAny>,
    total_requests: Cell<u64>,
    /// `Engine.cancel` was called: cancellations are no news.
    cancelling: Cell<bool>,
    /// Open connections, as the server counts them.
    connections: OnceCell<ConnectionCount>,
    /// The application's compiled routes.
    plans: RefCell<Option<Py<Plans>>>,
    reactor: Handle,
    /// Made when the first `def` is called.
    pool: OnceCell<Rc<Pool>>,
    side_channel: Option<SideChannel>,
}

impl Bridge {
    pub(crate) fn new(
        py: Python<'_>,
        host: Rc<Host>,
        app: Py<PyAny>,
        settings: &Bound<'_, EngineSettings>,
        state: Option<Py<PyDict>>,
        reactor: Handle,
        side_channel: Option<Py<PyAny>>,
    ) -> PyResult<Rc<Bridge>> {
        let scopes = ScopeTemplates::new(py, &host.names, &settings.get().root_path, state)?;
        let access = settings.get().access_log.then(|| AccessLog::new(py)).transpose()?;
        let error_logger = py.import("logging")?.call_method1("getLogger", ("overdrive.error",))?.unbind();
        Ok(Rc::new(Bridge {
            host,
            app,
            settings: settings.clone().unbind(),
            scopes,
            access,
            error_logger,
            total_requests: Cell::new(0),
            cancelling: Cell::new(false),
            connections: OnceCell::new(),
            plans: RefCell::default(),
            reactor,
            pool: OnceCell::new(),
            side_channel: side_channel.map(SideChannel::new),
        }))
    }

    pub(crate) fn settings(&self) -> &EngineSettings {
        self.settings.get()
    }

    pub(crate) fn set_plans(&self, plans: Option<Py<Plans>>) {
        let before = self.plans.replace(plans);
        drop(before);
    }

    pub(crate) fn set_connections(&self, count: ConnectionCount) {
        let _ = self.connections.set(count);
    }

    pub(crate) fn total_requests(&self) -> u64 {
        self.total_requests.get()
    }

    pub(crate) fn set_cancelling(&self) {
        self.cancelling.set(true);
    }

    /// The threads that plans run `def` functions on.
    pub(crate) fn pool(&self, py: Python<'_>, runtime: &Runtime) -> &Rc<Pool> {
        self.pool.get_or_init(|| {
            let variable = runtime.library_variable.as_ref().map(|variable| variable.clone_ref(py));
            let start = runtime.start_thread.clone_ref(py);
            let pool = Pool::new(py, self.host.clone(), self.reactor.clone(), start, variable);
            if let Some(watch) = &self.host.watch {
                watch.has_pool(pool.gauge());
            }
            pool
        })
    }

    /// How long calls have waited for their threads so far.
    pub(crate) fn thread_waits(&self) -> Waits {
        self.pool.get().map(|pool| pool.waits()).unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        if let Some(pool) = self.pool.get() {
            pool.close();
        }
        if let Some(access) = &self.access {
            access.close();
        }
    }

    pub(super) fn request_answered(&self) {
        self.total_requests.set(self.total_requests.get() + 1);
    }

    /// Has `work` done in a run of the reactor, in its turn.
    pub(super) fn queue(&self, work: Rc<dyn Deferred>) {
        self.reactor.queue(work);
    }

    /// Has `work` done at the end of the reactor's run.
    pub(super) fn defer(&self, work: Rc<dyn Deferred>) {
        self.reactor.defer(work);
    }

    /// The headers that every response gets.
    pub(super) fn default_headers(&self) -> HeaderMap {
        self.settings().headers.iter().cloned().collect()
    }

    /// Logs how an application ended, and gives what its task has to know: that it was cancelled, or that it wants the loop
    /// to end.
    pub(super) fn outcome(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let Err(error) = outcome else { return Ok(()) };
        if error.is_instance_of::<ClientDisconnected>(py) {
            return Ok(());
        }
        let is_cancelled = error.is_instance_of::<CancelledError>(py);
        if !(is_cancelled && self.cancelling.get()) {
            self.log_error(py, "Exception in ASGI application\n", Some(&error));
        }
        let passed_on =
            is_cancelled || error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py);
        if passed_on { Err(error) } else { Ok(()) }
    }

    pub(super) fn log_websocket(&self, py: Python<'_>, line: &RequestLine, outcome: &str) {
        let path = full_path(&self.settings().root_path, &line.uri);
        let query = line.uri.query().filter(|query| !query.is_empty());
        let path = match query {
            Some(query) => format!("{}?{query}", quoted(&path)),
            None => quoted(&path).to_string(),
        };
        self.log(py, "info", &format!("{} - \"WebSocket {path}\" {outcome}", line.client), None);
    }

    pub(super) fn log_access(&self, line: &RequestLine, status: StatusCode) {
        let Some(access) = &self.access else { return };
        let path = full_path(&self.settings().root_path, &line.uri);
        let entry = Entry {
            client: &line.client,
            method: line.method.as_str(),
            path: &path,
            query: line.uri.query(),
            version: line.version_number(),
            status,
            phrase: self.settings().http.reasons.phrase(status),
        };
        Python::attach(|py| access.log(py, &entry, Instant::now()));
    }

    /// Logs on `overdrive.error`, with the traceback of `error`.
    pub(super) fn log_error(&self, py: Python<'_>, message: &str, error: Option<&PyErr>) {
        self.log(py, "error", message, error);
    }

    fn log(&self, py: Python<'_>, level: &str, message: &str, error: Option<&PyErr>) {
        let keywords = PyDict::new(py);
        let logged = (|| {
            if let Some(error) = error {
                // With its traceback: before Python 3.12 that is not a part of the value as long as it is on its way.
                keywords.set_item("exc_info", error.clone_ref(py).into_value(py))?;
            }
            self.error_logger.bind(py).call_method(level, ("%s", message), Some(&keywords))
        })();
        if let Err(failure) = logged {
            failure.write_unraisable(py, Some(self.error_logger.bind(py)));
        }
    }

    /// `--limit-concurrency`: more connections or running requests than allowed, this one included.
    fn is_over_limit(&self) -> bool {
        let Some(limit) = self.settings().limit_concurrency else {
            return false;
        };
        let connections = self.connections.get().map_or(0, ConnectionCount::get);
        connections > limit || self.host.running() >= limit
    }

    fn serve_http(
        self: &Rc<Self>,
        py: Python<'_>,
        connection: &Connection,
        request: Request<RequestBody>,
    ) -> Rc<Exchange> {
        let peer = self.peer(py, connection, request.headers());
        let (mut parts, body) = request.into_parts();
        let record = self.side_channel.as_ref().and_then(|channel| channel.record(py, &mut parts.headers));
        let amended = record.as_ref().map_or(Ok(()), |record| record.amend(py, &mut parts));
        let uri = detached(parts.uri);
        let line = RequestLine { method: parts.method, uri, version: parts.version, client: peer.text };
        let has_body = !body.is_ended();
        let clock = self.new_clock(connection, line.method.as_str(), &line.uri);
        let exchange = Exchange::new(self.clone(), line, body, record, clock);
        if self.is_over_limit() {
            self.log(py, "warning", "Exceeded concurrency limit.", None);
            exchange.answer_now(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
            return exchange;
        }
        connection.current.replace(Current::Http(exchange.clone()));
        let client = peer.client.unwrap_or_else(|| connection.client.clone_ref(py));
        let peer = Peer { client, server: connection.server.clone_ref(py), scheme: peer.scheme };
        let chosen = amended.and_then(|()| {
            let arriving = Arriving { exchange: &exchange, headers: &parts.headers, peer: &peer };
            plan_for(py, &self.plans.borrow(), &arriving, Sent::new(&parts.headers, has_body))
        });
        let request = match chosen {
            Ok(Chosen::Answered) => return exchange,
            Ok(Chosen::Plan(plans, plan, path, within)) => {
                let query = exchange.line.uri.query().unwrap_or("");
                let input = Input::new(query, parts.headers, path);
                let call = Call::new(plans, plan, Wire::Engine(exchange.clone(), peer), within, input);
                if !call.gather() {
                    connection.current.replace(Current::Gathering(exchange.clone(), call));
                    return exchange;
                }
                Ok(self.planned(call))
            }
            Ok(Chosen::Application) => {
                let scope = Arriving { exchange: &exchange, headers: &parts.headers, peer: &peer }.scope(py);
                scope.map(|scope| Box::new(HttpRequestCall::new(&exchange, scope)) as _)
            }
            Ok(Chosen::Middleware(plans)) => {
                let scope = Arriving { exchange: &exchange, headers: &parts.headers, peer: &peer }.scope(py);
                scope.and_then(|scope| {
                    plans.get().enter_application(py, &scope)?;
                    Ok(Box::new(ThroughMiddleware::new(&exchange, scope, plans)) as _)
                })
            }
            Err(error) => Err(error),
        };
        self.spawn(py, request, exchange.record());
        exchange
    }

    /// The clock of a request that was received just now.
    fn new_clock(&self, connection: &Connection, method: &str, uri: &Uri) -> Option<RequestClock> {
        let watch = self.host.watch.as_ref()?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Some(watch.received(Moment::of(self.reactor.now()), method, target, &connection.held_up_by))
    }

    fn planned(&self, call: Rc<Call>) -> Box<dyn coroutine::Request> {
        Box::new(PlannedRequest(LoopBound::new(call, &self.host.graveyard)))
    }

    /// The scope of an HTTP request.
    pub(super) fn http_scope<'py>(
        &self,
        py: Python<'py>,
        head: &Head<'_>,
        method: &str,
        template: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.scopes.http(py, &self.host.names, head, method, template)
    }

    pub(super) fn templates(&self) -> &ScopeTemplates {
        &self.scopes
    }

    fn serve_websocket(
        self: &Rc<Self>,
        py: Python<'_>,
        connection: &Connection,
        mut request: Request<()>,
        upgrade: Upgrade,
    ) -> Rc<Session> {
        let record = self.side_channel.as_ref().and_then(|channel| channel.record(py, request.headers_mut()));
        let peer = self.peer(py, connection, request.headers());
        let head = Head {
            version: request.version(),
            uri: request.uri(),
            headers: request.headers(),
            scheme: peer.scheme,
            client: peer.client.as_ref().unwrap_or(&connection.client),
            server: &connection.server,
        };
        let scope = self.scopes.websocket(py, &self.host.names, &head, upgrade.subprotocols().to_vec());
        let scope = scope.and_then(|scope| {
            record.as_ref().map_or(Ok(()), |record| record.fill(py, &scope))?;
            Ok(scope)
        });
        let clock = self.new_clock(connection, "WS", request.uri());
        let session = Session::new(self.clone(), request_line(&request, peer.text), upgrade, record, clock);
        if self.is_over_limit() {
            self.log(py, "warning", "Exceeded concurrency limit.", None);
            session.refuse(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
            return session;
        }
        connection.current.replace(Current::WebSocket(session.clone()));
        // Layers are for answers; around a WebSocket the middleware itself stands, with the plans within.
        let plans = self.plans.borrow().as_ref().filter(|plans| plans.get().is_bare()).map(|plans| plans.clone_ref(py));
        let request = scope.map(|scope| Box::new(WebSocketCall::new(&session, scope, plans)) as _);
        self.spawn(py, request, session.record());
        session
    }

    fn spawn(&self, py: Python<'_>, request: PyResult<Box<dyn coroutine::Request>>, record: Option<&Record>) {
        let context = record.map_or(Ok(None), |record| record.context(py));
        // What a task raises in its first step (SystemExit, KeyboardInterrupt); its request knows already.
        if let Err(error) = request.and_then(|request| self.host.spawn(py, request, context?)) {
            self.host.raise_from_run(error);
        }
    }

    fn peer(&self, py: Python<'_>, connection: &Connection, headers: &HeaderMap) -> Forwarded {
        let mut peer = Forwarded { client: None, scheme: None, text: connection.client_text.clone() };
        let Some(trusted) = &self.settings().trusted_proxies else {
            return peer;
        };
        // Nearly all requests have but a few headers: to look at each costs less than to hash two names.
        if !headers.keys().any(|name| matches!(name.as_str(), "x-forwarded-for" | "x-forwarded-proto")) {
            return peer;
        }
        if !trusted.contains(connection.host.as_deref()) {
            return peer;
        }
        let (client, scheme) = forwarded(trusted, headers);
        peer.scheme = scheme;
        if let Some((host, port)) = client {
            peer.text = format!("{host}:{port}").into();
            peer.client = (host, port).into_pyobject(py).ok().map(|tuple| tuple.into_any().unbind());
        }
        peer
    }
}

/// The same target in bytes of its own.
///
/// hyper's are a piece of the buffer that the connection reads into, and what a connection still knows of its last request would
/// keep that from being used again: it would get another one of 8 KiB for each request.
fn detached(uri: Uri) -> Uri {
    let target = match uri.path_and_query() {
        Some(target) if uri.authority().is_none() => Bytes::copy_from_slice(target.as_str().as_bytes()),
        _ => return uri,
    };
    PathAndQuery::from_maybe_shared(target).map_or(uri, Uri::from)
}

/// What a plan is to do with a request.
enum Chosen {
    /// It has its answer.
    Answered,
    Plan(Py<Plans>, Arc<Plan>, Converted, Option<Box<Within>>),
    /// To wait below the user's middleware, where the request enters.
    Middleware(Py<Plans>),
    /// Nothing: it is the application's.
    Application,
}

/// Looks for the plan of a request.
fn plan_for(py: Python<'_>, plans: &Option<Py<Plans>>, arriving: &Arriving<'_>, sent: Sent) -> PyResult<Chosen> {
    let Some(plans) = plans else { return Ok(Chosen::Application) };
    plan_within(py, plans, None, arriving, sent)
}

/// As [`plan_for`], in an application that is mounted somewhere or is the outermost.
fn plan_within(
    py: Python<'_>,
    handle: &Py<Plans>,
    within: Option<Box<Within>>,
    arriving: &Arriving<'_>,
    sent: Sent,
) -> PyResult<Chosen> {
    let plans = handle.get();
    let counting = within.as_ref().map_or(plans, |within| within.outermost());
    let exchange = arriving.exchange;
    let line = &exchange.line;
    let path = exchange.path();
    let root = match &within {
        Some(within) => &within.root_path,
        None if plans.root_path.is_empty() => exchange.root_path(),
        None => &plans.root_path,
    };
    let at = At { root, path: route_path(&path, root) };
    let destination = match plans.hold(py) {
        Ok(()) if exchange.record().is_some_and(Record::is_unreadable) => {
            Destination::Stock("bytes that no plan reads")
        }
        Ok(()) if !plans.admits(sent) => Destination::Stock(TOO_LARGE),
        Ok(()) if plans.outermost.is_some() => {
            if within.is_none()
                && plans.observer.is_some()
                && sent == Sent::Nothing
                && Call::is_observable(arriving.headers)
                && let Destination::Plan(plan, values) = plans.find(line.method.as_str(), at.path, sent)
                && let Ok(plan) = plan.in_force(py)
                && plan.is_observable()
                && let Ok(parameters) = convert_path(py, &plan, None, values)
            {
                exchange.answered_by_plan();
                exchange.found(py, &plan, None);
                return Ok(Chosen::Plan(handle.clone_ref(py), plan, parameters, None));
            }
            return Ok(Chosen::Middleware(handle.clone_ref(py)));
        }
        Ok(()) => match layer_ahead(py, plans, arriving)? {
            Ahead::Nothing => plans.find(line.method.as_str(), at.path, sent),
            Ahead::Answer(reply) => return answer(py, counting, exchange, reply),
            Ahead::Stock => Destination::Stock(LAYERS_OWN),
        },
        Err(reason) => Destination::Stock(reason),
    };
    let mut reply = match destination {
        Destination::Plan(plan, values) => {
            let plan = match plan.in_force(py) {
                Ok(plan) => plan,
                Err(reason) => {
                    exchange.handed_over(counting, &reason);
                    return Ok(Chosen::Application);
                }
            };
            // FastAPI's own code meets the same error, and knows what becomes of it.
            let Ok(parameters) = convert_path(py, &plan, within.as_deref(), values) else {
                exchange.handed_over(counting, UNCONVERTIBLE);
                return Ok(Chosen::Application);
            };
            exchange.answered_by_plan();
            exchange.found(py, &plan, within.as_deref());
            return Ok(Chosen::Plan(handle.clone_ref(py), plan, parameters, within));
        }
        Destination::Mount(mount, values) => match mount.enter(py, handle, within.as_deref(), at, values) {
            Ok((inner, deeper)) => return plan_within(py, &inner, Some(deeper), arriving, sent),
            Err(reason) => {
                exchange.handed_over(counting, &reason);
                return Ok(Chosen::Application);
            }
        },
        Destination::Stock(reason) => {
            exchange.handed_over(counting, reason);
            return Ok(Chosen::Application);
        }
        Destination::Redirect(other) => {
            let scheme = exchange.record().map(Record::scheme).or(arriving.peer.scheme);
            let outer_root = within.as_ref().map_or(root, |within| &within.app_root_path);
            let other = format!("{}{other}", &path[..path.len() - at.path.len()]);
            let found = outer_root
                .is_empty()
                .then(|| redirect::location(scheme, arriving.headers, &other, line.uri.query()))
                .flatten();
            let Some(location) = found.and_then(|location| HeaderValue::try_from(location).ok()) else {
                exchange.handed_over(counting, "a redirect");
                return Ok(Chosen::Application);
            };
            let headers = vec![(CONTENT_LENGTH, HeaderValue::from_static("0")), (LOCATION, location)];
            Reply { status: StatusCode::TEMPORARY_REDIRECT, headers, body: Bytes::new() }
        }
        Destination::NotFound => {
            Reply::with_headers(StatusCode::NOT_FOUND, Vec::new(), Bytes::from_static(b"{\"detail\":\"Not Found\"}"))
        }
        Destination::MethodNotAllowed(allow) => {
            let allow = HeaderValue::from_str(allow).map_err(|error| PyValueError::new_err(error.to_string()))?;
            Reply::with_headers(
                StatusCode::METHOD_NOT_ALLOWED,
                vec![(ALLOW, allow)],
                Bytes::from_static(b"{\"detail\":\"Method Not Allowed\"}"),
            )
        }
    };
    if !plans.layers.is_empty() && !plans.layers.behind(py, arriving.headers, None, &mut reply)? {
        exchange.handed_over(counting, LAYERS_OWN);
        return Ok(Chosen::Application);
    }
    answer(py, counting, exchange, reply)
}

/// What the layers around the routes say to a request.
enum Ahead {
    Nothing,
    Answer(Reply),
    /// The answer takes their own code.
    Stock,
}

fn layer_ahead(py: Python<'_>, plans: &Plans, arriving: &Arriving<'_>) -> PyResult<Ahead> {
    // A method in lower case is another one in the scope.
    if plans.layers.is_empty() || arriving.method().bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Ok(Ahead::Nothing);
    }
    match plans.layers.ahead(py, arriving) {
        Ok(None) => Ok(Ahead::Nothing),
        Ok(Some(reply)) => Ok(Ahead::Answer(reply)),
        Err(None) => Ok(Ahead::Stock),
        Err(Some(error)) => Err(error),
    }
}

/// Answers without a task.
fn answer(py: Python<'_>, counting: &Plans, exchange: &Exchange, reply: Reply) -> PyResult<Chosen> {
    exchange.send_whole(reply.status, reply.headers, reply.body)?;
    counting.count_answered();
    exchange.answered_by_plan();
    if let Some(record) = exchange.record() {
        record.ended(py, Ok(()));
    }
    if let Some(clock) = exchange.clock() {
        clock.end();
    }
    Ok(Chosen::Answered)
}

/// A request, as the layers around the routes see it.
struct Arriving<'a> {
    exchange: &'a Exchange,
    headers: &'a HeaderMap,
    peer: &'a Peer,
}

impl Incoming for Arriving<'_> {
    fn method(&self) -> &str {
        self.exchange.line.method.as_str()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers
    }

    fn scheme(&self) -> Option<&str> {
        // A test client may claim another one.
        self.exchange.record().is_none().then(|| self.peer.scheme.unwrap_or("http"))
    }

    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let line = &self.exchange.line;
        let head = Head {
            version: line.version,
            uri: &line.uri,
            headers: self.headers,
            scheme: self.peer.scheme,
            client: &self.peer.client,
            server: &self.peer.server,
        };
        self.exchange.new_scope(py, &head, None)
    }
}

/// Why a request is handed over whose answer a layer does not give natively.
const LAYERS_OWN: &str = "a middleware's own answer";

/// Who made a request, after what a trusted proxy says.
struct Forwarded {
    client: Option<Py<PyAny>>,
    scheme: Option<&'static str>,
    text: Rc<str>,
}
