"""Which middleware plans apply themselves, and which takes its own code."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from overdrive.compiler import compile_application


class OwnSessions(SessionMiddleware):
    """Whatever it does otherwise."""


KNOWN: list[tuple[str, type, dict[str, Any]]] = [
    ("cors", CORSMiddleware, {"allow_origins": ["*"]}),
    ("gzip", GZipMiddleware, {}),
    ("hosts", TrustedHostMiddleware, {"allowed_hosts": ["a.test"]}),
    ("https", HTTPSRedirectMiddleware, {}),
    ("sessions", SessionMiddleware, {"secret_key": "secret"}),
]


def kinds(app: FastAPI) -> list[str] | None:
    """The layers of an application, the outermost first; None if its middleware runs as it is."""
    stack = compile_application(app, lambda: None).stack
    assert stack is not None
    return None if stack.layers is None else [layer.kind for layer in stack.layers]


@pytest.mark.parametrize(("kind", "middleware", "options"), KNOWN, ids=[known[0] for known in KNOWN])
def test_starlettes_own_middleware_is_applied_by_plans(kind: str, middleware: Any, options: dict[str, Any]) -> None:
    app = FastAPI()
    app.add_middleware(middleware, **options)
    assert kinds(app) == [kind]


def test_layers_stand_in_the_order_of_the_stack() -> None:
    app = FastAPI()
    for _, middleware, options in KNOWN:
        app.add_middleware(middleware, **options)  # type: ignore[arg-type]
    assert kinds(app) == [kind for kind, _, _ in reversed(KNOWN)]


def test_a_subclass_takes_its_own_code() -> None:
    app = FastAPI()
    app.add_middleware(GZipMiddleware)
    app.add_middleware(OwnSessions, secret_key="secret")
    assert kinds(app) is None


def test_an_object_with_more_to_it_takes_its_own_code() -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="secret")
    stack = app.middleware_stack = app.build_middleware_stack()
    one: Any = stack
    while type(one) is not SessionMiddleware:
        one = one.app
    one.more = True
    assert kinds(app) is None
