"""The dependency tree of a route as the nodes of a plan, in the order in which FastAPI solves them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from fastapi import params
from fastapi.dependencies import models, utils
from fastapi.dependencies.models import Dependant

from overdrive.compiler import fields, forms, known, security
from overdrive.compiler.spec import Node, NotCompiled

SOURCES = ("path", "query", "header", "cookie")


class Tree:
    """Builds the nodes of one route.

    known_security: FastAPI's security schemes are the code we know.
    form: the body is a form.
    own_forms: our own code can look for its fields; else FastAPI's does.
    websocket: the request is a WebSocket.
    overrides: functions that stand in for others; with any, FastAPI reads the signatures of all dependencies anew.
    """

    def __init__(
        self,
        *,
        known_security: bool,
        form: bool,
        own_forms: bool = False,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]],
        websocket: bool = False,
    ) -> None:
        self._form = form
        self._own_forms = own_forms
        self._websocket = websocket
        self._overrides = overrides
        self._known_security = known_security
        reading = known.behaves(f"{fields.UTILS}:request_body_to_args")
        self._named_forms = form and reading == "form-names"
        # Of JSON, too, FastAPI's own code makes the arguments.
        self._whole_bodies = reading == "null-is-absent"
        self._param_names: dict[str, set[str]] = {}
        self.nodes: list[Node] = []
        self._caches: dict[Any, int] = {}
        self._uses_scopes: dict[int, tuple[Dependant, bool]] = {}

    @property
    def caches(self) -> int:
        """How many values are cached at the most."""
        return len(self._caches)

    def add_endpoint(self, dependant: Dependant, is_coroutine: bool) -> None:
        """Adds all dependencies of an endpoint, then itself."""
        if known.behaves(f"{fields.UTILS}:solve_dependencies") == "model-names":
            provider = SimpleNamespace(dependency_overrides=dict(self._overrides))
            self._param_names = utils._get_request_param_names(dependant, provider)  # type: ignore[attr-defined]
        self._add(dependant, dependant, "coroutine" if is_coroutine else "sync", None)

    def _add(self, dependant: Dependant, declared: Dependant, kind: str, argument: int | None) -> int:
        """`declared`: in whose place `dependant` stands."""
        if dependant.call is None:
            raise NotCompiled("a dependency without a function")
        names: list[str] = []
        children = []
        for child in dependant.dependencies:
            place = None
            if child.name is not None:
                place = len(names)
                names.append(child.name)
            used = self._overridden(child) if self._overrides else child
            children.append(self._add(used, child, _kind(used), place))
        parameters = []
        for source in SOURCES:
            given = getattr(dependant, f"{source}_params")
            for field in given:
                known_names = self._param_names.get(source)
                parameters.append(fields.parameter(field, source, len(names), alone=len(given) == 1, names=known_names))
                names.append(field.name)
        body = []
        of_form = []
        for field in dependant.body_params:
            if isinstance(field.field_info, params.Form) and not self._form:
                raise NotCompiled("a form that the route does not declare")
            if self._form or self._whole_bodies:
                of_form.append(len(names))
            else:
                body.append(fields.body_parameter(field, len(names)))
            names.append(field.name)
        specials = []
        presented = security.presented(dependant.call) if self._known_security else None
        request = "request" if presented is None else "presented"
        for special, name in _specials(dependant, request, websocket=self._websocket):
            specials.append((special, len(names)))
            names.append(name)
        if len(set(names)) != len(names):
            raise NotCompiled("two arguments of one name")
        place = len(self.nodes)
        for child_place in children:
            # Known only now: children come first.
            object.__setattr__(self.nodes[child_place], "parent", place)
        key = models._get_cache_key(dependant=declared, uses_scopes_cache=self._uses_scopes)
        self.nodes.append(
            Node(
                dependant=self._named(dependant) if self._named_forms else dependant,
                call=dependant.call,
                kind=kind,
                names=tuple(names),
                parent=None,
                argument=argument,
                parameters=parameters,
                body=body,
                of_form=of_form,
                form=forms.parameters(dependant.body_params, of_form) if self._own_forms else None,
                specials=specials,
                presented=presented,
                cache=self._caches.setdefault(key, len(self._caches)),
                use_cache=declared.use_cache,
                request_scoped=declared.scope != "function",
                limited=getattr(dependant, "concurrency", None) is not None,
                exposes_request=any(special == "request" for special, _ in specials),
            )
        )
        return place

    def _named(self, dependant: Dependant) -> Dependant:
        """`dependant` with the names of all parameters, which FastAPI's own code needs to read a form."""
        named: Any = copy.copy(dependant)
        named._request_param_names = self._param_names
        return cast(Dependant, named)

    def _overridden(self, declared: Dependant) -> Dependant:
        """What FastAPI makes of a dependency while overrides are in force, be it overridden or not."""
        call: Any = declared.call
        # Before FastAPI 0.163 there are no limits of concurrency.
        limits: dict[str, Any] = {"concurrency": declared.concurrency} if hasattr(declared, "concurrency") else {}
        return utils.get_dependant(
            path=declared.path or "",
            call=self._overrides.get(call, call),
            name=declared.name,
            parent_oauth_scopes=models._get_oauth_scopes(dependant=declared),
            scope=declared.scope,
            **limits,
        )


def _kind(dependant: Dependant) -> str:
    call = dependant.call
    if models._is_gen_callable(call):
        return "generator"
    if models._is_async_gen_callable(call):
        return "async_generator"
    return "coroutine" if models._is_coroutine_callable(call) else "sync"


def _specials(dependant: Dependant, request: str, *, websocket: bool) -> list[tuple[str, str]]:
    found = []
    if dependant.http_connection_param_name:
        found.append((request, dependant.http_connection_param_name))
    if websocket and dependant.websocket_param_name:
        found.append((request, dependant.websocket_param_name))
    elif not websocket and dependant.request_param_name:
        found.append((request, dependant.request_param_name))
    elif dependant.request_param_name or dependant.websocket_param_name:
        # Called without it, by FastAPI.
        raise NotCompiled("a parameter for the other kind of request")
    if dependant.background_tasks_param_name:
        found.append(("background_tasks", dependant.background_tasks_param_name))
    if dependant.response_param_name:
        found.append(("response", dependant.response_param_name))
    if dependant.security_scopes_param_name:
        found.append(("security_scopes", dependant.security_scopes_param_name))
    return found
