//! From a request to the arguments of its endpoint: the body, then the dependencies in post-order.

use std::rc::Rc;

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::body::Body;
use super::call::{Call, End, get_or_try_init};
use super::form::{self, Form, FormParameter};
use super::node::{Node, Special};
use super::reply::Reply;
use super::runtime::Runtime;
use super::value::Errors;
use crate::host::ffi;

/// The arguments of all nodes, those that were found, and FastAPI's list of errors, if there are any.
pub(super) struct Solved {
    pub(super) arguments: Vec<Option<Py<PyAny>>>,
    pub(super) errors: Option<Py<PyList>>,
}

impl Call {
    pub(super) async fn read_body(&self) -> PyResult<Body> {
        if self.plan().around.is_some() {
            return self.read_shown_body().await;
        }
        let gathered = self.gathered.take();
        let read = match gathered.end {
            Some(End::Complete) => Some(gathered.bytes),
            Some(End::Gone) => None,
            None => self.wire.read_body(&self.baton()).await?,
        };
        let bytes = match read {
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
            match parse(py, runtime, &bytes, &raw) {
                Ok(json) => {
                    let json = json.unbind();
                    let _ = self.json.set(json.clone_ref(py));
                    Ok(Body::Json(json))
                }
                Err(error) => Err(self.unreadable_json(py, error)?),
            }
        })
    }

    /// The same from the request object, which an instrument has had and may have read from.
    async fn read_shown_body(&self) -> PyResult<Body> {
        let reading = Python::attach(|py| {
            let read = self.plans().runtime.read_body.bind(py);
            PyResult::Ok(read.call1((self.request(py)?, self.is_json(py)?))?.unbind())
        })?;
        let read = self.baton().wait_for(reading).await;
        Python::attach(|py| match read {
            Ok(read) => {
                let (bytes, json): (Py<PyBytes>, Option<Py<PyTuple>>) = read.extract(py)?;
                Ok(match json {
                    _ if bytes.bind(py).as_bytes().is_empty() => Body::Undefined,
                    Some(json) => Body::Json(json.bind(py).get_item(0)?.unbind()),
                    None => Body::Bytes(bytes.into_any()),
                })
            }
            Err(error) if error.is_instance(py, self.plans().runtime.http_exception.bind(py)) => Err(error),
            Err(error) => Err(self.unreadable_json(py, error)?),
        })
    }

    /// What FastAPI raises when a body cannot be read.
    fn unreadable_json(&self, py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
        let runtime = &self.plans().runtime;
        if error.is_instance(py, runtime.json_decode_error.bind(py)) {
            let cause = error.into_value(py);
            let errors = PyList::new(py, [runtime.json_error.bind(py).call1((&cause,))?])?;
            let document = cause.bind(py).getattr("doc")?;
            let invalid = self.validation_error(py, &errors, document.unbind())?;
            invalid.set_cause(py, Some(PyErr::from_value(cause.into_bound(py).into_any())));
            return Ok(invalid);
        }
        if !error.is_instance_of::<PyException>(py) {
            return Ok(error);
        }
        Ok(PyErr::from_value(runtime.body_error.bind(py).call1((error.into_value(py),))?))
    }

    pub(super) fn is_json(&self, py: Python<'_>) -> PyResult<bool> {
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

    async fn read_form_arguments(&self, node: &Node, body: &Body) -> PyResult<Py<PyAny>> {
        let reading = Python::attach(|py| {
            let runtime = &self.plans().runtime;
            let body = body.object(py, runtime)?;
            PyResult::Ok(runtime.form_arguments.bind(py).call1((&node.dependant, body, self.plan().embed))?.unbind())
        })?;
        self.baton().wait_for(reading).await
    }

    /// The list of all arguments, once the dependencies have run and all is valid.
    pub(super) async fn arguments(self: &Rc<Self>) -> PyResult<Vec<Option<Py<PyAny>>>> {
        let solved = match &self.plans().runtime.around_solving {
            None => self.solve_observed().await,
            Some(around) => self.solve_within(around).await,
        };
        let Solved { arguments, errors } = solved?;
        let Some(errors) = errors else { return Ok(arguments) };
        Python::attach(|py| {
            if self.answer_invalid(py, errors.bind(py))? {
                return Err(PyRuntimeError::new_err("an answer stands ready"));
            }
            let body = self.body().object(py, &self.plans().runtime)?.map_or_else(|| py.None(), Bound::unbind);
            Err(self.validation_error(py, errors.bind(py), body)?)
        })
    }

    /// Runs the dependencies.
    pub(super) async fn solve(&self) -> PyResult<Solved> {
        let (plan, body) = (self.plan(), self.body());
        let mut arguments: Vec<Option<Py<PyAny>>> = (0..plan.arguments).map(|_| None).collect();
        let mut caches: Vec<Option<Py<PyAny>>> = (0..plan.caches).map(|_| None).collect();
        // Not `vec![]`, which would ask the allocator for zeros, of which it keeps none at hand.
        let mut failed: Vec<bool> = plan.nodes.iter().map(|_| false).collect();
        let mut errors: Option<Py<PyList>> = None;
        for (index, node) in plan.nodes.iter().enumerate() {
            let (mut valid, read) = Python::attach(|py| {
                let mut found = Errors::new(py, errors.as_ref());
                let read = self.read_arguments(py, node, body, &mut arguments, &mut found)?;
                let valid = !found.is_marked();
                errors = found.into_list();
                PyResult::Ok((valid, read))
            })?;
            if !read {
                let form = self.read_form_arguments(node, body).await?;
                valid &= Python::attach(|py| {
                    let mut found = Errors::new(py, errors.as_ref());
                    take_form_arguments(py, node, form.bind(py), &mut arguments, &mut found)?;
                    let valid = !found.is_marked();
                    errors = found.into_list();
                    PyResult::Ok(valid)
                })?;
            }
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
        Ok(Solved { arguments, errors })
    }

    /// Fills in what a node reads from the request, which is all but the values of its dependencies. False if FastAPI's own
    /// code has to look for its part of a form.
    pub(super) fn read_arguments<'py>(
        &self,
        py: Python<'py>,
        node: &Node,
        body: &Body,
        arguments: &mut [Option<Py<PyAny>>],
        errors: &mut Errors<'py>,
    ) -> PyResult<bool> {
        let runtime = &self.plans().runtime;
        if self.exposed.get() && !node.parameters.is_empty() {
            // The query and the cookies FastAPI has read before anybody could change them.
            self.input.take_path(self.scope(py)?.bind(py))?;
            self.input.take_headers(&self.header_list(py)?)?;
        }
        for parameter in &node.parameters {
            let value = parameter.read(py, runtime, &self.input, errors)?;
            arguments[node.base + parameter.argument] = value.map(Bound::unbind);
        }
        for parameter in &node.body {
            let value = parameter.read(py, runtime, body, self.plan().embed, errors)?;
            arguments[node.base + parameter.argument] = value.map(Bound::unbind);
        }
        let read_form = match body {
            Body::Form(form) => self.read_form_parameters(py, node, form, arguments, errors)?,
            _ => node.of_form.is_empty(),
        };
        for (special, argument) in &node.specials {
            let value = match special {
                Special::Request => self.request(py)?.clone_ref(py),
                Special::Presented => self.presented(py, node)?.unbind(),
                Special::Response => {
                    get_or_try_init(&self.response, || Ok(runtime.injected_response.bind(py).call0()?.unbind()))?
                        .clone_ref(py)
                }
                Special::BackgroundTasks => {
                    get_or_try_init(&self.background, || Ok(runtime.background_tasks.bind(py).call0()?.unbind()))?
                        .clone_ref(py)
                }
                Special::SecurityScopes => runtime.security_scopes.bind(py).call1((&node.dependant,))?.unbind(),
            };
            arguments[node.base + argument] = Some(value);
        }
        Ok(read_form)
    }

    /// False if FastAPI's own code has to do it.
    fn read_form_parameters<'py>(
        &self,
        py: Python<'py>,
        node: &Node,
        form: &Form,
        arguments: &mut [Option<Py<PyAny>>],
        errors: &mut Errors<'py>,
    ) -> PyResult<bool> {
        let Some(parameters) = &node.form else { return Ok(node.of_form.is_empty()) };
        // Files on the disk are read on threads.
        if parameters.iter().any(FormParameter::reads_files) && !form.is_in_memory(py)? {
            return Ok(false);
        }
        form::read_all(py, &self.plans().runtime, parameters, form, errors, |place, value| {
            arguments[node.base + place] = value.map(Bound::unbind);
        })?;
        Ok(true)
    }

    /// What a security scheme gets to see of the request.
    pub(super) fn presented<'py>(&self, py: Python<'py>, node: &Node) -> PyResult<Bound<'py, PyAny>> {
        let runtime = &self.plans().runtime;
        let presented = node.presented.as_ref().expect("the compiler says what is presented");
        let values = PyDict::new(py);
        let key = presented.key.bind(py);
        if let Some(value) = self.input.get(py, runtime, presented.source, key.to_str()?)? {
            values.set_item(key, value)?;
        }
        ffi::call_with_names(runtime.namespace.bind(py), [&values.into_any()], presented.names.bind(py))
    }

    /// Makes the 422 without an exception, where nobody would see it: FastAPI's own handler is in charge, and no dependency is
    /// to be left.
    fn answer_invalid(&self, py: Python<'_>, errors: &Bound<'_, PyList>) -> PyResult<bool> {
        let plans = self.plans();
        if plans.default_validation_handler.is_none() || self.has_exits() || self.wire.engine().is_none() {
            return Ok(false);
        }
        let Some(reply) = Reply::of_validation_errors(py, &plans.runtime, errors)? else { return Ok(false) };
        self.ready.replace(Some(reply));
        Ok(true)
    }

    pub(super) fn validation_error(
        &self,
        py: Python<'_>,
        errors: &Bound<'_, PyList>,
        body: Py<PyAny>,
    ) -> PyResult<PyErr> {
        if self.wire.is_websocket() {
            let arguments = (&self.plan().route, errors, self.root_path());
            let error = self.plans().runtime.websocket_validation_error.bind(py).call1(arguments)?;
            self.tell_invalid(py, &error)?;
            return Ok(PyErr::from_value(error));
        }
        let arguments = (&self.plan().route, errors, body, self.wire.method(), self.root_path());
        let error = self.plans().runtime.request_validation_error.bind(py).call1(arguments)?;
        self.tell_invalid(py, &error)?;
        Ok(PyErr::from_value(error))
    }

    pub(super) fn endpoint<'a>(&self, arguments: &'a [Option<Py<PyAny>>]) -> (&Node, &'a [Option<Py<PyAny>>]) {
        let node = self.plan().nodes.last().expect("a plan has its endpoint as its last node");
        (node, &arguments[node.places()])
    }
}

/// Takes over what FastAPI has found in a form: `(values, errors)`.
fn take_form_arguments<'py>(
    py: Python<'py>,
    node: &Node,
    found: &Bound<'py, PyAny>,
    arguments: &mut [Option<Py<PyAny>>],
    errors: &mut Errors<'py>,
) -> PyResult<()> {
    let (values, wrong): (Bound<'py, PyDict>, Bound<'py, PyAny>) = found.extract()?;
    errors.extend(&wrong)?;
    for place in &node.of_form {
        let name = node.names.bind(py).get_borrowed_item(*place)?;
        arguments[node.base + place] = values.get_item(name)?.map(Bound::unbind);
    }
    Ok(())
}

/// `json.loads(bytes)`, without the Python around its scanner where the bytes are UTF-8 and all is well.
fn parse<'py>(
    py: Python<'py>,
    runtime: &Runtime,
    bytes: &[u8],
    object: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(parsed) = scan(py, runtime, bytes) {
        return Ok(parsed);
    }
    runtime.json_loads.bind(py).call1((object,))
}

/// The value in UTF-8 text, or `None` for whatever `json.loads` should look at itself: other encodings and errors.
fn scan<'py>(py: Python<'py>, runtime: &Runtime, bytes: &[u8]) -> Option<Bound<'py, PyAny>> {
    // As `json.detect_encoding`: no byte order mark, and no NUL where UTF-16 and UTF-32 have one.
    if bytes[0] >= 0x80 || bytes.iter().take(4).any(|byte| *byte == 0) {
        return None;
    }
    let start = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    let text = PyString::new(py, str::from_utf8(bytes).ok()?);
    let (value, end): (Bound<'py, PyAny>, usize) =
        runtime.scan_json.bind(py).call1((&text, start)).ok()?.extract().ok()?;
    // The end is counted in characters; what follows may be whitespace, which is one byte each.
    let rest = text.len().ok()?.checked_sub(end)?;
    let blank = bytes[bytes.len().checked_sub(rest)?..].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    blank.then_some(value)
}
