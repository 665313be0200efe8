"""Requests made from an OpenAPI schema, and around it: what fits, what nearly fits, and what nobody expects.

Only what every server must take for well-formed HTTP is made here; bytes that are not are in `test_refused`.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.differential.wire import Header, Request

Json = Any
Schema = dict[str, Any]

HUGE = "__huge__"  # Stands for a number that Python does not convert to text.

ODD_TEXTS = [
    "", " ", "0", "-0", "+1", "1.0", "1e5", "1e-7", "007", "1_000", "0x10", "null", "None", "true", "ON", "off", "nan",
    "-inf", "Infinity", "[]", "{}", "[1]", '{"a": 1}', "a,b", "..", ".", "a/b", "/", "//", "a b", "a+b", "%", "%41",
    "é", "\u0665", "\u2028", "\U0001f600", "\x00", "\n", "5\n", "a\nb", "\r", "\t", "&", "=", "a=b", ";", "#", "?", "'",
    '"',
    "9" * 19, "9" * 400, "9" * 5000, "x" * 3000, "2024-02-30", "12:00", "P1D", "__proto__", "_sa_x", "self", "\ufeff",
]  # fmt: skip

CONTENT_TYPES = [
    "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json", "text/plain",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/octet-stream", "text/json",
    "application/jsonx", "application", "application/", "/json", "*/*", "", "application/json;",
    'application/json; a="b',
]  # fmt: skip

# A body or a connection of their own, or a meaning for the server.
FORBIDDEN_NAMES = {
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te", "trailer", "keep-alive",
    "http2-settings", "proxy-connection", "content-type",
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """A method of a path, with what its schema says of it."""

    method: str
    path: str
    parameters: tuple[Schema, ...]
    body: Schema | None
    body_type: str

    @property
    def name(self) -> str:
        """As tests are named by it."""
        return f"{self.method} {self.path}"


def operations(schema: Schema) -> list[Operation]:
    """All operations of an application."""
    found = []
    for path, methods in schema["paths"].items():
        # FastAPI lists several methods of a route in no certain order.
        for method, operation in sorted(methods.items()):
            content = operation.get("requestBody", {}).get("content", {})
            kind = next(iter(content), "application/json")
            body = content[kind].get("schema", {}) if content else None
            found.append(Operation(method.upper(), path, tuple(operation.get("parameters", ())), body, kind))
    return found


class Around:
    """Makes requests for the operations of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._made: dict[tuple[int, int], st.SearchStrategy[Json]] = {}

    def requests(self, operation: Operation) -> st.SearchStrategy[Request]:
        """Requests for an operation."""
        return _requests(self, operation)

    def value(self, schema: Schema, depth: int = 0) -> st.SearchStrategy[Json]:
        """Something that fits, as far as the schema says."""
        key = (id(schema), min(depth, 3))
        if key not in self._made:
            self._made[key] = self._value(self.resolved(schema), depth)
        return self._made[key]

    def text(self, schema: Schema) -> st.SearchStrategy[str]:
        """A value as it stands in a target or a header, or none."""
        return st.one_of(*[self.value(schema).map(_as_text)] * 4, _odd_text)

    def resolved(self, schema: Schema) -> Schema:
        """A schema without references at its top."""
        while "$ref" in schema:
            found: Any = self._schema
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        if "allOf" in schema:
            merged: Schema = {}
            for part in schema["allOf"]:
                merged |= self.resolved(part)
            schema = merged | {key: value for key, value in schema.items() if key != "allOf"}
        return schema

    def items_of(self, schema: Schema) -> Schema | None:
        """What a parameter that may be repeated has; none for others."""
        schema = self.resolved(schema)
        for choice in [schema, *schema.get("anyOf", [])]:
            resolved = self.resolved(choice)
            if resolved.get("type") == "array":
                items: Schema = resolved.get("items", _ANYTHING)
                return items
        return None

    def _value(self, schema: Schema, depth: int) -> st.SearchStrategy[Json]:
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            return st.one_of([self.value(choice, depth) for choice in choices])
        match schema.get("type"):
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer" | "number" as kind:
                return _number(schema, whole=kind == "integer")
            case "string":
                return _string(schema)
            case "array":
                return self._array(schema, depth)
            case "object":
                return self._object(schema, depth)
            case _:
                return _any_json

    def _array(self, schema: Schema, depth: int) -> st.SearchStrategy[Json]:
        if "prefixItems" in schema:
            return st.tuples(*[self.value(item, depth + 1) for item in schema["prefixItems"]]).map(list)
        least = schema.get("minItems", 0)
        most = max(least, min(schema.get("maxItems", 3), 3))
        if depth >= 3:
            return st.just([])
        return st.lists(self.value(schema.get("items", _ANYTHING), depth + 1), min_size=least, max_size=most)

    def _object(self, schema: Schema, depth: int) -> st.SearchStrategy[Json]:
        properties = schema.get("properties", {})
        if not properties:
            others = schema.get("additionalProperties")
            if depth >= 3:
                return st.just({})
            values = self.value(others if isinstance(others, dict) else _ANYTHING, depth + 1)
            return st.dictionaries(st.sampled_from(["a", "1", "2.5", "é", "_sa_x", ""]), values, max_size=3)
        required = set(schema.get("required", ()))
        optional = set() if depth >= 3 else properties.keys() - required
        return st.fixed_dictionaries(
            {name: self.value(value, depth + 1) for name, value in properties.items() if name in required},
            optional={name: self.value(value, depth + 1) for name, value in properties.items() if name in optional},
        )


_ANYTHING: Schema = {}

Body = bytes | tuple[bytes, ...] | None


@st.composite
def _requests(draw: st.DrawFn, around: Around, operation: Operation) -> Request:
    places: dict[str, list[Schema]] = {"path": [], "query": [], "header": [], "cookie": []}
    for parameter in operation.parameters:
        places[parameter["in"]].append(parameter)
    target = draw(_path(around, operation.path, places["path"])) + draw(_query(around, places["query"]))
    headers = draw(_headers(around, places["header"]))
    if places["cookie"] or draw(_rarely):
        headers.extend(draw(_cookies(around, places["cookie"])))
    method = operation.method
    if draw(_rarely):
        method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]))
    body: Body = None
    if operation.body is not None or draw(_rarely):
        content_type, body = draw(_bodies(around, operation.body or _ANYTHING, operation.body_type))
        if content_type is not None:
            headers.append(("content-type", content_type))
    return Request(method, target, tuple(headers), body)


# The target.


@st.composite
def _path(draw: st.DrawFn, around: Around, path: str, parameters: list[Schema]) -> str:
    schemas = {parameter["name"]: parameter.get("schema", _ANYTHING) for parameter in parameters}
    text, rest = "", path
    while "{" in rest:
        literal, _, rest = rest.partition("{")
        name, _, rest = rest.partition("}")
        value = draw(around.text(schemas.get(name.partition(":")[0], _ANYTHING)))
        text += quote(literal) + draw(_encoded(value))
    text += quote(rest)
    if draw(_rarely):
        text = draw(st.sampled_from([text + "/", text.rstrip("/"), "/" + text, text + "%0A", text + "//"]))
    return text if text.startswith("/") else f"/{text}"


@st.composite
def _query(draw: st.DrawFn, around: Around, parameters: list[Schema]) -> str:
    pairs = []
    for parameter in parameters:
        for name, value in draw(_occurrences(around, parameter)):
            key = draw(_encoded(name, query=True))
            pairs.append(key if value is None else f"{key}={draw(_encoded(value, query=True))}")
    if draw(_rarely):
        pairs.extend(draw(_encoded(text, query=True)) for text in draw(st.lists(_odd_text, max_size=3)))
    if draw(_sometimes):
        pairs = draw(st.permutations(pairs))
    if not pairs:
        return draw(st.sampled_from(["", "", "", "?", "?&", "?="]))
    return "?" + draw(st.sampled_from(["&", "&", "&", "&&", ";"])).join(pairs)


@st.composite
def _occurrences(draw: st.DrawFn, around: Around, parameter: Schema) -> list[tuple[str, str | None]]:
    # How often a parameter is there, and as what. A model of parameters has each of its fields listed here.
    schema = parameter.get("schema", _ANYTHING)
    items = around.items_of(schema)
    usual = 1 if items is None else draw(st.integers(0, 3))
    count = draw(st.sampled_from([usual] * 6 + [0, 1, 2]))
    texts = around.text(schema if items is None else items)
    return [(parameter["name"], None if draw(_rarely) else draw(texts)) for _ in range(count)]


# Headers.


@st.composite
def _headers(draw: st.DrawFn, around: Around, parameters: list[Schema]) -> list[Header]:
    headers: list[Header] = []
    for parameter in parameters:
        for name, value in draw(_occurrences(around, parameter)):
            if name.lower() not in FORBIDDEN_NAMES:
                cased = draw(st.sampled_from([name, name.lower(), name.title(), name.upper()]))
                headers.append((cased, _header_value(value or "")))
    if draw(_rarely):
        name = draw(st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8))
        if name.lower() not in FORBIDDEN_NAMES:
            headers.append((name, _header_value(draw(_odd_text))))
    if draw(_rarely):
        credentials = draw(st.sampled_from(["Bearer a", "bearer me,items", "Basic dTpw", "Basic !", "x", ""]))
        headers.append(("Authorization", credentials))
    return headers


@st.composite
def _cookies(draw: st.DrawFn, around: Around, parameters: list[Schema]) -> list[Header]:
    pieces = []
    for parameter in parameters:
        for name, value in draw(_occurrences(around, parameter)):
            pieces.append(name if value is None else f"{name}={value}")
    if draw(_rarely):
        pieces.append(draw(_odd_text))
    if not pieces:
        return []
    if draw(_rarely):
        return [("Cookie", _header_value(piece)) for piece in pieces]
    return [("cookie", _header_value(draw(st.sampled_from(["; ", ";", "; ; ", ", "])).join(pieces)))]


# Bodies.


@st.composite
def _bodies(draw: st.DrawFn, around: Around, schema: Schema, usual_type: str) -> tuple[str | None, Body]:
    content_type: str | None = usual_type
    if draw(_rarely):
        content_type = draw(st.sampled_from([None, *CONTENT_TYPES]))
    if draw(_rarely):
        body = draw(st.sampled_from([b"", b" ", b"{", b"[1,", b'"\xff"', b"NaN", b"\x00", b"\xef\xbb\xbf", b"nul"]))
    else:
        value = draw(around.value(schema))
        if draw(_sometimes):
            for _ in range(draw(st.integers(1, 2))):
                value = draw(_flawed(value))
        text = draw(_dumped(value))
        encoding = draw(st.sampled_from(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"]))
        body = text.encode(encoding, "surrogatepass")
        if draw(_rarely):
            body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=2))
    if draw(_rarely):
        cut = draw(st.integers(0, len(body)))
        return content_type, (body[:cut], body[cut:])
    return content_type, (None if not body and draw(_sometimes) else body)


@st.composite
def _flawed(draw: st.DrawFn, value: Json) -> Json:
    # The same value with something missing, added, or in the place of something else.
    if isinstance(value, dict) and value and draw(_mostly):
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["drop", "inside", "inside", "add", "rename"])):
            case "drop":
                return {name: item for name, item in value.items() if name != key}
            case "inside":
                return {**value, key: draw(_flawed(value[key]))}
            case "add":
                return {**value, draw(_odd_text): draw(_any_json)}
            case _:
                return {(f"{name}_" if name == key else name): item for name, item in value.items()}
    if isinstance(value, list) and value and draw(_mostly):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(_flawed(value[index])), *value[index + 1 :]]
    return draw(_any_json)


@st.composite
def _dumped(draw: st.DrawFn, value: Json) -> str:
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, None, 1])))
    if isinstance(value, dict) and value and draw(_rarely):
        # One key twice; the last counts.
        key = draw(st.sampled_from(sorted(value)))
        text = f"{{{json.dumps(key)}: {json.dumps(draw(_any_json))}, {text.lstrip()[1:]}"
    return text.replace(f'"{HUGE}"', "7" * 5000)


@st.composite
def _encoded(draw: st.DrawFn, value: str, *, query: bool = False) -> str:
    # Text in a target, percent-encoded in one of the ways that clients have; rarely as no client should.
    raw = value.encode("utf-8", "surrogatepass")
    way = draw(st.sampled_from(["usual"] * 8 + ["lower", "all", "latin", "broken", "cut"]))
    plain = b"" if way == "all" else _PLAIN
    if way == "latin":
        raw += draw(st.sampled_from([b"\xff", b"\xc3", b"\xe9", b"\xed\xa0\x80", b"\xc0\xaf"]))
    text = ""
    for byte in raw:
        if byte in plain:
            text += chr(byte)
        elif byte == 0x20 and query:
            text += "+"
        else:
            text += f"%{byte:02x}" if way == "lower" else f"%{byte:02X}"
    if way == "broken":
        text += draw(st.sampled_from(["%", "%4", "%zz", "%u0041", "%%41", "+", "%2B"]))
    return text[:-1] if way == "cut" else text


# Values.

_rarely = st.integers(0, 9).map(lambda number: number == 7)
_sometimes = st.integers(0, 2).map(lambda number: number == 2)
_mostly = st.integers(0, 3).map(lambda number: number != 3)

_odd_text = st.sampled_from(ODD_TEXTS) | st.text(max_size=6)

_any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | _odd_text
    | st.text(st.characters(), max_size=4)
    | st.sampled_from(["\ud800", HUGE, 0, 1, "1", 1.0, 1e400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_odd_text, inner, max_size=3),
    max_leaves=5,
)


def _number(schema: Schema, *, whole: bool) -> st.SearchStrategy[Json]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if whole:
        step = int(schema.get("multipleOf", 1))
        least = -5 if low is None else int(low) // step
        most = least + 20 if high is None else int(high) // step
        return st.integers(least, max(least, most)).map(lambda number: number * step)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def _string(schema: Schema) -> st.SearchStrategy[str]:
    match schema.get("format"):
        case "date-time":
            return st.datetimes().map(datetime.isoformat)
        case "date":
            return st.dates().map(date.isoformat)
        case "time":
            return st.times().map(time.isoformat)
        case "duration":
            return st.sampled_from(["PT1S", "P1D", "P3DT4H", "-P1W", "PT0.5S"])
        case "uuid":
            return st.uuids().map(str)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: len(text) < 100)
    least = schema.get("minLength", 0)
    return st.text(max_size=max(least, min(schema.get("maxLength", 8), 8)), min_size=least)


def _as_text(value: Json) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value)


def _header_value(text: str) -> bytes:
    # Visible characters, blanks inside, and bytes beyond ASCII, as UTF-8 or Latin-1.
    encoded = text.encode("utf-8", "surrogatepass")
    return bytes(byte for byte in encoded if byte >= 0x20 and byte != 0x7F).strip()


_PLAIN = (string.ascii_letters + string.digits + "-._~!$'()*,:@").encode()
