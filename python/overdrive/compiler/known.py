"""The functions of FastAPI, Starlette, pydantic and anyio that plans mirror, and whether they are the code we know.

A plan does natively what these functions do in Python. Each feature names those it mirrors; if the code of one is not
among the fingerprints recorded in `fingerprints.txt`, because of another release or because somebody has replaced it,
the features that mirror it are off, and nothing else. A fingerprint is a hash of the compiled code without docstrings
and line numbers, so it differs between Python versions and does not between releases that leave a function alone.

Each line of `fingerprints.txt` is a function, a Python version, a hash (or `absent`: releases lack the function) and a
dialect: `-` where the code does what the newest release's does, else a word for how it behaves, by which the compiler
asks for it, or `not-mirrored`, which turns features off as an unknown fingerprint does. Lines are sorted and stand for
themselves, so that files of two branches merge.

`python -m overdrive.compiler.known --record` adds the fingerprints of what is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

RECORDED = Path(__file__).with_name("fingerprints.txt")
# In the place of a hash: there is no such function, in releases that did without it.
ABSENT = "absent"
# The dialect of code that does what the newest release's does.
NEWEST = "-"
# The dialect of code that was read and behaves otherwise, without anything in plans that would do the same.
NOT_MIRRORED = "not-mirrored"

# Feature: the functions it mirrors, as module:qualified name.
FEATURES: dict[str, tuple[str, ...]] = {
    # What stands around the router; it runs itself where somebody has put something around it.
    "stack": (
        "fastapi.applications:FastAPI.__call__",
        "fastapi.applications:FastAPI.build_middleware_stack",
        "fastapi.middleware.asyncexitstack:AsyncExitStackMiddleware.__call__",
        "fastapi.telemetry._asgi:ExceptionTelemetryMiddleware.__call__",
        "fastapi._body_limit:AppBodyLimitMiddleware.__call__",
        "fastapi._body_limit:wrap_app_with_body_limit",
        "starlette.applications:Starlette.__call__",
        "starlette.middleware.errors:ServerErrorMiddleware.__call__",
        "starlette.middleware.exceptions:ExceptionMiddleware.__call__",
    ),
    "routing": (
        "fastapi.routing:APIRouter.app",
        "fastapi.routing:APIRouter.handle",
        "fastapi.routing:APIRouter.matches",
        "fastapi.routing:APIRouter._match_low_priority",
        "fastapi.routing:APIRoute.matches",
        "fastapi.routing:APIRoute.handle",
        "fastapi.routing:_EffectiveRouteContext.matches",
        "fastapi.routing:_IncludedRouter._match",
        "fastapi.routing:_IncludedRouter.matches",
        "fastapi.routing:_IncludedRouter.handle",
        "fastapi.routing:_IncludedRouter._handle_selected",
        "fastapi.routing:_IncludedRouter.effective_candidates",
        "fastapi.routing:_update_scope",
        "starlette.routing:Router.__call__",
        "starlette.routing:Router.not_found",
        "starlette.routing:Route.matches",
        "starlette.routing:Route.handle",
        "starlette.routing:Mount.matches",
        "starlette.routing:compile_path",
        "starlette._utils:get_route_path",
        "starlette.convertors:IntegerConvertor.convert",
        "starlette.convertors:FloatConvertor.convert",
        "starlette.convertors:UUIDConvertor.convert",
        "starlette.convertors:StringConvertor.convert",
        "starlette.convertors:PathConvertor.convert",
        "starlette._exception_handler:wrap_app_handling_exceptions",
        "starlette._exception_handler:_lookup_exception_handler",
    ),
    "operations": (
        "fastapi.routing:request_response",
        "fastapi.routing:get_request_handler",
        "fastapi.routing:run_endpoint_function",
        "fastapi.routing:serialize_response",
        "fastapi.routing:wrap_app_handling_exceptions",
        "fastapi.routing:is_body_allowed_for_status_code",
        "fastapi.routing:_build_response_args",
        "fastapi.routing:_extract_endpoint_context",
        "fastapi.telemetry._api:_operation",
        "fastapi.telemetry._api:_run_sync_endpoint",
        "fastapi.utils:is_body_allowed_for_status_code",
        "fastapi.background:BackgroundTasks.__call__",
        "starlette.background:BackgroundTasks.__call__",
        "starlette.requests:Request.body",
        "starlette.requests:Request.stream",
        "starlette.requests:Request.json",
        "starlette.responses:Response.__call__",
        "starlette.responses:Response.__init__",
        "starlette.responses:Response.init_headers",
        "starlette.responses:Response.render",
    ),
    "dependencies": (
        "fastapi.dependencies.utils:solve_dependencies",
        "fastapi.routing:solve_dependencies",
        "fastapi.dependencies.utils:_solve_generator",
        "fastapi.dependencies.models:_get_cache_key",
        "fastapi.dependencies.models:_get_computed_scope",
        "fastapi.dependencies.models:_get_oauth_scopes",
        "fastapi.dependencies.models:_uses_scopes",
        "fastapi.dependencies.models:_is_gen_callable",
        "fastapi.dependencies.models:_is_async_gen_callable",
        "fastapi.dependencies.models:_is_coroutine_callable",
        "fastapi.concurrency:_asynccontextmanager_with_shielded_exit",
        "fastapi.concurrency:_contextmanager_with_concurrency_limit",
        "fastapi.concurrency:contextmanager_in_threadpool",
    ),
    "parameters": (
        "fastapi.dependencies.utils:request_params_to_args",
        "fastapi.dependencies.utils:_request_param_model_to_args",
        "fastapi.dependencies.utils:_get_multidict_value",
        "fastapi.dependencies.utils:_get_param_aliases",
        "fastapi.dependencies.utils:_get_param_model",
        "fastapi.dependencies.utils:_is_json_field",
        "fastapi.dependencies.utils:_validate_value_with_model_field",
        "fastapi._compat.shared:field_annotation_is_sequence",
        "fastapi._compat.v2:ModelField.validate",
        "fastapi._compat.v2:ModelField.get_default",
        "fastapi._compat.v2:get_missing_field_error",
        "fastapi._compat.v2:_regenerate_error_with_loc",
        "pydantic.type_adapter:TypeAdapter.validate_python",
        "starlette.datastructures:QueryParams.__init__",
        "starlette.datastructures:ImmutableMultiDict.__init__",
        "starlette.datastructures:ImmutableMultiDict.getlist",
        "starlette.datastructures:Headers.__getitem__",
        "starlette.datastructures:Headers.getlist",
        "starlette.requests:cookie_parser",
    ),
    "bodies": (
        "fastapi.dependencies.utils:request_body_to_args",
        "fastapi.dependencies.utils:_should_embed_body_fields",
        "fastapi.dependencies.utils:_get_form_models",
        "json:loads",
    ),
    "forms": (
        "fastapi.dependencies.utils:request_body_to_args",
        "fastapi.dependencies.utils:_extract_form_body",
        "fastapi.dependencies.utils:_extract_form_items",
        "fastapi.dependencies.utils:_extract_form_model",
        "fastapi.dependencies.utils:_get_multidict_extras",
        "fastapi.dependencies.utils:_get_multidict_value",
        "fastapi.dependencies.utils:_get_param_aliases",
        "fastapi.dependencies.utils:_is_empty_file_input",
        "fastapi.dependencies.utils:_is_form_model_supplied",
        "fastapi.dependencies.utils:_read_file_bytes",
        "starlette.datastructures:ImmutableMultiDict.__init__",
        "starlette.datastructures:ImmutableMultiDict.getlist",
        "starlette.datastructures:ImmutableMultiDict.multi_items",
        "starlette.datastructures:UploadFile._in_memory",
        "starlette.datastructures:UploadFile.read",
        "starlette.datastructures:UploadFile.seek",
    ),
    "form parsers": (
        "fastapi.routing:_apply_router_form_limits",
        "fastapi.routing:_resolve_form_limits",
        "starlette.datastructures:FormData.__init__",
        "starlette.datastructures:FormData.close",
        "starlette.datastructures:UploadFile.__init__",
        "starlette.datastructures:UploadFile._will_roll",
        "starlette.datastructures:UploadFile.close",
        "starlette.datastructures:UploadFile.write",
        "starlette.formparsers:_user_safe_decode",
        "starlette.formparsers:FormParser.on_field_start",
        "starlette.formparsers:FormParser.on_field_name",
        "starlette.formparsers:FormParser.on_field_data",
        "starlette.formparsers:FormParser.on_field_end",
        "starlette.formparsers:FormParser.parse",
        "starlette.formparsers:MultiPartParser.on_part_begin",
        "starlette.formparsers:MultiPartParser.on_part_data",
        "starlette.formparsers:MultiPartParser.on_part_end",
        "starlette.formparsers:MultiPartParser.on_header_field",
        "starlette.formparsers:MultiPartParser.on_header_value",
        "starlette.formparsers:MultiPartParser.on_header_end",
        "starlette.formparsers:MultiPartParser.on_headers_finished",
        "starlette.formparsers:MultiPartParser.parse",
        "starlette.requests:Request.form",
        "starlette.requests:Request._get_form",
        "starlette.requests:Request.stream",
        "python_multipart.multipart:_parseparam",
        "python_multipart.multipart:parse_options_header",
        "python_multipart.multipart:MultipartParser.__init__",
        "python_multipart.multipart:MultipartParser.write",
        "python_multipart.multipart:MultipartParser._internal_write",
        "python_multipart.multipart:QuerystringParser.__init__",
        "python_multipart.multipart:QuerystringParser.write",
        "python_multipart.multipart:QuerystringParser._internal_write",
        "python_multipart.multipart:QuerystringParser.finalize",
        "python_multipart.multipart:BaseParser.callback",
        "tempfile:SpooledTemporaryFile.__init__",
        "tempfile:SpooledTemporaryFile._check",
        "tempfile:SpooledTemporaryFile.write",
        "tempfile:SpooledTemporaryFile.seek",
        "urllib.parse:unquote_plus",
        "urllib.parse:unquote",
    ),
    "response models": (
        "fastapi._compat.v2:ModelField.serialize",
        "fastapi._compat.v2:ModelField.serialize_json",
        "pydantic.type_adapter:TypeAdapter.dump_json",
    ),
    "JSON": (
        "fastapi.encoders:jsonable_encoder",
        "fastapi.routing:jsonable_encoder",
        "starlette.responses:JSONResponse.render",
        "starlette.responses:JSONResponse.__init__",
        "json:dumps",
    ),
    "streams": (
        "fastapi.routing:_normalize_non_finite_floats",
        "fastapi.routing:format_sse_event",
        "fastapi.routing:iterate_in_threadpool",
        "fastapi.sse:_split_sse_lines",
        "fastapi.sse:format_sse_event",
        "starlette._utils:create_collapsing_task_group",
        "starlette.concurrency:_next",
        "starlette.concurrency:iterate_in_threadpool",
        "starlette.responses:StreamingResponse.__call__",
        "starlette.responses:StreamingResponse.__init__",
        "starlette.responses:StreamingResponse.listen_for_disconnect",
        "starlette.responses:StreamingResponse.stream_response",
    ),
    "files": (
        "starlette._utils:create_collapsing_task_group",
        "starlette.responses:FileResponse.__call__",
        "starlette.responses:FileResponse._handle_multiple_ranges",
        "starlette.responses:FileResponse._handle_simple",
        "starlette.responses:FileResponse._handle_single_range",
        "starlette.responses:FileResponse._open_file",
        "starlette.responses:FileResponse._parse_range_header",
        "starlette.responses:FileResponse._parse_ranges",
        "starlette.responses:FileResponse._should_use_range",
        "starlette.responses:FileResponse.generate_multipart",
        "starlette.responses:FileResponse.set_stat_headers",
    ),
    "default handlers": (
        "fastapi.exception_handlers:http_exception_handler",
        "fastapi.exception_handlers:request_validation_exception_handler",
        "fastapi.exceptions:ValidationException.errors",
    ),
    "redirects": (
        "starlette.datastructures:URL.__init__",
        "starlette._utils:parse_host_header",
        "starlette.responses:RedirectResponse.__init__",
        "starlette.responses:Response.__call__",
        "starlette.responses:Response.init_headers",
    ),
    "security": (
        "fastapi.security.utils:get_authorization_scheme_param",
        "fastapi.security.api_key:APIKeyQuery.__call__",
        "fastapi.security.api_key:APIKeyHeader.__call__",
        "fastapi.security.api_key:APIKeyCookie.__call__",
        "fastapi.security.http:HTTPBase.__call__",
        "fastapi.security.http:HTTPBasic.__call__",
        "fastapi.security.http:HTTPBearer.__call__",
        "fastapi.security.http:HTTPDigest.__call__",
        "fastapi.security.oauth2:OAuth2.__call__",
        "fastapi.security.oauth2:OAuth2PasswordBearer.__call__",
        "fastapi.security.oauth2:OAuth2AuthorizationCodeBearer.__call__",
        "fastapi.security.open_id_connect_url:OpenIdConnect.__call__",
    ),
    "websockets": (
        "fastapi.routing:websocket_session",
        "fastapi.routing:get_websocket_app",
        "fastapi.routing:APIWebSocketRoute.matches",
        "fastapi.routing:_validation_failed",
        "starlette.routing:WebSocketRoute.matches",
        "starlette.routing:WebSocketRoute.handle",
        "starlette.websockets:WebSocket.__init__",
    ),
    "mounts": (
        "starlette.routing:Mount.matches",
        "starlette.routing:Mount.handle",
    ),
    "threads": (
        "starlette.concurrency:run_in_threadpool",
        "fastapi.routing:run_in_threadpool",
        "fastapi.dependencies.utils:run_in_threadpool",
        "anyio.to_thread:run_sync",
        "anyio._backends._asyncio:AsyncIOBackend.run_sync_in_worker_thread",
        "anyio._backends._asyncio:AsyncIOBackend.run_async_from_thread",
        "anyio._backends._asyncio:AsyncIOBackend.check_cancelled",
        "anyio._backends._asyncio:WorkerThread.run",
        "anyio._backends._asyncio:WorkerThread._report_result",
        "anyio._core._eventloop:claim_worker_thread",
    ),
    "CORS": (
        "starlette.middleware.cors:CORSMiddleware.__init__",
        "starlette.middleware.cors:CORSMiddleware.__call__",
        "starlette.middleware.cors:CORSMiddleware.is_allowed_origin",
        "starlette.middleware.cors:CORSMiddleware.preflight_response",
        "starlette.middleware.cors:CORSMiddleware.simple_response",
        "starlette.middleware.cors:CORSMiddleware.send",
        "starlette.middleware.cors:CORSMiddleware.allow_explicit_origin",
        "starlette.datastructures:MutableHeaders.__setitem__",
        "starlette.datastructures:MutableHeaders.update",
        "starlette.datastructures:Headers.getlist",
        "starlette.responses:Response.init_headers",
    ),
    "GZip": (
        "starlette.middleware.gzip:GZipMiddleware.__init__",
        "starlette.middleware.gzip:GZipMiddleware.__call__",
        "starlette.middleware.gzip:IdentityResponder.__init__",
        "starlette.middleware.gzip:IdentityResponder.__call__",
        "starlette.middleware.gzip:IdentityResponder.send_with_compression",
        "starlette.middleware.gzip:IdentityResponder.apply_compression",
        "starlette.middleware.gzip:GZipResponder.__init__",
        "starlette.middleware.gzip:GZipResponder.apply_compression",
        "starlette.middleware.gzip:GZipResponder._compress_body",
        "starlette.middleware.gzip:GZipResponder.compressor",
        "starlette.middleware.gzip:_normalize_content_types",
        "starlette.datastructures:MutableHeaders.__setitem__",
        "starlette.datastructures:MutableHeaders.add_vary_header",
        "starlette.datastructures:Headers.getlist",
    ),
    "trusted hosts": (
        "starlette.middleware.trustedhost:TrustedHostMiddleware.__init__",
        "starlette.middleware.trustedhost:TrustedHostMiddleware.__call__",
        "starlette._utils:parse_host_header",
    ),
    "dispatch": (
        "starlette.middleware.base:BaseHTTPMiddleware.__init__",
        "starlette.middleware.base:BaseHTTPMiddleware.__call__",
        "starlette.middleware.base:_CachedRequest.__init__",
        "starlette.middleware.base:_CachedRequest.wrapped_receive",
        "starlette.middleware.base:_StreamingResponse.__init__",
        "starlette.middleware.base:_StreamingResponse.__call__",
        "starlette._utils:create_collapsing_task_group",
    ),
    "sessions": (
        "starlette.middleware.sessions:SessionMiddleware.__init__",
        "starlette.middleware.sessions:SessionMiddleware.__call__",
        "starlette.middleware.sessions:Session.mark_accessed",
        "starlette.middleware.sessions:Session.mark_modified",
    ),
    "HTTPS redirects": (
        "starlette.middleware.httpsredirect:HTTPSRedirectMiddleware.__init__",
        "starlette.middleware.httpsredirect:HTTPSRedirectMiddleware.__call__",
    ),
}

# What instruments put around functions, and what of theirs that calls; see `instruments`. They need not be installed.
INSTRUMENTS = (
    "logfire._internal.integrations.fastapi:FastAPIInstrumentation.run_endpoint_function",
    "logfire._internal.integrations.fastapi:FastAPIInstrumentation.solve_dependencies",
    "logfire._internal.integrations.fastapi:patch_fastapi",
    "sentry_sdk.integrations.fastapi:_wrap_async_handler",
    "sentry_sdk.integrations.fastapi:patch_get_request_handler",
    "sentry_sdk.integrations.starlette:_enable_span_for_middleware",
    "sentry_sdk.integrations.starlette:_wrap_sync_handler",
    "sentry_sdk.integrations.starlette:patch_asgi_app",
    "sentry_sdk.integrations.starlette:patch_exception_middleware",
)

# What `sentry` does in the place of the SDK, beside the functions above. It need not be installed.
SENTRY = (
    "sentry_sdk.integrations._asgi_common:_get_headers",
    "sentry_sdk.integrations._asgi_common:_get_ip",
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware.__init__",
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware._capture_request_exception",
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware._get_transaction_name_and_source",
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware._run_app",
    "sentry_sdk.integrations.asgi:SentryAsgiMiddleware._run_asgi3",
    "sentry_sdk.integrations.fastapi:_set_transaction_name_and_source",
    "sentry_sdk.integrations.starlette:StarletteRequestExtractor.content_length",
    "sentry_sdk.integrations.starlette:StarletteRequestExtractor.cookies",
    "sentry_sdk.integrations.starlette:StarletteRequestExtractor.extract_request_info",
    "sentry_sdk.integrations.starlette:_add_user_to_sentry_scope",
    "sentry_sdk.integrations.starlette:_get_transaction_from_middleware",
    "sentry_sdk.integrations.starlette:_http_route_and_source_from_router",
    "sentry_sdk.client:_Client.capture_session",
    "sentry_sdk.scope:Scope.__copy__",
    "sentry_sdk.scope:Scope.__init__",
    "sentry_sdk.scope:Scope.add_event_processor",
    "sentry_sdk.scope:Scope.clear_breadcrumbs",
    "sentry_sdk.scope:Scope.continue_trace",
    "sentry_sdk.scope:Scope.end_session",
    "sentry_sdk.scope:Scope.fork",
    "sentry_sdk.scope:Scope.generate_propagation_context",
    "sentry_sdk.scope:Scope.set_attribute",
    "sentry_sdk.scope:Scope.start_session",
    "sentry_sdk.scope:Scope.start_transaction",
    "sentry_sdk.scope:isolation_scope",
    "sentry_sdk.session:Session.__init__",
    "sentry_sdk.session:Session.close",
    "sentry_sdk.session:Session.get_json_attrs",
    "sentry_sdk.session:Session.update",
    "sentry_sdk.sessions:SessionFlusher.add_aggregate_session",
    "sentry_sdk.sessions:SessionFlusher.add_session",
    "sentry_sdk.sessions:_is_auto_session_tracking_enabled",
    "sentry_sdk.sessions:track_session",
    "sentry_sdk.tracing:Span.__enter__",
    "sentry_sdk.tracing:Span.__exit__",
    "sentry_sdk.tracing:Span.__init__",
    "sentry_sdk.tracing:Transaction.__enter__",
    "sentry_sdk.tracing:Transaction.__exit__",
    "sentry_sdk.tracing:Transaction.__init__",
    "sentry_sdk.tracing:Transaction._set_initial_sampling_decision",
    "sentry_sdk.tracing:Transaction.finish",
    "sentry_sdk.tracing_utils:PropagationContext.__init__",
    "sentry_sdk.tracing_utils:PropagationContext.from_incoming_data",
    "sentry_sdk.tracing_utils:extract_sentrytrace_data",
    "sentry_sdk.tracing_utils:has_tracing_enabled",
    "sentry_sdk.tracing_utils:has_span_streaming_enabled",
    "sentry_sdk.utils:_is_localhost",
    "sentry_sdk.utils:format_attribute",
    "sentry_sdk.utils:get_current_thread_meta",
    "sentry_sdk.utils:has_data_collection_enabled",
)

# What `opentelemetry` does in the place of the instrumentation's middleware.
OPENTELEMETRY = (
    "opentelemetry.attributes:BoundedAttributes.__init__",
    "opentelemetry.attributes:BoundedAttributes._set_items",
    "opentelemetry.attributes:BoundedAttributes._setitem_locked",
    "opentelemetry.attributes:_clean_attribute_value",
    "opentelemetry.baggage.propagation:W3CBaggagePropagator.extract",
    "opentelemetry.instrumentation._semconv:_set_status",
    "opentelemetry.instrumentation.asgi:ASGIGetter.get",
    "opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware.__call__",
    "opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware._get_otel_send",
    "opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware._set_send_span",
    "opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware._set_server_span",
    "opentelemetry.instrumentation.asgi:collect_request_attributes",
    "opentelemetry.instrumentation.asgi:get_host_port_url_tuple",
    "opentelemetry.instrumentation.asgi:set_status_code",
    "opentelemetry.instrumentation.fastapi:_get_default_span_details",
    "opentelemetry.instrumentation.fastapi:_get_route_details",
    "opentelemetry.instrumentation.utils:_start_internal_or_server_span",
    "opentelemetry.instrumentation.utils:http_status_to_status_code",
    "opentelemetry.propagate:extract",
    "opentelemetry.propagators.composite:CompositePropagator.extract",
    "opentelemetry.sdk.trace:ReadableSpan.__init__",
    "opentelemetry.sdk.trace:Span.__init__",
    "opentelemetry.sdk.trace:Span.__new__",
    "opentelemetry.sdk.trace:Span._new_events",
    "opentelemetry.sdk.trace:Span._new_links",
    "opentelemetry.sdk.trace:Span.start",
    "opentelemetry.sdk.trace:Tracer.start_as_current_span",
    "opentelemetry.sdk.trace:Tracer.start_span",
    "opentelemetry.sdk.trace.sampling:ParentBased.should_sample",
    "opentelemetry.sdk.trace.sampling:StaticSampler.should_sample",
    "opentelemetry.sdk.trace.sampling:_get_parent_trace_state",
    "opentelemetry.sdk.util:BoundedList.__init__",
    "opentelemetry.trace:use_span",
    "opentelemetry.trace.span:SpanContext.__new__",
    "opentelemetry.trace.propagation.tracecontext:TraceContextTextMapPropagator.extract",
    "opentelemetry.util.http:redact_url",
)


# As FEATURES, of what goes on as well, if slower, where it is off: nobody need be told.
SHORTCUTS: dict[str, tuple[str, ...]] = {
    "websocket messages": (
        "starlette.websockets:WebSocket.receive",
        "starlette.websockets:WebSocket.send",
        "starlette.websockets:WebSocket._raise_on_disconnect",
        "starlette.websockets:WebSocket.receive_text",
        "starlette.websockets:WebSocket.receive_bytes",
        "starlette.websockets:WebSocket.send_text",
        "starlette.websockets:WebSocket.send_bytes",
    ),
}

# What `behaves` has found: a release does not change while it is loaded.
_behaviours: dict[str, str] = {}
# Take known instruments away from what they stand around.
_seen_through: list[Callable[[Any], Any]] = []


def features_off() -> dict[str, str]:
    """The features that are off, each with the first function whose code is not known."""
    return {feature: name for feature in FEATURES if (name := unknown(feature)) is not None}


def unknown(feature: str) -> str | None:
    """The first function that `feature` mirrors and whose code plans do not know; None if they know all."""
    return next(unknowns(feature), None)


def unknowns(feature: str) -> Iterator[str]:
    """All of them."""
    return (name for name in (FEATURES | SHORTCUTS)[feature] if dialect(name) in (None, NOT_MIRRORED))


def dialect(name: str) -> str | None:
    """How the function under `name` behaves, as recorded; None if it is not the code we know."""
    found = fingerprint(name)
    return None if found is None else recorded().get(name, {}).get(found)


def behaves(name: str) -> str:
    """The dialect of a function, once it was known. Where it is not, the features that mirror it are off."""
    if name not in _behaviours:
        found = dialect(name)
        if found is None:
            return NEWEST
        _behaviours[name] = found
    return _behaviours[name]


def functions() -> list[str]:
    """All mirrored functions."""
    return sorted({name for names in FEATURES.values() for name in names})


def fingerprint(name: str) -> str | None:
    """The Python version and the hash of what is found under `name` now; None if that is no Python function."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        found = pristine(name)
    except LookupError:
        return f"{version} {ABSENT}"
    if not isinstance(found, FunctionType):
        return None
    return f"{version} {hash_of(*_codes(found))}"


def find(name: str) -> Any:
    """What is found under `name` now.

    Raises:
        LookupError: there is nothing.
    """
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = found.__dict__[part] if isinstance(found, type) else getattr(found, part)
    except (ImportError, AttributeError, KeyError):
        raise LookupError(name) from None
    found = getattr(found, "__func__", found)
    if isinstance(found, property):
        return found.fget
    return found.__wrapped__ if isinstance(found, type(recorded)) else found


def pristine(name: str) -> Any:
    """The same without the known instruments around it."""
    found = find(name)
    for see_through in _seen_through:
        found = see_through(found)
    return found


def see_through(unwrap: Callable[[Any], Any]) -> None:
    """From now on functions are looked at as `unwrap` gives them. This file stands alone; of instruments it is told."""
    _seen_through.append(unwrap)


def is_patched(name: str) -> bool:
    """Whether something is in the place of a function that was not written there, as another release's would be."""
    found = pristine(name)
    return not isinstance(found, FunctionType) or found.__code__.co_qualname != name.partition(":")[2]


def hash_of(*codes: CodeType) -> str:
    """A hash of what code does: not of where it stands, nor of its documentation."""
    digest = hashlib.blake2b(digest_size=12)
    for code in codes:
        for part in _parts(code):
            digest.update(part)
            digest.update(b"\0")
    return digest.hexdigest()


def _codes(function: FunctionType) -> Iterator[CodeType]:
    """The code of a function, and of those that its decorators have wrapped."""
    found: Any = function
    while isinstance(found, FunctionType):
        yield found.__code__
        found = getattr(found, "__wrapped__", None)


def _parts(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)).encode()
    for place, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(constant, key=repr)).encode()
        elif place == 0 and isinstance(constant, str) and _has_docstring(code):
            yield b"docstring"
        else:
            yield repr(constant).encode()


def _has_docstring(code: CodeType) -> bool:
    # Before Python 3.14 a text in the first place is a function's docstring, or None stands there. Comprehensions and
    # generator expressions, whose names are in angle brackets, have none and begin with any constant of theirs.
    if sys.version_info >= (3, 14):
        return bool(code.co_flags & 0x4000000)
    return not code.co_name.startswith("<")


@cache
def recorded() -> dict[str, dict[str, str]]:
    """The dialects of all fingerprints, by function."""
    found: dict[str, dict[str, str]] = {}
    for line in RECORDED.read_text().splitlines():
        name, version, digest, behaves = line.split()
        found.setdefault(name, {})[f"{version} {digest}"] = behaves
    return found


def record(new: Mapping[str, str], dialects: Mapping[str, str]) -> None:
    """Adds fingerprints by function; `dialects`: of those that behave otherwise than the newest release's."""
    known = {name: dict(prints) for name, prints in recorded().items()}
    for name, text in new.items():
        prints = known.setdefault(name, {})
        prints[text] = dialects.get(name, prints.get(text, NEWEST))
    lines = [f"{name} {text} {word}\n" for name, prints in known.items() for text, word in prints.items()]
    RECORDED.write_text("".join(sorted(lines)))
    recorded.cache_clear()


def main() -> int:
    """Records the installed releases, or tells what is not known of them."""
    parser = argparse.ArgumentParser(prog="python -m overdrive.compiler.known", description=main.__doc__)
    parser.add_argument("--record", action="store_true", help="add what is installed to fingerprints.txt")
    parser.add_argument("--json", action="store_true", help="print the fingerprints of what is installed")
    options = parser.parse_args()
    installed = {name: fingerprint(name) for name in functions()}
    if options.json:
        print(json.dumps(installed, indent=1))
        return 0
    installed |= {name: fingerprint(name) for names in SHORTCUTS.values() for name in names}
    with_instruments = {name: fingerprint(name) for name in (*INSTRUMENTS, *OPENTELEMETRY, *SENTRY)}
    installed.update((name, text) for name, text in with_instruments.items() if text is None or ABSENT not in text)
    missing = [name for name in installed if dialect(name) is None]
    for name in missing:
        print(f"unknown:   {name} {installed[name]}")
    if options.record:
        # What is missing of the newest release is a mistake in FEATURES; older ones have their own way in.
        record({name: text for name, text in installed.items() if text is not None and ABSENT not in text}, {})
    return 0 if options.record or not missing else 1


if __name__ == "__main__":
    sys.exit(main())
