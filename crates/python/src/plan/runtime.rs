//! The functions and classes of the application's own libraries that plans use, looked up once.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

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
    /// `types.SimpleNamespace`
    pub(crate) namespace: Py<PyAny>,
    /// `async (generators, error)`: leaves asynchronous generators with an exception; returns if it was swallowed
    pub(crate) leave_generators: Py<PyAny>,
    /// `async (call, values, dependant, is_coroutine)`: a call that waits for a place of its dependency's concurrency limit
    pub(crate) call_limited: Py<PyAny>,
    /// Starlette's `Request`
    pub(crate) request: Py<PyAny>,
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
    pub(crate) exit_stack: Py<PyAny>,
    /// `async (stack, error)`: leaves a stack with an exception; returns if it was swallowed
    pub(crate) leave_with_error: Py<PyAny>,
    /// `(content_type) -> bool`: whether a body of this type is JSON
    pub(crate) is_json: Py<PyAny>,
    /// `(error) -> dict`: FastAPI's error for a `JSONDecodeError`
    pub(crate) json_error: Py<PyAny>,
    /// `async (request, stack, limits) -> FormData`: reads a form, to be closed with the stack
    pub(crate) read_form: Py<PyAny>,
    /// `(dependant, form, embed)`: awaits `(values, errors)` of a node's form parameters
    pub(crate) form_arguments: Py<PyAny>,
    /// `(error) -> HTTPException`: what becomes of any other error while the body is read
    pub(crate) body_error: Py<PyAny>,
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
    /// FastAPI's `RequestValidationError`
    pub(crate) request_validation_error_class: Py<PyAny>,
    /// `("from_attributes",)`
    pub(crate) from_attributes: Py<PyTuple>,
}
