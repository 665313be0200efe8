"""What plans call of Python at run time: the application's own libraries, and a few lines of ours.

`Plans` reads the attributes of `Runtime` once; their meaning is told there, in `runtime.rs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import functools
import http.cookies
import json
import sys
import threading
import types
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, _AsyncGeneratorContextManager
from copy import deepcopy
from types import CodeType
from typing import Any

import anyio.to_thread
import starlette.requests
from anyio._backends._asyncio import AsyncIOBackend, _task_states
from anyio._core._eventloop import claim_worker_thread, threadlocals
from fastapi import _compat, routing
from fastapi._compat import ModelField
from fastapi._compat.v2 import _regenerate_error_with_loc
from fastapi.background import BackgroundTasks
from fastapi.dependencies import models, utils
from fastapi.dependencies.models import Dependant
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import (
    FastAPIError,
    RequestValidationError,
    ResponseValidationError,
    WebSocketRequestValidationError,
)
from fastapi.security import SecurityScopes
from fastapi.sse import ServerSentEvent
from pydantic_core import ValidationError
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.datastructures import FormData, Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from overdrive.compiler import files, instruments, known, streams, telemetry, uploads
from overdrive.compiler.dispatch import Sender
from overdrive.compiler.fields import NamedModel
from overdrive.compiler.handler import ENDPOINT_APP
from overdrive.compiler.instruments import nested
from overdrive.compiler.limits import MAX_BODY_SIZE_SCOPE_KEY, limit_exceeded
from overdrive.compiler.mounts import raising_below
from overdrive.compiler.spec import Route
from overdrive.compiler.stack import raise_innermost, without_first
from overdrive.compiler.websocket import OpenWebSocket


def _render_json(content: Any) -> bytes:
    return JSONResponse(jsonable_encoder(content)).body  # type: ignore[return-value]


def _located_errors(error: ValidationError, loc: tuple[str, ...]) -> list[dict[str, Any]]:
    return _regenerate_error_with_loc(errors=error.errors(include_url=False), loc_prefix=loc)


def _fresh_default(field: ModelField) -> Any:
    return deepcopy(field.default)


def _validate_field(field: ModelField, value: Any, loc: tuple[str, ...]) -> tuple[Any, list[Any]]:
    return field.validate(value, {}, loc=loc)


def _validate_model(field: ModelField | NamedModel, source: str, received: Any) -> tuple[Any, list[Any]]:
    given: Mapping[str, Any] = received
    if source == "query":
        given = QueryParams(received)
    elif source == "header":
        given = Headers(raw=received)
    if isinstance(field, NamedModel):
        values, errors = field.read(given)
        return values.get(field.name), errors
    model = utils._get_param_model(field)
    assert model is not None
    return utils._request_param_model_to_args(field, model, given)


def _call_in_thread(call: Callable[..., Any], values: dict[str, Any]) -> Awaitable[Any]:
    return anyio.to_thread.run_sync(functools.partial(call, **values))


def _in_cancel_scope(task: asyncio.Task[Any]) -> bool:
    state = _task_states.get(task)
    return state is not None and state.cancel_scope is not None


def _start_thread(worker: Any, loop: asyncio.AbstractEventLoop) -> None:
    # The name is anyio's, too: people look for it in logs and debuggers.
    threading.Thread(target=_run_worker, args=(worker, loop), name="AnyIO worker thread").start()


def _run_worker(worker: Any, loop: asyncio.AbstractEventLoop) -> None:
    # What `anyio.from_thread` looks for.
    with claim_worker_thread(AsyncIOBackend, loop):
        threadlocals.current_cancel_scope = None
        worker.run()


def _enter_generator(
    dependant: Dependant, stack: AsyncExitStack, values: dict[str, Any], request: Request
) -> Awaitable[Any]:
    return utils._solve_generator(dependant=dependant, stack=stack, sub_values=values, request=request)


def _enter_unshielded(
    dependant: Dependant, stack: AsyncExitStack, values: dict[str, Any], request: Request
) -> Awaitable[Any]:
    return utils._solve_generator(dependant=dependant, stack=stack, sub_values=values)  # type: ignore[call-arg]


async def _call_limited(
    call: Callable[..., Any], values: dict[str, Any], dependant: Dependant, is_coroutine: bool
) -> Any:
    assert dependant.concurrency is not None
    async with dependant.concurrency.get_semaphore():
        return await (call(**values) if is_coroutine else _call_in_thread(call, values))


async def _read_body(request: Request, is_json: bool) -> tuple[bytes, tuple[Any] | None]:
    body = await request.body()
    return body, (await request.json(),) if body and is_json else None


def _solved(values: dict[str, Any], errors: list[Any], response: Response | None, background: Any) -> Any:
    return utils.SolvedDependency(
        values=values,
        errors=errors,
        background_tasks=background,
        response=_injected_response() if response is None else response,
        dependency_cache={},
    )


def _injected_response() -> Response:
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response


def _exit_callbacks() -> Callable[[], Any] | None:
    # What plans put into a new stack without running its constructor, if that does nothing else.
    attributes = vars(AsyncExitStack())
    if (
        _is_made_by(AsyncExitStack, contextlib)
        and list(attributes) == ["_exit_callbacks"]
        and attributes["_exit_callbacks"] == deque()
    ):
        return deque
    return None


def _request_attributes() -> list[tuple[str, Any]] | None:
    # The same of a request, but for what differs.
    given = ({"type": "http"}, object(), object())
    set_first = list(zip(("scope", "_receive", "_send"), given, strict=True))
    attributes = list(vars(Request(*given)).items())  # type: ignore[arg-type]
    rest = attributes[len(set_first) :]
    if (
        _is_made_by(Request, starlette.requests)
        and attributes[: len(set_first)] == set_first
        and all(value is None or isinstance(value, bool) for _, value in rest)
    ):
        return rest
    return None


def _is_made_by(made: type, module: types.ModuleType) -> bool:
    # Nobody has put a constructor of their own in the place of one of the module's.
    constructors = [vars(base)["__init__"] for base in made.__mro__ if "__init__" in vars(base) and base is not object]
    return all(getattr(made, name) is getattr(object, name) for name in ("__new__", "__setattr__")) and all(
        isinstance(constructor, types.FunctionType) and constructor.__code__.co_filename == module.__file__
        for constructor in constructors
    )


async def _leave_with_error(stack: AsyncExitStack, error: BaseException) -> None:
    # In a real `async with`, so that those who look for the exception being handled find it.
    async with stack:
        raise error


async def _leave_generators(generators: list[AsyncGenerator[Any, None]], error: BaseException) -> None:
    # contextlib knows what becomes of exceptions; the generators are entered already.
    async with AsyncExitStack() as stack:
        for generator in generators:
            manager = _AsyncGeneratorContextManager.__new__(_AsyncGeneratorContextManager)
            manager.gen = generator
            stack.push_async_exit(manager)
        raise error


@functools.lru_cache(256)
def _is_json(content_type: str) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _json_error(error: json.JSONDecodeError) -> dict[str, Any]:
    return {
        "type": "json_invalid",
        "loc": ("body", error.pos),
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": error.msg},
    }


def _body_error(error: Exception) -> HTTPException:
    if isinstance(error, HTTPException):
        return error
    answer = HTTPException(status_code=400, detail="There was an error parsing the body")
    # As `raise ... from error` has it, where the error is being handled.
    answer.__cause__ = answer.__context__ = error
    return answer


# None before FastAPI 0.165.
_form_limits = getattr(routing, "_resolve_form_limits", None)


async def _read_form(request: Request, files: AsyncExitStack, form_limits: Any) -> FormData:
    try:
        limits = {} if _form_limits is None else _form_limits(request.scope.get("fastapi", {}), form_limits)
        form = await request.form(**limits)
        files.push_async_callback(form.close)
        return form
    except HTTPException:
        raise
    except Exception as error:
        if limit := limit_exceeded(request.scope, error):
            raise limit from error
        raise _body_error(error) from error


def _form_arguments(dependant: Dependant, body: Any, embed: bool) -> Awaitable[tuple[dict[str, Any], list[Any]]]:
    return utils.request_body_to_args(body_fields=dependant.body_params, received_body=body, embed_body_fields=embed)


def _named_form_arguments(dependant: Any, body: Any, embed: bool) -> Awaitable[tuple[dict[str, Any], list[Any]]]:
    names = {"known_param_names": dependant._request_param_names["form"]}
    return utils.request_body_to_args(
        body_fields=dependant.body_params, received_body=body, embed_body_fields=embed, **names
    )


def _endpoint_context(route: Route, method: str, root_path: str) -> Any:
    context = routing._extract_endpoint_context(route.endpoint)
    if route.path:
        context["path"] = f"{method} {root_path.rstrip('/')}{route.path}"
    return context


def _request_validation_error(
    route: Route, errors: list[Any], body: Any, method: str, root_path: str
) -> RequestValidationError:
    return RequestValidationError(errors, body=body, endpoint_ctx=_endpoint_context(route, method, root_path))


def _websocket_validation_error(route: Route, errors: list[Any], root_path: str) -> WebSocketRequestValidationError:
    return WebSocketRequestValidationError(errors, endpoint_ctx=_endpoint_context(route, "WS", root_path))


def _response_validation_error(
    route: Route, errors: list[Any], body: Any, method: str, root_path: str
) -> ResponseValidationError:
    return ResponseValidationError(errors=errors, body=body, endpoint_ctx=_endpoint_context(route, method, root_path))


async def _raise_innermost(
    scope: dict[str, Any], receive: Any, send: Any, request: Request, error: Exception, started: bool
) -> None:
    # The beginning of the response has gone out already, through the layers around the route.
    await raise_innermost(scope, receive, without_first(send) if started else send, request, error, started)


def _response_not_awaited() -> FastAPIError:
    return FastAPIError(NOT_AWAITED)


def _longest_text(code: CodeType | None) -> str:
    """The longest text among a function's constants."""
    if code is None:
        return ""
    texts = [constant for constant in code.co_consts if isinstance(constant, str)]
    return max(texts, key=len)


# FastAPI's own words, where FastAPI has them.
NOT_AWAITED = _longest_text(None if ENDPOINT_APP is None else nested(ENDPOINT_APP, "app"))


STREAMING = (
    StreamingResponse.__call__,
    StreamingResponse.stream_response,
    StreamingResponse.listen_for_disconnect,
)


class Runtime:
    """See the module. Looked up when plans are made, so that what an application replaces before is what they use.

    own_threads: whether our threads can stand in for anyio's.
    own_streams: whether the engine can iterate in the place of a `StreamingResponse`.
    own_files: whether the engine can send in the place of a `FileResponse`.
    own_messages: whether WebSockets of ours can receive and send in the place of Starlette's.
    """

    def __init__(self, *, own_threads: bool, own_streams: bool, own_files: bool, own_messages: bool) -> None:
        self.json_loads = json.loads
        self.scan_json = json._default_decoder.scan_once  # type: ignore[attr-defined]
        self.json_decode_error = json.JSONDecodeError
        self.render_json = _render_json
        self.jsonable_encoder = jsonable_encoder
        self.validation_error = ValidationError
        self.located_errors = _located_errors
        self.missing_error = _compat.get_missing_field_error
        self.fresh_default = _fresh_default
        self.validate_field = _validate_field
        self.validate_model = _validate_model
        self.run_in_threadpool = run_in_threadpool
        self.call_in_thread = _call_in_thread
        self.thread_limiter = anyio.to_thread.current_default_thread_limiter
        self.would_block = anyio.WouldBlock
        self.current_task = asyncio.current_task
        # Empty for most applications; then no task is in a scope.
        self.task_states = vars(_task_states)["data"] if own_threads else None
        self.in_cancel_scope = _in_cancel_scope
        self.start_thread = _start_thread
        self.library_variable = getattr(sys.modules.get("sniffio"), "current_async_library_cvar", None)
        starlettes = known.behaves("starlette._exception_handler:wrap_app_handling_exceptions")
        self.keeps_tracebacks = starlettes == "keeps-tracebacks"
        unshielded = known.behaves("fastapi.dependencies.utils:_solve_generator") == "unshielded"
        self.enter_generator = _enter_unshielded if unshielded else _enter_generator
        self.shields_exits = not unshielded
        self.call_limited = _call_limited
        self.request = Request
        self.request_attributes = _request_attributes()
        self.websocket = OpenWebSocket if own_messages else WebSocket
        self.response = Response
        self.response_call = Response.__call__
        self.injected_response = _injected_response
        self.background_tasks = BackgroundTasks
        self.security_scopes = lambda dependant: SecurityScopes(scopes=models._get_oauth_scopes(dependant=dependant))
        self.exit_stack = AsyncExitStack
        self.exit_callbacks = _exit_callbacks()
        self.sender = Sender
        self.namespace = types.SimpleNamespace
        self.leave_generators = _leave_generators
        self.leave_with_error = _leave_with_error
        self.is_json = _is_json
        self.json_error = _json_error
        self.form_data = FormData
        self.form_spool_size = uploads.spool_size
        self.new_upload = uploads.new_upload
        self.form_sequence = uploads.sequence
        self.replay = uploads.replay
        self.body_limit_key = MAX_BODY_SIZE_SCOPE_KEY
        self.read_form = _read_form
        named_forms = known.behaves("fastapi.dependencies.utils:request_body_to_args") == "form-names"
        self.form_arguments = _named_form_arguments if named_forms else _form_arguments
        self.body_error = _body_error
        self.client_disconnect = ClientDisconnect
        self.read_body = _read_body
        self.around_solving = instruments.around("fastapi.routing:solve_dependencies")
        self.around_calling = instruments.around("fastapi.routing:run_endpoint_function")
        self.solved = _solved
        self.request_telemetry = telemetry.function("_get_request_telemetry")
        self.telemetry_context = telemetry.context_variable()
        self.route_selected = telemetry.function("_route_selected")
        self.operation = telemetry.function("_operation")
        self.no_operation = telemetry.NO_OPERATION
        self.run_sync_endpoint = telemetry.function("_run_sync_endpoint")
        self.validation_failed = telemetry.function("_validation_failed")
        self.raise_innermost = _raise_innermost
        self.server_sent_event = ServerSentEvent
        self.render_item = streams.render_item
        self.format_event = streams.format_event
        self.iterate_in_threadpool = iterate_in_threadpool
        self.lines = streams.lines
        self.lines_of_thread = streams.lines_of_thread
        self.events = streams.events
        self.raw = streams.raw
        self.lines_response = streams.lines_response
        self.events_response = streams.events_response
        self.streaming = STREAMING if own_streams else None
        self.send_pieces = streams.send_pieces
        self.send_events = streams.send_events
        self.file = (FileResponse.__call__, files.SENDING) if own_files else None
        self.examine_file = files.examine
        self.describe_file = files.describe
        self.file_asked = files.asked
        self.file_ranges = files.ranges
        self.raising_below = raising_below
        self.request_validation_error = _request_validation_error
        self.request_validation_error_class = RequestValidationError
        self.websocket_validation_error = _websocket_validation_error
        self.response_validation_error = _response_validation_error
        self.response_not_awaited = _response_not_awaited
        self.unquote_cookie = http.cookies._unquote
        self.http_exception = HTTPException
        self.from_attributes = ("from_attributes",)
