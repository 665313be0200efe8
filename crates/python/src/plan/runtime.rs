//! The functions and classes of the application's own libraries that plans use, looked up once.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::host::ffi;

/// See `overdrive.compiler.runtime`, whose attributes these are.
#[derive(FromPyObject)]
pub(crate) struct Runtime {
    /// `json.loads`
    pub(crate) json_loads: Py<PyAny>,
    /// The scanner of `json`'s default decoder: `(text, index) -> (value, end)`
    pub(crate) scan_json: Py<PyAny>,
    /// `json.decoder.JSONDecodeError`
    pub(crate) json_decode_error: Py<PyAny>,
    /// `json.dumps` as `JSONResponse.render` calls it, after `jsonable_encoder`: `(content) -> bytes`
    pub(crate) render_json: Py<PyAny>,
    /// FastAPI's `jsonable_encoder`
    pub(crate) jsonable_encoder: Py<PyAny>,
    /// pydantic-core's `ValidationError`
    pub(crate) validation_error: Py<PyAny>,
    /// `(error, loc) -> list[dict]`: a `ValidationError` as FastAPI lists it
    pub(crate) located_errors: Py<PyAny>,
    /// `(loc) -> dict`: FastAPI's error for what is missing
    pub(crate) missing_error: Py<PyAny>,
    /// `(field) -> value`: a fresh default, or `Undefined`
    pub(crate) fresh_default: Py<PyAny>,
    /// `(field, value, loc) -> (value, errors)`: FastAPI's own validation of a field
    pub(crate) validate_field: Py<PyAny>,
    /// `(field, source, query, headers, cookies, path_params) -> (value, errors)`: a parameter model
    pub(crate) validate_model: Py<PyAny>,
    /// Starlette's `run_in_threadpool`
    pub(crate) run_in_threadpool: Py<PyAny>,
    /// `(call, values)`: awaits a function's call in a thread
    pub(crate) call_in_thread: Py<PyAny>,
    /// `() -> CapacityLimiter`: anyio's default limiter of threads for the running loop
    pub(crate) thread_limiter: Py<PyAny>,
    /// `anyio.WouldBlock`
    pub(crate) would_block: Py<PyAny>,
    /// `asyncio.current_task`
    pub(crate) current_task: Py<PyAny>,
    /// anyio's dict of the tasks with cancel scopes; `None` if our threads cannot stand in for anyio's
    pub(crate) task_states: Option<Py<PyDict>>,
    /// `(task) -> bool`: whether the task is within a cancel scope of anyio's
    pub(crate) in_cancel_scope: Py<PyAny>,
    /// `(worker)`: starts a thread of the pool
    pub(crate) start_thread: Py<PyAny>,
    /// sniffio's variable of the current library; `None` without sniffio
    pub(crate) library_variable: Option<Py<PyAny>>,
    /// Starlette leaves exceptions their tracebacks once they are answered
    pub(crate) keeps_tracebacks: bool,
    /// FastAPI's `_solve_generator`, by position: `(dependant, stack, values, request)`
    pub(crate) enter_generator: Py<PyAny>,
    /// FastAPI keeps the cancel scopes of its generators' exits in the scope of a request
    pub(crate) shields_exits: bool,
    /// `types.SimpleNamespace`
    pub(crate) namespace: Py<PyAny>,
    /// `async (generators, error)`: leaves asynchronous generators with an exception; returns if it was swallowed
    pub(crate) leave_generators: Py<PyAny>,
    /// `async (call, values, dependant, is_coroutine)`: a call that waits for a place of its dependency's concurrency limit
    pub(crate) call_limited: Py<PyAny>,
    /// Starlette's `Request`
    pub(crate) request: Py<PyType>,
    /// What its constructor sets besides scope, `receive` and `send`; `None` if it is not the one we know
    pub(crate) request_attributes: Option<Vec<(Py<PyString>, Py<PyAny>)>>,
    /// Starlette's `WebSocket`
    pub(crate) websocket: Py<PyAny>,
    /// Starlette's `Response`
    pub(crate) response: Py<PyAny>,
    /// `Response.__call__`
    pub(crate) response_call: Py<PyAny>,
    /// `() -> Response`: what a parameter of type `Response` receives
    pub(crate) injected_response: Py<PyAny>,
    /// FastAPI's `BackgroundTasks`
    pub(crate) background_tasks: Py<PyAny>,
    /// `(dependant) -> SecurityScopes`
    pub(crate) security_scopes: Py<PyAny>,
    /// `contextlib.AsyncExitStack`
    pub(crate) exit_stack: Py<PyType>,
    /// `collections.deque`, an empty one of which is all that its constructor sets; `None` if it is not the one we know
    pub(crate) exit_callbacks: Option<Py<PyAny>>,
    /// What dispatching middleware gives its application as `send`: a class with `whole(start, body) -> bool`
    pub(crate) sender: Py<PyAny>,
    /// `async (stack, error)`: leaves a stack with an exception; returns if it was swallowed
    pub(crate) leave_with_error: Py<PyAny>,
    /// `(content_type) -> bool`: whether a body of this type is JSON
    pub(crate) is_json: Py<PyAny>,
    /// `(error) -> dict`: FastAPI's error for a `JSONDecodeError`
    pub(crate) json_error: Py<PyAny>,
    /// Starlette's `FormData`
    pub(crate) form_data: Py<PyAny>,
    /// `() -> int | None`: how large a file of a form is that stays in memory; `None` if the parsers are not those we know
    pub(crate) form_spool_size: Py<PyAny>,
    /// `(filename, headers, content, spool_size) -> UploadFile`
    pub(crate) new_upload: Py<PyAny>,
    /// `(field, contents) -> values`: FastAPI's collection for several files
    pub(crate) form_sequence: Py<PyAny>,
    /// `(receive, body, more) -> receive`: gives `body` first
    pub(crate) replay: Py<PyAny>,
    /// The key of a scope in which Starlette keeps the limit of bodies
    pub(crate) body_limit_key: Py<PyString>,
    /// `async (request, stack, limits) -> FormData`: reads a form, to be closed with the stack
    pub(crate) read_form: Py<PyAny>,
    /// `(dependant, form, embed)`: awaits `(values, errors)` of a node's form parameters
    pub(crate) form_arguments: Py<PyAny>,
    /// `(error) -> HTTPException`: what becomes of any other error while the body is read
    pub(crate) body_error: Py<PyAny>,
    /// `async (request, is_json) -> (body, (json,) | None)`: as FastAPI reads a body
    pub(crate) read_body: Py<PyAny>,
    /// `(solve) -> solve_dependencies`: puts the instruments around FastAPI's function around another; `None`: there are none
    pub(crate) around_solving: Option<Py<PyAny>>,
    /// `(call) -> run_endpoint_function`: the same
    pub(crate) around_calling: Option<Py<PyAny>>,
    /// `(values, errors, response, background) -> SolvedDependency`
    pub(crate) solved: Py<PyAny>,
    /// `() -> telemetry | None`: FastAPI's own of this request; this and the following are `None` in releases without it
    pub(crate) request_telemetry: Option<Py<PyAny>>,
    /// The variable with OpenTelemetry's context, without which, or with an empty one of which, there is none
    pub(crate) telemetry_context: Option<Py<PyAny>>,
    /// `(scope=, path=)`: tells it the route
    pub(crate) route_selected: Py<PyAny>,
    /// `(name=, function=)`: a context manager around a part of what FastAPI does
    pub(crate) operation: Py<PyAny>,
    /// What that gives where nobody traces
    pub(crate) no_operation: Py<PyAny>,
    /// `(function=, arguments=)`: calls an endpoint on its thread, as an operation
    pub(crate) run_sync_endpoint: Py<PyAny>,
    /// `(error)`: tells telemetry of a validation error
    pub(crate) validation_failed: Py<PyAny>,
    /// Starlette's `ClientDisconnect`
    pub(crate) client_disconnect: Py<PyAny>,
    /// `(route, errors, body, method, root_path) -> RequestValidationError`
    pub(crate) request_validation_error: Py<PyAny>,
    /// `(route, errors, root_path) -> WebSocketRequestValidationError`
    pub(crate) websocket_validation_error: Py<PyAny>,
    /// `(route, errors, body, method, root_path) -> ResponseValidationError`
    pub(crate) response_validation_error: Py<PyAny>,
    /// `() -> FastAPIError`: a dependency has swallowed what was raised
    pub(crate) response_not_awaited: Py<PyAny>,
    /// `http.cookies._unquote`
    pub(crate) unquote_cookie: Py<PyAny>,
    /// Starlette's `HTTPException`
    pub(crate) http_exception: Py<PyAny>,
    /// `async (scope, receive, send, request, error, started)`: gives an exception to the handlers next to the route
    pub(crate) raise_innermost: Py<PyAny>,
    /// FastAPI's `ServerSentEvent`
    pub(crate) server_sent_event: Py<PyAny>,
    /// `(value) -> bytes`: an item of a stream without a model, as JSON
    pub(crate) render_item: Py<PyAny>,
    /// `(data, event, id, retry, comment) -> bytes`: FastAPI's `format_sse_event`
    pub(crate) format_event: Py<PyAny>,
    /// Starlette's `iterate_in_threadpool`
    pub(crate) iterate_in_threadpool: Py<PyAny>,
    /// `(generator, items)`: an asynchronous iterator over the lines of an asynchronous generator
    pub(crate) lines: Py<PyAny>,
    /// `(generator, items)`: an iterator over the lines of a generator
    pub(crate) lines_of_thread: Py<PyAny>,
    /// `async (generator, is_async, items, stack)`: an asynchronous iterator over events, produced until the stack is left
    pub(crate) events: Py<PyAny>,
    /// `(generator)`: an asynchronous iterator over what an asynchronous generator yields
    pub(crate) raw: Py<PyAny>,
    /// `(*, content, background, status_code) -> StreamingResponse`, for lines of JSON and for events
    pub(crate) lines_response: Py<PyAny>,
    pub(crate) events_response: Py<PyAny>,
    /// `StreamingResponse`'s `__call__`, `stream_response` and `listen_for_disconnect`; `None` if they are not those we know
    pub(crate) streaming: Option<(Py<PyAny>, Py<PyAny>, Py<PyAny>)>,
    /// `async (body, gone)`: sends a response until it is complete, or the client has left
    pub(crate) send_pieces: Py<PyAny>,
    /// `async (body, gone, pinger)`: the same for events, with pings while there are none
    pub(crate) send_events: Py<PyAny>,
    /// `FileResponse.__call__`, with the names and functions of what it sends by; `None` if they are not those we know
    pub(crate) file: Option<(Py<PyAny>, Py<PyTuple>)>,
    /// `(path, known, opening) -> os.stat_result`: looks at a file and has it opened, on a thread
    pub(crate) examine_file: Py<PyAny>,
    /// `(response, found)`: sets the headers of a file
    pub(crate) describe_file: Py<PyAny>,
    /// `(scope) -> (method, range, if_range)`
    pub(crate) file_asked: Py<PyAny>,
    /// `(response, range, if_range, size) -> (headers, parts) | Response | None`
    pub(crate) file_ranges: Py<PyAny>,
    /// `(raise_through, arounds) -> raise_through`: the way of an exception out of a mounted application
    pub(crate) raising_below: Py<PyAny>,
    /// FastAPI's `RequestValidationError`
    pub(crate) request_validation_error_class: Py<PyAny>,
    /// `("from_attributes",)`
    pub(crate) from_attributes: Py<PyTuple>,
}

impl Runtime {
    /// A new `AsyncExitStack`.
    pub(super) fn new_stack(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let class = self.exit_stack.bind(py);
        let Some(callbacks) = &self.exit_callbacks else { return Ok(class.call0()?.unbind()) };
        let stack = ffi::new_instance(class)?;
        stack.setattr(pyo3::intern!(py, "_exit_callbacks"), callbacks.bind(py).call0()?)?;
        Ok(stack.unbind())
    }

    /// A new `Request`.
    pub(super) fn new_request<'py>(
        &self,
        scope: &Bound<'py, PyDict>,
        receive: &Bound<'py, PyAny>,
        send: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = scope.py();
        let class = self.request.bind(py);
        let Some(attributes) = &self.request_attributes else { return class.call1((scope, receive, send)) };
        let request = ffi::new_instance(class)?;
        request.setattr(pyo3::intern!(py, "scope"), scope)?;
        request.setattr(pyo3::intern!(py, "_receive"), receive)?;
        request.setattr(pyo3::intern!(py, "_send"), send)?;
        for (name, value) in attributes {
            request.setattr(name, value)?;
        }
        Ok(request)
    }

    /// FastAPI's telemetry of the request whose context this is.
    pub(super) fn telemetry(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(telemetry) = &self.request_telemetry else { return Ok(None) };
        if let Some(variable) = &self.telemetry_context {
            let context = variable.call_method0(py, pyo3::intern!(py, "get"))?;
            if context.bind(py).cast::<PyDict>().is_ok_and(|context| context.is_empty()) {
                return Ok(None);
            }
        }
        let found = telemetry.call0(py)?;
        Ok((!found.is_none(py)).then_some(found))
    }
}
