"""Starlette's own middleware as layers that plans apply themselves, in the place of the objects in the built stack.

A layer is read off one middleware object at start-up. It is applied in Rust (`plan/layers`) to what a plan answers in
one piece; whatever else passes through a stack, a streaming response or an exception, passes through a copy of the
objects themselves.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from overdrive.compiler.sessions import Reopened, add_headers, open_session

INNERMOST = "overdrive.innermost"

Headers = list[tuple[bytes, bytes]]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One middleware. What `options` there are depends on the kind; they are the object's own attributes.

    kind: "cors", "gzip", "hosts", "https" or "sessions".
    """

    kind: str
    middleware: Any
    options: dict[str, Any]


# By class: the kind, the feature of `known`, and the attributes that an object of it has, with those that Rust reads.
_KINDS: dict[type, tuple[str, str, frozenset[str], tuple[str, ...]]] = {
    CORSMiddleware: (
        "cors",
        "CORS",
        frozenset(
            {
                "app",
                "allow_origins",
                "allow_methods",
                "allow_headers",
                "allow_all_origins",
                "allow_all_headers",
                "allow_credentials",
                "preflight_explicit_allow_origin",
                "allow_origin_regex",
                "allow_private_network",
                "simple_headers",
                "preflight_headers",
            }
        ),
        (
            "allow_origins",
            "allow_methods",
            "allow_headers",
            "allow_all_origins",
            "allow_all_headers",
            "allow_credentials",
            "preflight_explicit_allow_origin",
            "allow_origin_regex",
            "allow_private_network",
        ),
    ),
    GZipMiddleware: (
        "gzip",
        "GZip",
        frozenset({"app", "minimum_size", "compresslevel", "thread_minimum_size", "exclude_content_types"}),
        ("minimum_size", "compresslevel", "thread_minimum_size", "exclude_content_types"),
    ),
    TrustedHostMiddleware: (
        "hosts",
        "trusted hosts",
        frozenset({"app", "allowed_hosts", "allow_any", "www_redirect"}),
        ("allowed_hosts", "allow_any"),
    ),
    HTTPSRedirectMiddleware: ("https", "HTTPS redirects", frozenset({"app"}), ()),
}


_SESSION_ATTRIBUTES = frozenset({"app", "signer", "session_cookie", "max_age", "path", "security_flags"})


def layers(middleware: Iterable[Any], off: Mapping[str, str]) -> list[Layer] | None:
    """The layers of a chain of middleware, the outermost first; None if plans cannot do without one of the objects."""
    found = [_layer(one, off) for one in middleware]
    return [layer for layer in found if layer is not None] if None not in found else None


def _layer(middleware: Any, off: Mapping[str, str]) -> Layer | None:
    if _keeps_sessions(middleware):
        return _sessions(middleware, off)
    known = _KINDS.get(type(middleware))
    if known is None:
        return None
    kind, feature, attributes, read = known
    if feature in off or vars(middleware).keys() != attributes:
        return None
    options = {name: getattr(middleware, name) for name in read}
    if kind == "gzip" and not all(type(options[name]) is int for name in ("minimum_size", "thread_minimum_size")):
        return None
    if kind == "cors":
        try:
            for name in ("simple_headers", "preflight_headers"):
                options[name] = _encoded(getattr(middleware, name))
        except (UnicodeEncodeError, AttributeError):
            # What Starlette makes of it at every request.
            return None
    return Layer(kind, middleware, options)


def _keeps_sessions(middleware: Any) -> bool:
    # What is not imported nobody uses; it takes itsdangerous, which few have.
    module = sys.modules.get("starlette.middleware.sessions")
    return module is not None and type(middleware) is module.SessionMiddleware


def _sessions(middleware: Any, off: Mapping[str, str]) -> Layer | None:
    if "sessions" in off or vars(middleware).keys() != _SESSION_ATTRIBUTES:
        return None
    options = {"cookie": middleware.session_cookie, "open": open_session, "add": add_headers}
    return Layer("sessions", middleware, options)


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def around(middleware: Iterable[Any], application: App) -> App:
    """Copies of `middleware`, the outermost first, around another application."""
    for one in reversed(list(middleware)):
        link = copy.copy(one)
        link.app = application
        application = link
    return application


def answer_of(middleware: Any, scope: dict[str, Any]) -> tuple[int, Headers, bytes] | None:
    """What a middleware answers itself to a request: status, headers, body. None if it passes the request on.

    For those that wait for nothing and read no body.
    """
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    coroutine = around([middleware], application)(scope, None, send).__await__()
    try:
        next(coroutine)
    except StopIteration:
        if not messages:
            return None
        start, body = messages
        return start["status"], list(start["headers"]), body["body"]
    raise AssertionError("Starlette's middleware waits for something")


class Passage:
    """Copies of the middleware of a stack, around whatever is to go out through them.

    The layers see the headers of the request as they came, whatever has become of the scope since.
    """

    def __init__(self, middleware: Iterable[Any]) -> None:
        self._layered = around([Reopened(one) if _keeps_sessions(one) else one for one in middleware], _innermost)

    async def __call__(
        self, scope: Any, receive: Any, send: Any, headers: Any, application: App, begun: list[bool]
    ) -> None:
        """Runs an application within the layers, with the scope as it is. `begun` fills when its response begins."""

        async def innermost(receive: Any, send: Any) -> None:
            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    begun.append(True)
                await send(message)

            await application(scope, receive, noting)

        await self._layered({**scope, "headers": headers, INNERMOST: innermost}, receive, send)

    @staticmethod
    def whole(status: int, headers: Headers, body: bytes) -> App:
        """An application that sends a response in one piece."""

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return application


async def _innermost(scope: Any, receive: Any, send: Any) -> None:
    await scope[INNERMOST](receive, send)
