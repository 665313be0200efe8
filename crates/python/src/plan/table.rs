//! The plans of an application, and whether they still hold.

mod find;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use pyo3::{PyTraverseError, PyVisit};

pub(crate) use self::find::{Destination, Sent, TOO_LARGE};
use super::asgi::{self, PlanCoroutine};
use super::form::Limits;
use super::item::StreamKind;
use super::layers::{LayerSpec, Layers};
use super::mount::Mount;
use super::node::{Kind, Node, Special};
use super::overrides::Overrides;
use super::reply::Answer;
use super::request::{Parameters, ScopeTemplate};
use super::router::{self, Entry, Router, Segment};
use super::runtime::Runtime;
use super::spec::{EntrySpec, PlanSpec};
use super::wire::Place;
use crate::host::ffi;
use crate::host::loop_bound::Graveyard;
use crate::watch::declared::path_format;
use crate::watch::{PlaceCache, Watch};

/// What a plan reads the body as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    Json,
    Form,
}

impl Reads {
    fn parse(name: &str) -> PyResult<Reads> {
        Ok(match name {
            "nothing" => Reads::Nothing,
            "json" => Reads::Json,
            "form" => Reads::Form,
            other => return Err(PyValueError::new_err(format!("unknown in a plan: {other}"))),
        })
    }
}

/// How one route is served.
pub(crate) struct Plan {
    /// The compiler's `Route`, for error contexts.
    pub(crate) route: Py<PyAny>,
    /// What the matched route adds to the scope.
    pub(crate) scope: Py<PyDict>,
    /// What its scopes have in common, once there was one.
    pub(super) scope_template: OnceLock<ScopeTemplate>,
    /// Name and convertor of each path parameter; no convertor: a string.
    pub(crate) path_parameters: Parameters,
    pub(crate) nodes: Vec<Node>,
    /// Arguments of all nodes together.
    pub(crate) arguments: usize,
    pub(crate) caches: usize,
    pub(crate) reads: Reads,
    /// The route's own limits of forms.
    pub(crate) form_limits: Py<PyAny>,
    /// `None`: forms are Starlette's to read.
    pub(crate) own_form_limits: Option<Limits>,
    pub(crate) strict_content_type: bool,
    pub(crate) embed: bool,
    /// The least of the limits around the route, in bytes: bodies that are known to keep to it are none of their concern.
    pub(crate) body_limit: Option<u64>,
    /// Asynchronous generators are left by the plan itself.
    pub(crate) own_exits: bool,
    pub(crate) answer: Answer,
    /// `None`: nothing can override its dependencies.
    pub(crate) overrides: Option<Overrides>,
    /// Where its route stands in the watch.
    watched: PlaceCache,
    /// Makes a request handler of another, with the instruments that stand around the route's.
    pub(crate) around: Option<Py<PyAny>>,
    /// `(request) -> bool`: what they do before they call it, where that is all; false if they have to be called.
    pub(crate) before: Option<Py<PyAny>>,
    /// The path as FastAPI's telemetry names it.
    pub(crate) template: Py<PyString>,
}

impl Plan {
    pub(super) fn new(py: Python<'_>, spec: PlanSpec) -> PyResult<Plan> {
        let mut nodes: Vec<Node> = Vec::with_capacity(spec.nodes.len());
        let mut arguments = 0;
        let mut places = Vec::with_capacity(spec.nodes.len());
        for spec in spec.nodes {
            places.push(spec.argument);
            let node = Node::new(py, spec, arguments)?;
            arguments += node.arguments;
            nodes.push(node);
        }
        for (index, argument) in places.into_iter().enumerate() {
            if let (Some(parent), Some(argument)) = (nodes[index].parent, argument) {
                nodes[index].target = Some(nodes[parent].base + argument);
            }
        }
        let answer = Answer::new(spec.answer)?;
        // Events that FastAPI produces beside the exits of the function, or beside background tasks, end with a stack.
        let with_stacks = answer.stream.is_some_and(|stream| stream.kind == StreamKind::Events)
            && nodes.iter().any(|node| {
                (node.kind == Kind::AsyncGenerator && !node.request_scoped)
                    || node.specials.iter().any(|(special, _)| *special == Special::BackgroundTasks)
            });
        let own_exits = !with_stacks && !nodes.iter().any(|node| node.kind == Kind::Generator || node.limited);
        Ok(Plan {
            own_exits,
            route: spec.route,
            scope: spec.scope,
            scope_template: OnceLock::new(),
            path_parameters: spec.path_parameters,
            nodes,
            arguments,
            caches: spec.caches,
            reads: Reads::parse(&spec.reads)?,
            form_limits: spec.form_limits,
            own_form_limits: spec.own_form_limits.map(|(files, fields, part_size)| Limits { files, fields, part_size }),
            strict_content_type: spec.strict_content_type,
            embed: spec.embed,
            body_limit: spec.body_limit,
            answer,
            overrides: spec.overrides.map(Overrides::new),
            before: match &spec.around {
                Some(around) => around.bind(py).getattr("before")?.extract()?,
                None => None,
            },
            watched: PlaceCache::default(),
            around: spec.around,
            template: spec.template,
        })
    }
}

impl Plan {
    /// The plan with the overrides that are in force, or the reason why FastAPI's own code has to answer.
    pub(crate) fn in_force(self: &Arc<Plan>, py: Python<'_>) -> Result<Arc<Plan>, String> {
        match &self.overrides {
            Some(overrides) => overrides.choose(py, self),
            None => Ok(self.clone()),
        }
    }

    /// The place of its route in a watch. `below`: where the application is mounted.
    pub(crate) fn place(&self, py: Python<'_>, watch: &Watch, method: &str, below: &str) -> usize {
        watch.cached_place(&self.watched, method, below, || {
            let path = path_format(self.route.bind(py)).unwrap_or_default();
            let endpoint = self.scope.bind(py).get_item("endpoint").ok().flatten();
            (path, endpoint)
        })
    }

    /// For the garbage collector.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.route)?;
        visit.call(&self.scope)?;
        if let Some(template) = self.scope_template.get() {
            template.traverse(visit)?;
        }
        visit.call(&self.form_limits)?;
        self.path_parameters.iter().try_for_each(|(_, convert)| visit.call(convert))?;
        self.nodes.iter().try_for_each(|node| node.traverse(visit))?;
        self.answer.traverse(visit)?;
        visit.call(&self.around)?;
        visit.call(&self.before)?;
        self.overrides.as_ref().map_or(Ok(()), |overrides| overrides.traverse(visit))
    }
}

/// See `_overdrive.pyi`.
#[pyclass(frozen, module = "overdrive._overdrive")]
pub(crate) struct Plans {
    pub(crate) runtime: Runtime,
    router: Router,
    /// Of the routes that a WebSocket can match.
    sockets: Router,
    plans: Vec<Option<Arc<Plan>>>,
    mounts: Vec<Option<Arc<Mount>>>,
    reasons: Vec<Option<String>>,
    allow: Vec<Option<String>>,
    guards: Guards,
    pub(crate) application: Py<PyAny>,
    pub(crate) root_path: String,
    /// Paths with a slash too many or too few are redirected, as FastAPI's router does it.
    redirects: bool,
    /// Of all bodies, in bytes.
    body_limit: Option<u64>,
    pub(crate) router_object: Py<PyAny>,
    /// `(exception handlers, status handlers)` of the built stack, as scopes have them.
    pub(crate) handlers: Py<PyAny>,
    pub(crate) default_http_handler: Option<Py<PyAny>>,
    pub(crate) default_validation_handler: Option<Py<PyAny>>,
    /// 404 and 405 are FastAPI's default handler's affair, and nobody's of the user's.
    default_not_found: bool,
    default_not_allowed: bool,
    /// `async (scope, receive, send, request, error, (started, sent), headers)`: the way of an exception through the
    /// application's stack
    pub(crate) raise_through: Py<PyAny>,
    /// `async (scope, receive, send, request, error, started)`: the same through what stands below the user's middleware
    pub(crate) raise_within: Py<PyAny>,
    /// `async (scope, receive, send, error, started)`: the same through what stands around the user's middleware
    pub(crate) raise_outermost: Py<PyAny>,
    /// The outermost middleware of the user's, where requests enter; `None` if plans apply it themselves, or if something
    /// stands around it that has a say.
    pub(crate) outermost: Option<Py<PyAny>>,
    /// An `overdrive.compiler.sentry.Observer`, where plans may enter it themselves; see [`observer`](super::observer).
    pub(crate) observer: Option<Py<PyAny>>,
    /// Middleware of the user's that plans apply themselves.
    pub(crate) layers: Layers,
    /// `async (scope, receive, send, headers, application, begun)`: the way of any other answer through it
    pub(crate) passage: Py<PyAny>,
    /// Called once when the routes have changed.
    on_change: Py<PyAny>,
    changed: AtomicBool,
    /// Calls through ASGI that died on a thread which is not theirs.
    pub(crate) graveyard: Arc<Graveyard>,
    answered: AtomicU64,
    /// Requests handed to FastAPI's own code, by reason. Off the way of those that plans answer.
    handed_over: Mutex<HashMap<String, u64>>,
}

/// The list of a router, and what was in it when its routes were compiled.
type RouteList = (Py<PyList>, Vec<Py<PyAny>>);

/// A global of a module that must be what it was: `(globals, name, value, reason)`.
type Global = (Py<PyDict>, Py<PyString>, Py<PyAny>, String);

/// A global that holds one of OpenTelemetry's providers: `(globals, name, value)`.
type Provider = (Py<PyDict>, Py<PyString>, Py<PyAny>);

/// What is looked at before every request.
struct Guards {
    /// The route lists of all routers, as they were compiled.
    lists: Vec<RouteList>,
    stack: Py<PyAny>,
    /// Module globals that must be what they were.
    globals: Vec<Global>,
    /// With other providers FastAPI's telemetry may have to see the request first.
    providers: Vec<Provider>,
}

#[pymethods]
impl Plans {
    #[new]
    #[pyo3(signature = (
        *, runtime, entries, application, root_path, redirects, body_limit, router, handlers, default_http_handler,
        default_validation_handler, raise_through, raise_within, raise_outermost, outermost, observer, layers, passage, route_lists, stack, globals, providers, on_change,
    ))]
    #[allow(clippy::too_many_arguments, reason = "keywords of a Python class")]
    fn new(
        py: Python<'_>,
        runtime: Runtime,
        entries: Vec<EntrySpec>,
        application: Py<PyAny>,
        root_path: String,
        redirects: bool,
        body_limit: Option<u64>,
        router: Py<PyAny>,
        handlers: Py<PyAny>,
        default_http_handler: Option<Py<PyAny>>,
        default_validation_handler: Option<Py<PyAny>>,
        raise_through: Py<PyAny>,
        raise_within: Py<PyAny>,
        raise_outermost: Py<PyAny>,
        outermost: Option<Py<PyAny>>,
        observer: Option<Py<PyAny>>,
        layers: Vec<LayerSpec>,
        passage: Py<PyAny>,
        route_lists: Vec<RouteList>,
        stack: Py<PyAny>,
        globals: Vec<Global>,
        providers: Vec<Provider>,
        on_change: Py<PyAny>,
    ) -> PyResult<Plans> {
        let (mut index, mut sockets) = (Vec::with_capacity(entries.len()), Vec::new());
        let (mut plans, mut mounts, mut reasons, mut allow) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, spec) in entries.into_iter().enumerate() {
            let entry = entry(&spec)?;
            if spec.kind != "http" {
                sockets.push((place, entry.clone()));
            }
            if spec.kind != "websocket" {
                index.push((place, entry));
            }
            plans.push(spec.plan.map(|plan| Plan::new(py, plan).map(Arc::new)).transpose()?);
            mounts.push(spec.mount.map(|mount| Arc::new(Mount::new(mount))));
            reasons.push(spec.reason);
            allow.push(spec.allow);
        }
        let (_, by_status): (Bound<'_, PyAny>, Bound<'_, PyDict>) = handlers.extract(py)?;
        let is_default = |status: u16| PyResult::Ok(default_http_handler.is_some() && !by_status.contains(status)?);
        let (default_not_found, default_not_allowed) = (is_default(404)?, is_default(405)?);
        Ok(Plans {
            runtime,
            router: Router::new(index),
            sockets: Router::new(sockets),
            plans,
            mounts,
            reasons,
            allow,
            guards: Guards { lists: route_lists, stack, globals, providers },
            application,
            root_path,
            redirects,
            body_limit,
            router_object: router,
            handlers,
            default_http_handler,
            default_validation_handler,
            default_not_found,
            default_not_allowed,
            raise_through,
            raise_within,
            raise_outermost,
            outermost,
            observer,
            layers: Layers::new(py, layers)?,
            passage,
            on_change,
            changed: AtomicBool::new(false),
            graveyard: Arc::default(),
            answered: AtomicU64::new(0),
            handed_over: Mutex::default(),
        })
    }

    /// The awaitable that answers an ASGI request by its plan, or `None` if FastAPI's own code has to.
    ///
    /// `handles`: it stands in the place of the exception handlers, not in the router's.
    fn call(
        this: &Bound<'_, Self>,
        scope: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
        handles: bool,
    ) -> PyResult<Option<PlanCoroutine>> {
        this.get().graveyard.empty();
        let place = if handles { Place::Handlers } else { Place::Router };
        let begun = match scope.cast::<PyDict>() {
            Ok(scope) => asgi::begin(this, scope, receive, send, place)?,
            Err(_) => Err("a scope that is no dict".to_owned()),
        };
        match begun {
            Ok(planned) => Ok(Some(planned)),
            Err(reason) => {
                this.get().count_handed_over(&reason);
                Ok(None)
            }
        }
    }

    /// An application refers to its plans, and they to it. Plans never change, so it is others that break the circle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visit = &visit;
        self.plans.iter().flatten().try_for_each(|plan| plan.traverse(visit))?;
        self.mounts.iter().flatten().try_for_each(|mount| mount.traverse(visit))?;
        let guards = &self.guards;
        for (list, items) in &guards.lists {
            visit.call(list)?;
            items.iter().try_for_each(|item| visit.call(item))?;
        }
        visit.call(&guards.stack)?;
        visit.call(&self.application)?;
        visit.call(&self.router_object)?;
        visit.call(&self.handlers)?;
        visit.call(&self.raise_through)?;
        visit.call(&self.raise_within)?;
        visit.call(&self.raise_outermost)?;
        visit.call(&self.outermost)?;
        visit.call(&self.observer)?;
        self.layers.traverse(visit)?;
        visit.call(&self.passage)?;
        visit.call(&self.on_change)
    }

    /// Requests that plans have answered, and those that were handed to FastAPI's own code, by reason.
    fn counts(&self) -> (u64, HashMap<String, u64>) {
        (
            self.answered.load(Ordering::Relaxed),
            self.handed_over.lock().expect("no code panics while holding it").clone(),
        )
    }
}

fn entry(spec: &EntrySpec) -> PyResult<Entry> {
    let segment = |(text, is_parameter): &(String, bool)| {
        if !is_parameter {
            return Ok(Segment::Literal(text.clone()));
        }
        let kind = router::Kind::parse(text)
            .ok_or_else(|| pyo3::exceptions::PyValueError::new_err(format!("unknown convertor in a plan: {text}")))?;
        Ok(Segment::Parameter(kind))
    };
    let read = |list: &Option<Vec<(String, bool)>>| {
        list.as_ref().map(|list| list.iter().map(segment).collect::<PyResult<_>>()).transpose()
    };
    let (segments, pieces) = (read(&spec.segments)?, read(&spec.pieces)?);
    Ok(Entry { segments, pieces, prefix: spec.prefix.clone(), methods: spec.methods.clone() })
}

impl Plans {
    /// Whether plans may answer at the moment; else the reason why not.
    pub(crate) fn hold(&self, py: Python<'_>) -> Result<(), &str> {
        if self.has_changed() {
            return Err("the routes have changed");
        }
        let guards = &self.guards;
        for (list, items) in &guards.lists {
            if !ffi::list_is(list.bind(py), items) {
                self.change(py);
                return Err("the routes have changed");
            }
        }
        let stack = self.application.bind(py).getattr(pyo3::intern!(py, "middleware_stack"));
        if !stack.is_ok_and(|stack| stack.is(&guards.stack)) {
            self.change(py);
            return Err("the middleware stack has changed");
        }
        for (globals, name, value) in &guards.providers {
            if !globals.bind(py).get_item(name.bind(py)).is_ok_and(|found| found.is_some_and(|found| found.is(value))) {
                self.change(py);
                return Err("OpenTelemetry's providers have changed");
            }
        }
        for (globals, name, value, reason) in &guards.globals {
            if !globals.bind(py).get_item(name.bind(py)).is_ok_and(|found| found.is_some_and(|found| found.is(value))) {
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Whether nothing of the user's stands around the routes.
    pub(crate) fn is_bare(&self) -> bool {
        self.layers.is_empty() && self.outermost.is_none()
    }

    fn change(&self, py: Python<'_>) {
        if !self.changed.swap(true, Ordering::Relaxed)
            && let Err(error) = self.on_change.bind(py).call0()
        {
            error.write_unraisable(py, None);
        }
    }

    /// What the application itself puts into a scope.
    pub(crate) fn enter_application(&self, py: Python<'_>, scope: &Bound<'_, PyDict>) -> PyResult<()> {
        if !self.root_path.is_empty() {
            scope.set_item(pyo3::intern!(py, "root_path"), &self.root_path)?;
        }
        scope.set_item(pyo3::intern!(py, "app"), &self.application)
    }

    /// The exception handler that Starlette would choose; `None` if there is none.
    pub(crate) fn handler_of<'py>(
        &self,
        py: Python<'py>,
        error: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (by_class, by_status): (Bound<'py, PyDict>, Bound<'py, PyDict>) = self.handlers.bind(py).extract()?;
        if error.is_instance(self.runtime.http_exception.bind(py))?
            && let Some(handler) = by_status.get_item(error.getattr(pyo3::intern!(py, "status_code"))?)?
        {
            return Ok(Some(handler));
        }
        for class in error.get_type().mro() {
            if let Some(handler) = by_class.get_item(class)? {
                return Ok(Some(handler));
            }
        }
        Ok(None)
    }

    /// Whether a request has found that the routes, or the stack, are no longer what they were.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_handed_over(&self, reason: &str) {
        let mut counts = self.handed_over.lock().expect("no code panics while holding it");
        match counts.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(counts.insert(reason.to_owned(), 1)),
        }
    }
}
