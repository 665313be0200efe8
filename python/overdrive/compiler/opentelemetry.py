"""What OpenTelemetry's middleware does around a request, in one function: the same spans, attributes and metrics.

opentelemetry-instrumentation-fastapi puts an `OpenTelemetryMiddleware` around the application. `Observer` stands in its
place where requests enter. What it leaves out is what nobody can see: the search for a route that was found for the
same request line before, headers decoded once for each attribute, attributes set a second time to what they are,
a context for code that does not run. Spans are the tracer's, whose sampler, limits and processors are asked as always.

What is mirrored is known by its code (`known.OPENTELEMETRY`); an unusual middleware has its own code run.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from timeit import default_timer
from typing import Any

from fastapi.routing import APIRoute, APIRouter
from starlette.routing import Mount, Route

from overdrive.compiler import known
from overdrive.compiler.spans import Spans

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

ASGI = "opentelemetry.instrumentation.asgi"
FASTAPI = "opentelemetry.instrumentation.fastapi"
# What a route's way to match looks at: nothing but type, method and path.
PLAIN_ROUTES = (APIRoute, Route, Mount, getattr(sys.modules["fastapi.routing"], "_IncludedRouter", APIRoute))
# How many are kept, and how long their paths may be, in characters.
REQUEST_LINES = 4096
LONGEST_PATH = 256
# Statuses between these are no errors of a server's, nor odd.
NO_ERRORS = range(100, 500)


def observer(middleware: Any, routers: list[APIRouter]) -> Observer | None:
    """What stands in the place of a middleware where requests enter; None if that runs itself."""
    if ASGI not in sys.modules or FASTAPI not in sys.modules:
        return None
    from opentelemetry.instrumentation._semconv import _StabilityMode
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.instrumentation.fastapi import _get_default_span_details

    if (
        type(middleware) is not OpenTelemetryMiddleware
        or "__call__" in vars(middleware)
        or middleware.default_span_details is not _get_default_span_details
        or middleware._sem_conv_opt_in_mode is not _StabilityMode.DEFAULT
        or middleware.http_capture_headers_server_request
        or middleware.http_capture_headers_server_response
        or any(known.dialect(name) is None for name in known.OPENTELEMETRY)
    ):
        return None
    is_plain = all(type(route) in PLAIN_ROUTES for router in routers for route in router.routes)
    return Observer(middleware, is_plain=is_plain)


class Observer:
    """See the module.

    is_plain: which route answers a request depends on its request line alone.
    """

    def __init__(self, middleware: Any, *, is_plain: bool) -> None:
        from opentelemetry import context, propagate, trace
        from opentelemetry.baggage.propagation import W3CBaggagePropagator
        from opentelemetry.instrumentation import asgi, utils
        from opentelemetry.propagators.composite import CompositePropagator
        from opentelemetry.sdk.trace import _Span
        from opentelemetry.trace import propagation
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.middleware = middleware
        self.is_plain = is_plain
        self.details: dict[Any, Any] = {}
        self.context = context
        self.trace = trace
        self.asgi = asgi
        self.span_key = propagation._SPAN_KEY
        self.exclude_list = asgi.ExcludeList
        self.is_enabled = utils.is_http_instrumentation_enabled
        self.own_span = _Span
        self.spans = Spans()
        self.sanitized = functools.lru_cache(64)(asgi.sanitize_method)
        self.synthetic = functools.lru_cache(256)(asgi.detect_synthetic_user_agent)
        self.global_textmap = propagate.get_global_textmap
        self.composite = CompositePropagator
        self.known_propagators = [TraceContextTextMapPropagator, W3CBaggagePropagator]
        self.propagated = {b"traceparent", b"tracestate", b"baggage"}

    def __call__(self, scope: Any, receive: Any, send: Send) -> Awaitable[None]:
        """An ASGI application."""
        if scope["type"] != "http" or not self.is_enabled() or self.is_excluded(scope):
            answered: Awaitable[None] = self.middleware(scope, receive, send)
            return answered
        return self.observe(default_timer(), scope, receive, send)

    def is_excluded(self, scope: Any) -> bool:
        """Whether the URL of a request is one that is not observed."""
        excluded = self.middleware.excluded_urls
        if not excluded or (type(excluded) is self.exclude_list and not excluded._excluded_urls):
            return False
        _, _, url = self.asgi.get_host_port_url_tuple(scope)
        return bool(excluded.url_disabled(url))

    async def observe(self, start: float, scope: Any, receive: Any, send: Send) -> None:
        """What the middleware does around the application."""
        middleware, trace, context = self.middleware, self.trace, self.context
        name, added = self.span_details(scope)
        attributes = self.attributes(scope)
        attributes.update(added)
        token = None
        if trace.get_current_span() is trace.INVALID_SPAN:
            extracted = self.extracted(scope)
            token = context.attach(extracted)
            kind = trace.SpanKind.SERVER
        else:
            extracted = context.get_current()
            kind = trace.SpanKind.INTERNAL
        span = self.spans.start(middleware.tracer, name, extracted, kind, attributes)
        active = None
        if self.is_counted(middleware.active_requests_counter):
            active = self.asgi._parse_active_request_count_attrs(attributes, middleware._sem_conv_opt_in_mode)
            middleware.active_requests_counter.add(1, active)
        try:
            await self.within(span, name, attributes, scope, receive, send)
        finally:
            self.measure(span, attributes, active, scope, start)
            if token:
                context.detach(token)
            if span.is_recording():
                span.end()

    async def within(self, span: Any, name: str, attributes: Any, scope: Any, receive: Any, send: Send) -> None:
        """The same within the span of the request."""
        middleware, trace, context = self.middleware, self.trace, self.context
        token = context.attach(context.set_value(self.span_key, span))
        try:
            try:
                # The tracer has set them; a sampler may have chosen others.
                if span.is_recording() and not (
                    type(span) is self.own_span and len(span._attributes) == len(attributes)
                ):
                    for key, value in attributes.items():
                        span.set_attribute(key, value)
                if middleware.server_request_hook is not None:
                    middleware.server_request_hook(span, scope)
                if not middleware.exclude_receive_span:
                    receive = self.receiving(name, scope, receive)
                sending = Sending(self, span, name, attributes, scope, send)
                await middleware.app(scope, receive, sending)
            finally:
                context.detach(token)
        except Exception as error:
            if span.is_recording():
                span.record_exception(error)
                description = f"{type(error).__name__}: {error}"
                span.set_status(trace.Status(status_code=trace.StatusCode.ERROR, description=description))
            raise

    def receiving(self, name: str, scope: Any, receive: Any) -> Any:
        """`receive` with a span for each message, made as the middleware makes it, once one is wanted."""
        wrapped = None

        def receiving() -> Any:
            nonlocal wrapped
            if wrapped is None:
                wrapped = self.middleware._get_otel_receive(name, scope, receive)
            return wrapped()

        return receiving

    def span_details(self, scope: Any) -> Any:
        """The name of a request's span, and the route as an attribute."""
        if not self.is_plain or len(scope["path"]) > LONGEST_PATH:
            return self.middleware.default_span_details(scope)
        line = (scope["method"], scope["path"], scope.get("root_path"))
        found = self.details.get(line)
        if found is None:
            if len(self.details) >= REQUEST_LINES:
                self.details.clear()
            found = self.details[line] = self.middleware.default_span_details(scope)
        return found

    def attributes(self, scope: Any) -> dict[str, Any]:
        """What `collect_request_attributes` finds, in its order."""
        hosts, agents = [], []
        decoded = self.asgi._decode_header_item
        for key, value in scope.get("headers") or ():
            if key == b"host":
                hosts.append(decoded(value))
            elif key == b"user-agent":
                agents.append(decoded(value))
        server = scope.get("server") or ("0.0.0.0", 80)
        port = server[1]
        host = server[0] + (f":{port}" if str(port) != "80" else "")
        scheme, path, method = scope.get("scheme"), scope.get("path"), scope.get("method", "")
        url = f"{scope.get('scheme', 'http')}://{hosts[0] if hosts else host}{path or ''}"
        query = scope.get("query_string")
        if query or "?" in url or "@" in url:
            # For what has to be redacted.
            found: dict[str, Any] = self.asgi.collect_request_attributes(scope, self.middleware._sem_conv_opt_in_mode)
            return found
        agent = agents[0] if agents else None
        client = scope.get("client") or (None, None)
        pairs = {
            "http.scheme": scheme,
            "http.host": host,
            "net.host.port": port and int(port),
            "http.flavor": scope.get("http_version"),
            "http.target": path,
            "http.url": url,
            "http.method": method and self.sanitized(method).strip(),
            "http.server_name": ",".join(hosts),
            "http.user_agent": agent,
            "user_agent.synthetic.type": self.synthetic(agent) if agent else None,
            "net.peer.ip": client[0],
            "net.peer.port": client[1] and int(client[1]),
        }
        return {key: value for key, value in pairs.items() if value}

    def extracted(self, scope: Any) -> Any:
        """The context that the headers of a request speak of."""
        textmap = self.global_textmap()
        if (
            type(textmap) is self.composite
            and [type(one) for one in textmap._propagators] == self.known_propagators
            and not any(key in self.propagated for key, _ in scope.get("headers") or ())
        ):
            return self.context.Context()
        return textmap.extract(scope, None, getter=self.asgi.asgi_getter)

    def is_counted(self, instrument: Any) -> bool:
        """Whether an instrument is more than a proxy, without any provider that would make it something."""
        return instrument is not None and getattr(instrument, "_real_instrument", self) is not None

    def measure(self, span: Any, attributes: Any, active: Any, scope: Any, start: float) -> None:
        """Records the metrics of a request; `active`: what it was counted under when it began."""
        middleware, asgi = self.middleware, self.asgi
        if active is None and self.is_counted(middleware.active_requests_counter):
            # Since it began there is a provider.
            active = asgi._parse_active_request_count_attrs(attributes, middleware._sem_conv_opt_in_mode)
        if not self.is_counted(middleware.duration_histogram_old):
            if active is not None:
                middleware.active_requests_counter.add(-1, active)
            return
        duration = middleware.duration_histogram_old
        target = asgi._collect_target_attribute(scope)
        if target:
            path, query = asgi._parse_url_query(target)
            asgi._set_http_target(attributes, target, path, query, middleware._sem_conv_opt_in_mode)
        seconds = default_timer() - start
        described = asgi._parse_duration_attrs(attributes, middleware._sem_conv_opt_in_mode)
        if target:
            described["http.target"] = target
        within = self.trace.set_span_in_context(span)
        duration.record(max(round(seconds * 1000), 0), described, context=within)
        if active is not None:
            middleware.active_requests_counter.add(-1, active)
        if middleware.content_length_header and middleware.server_response_size_histogram:
            middleware.server_response_size_histogram.record(
                middleware.content_length_header, described, context=within
            )
        length = asgi.asgi_getter.get(scope, "content-length")
        if length and middleware.server_request_size_histogram:
            try:
                amount = int(length[0])
            except ValueError:
                return
            middleware.server_request_size_histogram.record(amount, described, context=within)


class Sending:
    """`send` with a span for each message."""

    __slots__ = ("attributes", "expects_trailers", "name", "observer", "scope", "send", "span")

    def __init__(self, observer: Observer, span: Any, name: str, attributes: Any, scope: Any, send: Send) -> None:
        self.observer = observer
        self.span = span
        self.name = f"{name} {scope['type']} send"
        self.attributes = attributes
        self.scope = scope
        self.send = send
        self.expects_trailers = False

    async def __call__(self, message: Message) -> None:
        """Sends a message, and ends the request's span with the last one."""
        middleware, asgi, span = self.observer.middleware, self.observer.asgi, self.span
        kind = message["type"]
        status = message["status"] if kind == "http.response.start" else None
        if not middleware.exclude_send_span:
            self.trace(message, kind, status)
        if status:
            self.describe(span, status, self.attributes)
        propagator = asgi.get_global_response_propagator()
        if propagator:
            trace = self.observer.trace
            within = trace.set_span_in_context(span, trace.context_api.Context())
            propagator.inject(message, context=within, setter=asgi.asgi_setter)
        for key, value in message.get("headers") or ():
            if len(key) == len(b"content-length") and key.lower() == b"content-length":
                with contextlib.suppress(ValueError):
                    middleware.content_length_header = int(asgi._decode_header_item(value))
                break
        await self.send(message)
        if self.expects_trailers:
            is_last = kind == "http.response.trailers" and not message.get("more_trailers", False)
        else:
            is_last = kind == "http.response.body" and not message.get("more_body", False)
        if is_last:
            span.end()

    def trace(self, message: Message, kind: str, status: Any) -> None:
        """The span of a message."""
        middleware = self.observer.middleware
        if middleware.client_response_hook is not None:
            # Code of the user's runs within it.
            with middleware.tracer.start_as_current_span(self.name) as span:
                middleware.client_response_hook(span, self.scope, message)
                self.fill(span, message, kind, status)
            return
        span = self.observer.spans.start(middleware.tracer, self.name)
        self.fill(span, message, kind, status)
        span.end()

    def fill(self, span: Any, message: Message, kind: str, status: Any) -> None:
        """Its attributes."""
        if span.is_recording():
            if kind == "http.response.start":
                self.expects_trailers = message.get("trailers", False)
            span.set_attribute("asgi.event.type", kind)
        if status:
            self.describe(span, status, None)

    def describe(self, span: Any, status: Any, measured: Any) -> None:
        """A status as `set_status_code` notes it."""
        if type(status) is not int or status not in NO_ERRORS:
            middleware = self.observer.middleware
            self.observer.asgi.set_status_code(span, status, measured, middleware._sem_conv_opt_in_mode)
            return
        if span.is_recording():
            span.set_attribute("http.status_code", status)
        if measured is not None:
            measured["http.status_code"] = status
