"""WebSocket routes: what FastAPI's application around such an endpoint uses, and the plan that stands for it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fastapi.dependencies import models
from fastapi.routing import APIWebSocketRoute
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from overdrive.compiler.dependencies import Tree
from overdrive.compiler.handler import closure, inner_code
from overdrive.compiler.routes import ODD_PATH, Found, base_entry, convertors, overridable, placed
from overdrive.compiler.spec import Answer, Entry, NotCompiled, Plan, Route

NO_ANSWER = Answer(
    kind="none",
    status=None,
    class_=Response,
    field=None,
    validate=None,
    serialize=None,
    options={},
    in_thread=False,
)
MATCHES = (APIWebSocketRoute.matches, WebSocketRoute.matches)
SESSION_APP = inner_code("websocket_session", "app")
WEBSOCKET_APP = inner_code("get_websocket_app", "app")


def entry(found: Found, *, off: Mapping[str, str]) -> Entry:
    """The entry of a WebSocket route, with its plan or the reason why there is none.

    off: features that are off, with the function that is not known.
    """
    route = found.effective
    made = base_entry(route, route.path, None, kind="websocket")
    if not isinstance(route, APIWebSocketRoute):
        made.reason = "a plain Starlette route"
    made.is_operation = isinstance(route, APIWebSocketRoute)
    if found.own_router or type(route).matches not in MATCHES or "matches" in vars(route):
        # It may match anything.
        made.segments, made.pieces, made.prefix, made.reason = None, None, "", "a way of matching of its own"
    if made.reason is None:
        try:
            if not made.is_indexed:
                raise NotCompiled(ODD_PATH)
            made.plan = _plan(found, off=off)
        except NotCompiled as reason:
            made.reason = str(reason)
    return made


def _plan(found: Found, *, off: Mapping[str, str], overrides: dict[Any, Any] | None = None) -> Plan:
    """`overrides`: of dependencies; None: none now, but there may be."""
    route = found.effective
    if type(route).handle is not WebSocketRoute.handle or "handle" in vars(route):
        raise NotCompiled("its own handle()")
    if "websockets" in off:
        raise NotCompiled(f"not the code we know: {off['websockets']}")
    session = closure(route.app, SESSION_APP, "the route's application is not FastAPI's own")
    values = closure(session["func"], WEBSOCKET_APP, "the route's application is not FastAPI's own")
    dependant = values["dependant"]
    if getattr(dependant.call, "__overdrive_uncompiled__", False):
        raise NotCompiled("it is marked as uncompiled")
    if dependant.call is None or not models._is_coroutine_callable(dependant.call):
        raise NotCompiled("an endpoint that is no coroutine function")
    tree = Tree(known_security="security" not in off, form=False, websocket=True, overrides=overrides or {})
    tree.add_endpoint(dependant, is_coroutine=True)
    for feature, is_used in (
        ("parameters", any(node.parameters or node.body for node in tree.nodes)),
        ("bodies", any(node.body for node in tree.nodes)),
    ):
        if is_used and feature in off:
            raise NotCompiled(f"not the code we know: {off[feature]}")
    return Plan(
        route=Route(dependant.call, dependant.path),
        scope=placed(found),
        path_parameters=convertors(route),
        nodes=tree.nodes,
        caches=tree.caches,
        reads="nothing",
        form_limits=None,
        own_form_limits=None,
        strict_content_type=False,
        embed=values["embed_body_fields"],
        body_limit=None,
        answer=NO_ANSWER,
        overrides=None
        if overrides is not None
        else overridable(values["dependency_overrides_provider"], functools.partial(_vary, found, off)),
        around=None,
        template=route.path_format,
    )


def _vary(found: Found, off: Mapping[str, str], overrides: dict[Any, Any]) -> Plan | str:
    """The plan of a route while `overrides` are in force, or the reason why there is none."""
    try:
        return _plan(found, off=off, overrides=overrides)
    except NotCompiled as reason:
        return f"dependency_overrides: {reason}"
