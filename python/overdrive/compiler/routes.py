"""The routes of an application, in the order in which FastAPI tries them, each with its plan or the reason why not."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import routing
from fastapi.routing import APIRoute, APIRouter
from starlette.convertors import (
    FloatConvertor,
    IntegerConvertor,
    PathConvertor,
    StringConvertor,
    UUIDConvertor,
)
from starlette.routing import BaseRoute, Host, compile_path
from starlette.routing import Route as StarletteRoute

from overdrive.compiler import forms, known
from overdrive.compiler.dependencies import Tree
from overdrive.compiler.handler import unwrap
from overdrive.compiler.limits import least
from overdrive.compiler.spec import Entry, NotCompiled, Overrides, Plan, Route

CONVERTORS = {
    StringConvertor: "str",
    IntegerConvertor: "int",
    FloatConvertor: "float",
    UUIDConvertor: "uuid",
    PathConvertor: "path",
}
ODD_PATH = "a path with a convertor of its own"
# As `compile_path` leaves them in the format of a path.
PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Found:
    """A route as FastAPI would meet it.

    route: the object in the router's list.
    effective: what FastAPI really matches and runs: the route itself, or its context within an included router.
    included: the innermost included router it is in.
    behind_included: an included router was looked at before it.
    form_limits: of the routers around it, the innermost counting most.
    own_router: a router around it has its own way of matching.
    context: FastAPI's own of a route in an included router.
    """

    route: BaseRoute
    effective: Any
    included: Any
    behind_included: bool
    form_limits: dict[str, Any]
    own_router: bool = False
    context: Any = None


def walk(router: APIRouter) -> Iterator[Found]:
    """All routes behind `router`, in order."""
    behind = False
    for route in router.routes:
        if isinstance(route, routing._IncludedRouter):
            behind = True
            yield from _walk_included(route, _form_limits(router), False)
        else:
            yield Found(route, route, None, behind, _form_limits(router))


def _walk_included(included: Any, limits: dict[str, Any], own_router: bool) -> Iterator[Found]:
    limits = {**limits, **_form_limits(included.include_context)}
    own_router = own_router or own_method(included.original_router) is not None
    for candidate in included.effective_candidates():
        if isinstance(candidate, routing._IncludedRouter):
            yield from _walk_included(candidate, limits, own_router)
            continue
        effective = candidate
        if not isinstance(candidate.original_route, APIRoute):
            effective = candidate.starlette_route or candidate.original_route
        yield Found(candidate.original_route, effective, included, True, limits, own_router, candidate)


def _form_limits(router: Any) -> dict[str, Any]:
    # There are none before FastAPI 0.165.
    return dict(getattr(router, "form_limits", ()))


def own_method(router: APIRouter) -> str | None:
    """A method by which FastAPI finds routes and which `router` has replaced; None if it has replaced none."""
    for name in ("__call__", "app", "handle", "matches"):
        if getattr(type(router), name) is not getattr(APIRouter, name) or name in vars(router):
            return name
    return None


def routers(router: APIRouter) -> list[APIRouter]:
    """`router` and all that are included in it."""
    found: list[APIRouter] = []

    def add(router: APIRouter) -> None:
        if not any(other is router for other in found):
            found.append(router)
            for route in router.routes:
                if isinstance(route, routing._IncludedRouter):
                    add(route.original_router)

    add(router)
    return found


def entry(found: Found, *, limit: int | None, off: Mapping[str, str]) -> Entry:
    """The entry of a route that is neither a WebSocket's nor a mount.

    limit: of all bodies, in bytes.
    off: features that are off, with the function that is not known.
    """
    route, effective = found.route, found.effective
    path = getattr(effective, "path", "") or ""
    if isinstance(route, APIRoute):
        return _operation(found, path, limit=limit, off=off)
    if type(effective) is StarletteRoute and type(effective).matches is StarletteRoute.matches:
        return base_entry(effective, path, "a plain Starlette route")
    kind = "a host" if isinstance(effective, Host) else f"a route of type {type(route).__name__}"
    return Entry(path=path, methods=[], segments=None, reason=kind, name=route_name(route), kind="any")


def route_name(route: Any) -> str:
    """The name of a route, for people."""
    return str(getattr(route, "name", "") or "")


def _operation(found: Found, path: str, *, limit: int | None, off: Mapping[str, str]) -> Entry:
    route, effective = found.route, found.effective
    if type(route).matches is not APIRoute.matches or "matches" in vars(route):
        # It may match anything.
        return Entry(
            path=path,
            methods=sorted(effective.methods),
            segments=None,
            reason="its own matches()",
            name=route_name(route),
            is_operation=True,
            kind="any",
        )
    if found.own_router:
        return Entry(
            path=path,
            methods=sorted(effective.methods),
            segments=None,
            reason="a router's own way of matching",
            name=route_name(route),
            is_operation=True,
            kind="any",
        )
    made = base_entry(effective, path, None)
    made.is_operation = True
    made.name = route_name(route)
    try:
        if not made.is_indexed:
            raise NotCompiled(ODD_PATH)
        if type(route).handle is not APIRoute.handle or "handle" in vars(route):
            raise NotCompiled("its own handle()")
        made.plan = _plan(found, limit=limit, off=off)
    except NotCompiled as reason:
        made.reason = str(reason)
    return made


def base_entry(effective: Any, path: str, reason: str | None, *, kind: str = "http") -> Entry:
    """What an entry says of a path, and why there is no plan."""
    methods = list(getattr(effective, "methods", None) or ())
    segments = _segments(effective, path)
    return Entry(
        path=path,
        methods=methods,
        segments=segments,
        pieces=_pieces(effective, path) if segments is None else None,
        prefix=_literal(path),
        allow=", ".join(methods) if methods else None,
        name=route_name(effective),
        reason=reason,
        kind=kind,
    )


def _plan(found: Found, *, limit: int | None, off: Mapping[str, str], overrides: dict[Any, Any] | None = None) -> Plan:
    """`overrides`: of dependencies; None: none now, but there may be."""
    effective = found.effective
    handler = unwrap(_application(found))
    dependant = handler.dependant
    if getattr(dependant.call, "__overdrive_uncompiled__", False):
        raise NotCompiled("it is marked as uncompiled")
    is_form = handler.reads == "form"
    tree = Tree(
        known_security="security" not in off,
        form=is_form,
        own_forms=is_form and forms.are_known(off),
        overrides=overrides or {},
    )
    tree.add_endpoint(dependant, handler.is_coroutine)
    answer = handler.answer(native_json="JSON" not in off)
    for feature, is_used in (
        ("parameters", any(node.parameters or node.body for node in tree.nodes)),
        ("bodies", handler.reads != "nothing" or any(node.body for node in tree.nodes)),
        ("response models", answer.field is not None),
        ("streams", answer.stream is not None),
    ):
        if is_used and feature in off:
            raise NotCompiled(f"not the code we know: {off[feature]}")
    strict = handler.actual_strict_content_type
    return Plan(
        route=Route(dependant.call, dependant.path),
        scope=placed(found),
        path_parameters=convertors(effective),
        nodes=tree.nodes,
        caches=tree.caches,
        reads=handler.reads,
        form_limits=handler.values.get("form_limits") if is_form else None,
        own_form_limits=forms.limits(found.form_limits, handler.values.get("form_limits"))
        if is_form and "form parsers" not in off
        else None,
        strict_content_type=bool(strict),
        embed=handler.embed_body_fields,
        body_limit=least(limit, handler.max_body_size),
        answer=answer,
        overrides=None
        if overrides is not None
        else overridable(handler.dependency_overrides_provider, functools.partial(_vary, found, limit, off)),
        around=handler.around,
        template=effective.path_format,
    )


def _application(found: Found) -> Any:
    """The ASGI application that answers on a route."""
    if found.context is None or known.behaves("fastapi.routing:APIRoute.handle") != "app-per-request":
        return found.effective.app
    # Made for each request in an included router, until FastAPI 0.142.1.
    route: Any = found.route
    if type(route).get_route_handler is not APIRoute.get_route_handler or "get_route_handler" in vars(route):
        raise NotCompiled("a request handler of its own (get_route_handler)")
    token = routing._effective_route_context_var.set(found.context)
    try:
        return routing.request_response(route.get_route_handler())
    finally:
        routing._effective_route_context_var.reset(token)


def placed(found: Found) -> dict[str, Any]:
    """What a scope holds once the route is found."""
    effective = found.effective
    is_operation = isinstance(found.route, APIRoute)
    scope: dict[str, Any] = {"endpoint": effective.endpoint, "route": found.route if is_operation else effective}
    scope.update(room(found))
    if found.form_limits and is_operation:
        scope.setdefault("fastapi", {})["form_limits"] = found.form_limits
    return scope


def room(found: Found) -> dict[str, Any]:
    """FastAPI's own room in a scope, if the routers on the way to a route make one."""
    if found.included is not None:
        return {"fastapi": {"included_router": found.included, "effective_route_context": found.context}}
    return {"fastapi": {}} if found.behind_included else {}


def convertors(effective: Any) -> list[tuple[str, Callable[[str], Any] | None]]:
    """The path parameters with what converts them; None: they stay text."""
    return [
        (name, None if type(convertor) in (StringConvertor, PathConvertor) else convertor.convert)
        for name, convertor in effective.param_convertors.items()
    ]


def overridable(provider: Any, vary: Callable[[dict[Any, Any]], Plan | str]) -> Overrides | None:
    """What a plan says of overrides that `provider` may have."""
    if provider is None:
        return None
    if any(hasattr(type(provider), name) for name in ("__bool__", "__len__")):
        raise NotCompiled("a provider of dependency overrides that may count as none")
    return Overrides(provider, vary)


def _vary(found: Found, limit: int | None, off: Mapping[str, str], overrides: dict[Any, Any]) -> Plan | str:
    """The plan of a route while `overrides` are in force, or the reason why there is none."""
    try:
        return _plan(found, limit=limit, off=off, overrides=overrides)
    except NotCompiled as reason:
        return f"dependency_overrides: {reason}"


def _segments(effective: Any, path: str) -> list[tuple[str, bool]] | None:
    """The pieces of a path; None if the index cannot judge it."""
    if not path.startswith("/") or compile_path(path)[0].pattern != effective.path_regex.pattern:
        return None
    pieces = effective.path_format[1:].split("/")
    segments: list[tuple[str, bool]] = []
    for place, piece in enumerate(pieces):
        if "{" not in piece and "}" not in piece:
            segments.append((piece, False))
            continue
        convertor = (
            effective.param_convertors.get(piece[1:-1]) if piece.startswith("{") and piece.endswith("}") else None
        )
        kind = CONVERTORS.get(type(convertor))
        if kind is None or (kind == "path" and place != len(pieces) - 1):
            return None
        segments.append((kind, True))
    return segments


def _pieces(effective: Any, path: str) -> list[tuple[str, bool]] | None:
    """All of a path whose parameters may stand anywhere; None if the index cannot judge it."""
    if not path.startswith("/") or compile_path(path)[0].pattern != effective.path_regex.pattern:
        return None
    pieces: list[tuple[str, bool]] = []
    for place, text in enumerate(PARAMETER.split(effective.path_format)):
        is_parameter = place % 2 == 1
        kind = CONVERTORS.get(type(effective.param_convertors.get(text))) if is_parameter else text
        if kind is None:
            return None
        pieces.append((kind, is_parameter))
    return pieces


def _literal(path: str) -> str:
    return path.partition("{")[0]
