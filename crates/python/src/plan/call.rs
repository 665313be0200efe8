//! One request on its way through a plan, in FastAPI's order.
//!
//! Body, dependencies in post-order, endpoint, serialization; then the function's exit stack, the response, its background
//! tasks, the request's exit stack; then, if anything was raised, the application's exception handlers. This file owns that
//! order; nothing of it is decided elsewhere.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::{PyException, PyRuntimeError, PyStopAsyncIteration, PyUnboundLocalError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::body::Body;
use super::input::Input;
use super::node::{Kind, Node, Special};
use super::reply::{AnswerKind, Reply, bytes_of, encode_json, is_body_allowed, response_loc, status_code};
use super::table::{Plan, Plans};
use super::value::{Errors, call_validator};
use crate::asgi::http::{Exchange, Read};
use crate::host::coroutine::{Begun, Request};
use crate::host::ffi;
use crate::host::loop_bound::LoopBound;
use crate::host::pool::Job;
use crate::host::steps::{Baton, Steps};

/// See the [module](self).
pub(crate) struct Call {
    plans: Py<Plans>,
    place: usize,
    pub(super) exchange: Rc<Exchange>,
    baton: Rc<Baton>,
    pub(super) input: Input,
    pub(super) peer: Peer,
    /// The body's bytes and its JSON, as the request object gets them.
    pub(super) raw_body: OnceCell<Py<PyBytes>>,
    pub(super) json: OnceCell<Py<PyAny>>,
    pub(super) stacks: OnceCell<Stacks>,
    pub(super) scope: OnceCell<Py<PyDict>>,
    pub(super) request: OnceCell<Py<PyAny>>,
    /// The `Response` that was injected, if one was asked for.
    response: OnceCell<Py<PyAny>>,
    background: OnceCell<Py<PyAny>>,
    /// Asynchronous generators to be left, where the plan does it itself.
    function_exits: RefCell<Vec<Py<PyAny>>>,
    request_exits: RefCell<Vec<Py<PyAny>>>,
    /// Code of the user's has seen the request object, and may have changed what it holds.
    exposed: Cell<bool>,
}

/// Who made the request, as its scope says.
pub(crate) struct Peer {
    pub(crate) client: Py<PyAny>,
    pub(crate) server: Py<PyAny>,
    pub(crate) scheme: Option<&'static str>,
}

/// The exit stacks of a request, innermost last.
pub(super) struct Stacks {
    pub(super) file: Py<PyAny>,
    pub(super) request: Py<PyAny>,
    pub(super) function: Py<PyAny>,
}

#[derive(Clone, Copy)]
enum Which {
    File,
    Request,
    Function,
}

/// A response on its way.
enum Outgoing {
    Whole(Reply, Option<Py<PyAny>>),
    /// A response object that sends itself.
    Object(Py<PyAny>),
}

impl Call {
    pub(crate) fn new(plans: Py<Plans>, place: usize, exchange: Rc<Exchange>, input: Input, peer: Peer) -> Rc<Call> {
        Rc::new(Call {
            plans,
            place,
            exchange,
            baton: Rc::default(),
            input,
            peer,
            raw_body: OnceCell::new(),
            json: OnceCell::new(),
            stacks: OnceCell::new(),
            scope: OnceCell::new(),
            request: OnceCell::new(),
            response: OnceCell::new(),
            background: OnceCell::new(),
            function_exits: RefCell::default(),
            request_exits: RefCell::default(),
            exposed: Cell::new(false),
        })
    }

    pub(super) fn plans(&self) -> &Plans {
        self.plans.get()
    }

    pub(super) fn plan(&self) -> &Plan {
        self.plans().plan(self.place)
    }

    async fn run(self: Rc<Self>) -> PyResult<()> {
        match self.within_stacks().await {
            Ok(()) => self.leave(Which::File, Ok(())).await.map(drop),
            Err(error) => self.failed(error).await,
        }
    }

    /// What FastAPI does between its two exit stacks.
    async fn within_stacks(&self) -> PyResult<()> {
        let made = self.respond().await;
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
            None => Python::attach(|py| {
                Err(PyErr::from_value(self.plans().runtime.response_not_awaited.bind(py).call0()?))
            }),
        }
    }

    async fn respond(&self) -> PyResult<Outgoing> {
        let body = if self.plan().reads_json { self.read_body().await? } else { Body::Undefined };
        let mut arguments = self.solve(&body).await?;
        let (endpoint, arguments) = self.endpoint(&mut arguments);
        let value = self.call(endpoint, arguments).await?;
        self.answer(value).await
    }

    // ---- the body ----

    async fn read_body(&self) -> PyResult<Body> {
        let bytes = match self.read_bytes().await? {
            Some(bytes) => bytes,
            None => {
                return Python::attach(|py| {
                    let runtime = &self.plans().runtime;
                    let left = runtime.client_disconnect.bind(py).call0()?;
                    Err(PyErr::from_value(runtime.body_error.bind(py).call1((left,))?))
                });
            }
        };
        Python::attach(|py| {
            let raw = PyBytes::new(py, &bytes);
            let _ = self.raw_body.set(raw.clone().unbind());
            if bytes.is_empty() {
                return Ok(Body::Undefined);
            }
            if !self.is_json(py)? {
                return Ok(Body::Bytes(raw.into_any().unbind()));
            }
            let runtime = &self.plans().runtime;
            match runtime.json_loads.bind(py).call1((&raw,)) {
                Ok(json) => {
                    let json = json.unbind();
                    let _ = self.json.set(json.clone_ref(py));
                    Ok(Body::Json(json))
                }
                Err(error) if error.is_instance(py, runtime.json_decode_error.bind(py)) => {
                    let cause = error.into_value(py);
                    let errors = PyList::new(py, [runtime.json_error.bind(py).call1((&cause,))?])?;
                    let document = cause.bind(py).getattr("doc")?;
                    let invalid = self.validation_error(py, &errors, document.unbind())?;
                    invalid.set_cause(py, Some(PyErr::from_value(cause.into_bound(py).into_any())));
                    Err(invalid)
                }
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    Err(PyErr::from_value(runtime.body_error.bind(py).call1((error.into_value(py),))?))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// The whole body; `None` if the client left before its end.
    async fn read_bytes(&self) -> PyResult<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        loop {
            match self.exchange.read(&mut bytes) {
                Read::Complete => return Ok(Some(bytes)),
                Read::Gone => return Ok(None),
                Read::Pending => {
                    let future = Python::attach(|py| self.exchange.readable(py).map(Bound::unbind))?;
                    self.baton.wait_for(future).await?;
                }
            }
        }
    }

    fn is_json(&self, py: Python<'_>) -> PyResult<bool> {
        let kind = self.input.headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes());
        match kind {
            None | Some(b"") => Ok(!self.plan().strict_content_type),
            Some(kind) if kind.eq_ignore_ascii_case(b"application/json") => Ok(true),
            Some(kind) => {
                let kind: String = kind.iter().map(|byte| char::from(*byte)).collect();
                self.plans().runtime.is_json.bind(py).call1((kind,))?.is_truthy()
            }
        }
    }

    // ---- the arguments ----

    /// Runs the dependencies, and gives the list of all arguments.
    async fn solve(&self, body: &Body) -> PyResult<Vec<Option<Py<PyAny>>>> {
        let plan = self.plan();
        let mut arguments: Vec<Option<Py<PyAny>>> = (0..plan.arguments).map(|_| None).collect();
        let mut caches: Vec<Option<Py<PyAny>>> = (0..plan.caches).map(|_| None).collect();
        let mut failed = vec![false; plan.nodes.len()];
        let mut errors: Option<Py<PyList>> = None;
        for (index, node) in plan.nodes.iter().enumerate() {
            let valid = Python::attach(|py| {
                let mut found = Errors::new(py, errors.as_ref());
                self.read_arguments(py, node, body, &mut arguments, &mut found)?;
                let valid = !found.is_marked();
                errors = found.into_list();
                PyResult::Ok(valid)
            })?;
            if !valid || failed[index] {
                if let Some(parent) = node.parent {
                    failed[parent] = true;
                }
                continue;
            }
            if node.parent.is_none() {
                continue;
            }
            let cached = caches[node.cache].as_ref().filter(|_| node.use_cache);
            let value = match cached.map(|value| Python::attach(|py| value.clone_ref(py))) {
                Some(value) => value,
                None => {
                    let value = self.call(node, &arguments[node.places()]).await?;
                    self.exposed.set(self.exposed.get() || node.exposes_request);
                    value
                }
            };
            if caches[node.cache].is_none() {
                caches[node.cache] = Some(Python::attach(|py| value.clone_ref(py)));
            }
            if let Some(target) = node.target {
                arguments[target] = Some(value);
            }
        }
        match errors {
            None => Ok(arguments),
            Some(errors) => Python::attach(|py| {
                let body = body.object(py).unwrap_or_else(|| py.None());
                Err(self.validation_error(py, errors.bind(py), body)?)
            }),
        }
    }

    /// Fills in what a node reads from the request, which is all but the values of its dependencies.
    fn read_arguments<'py>(
        &self,
        py: Python<'py>,
        node: &Node,
        body: &Body,
        arguments: &mut [Option<Py<PyAny>>],
        errors: &mut Errors<'py>,
    ) -> PyResult<()> {
        let runtime = &self.plans().runtime;
        if self.exposed.get() && !node.parameters.is_empty() {
            let request = self.request(py)?;
            let result = runtime.read_parameters.bind(py).call1((&node.dependant, request))?;
            let (values, found): (Bound<'py, PyDict>, Bound<'py, PyAny>) = result.extract()?;
            errors.extend(&found)?;
            for parameter in &node.parameters {
                let name = node.names.bind(py).get_borrowed_item(parameter.argument)?;
                arguments[node.base + parameter.argument] = values.get_item(name)?.map(Bound::unbind);
            }
        } else {
            for parameter in &node.parameters {
                let value = parameter.read(py, runtime, &self.input, errors)?;
                arguments[node.base + parameter.argument] = value.map(Bound::unbind);
            }
        }
        for parameter in &node.body {
            let value = parameter.read(py, runtime, body, self.plan().embed, errors)?;
            arguments[node.base + parameter.argument] = value.map(Bound::unbind);
        }
        for (special, argument) in &node.specials {
            let value = match special {
                Special::Request => self.request(py)?.clone_ref(py),
                Special::Presented => self.presented(py, node)?.unbind(),
                Special::Response => get_or_try_init(&self.response, || {
                    Ok(runtime.injected_response.bind(py).call0()?.unbind())
                })?
                .clone_ref(py),
                Special::BackgroundTasks => get_or_try_init(&self.background, || {
                    Ok(runtime.background_tasks.bind(py).call0()?.unbind())
                })?
                .clone_ref(py),
                Special::SecurityScopes => runtime.security_scopes.bind(py).call1((&node.dependant,))?.unbind(),
            };
            arguments[node.base + argument] = Some(value);
        }
        Ok(())
    }

    /// What a security scheme gets to see of the request.
    fn presented<'py>(&self, py: Python<'py>, node: &Node) -> PyResult<Bound<'py, PyAny>> {
        let runtime = &self.plans().runtime;
        let presented = node.presented.as_ref().expect("the compiler says what is presented");
        let values = PyDict::new(py);
        let key = presented.key.bind(py);
        if let Some(value) = self.input.get(py, runtime, presented.source, key.to_str()?)? {
            values.set_item(key, value)?;
        }
        ffi::call_with_names(runtime.namespace.bind(py), [&values.into_any()], presented.names.bind(py))
    }

    fn validation_error(&self, py: Python<'_>, errors: &Bound<'_, PyList>, body: Py<PyAny>) -> PyResult<PyErr> {
        let line = &self.exchange.line;
        let arguments = (&self.plan().route, errors, body, line.method.as_str(), self.root_path());
        Ok(PyErr::from_value(self.plans().runtime.request_validation_error.bind(py).call1(arguments)?))
    }

    fn endpoint<'a>(&self, arguments: &'a mut [Option<Py<PyAny>>]) -> (&Node, &'a [Option<Py<PyAny>>]) {
        let node = self.plan().nodes.last().expect("a plan has its endpoint as its last node");
        (node, &arguments[node.places()])
    }

    // ---- calls of the user's code ----

    async fn call(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        match node.kind {
            Kind::Sync if !node.limited => return self.call_in_thread(node, arguments).await,
            Kind::AsyncGenerator if self.plan().own_exits => return self.enter(node, arguments).await,
            _ => {}
        }
        let awaitable = Python::attach(|py| self.begin_call(py, node, arguments).map(Bound::unbind))?;
        self.baton.wait_for(awaitable).await
    }

    fn begin_call<'py>(
        &self,
        py: Python<'py>,
        node: &Node,
        arguments: &[Option<Py<PyAny>>],
    ) -> PyResult<Bound<'py, PyAny>> {
        let runtime = &self.plans().runtime;
        let keywords = || {
            let keywords = PyDict::new(py);
            for (name, value) in node.names.bind(py).iter().zip(arguments) {
                keywords.set_item(name, value.as_ref().expect("all arguments are there"))?;
            }
            PyResult::Ok(keywords)
        };
        match node.kind {
            Kind::Generator | Kind::AsyncGenerator => {
                let stacks = self.stacks(py)?;
                let stack = if node.request_scoped { &stacks.request } else { &stacks.function };
                let request = self.request(py)?;
                runtime.enter_generator.bind(py).call1((&node.dependant, stack, keywords()?, request))
            }
            _ if node.limited => {
                let is_coroutine = node.kind == Kind::Coroutine;
                runtime.call_limited.bind(py).call1((&node.call, keywords()?, &node.dependant, is_coroutine))
            }
            Kind::Coroutine => ffi::call_keywords(node.call.bind(py), arguments, node.names.bind(py)),
            // Within a cancel scope of anyio's: its own way shields the wait as that scope expects.
            Kind::Sync => runtime.call_in_thread.bind(py).call1((&node.call, keywords()?)),
        }
    }

    /// Enters an asynchronous generator, to be left with the request's or the function's stack.
    async fn enter(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        let (generator, first) = Python::attach(|py| {
            let generator = ffi::call_keywords(node.call.bind(py), arguments, node.names.bind(py))?;
            let first = generator.call_method0(pyo3::intern!(py, "__anext__"))?;
            PyResult::Ok((generator.unbind(), first.unbind()))
        })?;
        match self.baton.wait_for(first).await {
            Ok(value) => {
                let which = if node.request_scoped { Which::Request } else { Which::Function };
                self.exits(which).push(generator);
                Ok(value)
            }
            Err(error) if Python::attach(|py| error.is_instance_of::<PyStopAsyncIteration>(py)) => {
                Err(PyRuntimeError::new_err("generator didn't yield"))
            }
            Err(error) => Err(error),
        }
    }

    fn exits(&self, which: Which) -> std::cell::RefMut<'_, Vec<Py<PyAny>>> {
        match which {
            Which::Function => self.function_exits.borrow_mut(),
            _ => self.request_exits.borrow_mut(),
        }
    }

    /// Leaves the generators that [`Call::enter`] has entered, the last first.
    async fn leave_generators<T>(&self, which: Which, mut outcome: PyResult<T>) -> PyResult<Option<T>> {
        let mut generators = std::mem::take(&mut *self.exits(which));
        while outcome.is_ok()
            && let Some(generator) = generators.pop()
        {
            if let Err(error) = self.leave_generator(generator).await {
                outcome = Err(error);
            }
        }
        match outcome {
            Err(error) if !generators.is_empty() => {
                let awaitable = Python::attach(|py| {
                    let error = error.into_value(py);
                    let leave = self.plans().runtime.leave_generators.bind(py);
                    PyResult::Ok(leave.call1((PyList::new(py, generators)?, error))?.unbind())
                })?;
                self.baton.wait_for(awaitable).await.map(|_| None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Lets a generator run to its end.
    async fn leave_generator(&self, generator: Py<PyAny>) -> PyResult<()> {
        let next = Python::attach(|py| {
            generator.bind(py).call_method0(pyo3::intern!(py, "__anext__")).map(Bound::unbind)
        })?;
        match self.baton.wait_for(next).await {
            Err(error) if Python::attach(|py| error.is_instance_of::<PyStopAsyncIteration>(py)) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                let close = Python::attach(|py| {
                    generator.bind(py).call_method0(pyo3::intern!(py, "aclose")).map(Bound::unbind)
                })?;
                self.baton.wait_for(close).await?;
                Err(PyRuntimeError::new_err("generator didn't stop"))
            }
        }
    }

    /// Calls a `def` function on a thread of the pool, with a token of the application's limiter.
    async fn call_in_thread(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        let runtime = &self.plans().runtime;
        let begun = Python::attach(|py| {
            let task = runtime.current_task.bind(py).call0()?;
            if runtime.in_cancel_scope.bind(py).call1((&task,))?.is_truthy()? {
                return PyResult::Ok(Err(self.begin_call(py, node, arguments)?.unbind()));
            }
            let limiter = runtime.thread_limiter.bind(py).call0()?;
            let waiting = match limiter.call_method1(pyo3::intern!(py, "acquire_on_behalf_of_nowait"), (&task,)) {
                Ok(_) => None,
                Err(error) if error.is_instance(py, runtime.would_block.bind(py)) => {
                    Some(limiter.call_method1(pyo3::intern!(py, "acquire_on_behalf_of"), (&task,))?.unbind())
                }
                Err(error) => return Err(error),
            };
            Ok(Ok((limiter.unbind(), task.unbind(), waiting)))
        })?;
        let (limiter, task, waiting) = match begun {
            Ok(begun) => begun,
            Err(awaitable) => return self.baton.wait_for(awaitable).await,
        };
        if let Some(waiting) = waiting {
            self.baton.wait_for(waiting).await?;
        }
        let result = self.run_in_pool(node, arguments).await;
        Python::attach(|py| {
            limiter.bind(py).call_method1(pyo3::intern!(py, "release_on_behalf_of"), (task,))?;
            result
        })
    }

    async fn run_in_pool(&self, node: &Node, arguments: &[Option<Py<PyAny>>]) -> PyResult<Py<PyAny>> {
        let slot = Python::attach(|py| {
            let job = Job {
                call: node.call.clone_ref(py),
                arguments: arguments.iter().map(|value| value.as_ref().map(|value| value.clone_ref(py))).collect(),
                names: node.names.clone_ref(py),
                context: ffi::copy_current_context(py)?.unbind(),
            };
            self.exchange.pool(py, &self.plans().runtime).submit(py, job)
        })?;
        let future = Python::attach(|py| slot.future.clone_ref(py));
        match self.baton.wait_for(future).await {
            Ok(_) => slot.take(),
            Err(error) => {
                slot.cancel();
                Err(error)
            }
        }
    }

    // ---- the answer ----

    async fn answer(&self, value: Py<PyAny>) -> PyResult<Outgoing> {
        let plan = self.plan();
        let runtime = &self.plans().runtime;
        let own = Python::attach(|py| {
            let value = value.bind(py);
            // By far the most endpoints return a dict or a model.
            if value.is_exact_instance_of::<PyDict>() || !value.is_instance(runtime.response.bind(py))? {
                return PyResult::Ok(None);
            }
            if let Some(background) = self.background.get()
                && value.getattr(pyo3::intern!(py, "background"))?.is_none()
            {
                value.setattr(pyo3::intern!(py, "background"), background)?;
            }
            Ok(Some(value.clone().unbind()))
        })?;
        if let Some(response) = own {
            return Ok(Outgoing::Object(response));
        }
        let value = match &plan.answer.field {
            None => value,
            Some(field) => self.validate_response(field, value).await?,
        };
        Python::attach(|py| self.serialize(py, value.bind(py)))
    }

    async fn validate_response(&self, field: &Py<PyAny>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let plan = self.plan();
        let runtime = &self.plans().runtime;
        let validated = match &plan.answer.validate {
            Some(validate) if !plan.answer.in_thread => Python::attach(|py| {
                match call_validator(py, runtime, validate, value.bind(py)) {
                    Ok(value) => Ok(Ok(value.unbind())),
                    Err(error) if error.is_instance(py, runtime.validation_error.bind(py)) => {
                        let errors = runtime.located_errors.bind(py).call1((error.into_value(py), response_loc(py)?))?;
                        Ok(Err(errors.unbind()))
                    }
                    Err(error) => Err(error),
                }
            })?,
            _ => {
                let result = Python::attach(|py| {
                    let arguments = (field, &value, response_loc(py)?);
                    if !plan.answer.in_thread {
                        return PyResult::Ok((runtime.validate_field.bind(py).call1(arguments)?.unbind(), false));
                    }
                    // Objects of an ORM load what they lack on access, which blocks.
                    let (field, value, loc) = arguments;
                    let threaded =
                        runtime.run_in_threadpool.bind(py).call1((&runtime.validate_field, field, value, loc))?;
                    Ok((threaded.unbind(), true))
                })?;
                let result = match result {
                    (result, false) => result,
                    (awaitable, true) => self.baton.wait_for(awaitable).await?,
                };
                Python::attach(|py| {
                    let (value, errors): (Py<PyAny>, Bound<'_, PyAny>) = result.bind(py).extract()?;
                    PyResult::Ok(if errors.is_truthy()? { Err(errors.unbind()) } else { Ok(value) })
                })?
            }
        };
        validated.map_err(|errors| {
            Python::attach(|py| {
                let line = &self.exchange.line;
                let arguments = (&plan.route, errors, &value, line.method.as_str(), self.root_path());
                match runtime.response_validation_error.bind(py).call1(arguments) {
                    Ok(error) => PyErr::from_value(error),
                    Err(error) => error,
                }
            })
        })
    }

    fn serialize(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Outgoing> {
        let answer = &self.plan().answer;
        let runtime = &self.plans().runtime;
        let injected = self.response.get().map(|response| response.bind(py));
        let injected_status: Option<u16> = match injected {
            Some(response) => response.getattr(pyo3::intern!(py, "status_code"))?.extract()?,
            None => None,
        };
        let status = injected_status.filter(|status| *status != 0).or(answer.status);
        let background = self.background.get();
        if answer.kind == AnswerKind::Class {
            let content = match &answer.field {
                Some(_) => answer.serialize(py, value)?,
                None => runtime.jsonable_encoder.bind(py).call1((value,))?,
            };
            return self.make_object(py, &content, status, injected);
        }
        let body = match answer.kind {
            AnswerKind::Json => encode_json(py, runtime, value)?,
            _ => bytes_of(&answer.serialize(py, value)?)?,
        };
        let mut reply = Reply::json(status_code(status.unwrap_or(200))?, body);
        if let Some(response) = injected {
            reply.add_headers(response.getattr(pyo3::intern!(py, "raw_headers"))?.cast::<PyList>()?)?;
        }
        Ok(Outgoing::Whole(reply, background.map(|background| background.clone_ref(py))))
    }

    /// A response of a class that is not ours to write.
    fn make_object(
        &self,
        py: Python<'_>,
        content: &Bound<'_, PyAny>,
        status: Option<u16>,
        injected: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Outgoing> {
        let keywords = PyDict::new(py);
        keywords.set_item("background", self.background.get())?;
        if let Some(status) = status {
            keywords.set_item("status_code", status)?;
        }
        let response = self.plan().answer.class.bind(py).call((content,), Some(&keywords))?;
        if !is_body_allowed(response.getattr(pyo3::intern!(py, "status_code"))?.extract()?) {
            response.setattr(pyo3::intern!(py, "body"), PyBytes::new(py, b""))?;
        }
        if let Some(injected) = injected {
            let raw = response.getattr("headers")?.getattr("raw")?;
            raw.call_method1("extend", (injected.getattr("headers")?.getattr("raw")?,))?;
        }
        Ok(Outgoing::Object(response.unbind()))
    }

    /// Sends a response, then runs its background tasks.
    async fn send(&self, response: Outgoing) -> PyResult<()> {
        let (reply, background) = match response {
            Outgoing::Whole(reply, background) => (reply, background),
            Outgoing::Object(response) => {
                let plain = Python::attach(|py| {
                    let response = response.bind(py);
                    let call = response.get_type().getattr(pyo3::intern!(py, "__call__"))?;
                    if !call.is(&self.plans().runtime.response_call) {
                        return PyResult::Ok(None);
                    }
                    let background = response.getattr(pyo3::intern!(py, "background"))?;
                    Ok(Some((Reply::of_object(py, response)?, Some(background.unbind()).filter(|b| !b.is_none(py)))))
                })?;
                match plain {
                    Some(plain) => plain,
                    None => {
                        let awaitable = Python::attach(|py| {
                            let (receive, send) = self.exchange.channel(py)?;
                            PyResult::Ok(response.bind(py).call1((self.scope(py)?, receive, send))?.unbind())
                        })?;
                        return self.baton.wait_for(awaitable).await.map(drop);
                    }
                }
            }
        };
        self.exchange.send_whole(reply.status, reply.headers, reply.body)?;
        if let Some(background) = background {
            let awaitable = Python::attach(|py| background.bind(py).call0().map(Bound::unbind))?;
            self.baton.wait_for(awaitable).await?;
        }
        Ok(())
    }

    // ---- the end ----

    /// Leaves one of the exit stacks with the outcome so far. `None`: an exception was swallowed there.
    async fn leave<T>(&self, which: Which, outcome: PyResult<T>) -> PyResult<Option<T>> {
        if self.plan().own_exits && !matches!(which, Which::File) {
            return self.leave_generators(which, outcome).await;
        }
        let left = Python::attach(|py| {
            let Some(stacks) = self.stacks.get() else { return PyResult::Ok(None) };
            let stack = match which {
                Which::File => &stacks.file,
                Which::Request => &stacks.request,
                Which::Function => &stacks.function,
            };
            let stack = stack.bind(py);
            if stack.getattr(pyo3::intern!(py, "_exit_callbacks"))?.len()? == 0 {
                return Ok(None);
            }
            let none = py.None();
            let awaitable = match &outcome {
                Ok(_) => stack.call_method1(pyo3::intern!(py, "__aexit__"), (&none, &none, &none))?,
                Err(error) => {
                    let error = error.clone_ref(py).into_value(py);
                    self.plans().runtime.leave_with_error.bind(py).call1((stack, error))?
                }
            };
            Ok(Some(awaitable.unbind()))
        })?;
        match (left, outcome) {
            (None, outcome) => outcome.map(Some),
            (Some(awaitable), Ok(value)) => self.baton.wait_for(awaitable).await.map(|_| Some(value)),
            (Some(awaitable), Err(_)) => self.baton.wait_for(awaitable).await.map(|_| None),
        }
    }

    /// What was raised goes to the application's handlers, as through its own stack.
    async fn failed(&self, error: PyErr) -> PyResult<()> {
        let started = self.exchange.has_started();
        if Python::attach(|py| !error.is_instance_of::<PyException>(py)) {
            return self.leave(Which::File, Err::<(), _>(error)).await.map(drop);
        }
        if !started && let Some(reply) = Python::attach(|py| self.reply_to(py, &error))? {
            self.exchange.send_whole(reply.status, reply.headers, reply.body)?;
            Python::attach(|py| error.value(py).setattr(pyo3::intern!(py, "__traceback__"), py.None()))?;
            return self.leave(Which::File, Ok(())).await.map(drop);
        }
        let awaitable = Python::attach(|py| {
            let (receive, send) = self.exchange.channel(py)?;
            let request = self.request(py)?;
            let arguments = (self.scope(py)?, receive, send, request, error.into_value(py), started);
            PyResult::Ok(self.plans().raise_through.bind(py).call1(arguments)?.unbind())
        })?;
        self.baton.wait_for(awaitable).await.map(drop)
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

/// A request that a plan answers, as its coroutine sees it.
pub(crate) struct PlannedRequest(pub(crate) LoopBound<Call>);

impl Request for PlannedRequest {
    fn begin<'py>(&self, _: Python<'py>) -> PyResult<Begun<'py>> {
        let call = self.0.get()?.clone();
        Ok(Begun::Steps(Steps::new(call.baton.clone(), call.run())))
    }

    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) -> PyResult<()> {
        let call = self.0.get()?;
        call.plans().count_answered();
        call.exchange.ended(py, outcome)
    }

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
