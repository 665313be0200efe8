"""What the compiler tells the engine: plain values and the application's own objects, read once by `Plans`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Value:
    """How a field makes an argument of what a request holds.

    validate: the field's own `SchemaValidator.validate_python`; None: FastAPI's method is called.
    shared_default: a 1-tuple of a default that nobody can change; None: FastAPI makes one for each request.
    """

    field: Any
    validate: Callable[..., Any] | None
    required: bool
    shared_default: tuple[Any] | None
    validate_default: bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the path, the query, a header or a cookie.

    argument: its place among the arguments of its node.
    keys: the names it may have in a request, in order of preference.
    sequence: all values of that name are taken.
    empty_is_absent: a value of no length counts as none.
    model: it is a model of several parameters, which FastAPI's own code reads.
    """

    argument: int
    source: str
    keys: tuple[str, ...]
    sequence: bool
    empty_is_absent: bool
    model: bool
    value: Value


@dataclass(frozen=True, slots=True)
class BodyParameter:
    """A parameter that is the JSON body or a member of it."""

    argument: int
    keys: tuple[str, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form.

    sequence: all values of its name, not the last.
    contents: the bytes of files, not files.
    """

    keys: tuple[str, ...]
    sequence: bool
    contents: bool
    field: Any


@dataclass(frozen=True, slots=True)
class FormParameter:
    """A parameter that is a field of a form, or a model of such fields.

    model: of a model: whether the parameter may be `None`, and whether fields that are not its own count as its; None:
        the parameter is its one field.
    """

    argument: int
    fields: list[FormField]
    model: tuple[bool, bool] | None
    value: Value


@dataclass(frozen=True, slots=True)
class Node:
    """A dependency, or, as the last of a plan, the endpoint.

    kind: "coroutine", "sync", "generator" or "async_generator".
    names: of all its arguments, in their order.
    of_form: places of the arguments that come from a form, or in some releases from any body.
    form: how these are read; None: by FastAPI's own code.
    parent, argument: which node receives its value, and where; None: nobody does.
    specials: arguments that are not read from the request, and their places.
    presented: for a security scheme: the attribute of the request and the key that it looks at.
    cache: which place of the request's cache it shares with nodes of the same key.
    exposes_request: code of the user's sees the request object.
    """

    dependant: Any
    call: Callable[..., Any]
    kind: str
    names: tuple[str, ...]
    parent: int | None
    argument: int | None
    parameters: list[Parameter]
    body: list[BodyParameter]
    of_form: list[int]
    form: list[FormParameter] | None
    specials: list[tuple[str, int]]
    presented: tuple[str, str] | None
    cache: int
    use_cache: bool
    request_scoped: bool
    limited: bool
    exposes_request: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """How what a generator endpoint yields becomes a response.

    kind: "lines" (of JSON), "events" (server-sent ones) or "raw" (pieces for the response class).
    """

    kind: str
    is_async: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """How an endpoint's value becomes a response.

    kind: "json" (a `JSONResponse` of anything), "model" (the response model's own JSON), "class" (Python makes it) or
        "none" (a WebSocket's).
    status: None: the class's own.
    options: keywords for `serialize`.
    in_thread: the response is validated in the thread pool.
    stream: the endpoint is a generator, and all of this is about its items.
    """

    kind: str
    status: int | None
    class_: type
    field: Any
    validate: Callable[..., Any] | None
    serialize: Callable[..., Any] | None
    options: dict[str, Any]
    in_thread: bool
    stream: Stream | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How requests to one route are answered.

    scope: what the matched route adds to a scope.
    reads: what the body is read as, "json", "form" or "nothing".
    form_limits: the route's own, for FastAPI's parser of forms.
    own_form_limits: files, fields and bytes of a field that our parser may find; None: it may not be used.
    body_limit: the least of the limits around the route, in bytes. Larger bodies are no plan's.
    around: puts the instruments around the route's request handler around another one; None: there are none.
    template: the path as FastAPI's telemetry names it.
    """

    route: Route
    scope: dict[str, Any]
    path_parameters: list[tuple[str, Callable[[str], Any] | None]]
    nodes: list[Node]
    caches: int
    reads: str
    form_limits: Any
    own_form_limits: tuple[int, int, int] | None
    strict_content_type: bool
    embed: bool
    body_limit: int | None
    answer: Answer
    overrides: Overrides | None
    around: Callable[[Any], Any] | None
    template: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """Whose `dependency_overrides` count for a route, and how its plan is made with such a mapping.

    vary: gives the reason instead where there is no plan.
    """

    provider: Any
    vary: Callable[[dict[Any, Any]], Plan | str]


@dataclass(frozen=True, slots=True)
class MountedApplication:
    """A FastAPI application below a path.

    mounted: an `overdrive.compiler.mounts.Mounted`.
    route: FastAPI's own of the mount, whose `app` this must stay.
    path_parameters: of the path of the mount.
    scope: what the mount adds to a scope besides its paths and parameters.
    body_limit: of the application around, in bytes.
    is_direct: nothing of the user's stands around the mount, so the engine may go straight to what is mounted.
    around: `(application) -> application`: a copy of the middleware that FastAPI itself has put around the mount.
    """

    mounted: Any
    route: Any
    app: Any
    path_parameters: list[tuple[str, Callable[[str], Any] | None]]
    scope: dict[str, Any]
    body_limit: int | None
    is_direct: bool
    around: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """What error contexts say of a route: its endpoint and its path as declared."""

    endpoint: Callable[..., Any]
    path: str | None


@dataclass(slots=True)
class Entry:
    """A route in FastAPI's order.

    segments: of the path, as `(text, is_parameter)`, a parameter with the name of its convertor; None: it is not made
        of whole ones.
    pieces: for an entry without segments, the same for all of the path, slashes included; None: only FastAPI's own code
        can tell what matches, but all of it begins with `prefix`.
    allow: the value of `Allow` in a 405.
    kind: what it matches: "http", "websocket" or "any".
    mount: what is mounted there, if plans may know it; the last parameter of the path is then what follows the mount.
    reason: why there is no plan.
    """

    path: str
    methods: list[str]
    segments: list[tuple[str, bool]] | None
    pieces: list[tuple[str, bool]] | None = None
    prefix: str = ""
    allow: str | None = None
    name: str = ""
    is_operation: bool = False
    plan: Plan | None = None
    mount: MountedApplication | None = None
    reason: str | None = None
    kind: str = "http"

    @property
    def is_indexed(self) -> bool:
        """Plans can tell what matches it."""
        return self.segments is not None or self.pieces is not None


class NotCompiled(Exception):
    """Raised where something is met that plans do not mirror; the message says what."""
