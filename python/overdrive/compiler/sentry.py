"""What Sentry does around a request, in one function: for a client without tracing, and a request that raises nothing.

sentry-sdk observes a FastAPI application from around it (`SentryAsgiMiddleware`) and from around each request handler.
`Observer`, `Entered` and `Handler` leave behind what these do, as far as anybody can see it: scopes of the request's
own, its transaction, its session, what is added to its events. What is left out is what nobody can see: log records
that the SDK's own filter drops, a session without a release, the seed of a decision that is not made. Whatever is
unusual, and whoever traces, has the SDK's own code, called as it always is.

What is mirrored is known by its code (`known.SENTRY`); every request asks for the client anew.

A request that a plan answers, without a body and without a trace to be continued, has no ASGI application around it:
the plan itself enters the `Observer` (`plan/observer.rs`), which then does both parts at once.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from overdrive.compiler import instruments, known

App = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

FASTAPI = "sentry_sdk.integrations.fastapi"
# A header with this in its name may continue a trace, however it is written.
TRACING = "sentry"
# More processors than this of a scope's are dropped, with a warning.
MANY_PROCESSORS = 20
# What counts sessions, and may have been replaced on its object.
COUNTING = frozenset({"add_session", "add_aggregate_session", "_ensure_running"})
# Of as many routes the names of transactions are kept.
NAMED_ROUTES = 4096


def is_known() -> bool:
    """Whether the SDK is loaded, and what is mirrored of it the code we know."""
    return FASTAPI in sys.modules and all(known.dialect(name) is not None for name in known.SENTRY)


def is_alone_around() -> bool:
    """Whether Sentry, as we know it, is all that stands around the application and FastAPI's own middleware."""
    if not is_known():
        return False
    _, wrapped = instruments.unwrapped(Starlette.__call__)
    if [wrapper.maker.rpartition(":")[2] for _, wrapper in wrapped] != ["patch_asgi_app"]:
        return False
    return instruments.around_features(["stack"]) == {"Sentry"}


def before_handler(wrapped: instruments.Wrapped) -> Callable[[Any], bool] | None:
    """What stands for the SDK before the request handler of a route, where it alone is around it."""
    if [wrapper.path[-1] for _, wrapper in wrapped] != ["_sentry_app"] or not is_known():
        return None
    return Handler()


async def reraise(scope: Any, receive: Any, send: Any, error: Exception, started: bool) -> None:
    """What is left to do around an `Observer` with what it raises."""
    raise error


class Client:
    """What a client's options make of a request.

    middleware: one for all requests, for what it adds to events.
    """

    def __init__(self, client: Any) -> None:
        from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
        from sentry_sdk.integrations.fastapi import FastApiIntegration
        from sentry_sdk.integrations.starlette import StarletteIntegration

        self.client = client
        self.starlette = client.get_integration(StarletteIntegration)
        self.fastapi = client.get_integration(FastApiIntegration)
        self.middleware: Any = None
        # By its endpoint FastAPI's own middleware would name it, one after the other.
        if type(self.starlette) is StarletteIntegration and self.starlette.transaction_style == "url":
            _, ((patched, _),) = instruments.unwrapped(Starlette.__call__)
            self.middleware = SentryAsgiMiddleware(
                None,
                mechanism_type=StarletteIntegration.identifier,
                transaction_style="url",
                span_origin=StarletteIntegration.origin,
                http_methods_to_capture=self.starlette.http_methods_to_capture,
                asgi_version=3,
                root_path_in_path=instruments.cells(patched)["root_path_in_path"].cell_contents,
            )

    @property
    def is_usual(self) -> bool:
        """Whether its options are such that what it does is known here; options may be changed at any time."""
        options = self.client.options
        return (
            self.middleware is not None
            and not self.starlette.middleware_spans
            and not options["debug"]
            and (options.get("enable_tracing") is False or _is_untraced(options))
            and options.get("trace_lifecycle") is None
            and not options["_experiments"]
            and options.get("instrumenter") == "sentry"
        )


def _is_untraced(options: Any) -> bool:
    return options.get("traces_sample_rate") is None and options.get("traces_sampler") is None


class Observer:
    """The ASGI application where requests enter, and what a plan enters in its place.

    app: the application itself, with all that stands around it.
    inner: what stands within the first part of the stack that does something to a request which goes well.
    raise_outermost: sends an exception through what stands around that.
    """

    def __init__(self, app: Any, inner: App, raise_outermost: Callable[..., Awaitable[None]]) -> None:
        from sentry_sdk import scope as scopes
        from sentry_sdk.integrations import asgi
        from sentry_sdk.integrations.fastapi import FastApiIntegration, _set_transaction_name_and_source
        from sentry_sdk.profiler.continuous_profiler import get_profiler_id, try_autostart_continuous_profiler
        from sentry_sdk.sessions import SessionFlusher
        from sentry_sdk.tracing_utils import PropagationContext
        from sentry_sdk.utils import (
            format_timestamp,
            has_data_collection_enabled,
            nanosecond_time,
            should_be_treated_as_error,
        )

        self.app = app
        self.inner = inner
        self.raise_outermost = raise_outermost
        self.scope_class: Any = scopes.Scope
        self.current_scope = scopes._current_scope
        self.isolation_scope = scopes._isolation_scope
        self.is_within = asgi._asgi_middleware_applied
        self.profiler_id = get_profiler_id
        self.start_profiler = try_autostart_continuous_profiler
        self.headers_of = asgi._get_headers
        self.ip_of = asgi._get_ip
        self.is_localhost = functools.lru_cache(1024)(asgi._is_localhost)
        self.new_propagation = PropagationContext
        self.is_error = should_be_treated_as_error
        self.clock = nanosecond_time
        self.unsampled = _unsampled_class()
        self.session = _session_class()
        self.flusher = SessionFlusher
        self.format_timestamp = format_timestamp
        self.chooses_data = has_data_collection_enabled
        self.name_transaction = _set_transaction_name_and_source
        self.identifier = FastApiIntegration.identifier
        # By the identity of what a route adds to the scope.
        self.names: dict[int, tuple[Any, str, str, Any]] = {}
        self._client = Client(scopes.Scope.get_client())

    def __call__(self, scope: Any, receive: Any, send: Send) -> Awaitable[None]:
        """An ASGI application."""
        client = self.scope_class.get_client()
        if client is not self._client.client:
            self._client = Client(client)
        if scope["type"] != "http" or not self._client.is_usual or self.is_within.get(False):
            answered: Awaitable[None] = self.app(scope, receive, send)
            return answered
        return self.observe(self._client, scope, receive, send)

    def enter(
        self,
        scope: Any,
        route: Any,
        host: str | None,
        agent: str | None,
        forwarded_for: str | None,
        real_ip: str | None,
        forwarded_host: str | None,
    ) -> Entered | None:
        """Does what the SDK does before it calls a request handler; None, with nothing done, if it has to do it itself.

        scope: the server's.
        route: what the route adds to the scope.
        host, agent, forwarded_for, real_ip, forwarded_host: headers.
        """
        client = self.scope_class.get_client()
        if client is not self._client.client:
            self._client = Client(client)
        known = self._client
        if (
            known.fastapi is None
            or not known.is_usual
            or scope["method"] not in known.middleware.http_methods_to_capture
            or self.is_within.get(False)
            or self.chooses_data(client.options)
        ):
            return None
        before = self.scope_class.get_current_scope()
        if before._server_segment_span is not None:
            return None
        self.is_within.set(True)
        current, isolation = _fork(before), _fork(self.scope_class.get_isolation_scope())
        tokens = self.current_scope.set(current), self.isolation_scope.set(isolation)
        has_session = self.begin_session(known, isolation)
        isolation._breadcrumbs = deque()
        isolation._n_breadcrumbs_truncated = 0
        isolation._name = self.identifier
        ip: str | None
        if forwarded_for is not None:
            ip = forwarded_for.split(",")[0].strip()
        elif real_ip is not None:
            ip = real_ip
        else:
            ip = scope["client"][0] if scope["client"] else None
        server = scope["server"]
        url_host = server[0] if server and not host else None
        isolation._attributes["sentry.is_localhost"] = self.is_localhost(ip, url_host, host, forwarded_host)
        if agent:
            isolation._attributes["user_agent.original"] = agent
        _add_processor(isolation, functools.partial(known.middleware.event_processor, asgi_scope=scope))
        processor = _add_nothing
        if client.should_send_default_pii():
            processor = functools.partial(_add_cookies, HTTPConnection(scope).cookies)
        _add_processor(isolation, processor)
        context = isolation._propagation_context = self.new_propagation()
        name, source = self.name_of(known.fastapi.transaction_style, route)
        span = self.transaction(context, name, source, known.middleware.span_origin)
        span._context_manager_state = (current, before._span)
        current._span = span
        current._transaction = name
        current._transaction_info["source"] = source
        return Entered(self, known.middleware, isolation if has_session else None, tokens, span)

    def name_of(self, style: str, route: Any) -> tuple[str, Any]:
        """What the transaction of a route is called, and after what."""
        found = self.names.get(id(route))
        if found is None or found[0] is not route or found[1] != style:
            scope = self.scope_class()
            self.name_transaction(scope, style, endpoint=route.get("endpoint"), route_path=_path_of(route))
            if len(self.names) >= NAMED_ROUTES:
                self.names.clear()
            found = self.names[id(route)] = (route, style, scope._transaction, scope._transaction_info["source"])
        return found[2], found[3]

    async def observe(self, client: Client, scope: Any, receive: Any, send: Send) -> None:
        """What `SentryAsgiMiddleware` does around the application."""
        self.is_within.set(True)
        current = _fork(self.scope_class.get_current_scope())
        current_token = self.current_scope.set(current)
        isolation = _fork(self.scope_class.get_isolation_scope())
        isolation_token = self.isolation_scope.set(isolation)
        has_session = self.begin_session(client, isolation)
        try:
            await self.within(client, current, isolation, scope, receive, send)
        finally:
            if has_session:
                self.end_session(isolation)
            self.current_scope.reset(current_token)
            self.isolation_scope.reset(isolation_token)
            self.is_within.set(False)

    def begin_session(self, client: Client, isolation: Any) -> bool:
        """Begins the session of a request; false if none is tracked, or nobody could tell."""
        options = client.client.options
        is_tracked = isolation._force_auto_session_tracking
        if is_tracked is None:
            is_tracked = options.get("auto_session_tracking", False)
        if not is_tracked or (isolation._session is None and not options.get("release")):
            # Without a release it would be thrown away at its end.
            return False
        if isolation._session is None and isolation._user is None:
            isolation._session = self.new_session(options)
        else:
            isolation.start_session(session_mode="request")
        return True

    def new_session(self, options: Any) -> Any:
        """A session of nobody's that begins."""
        session = object.__new__(self.session)
        session.status = "ok"
        session.did = None
        session.started = session.timestamp = datetime.now(UTC)
        session.release, session.environment = options.get("release"), options.get("environment")
        session.duration = session.user_agent = session.ip_address = None
        session.session_mode = "request"
        session.errors = 0
        return session

    def end_session(self, isolation: Any) -> None:
        """Ends the session of a request, and counts it."""
        session, client = isolation._session, self.scope_class.get_client()
        if type(session) is not self.session or client is not self._client.client:
            isolation.end_session()
            return
        isolation._session = None
        if session.status == "ok":
            session.status = "exited"
            session.timestamp = datetime.now(UTC)
        flusher = client.session_flusher
        if not session.release or type(flusher) is not self.flusher or not vars(flusher).keys().isdisjoint(COUNTING):
            client.capture_session(session)
            return
        attributes: tuple[tuple[str, Any], ...] = (("release", session.release),)
        if session.environment is not None:
            attributes = (("environment", session.environment), *attributes)
        minute = session.started.replace(second=0, microsecond=0)
        with flusher._aggregate_lock:
            state = flusher.pending_aggregates.setdefault(attributes, {}).setdefault(minute, {})
            if "started" not in state:
                state["started"] = self.format_timestamp(minute)
            if session.status in ("crashed", "abnormal"):
                outcome = session.status
            else:
                outcome = "errored" if session.errors > 0 else "exited"
            state[outcome] = state.get(outcome, 0) + 1
        flusher._ensure_running()

    async def within(self, client: Client, current: Any, isolation: Any, scope: Any, receive: Any, send: Send) -> None:
        """The same within the scopes of the request."""
        middleware = client.middleware
        isolation._breadcrumbs = deque()
        isolation._n_breadcrumbs_truncated = 0
        isolation._name = "asgi"
        _add_processor(isolation, functools.partial(middleware.event_processor, asgi_scope=scope))
        headers = self.headers_of(scope)
        host = headers.get("host")
        server = scope.get("server")
        isolation._attributes["sentry.is_localhost"] = self.is_localhost(
            self.ip_of(scope),
            server[0] if server and not host else None,
            host,
            headers.get("x-forwarded-host"),
        )
        if agent := headers.get("user-agent"):
            isolation._attributes["user_agent.original"] = agent
        noting = Noting(send)
        span, before = None, current._span
        if scope["method"].upper() in middleware.http_methods_to_capture:
            name, source = middleware._get_transaction_name_and_source(middleware.transaction_style, scope)
            if any(TRACING in key.lower() for key in headers):
                isolation.generate_propagation_context(headers)
            else:
                isolation._propagation_context = self.new_propagation()
            span = self.transaction(isolation._propagation_context, name, source, middleware.span_origin)
            span._context_manager_state = (current, before)
            current._span = span
            current._transaction = name
            current._transaction_info["source"] = source
            noting.span = span
        try:
            try:
                await self.inner(scope, receive, noting)
            except Exception as error:
                await self.raise_outermost(scope, receive, noting, error, noting.has_begun)
        except Exception as error:
            middleware._capture_request_exception(error)
            if span is not None and self.is_error(type(error), error):
                span.set_status("internal_error")
            raise error from None
        finally:
            if span is not None:
                del span._context_manager_state
                current._span = before

    def transaction(self, context: Any, name: str, source: Any, origin: str) -> Any:
        """The transaction of a request, in no sample."""
        span = object.__new__(self.unsampled)
        thread = threading.current_thread()
        trace_id = context._trace_id
        if trace_id is None:
            trace_id = context._trace_id = _new_trace_id()
        span._trace_id = trace_id
        span._span_id = span.timestamp = span.status = span.description = span.hub = span.scope = None
        span.parent_span_id = context.parent_span_id
        span.same_process_as_parent = span.sampled = False
        span.op = "http.server"
        span.origin = origin
        span._measurements, span._contexts, span._flags = {}, {}, {}
        span._tags = {"asgi.type": "http"}
        span._data = {"thread.id": str(thread.ident), "thread.name": thread.name}
        span._containing_transaction = span._span_recorder = None
        span._flags_capacity = 10
        span.start_timestamp = datetime.now(UTC)
        span._start_timestamp_monotonic_ns = self.clock()
        span.name = name
        span.source = source
        span.sample_rate = span._profile = span._continuous_profile = None
        span.parent_sampled = context.parent_sampled
        span._baggage = context.baggage
        span.set_profiler_id(self.profiler_id())
        self.start_profiler()
        return span


class Entered:
    """What is left to do for a request that was entered.

    isolation: the scope whose session is to be ended, if there is one.
    tokens: of the variables of both scopes.
    """

    __slots__ = ("isolation", "middleware", "observer", "span", "tokens")

    def __init__(self, observer: Observer, middleware: Any, isolation: Any, tokens: Any, span: Any) -> None:
        self.observer = observer
        self.middleware = middleware
        self.isolation = isolation
        self.tokens = tokens
        self.span = span

    def noted(self, status: Any) -> None:
        """A response with this status is about to begin."""
        self.span.set_http_status(status)

    def leave(self, error: BaseException | None) -> None:
        """The request has ended, with an exception or without."""
        observer, span = self.observer, self.span
        try:
            try:
                if isinstance(error, Exception):
                    self.middleware._capture_request_exception(error)
                    if observer.is_error(type(error), error):
                        span.set_status("internal_error")
                    # As raised from None.
                    error.__cause__ = None
            finally:
                current, before = span._context_manager_state
                del span._context_manager_state
                current._span = before
        finally:
            if self.isolation is not None:
                observer.end_session(self.isolation)
            current_token, isolation_token = self.tokens
            observer.current_scope.reset(current_token)
            observer.isolation_scope.reset(isolation_token)
            observer.is_within.set(False)


class Noting:
    """`send` that notes the status of the response, for the request's transaction, and that there is one."""

    __slots__ = ("has_begun", "send", "span")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.span: Any = None
        self.has_begun = False

    def __call__(self, message: Message) -> Awaitable[None]:
        """Sends a message."""
        if message.get("type") == "http.response.start":
            self.has_begun = True
            if self.span is not None and "status" in message:
                self.span.set_http_status(message["status"])
        return self.send(message)


class Handler:
    """What `_wrap_async_handler` does before it calls a route's request handler."""

    def __init__(self) -> None:
        from sentry_sdk import scope as scopes
        from sentry_sdk.integrations.fastapi import FastApiIntegration, _set_transaction_name_and_source
        from sentry_sdk.utils import has_data_collection_enabled

        self.scope_class: Any = scopes.Scope
        self.integration = FastApiIntegration
        self.name_transaction = _set_transaction_name_and_source
        self.chooses_data = has_data_collection_enabled

    def __call__(self, request: Any) -> bool:
        """False, and nothing is done, if the handler has to be called by the SDK: to read a body, or around it."""
        client = self.scope_class.get_client()
        options = client.options
        integration = client.get_integration(self.integration)
        if (
            integration is None
            or options.get("trace_lifecycle") is not None
            or options["_experiments"]
            or self.chooses_data(options)
            or "content-length" in request.headers
        ):
            return False
        scope = request.scope
        current, isolation = self.scope_class.get_current_scope(), self.scope_class.get_isolation_scope()
        if current._server_segment_span is not None:
            return False
        self.name_transaction(
            current, integration.transaction_style, endpoint=scope.get("endpoint"), route_path=_path_of(scope)
        )
        processor = _add_nothing
        if client.should_send_default_pii():
            processor = functools.partial(_add_cookies, request.cookies)
        isolation._name = self.integration.identifier
        _add_processor(isolation, processor)
        return True


def _path_of(scope: Any) -> Any:
    """The path of the route as the application has it, or as its router has it."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    return getattr(context, "path", None) or getattr(scope.get("route"), "path", None)


def _add_cookies(cookies: Any, event: Any, hint: Any) -> Any:
    request = event.get("request", {})
    request["cookies"] = cookies
    event["request"] = deepcopy(request)
    return event


def _add_nothing(event: Any, hint: Any) -> Any:
    event["request"] = deepcopy(event.get("request", {}))
    return event


def _add_processor(scope: Any, processor: Any) -> None:
    if len(scope._event_processors) > MANY_PROCESSORS:
        scope.add_event_processor(processor)
    else:
        scope._event_processors.append(processor)


# Of a UUID of version 4.
VERSION_BITS = (0x4000 << 64) | (0x8000 << 48)
FREE_BITS = ~((0xF000 << 64) | (0xC000 << 48))

# Not the module's own generator, which an application may have seeded.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def _new_trace_id() -> str:
    """The digits of a random UUID."""
    return f"{_random.getrandbits(128) & FREE_BITS | VERSION_BITS:032x}"


def _session_class() -> Any:
    """Of sessions whose identifier is drawn when somebody asks for it: those of requests are counted without."""
    from sentry_sdk.session import Session

    def draw(session: Any, name: str) -> Any:
        if name != "sid":
            raise AttributeError(f"{Session.__name__!r} object has no attribute {name!r}", name=name, obj=session)
        session.sid = uuid.uuid4()
        return session.sid

    names = {"__module__": Session.__module__, "__doc__": Session.__doc__, "__getattr__": draw}
    return type(Session.__name__, (Session,), names)


def _unsampled_class() -> Any:
    """Of transactions for which nothing is drawn until somebody looks, as nobody asks what becomes of them."""
    from sentry_sdk.tracing import Transaction
    from sentry_sdk.tracing_utils import _generate_sample_rand

    drawn = property(lambda span: _generate_sample_rand(span.trace_id))
    names = {"__slots__": (), "__module__": Transaction.__module__, "__doc__": Transaction.__doc__}
    return type(Transaction.__name__, (Transaction,), {**names, "_sample_rand": drawn})


def _fork(scope: Any) -> Any:
    """As `scope.fork()`: values are shared, and containers are copied."""
    fork = object.__new__(type(scope))
    fork._type = scope._type
    fork.client = scope.client
    fork._level = scope._level
    fork._name = scope._name
    fork._fingerprint = scope._fingerprint
    fork._user = scope._user
    fork._transaction = scope._transaction
    fork._transaction_info = {**scope._transaction_info}
    fork._tags, fork._contexts, fork._extras = {**scope._tags}, {**scope._contexts}, {**scope._extras}
    fork._attributes = {**scope._attributes}
    fork._breadcrumbs = scope._breadcrumbs.copy()
    fork._n_breadcrumbs_truncated = scope._n_breadcrumbs_truncated
    fork._gen_ai_original_message_count = {**scope._gen_ai_original_message_count}
    fork._gen_ai_conversation_id = scope._gen_ai_conversation_id
    fork._event_processors, fork._error_processors = [*scope._event_processors], [*scope._error_processors]
    fork._attachments = [*scope._attachments]
    fork._propagation_context = scope._propagation_context
    fork._should_capture = scope._should_capture
    fork._span = scope._span
    fork._server_segment_span = scope._server_segment_span
    fork._session = scope._session
    fork._force_auto_session_tracking = scope._force_auto_session_tracking
    fork._profile = scope._profile
    fork._last_event_id = scope._last_event_id
    fork._flags = None if scope._flags is None else deepcopy(scope._flags)
    return fork
