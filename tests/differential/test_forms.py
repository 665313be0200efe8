"""Forms are read, looked into and closed as FastAPI does, plain ones and odd ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.pair import Case, Pair, Story, case, table
from tests.differential.wire import Header, Request, get, post

URLENCODED = ("content-type", "application/x-www-form-urlencoded")
BOUNDARY = b"boundary-7"
MULTIPART = ("content-type", b"multipart/form-data; boundary=" + BOUNDARY)
# How many bodies hypothesis makes; the same ones each time unless this is set.
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "150"))
APPLICATIONS = ("forms", "forms_handled", "forms_layered")


@pytest.fixture(params=APPLICATIONS)
def both(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """The forms: by themselves, with handlers of the application's, below middleware."""
    return pair_of(request.param)


class Part(NamedTuple):
    """A part of a multipart body, its headers as they are."""

    headers: bytes
    data: bytes

    def sent(self) -> bytes:
        return b"--" + BOUNDARY + b"\r\n" + self.headers + b"\r\n\r\n" + self.data + b"\r\n"


def field(name: str, value: str | bytes) -> Part:
    """A field."""
    data = value if isinstance(value, bytes) else value.encode()
    return Part(f'Content-Disposition: form-data; name="{name}"'.encode(), data)


def file(name: str, data: bytes, filename: str = "a.txt", content_type: str | None = "text/plain") -> Part:
    """A file."""
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    more = f"\r\nContent-Type: {content_type}" if content_type is not None else ""
    return Part((disposition + more).encode(), data)


def multipart(target: str, *parts: Part, headers: tuple[Header, ...] = (MULTIPART,), end: bytes = b"--\r\n") -> Request:
    """A multipart form."""
    return post(target, b"".join(part.sent() for part in parts) + b"--" + BOUNDARY + end, *headers)


def raw(body: bytes, target: str = "/forms/request", content_type: str | bytes = MULTIPART[1]) -> Request:
    """A body as it is."""
    return post(target, body, ("content-type", content_type))


def headed(headers: bytes, target: str = "/forms/request", data: bytes = b"data") -> Request:
    """A part with these headers, then a plain one."""
    return multipart(target, Part(headers, data), field("word", "w"))


def encoded(target: str, fields: object = (), **more: str) -> Request:
    """An urlencoded form; text is sent as it is."""
    pairs = fields if isinstance(fields, (str, bytes)) else urlencode([*fields, *more.items()])  # type: ignore[misc]
    return post(target, pairs if isinstance(pairs, bytes) else pairs.encode(), URLENCODED)


WHOLE = multipart("/forms/request", field("word", "w"), file("file", b"content"), field("word", "v"))
PIECES = WHOLE.body
assert isinstance(PIECES, bytes)

FIELDS: dict[str, Case] = {
    "one": case(encoded("/forms/fields", name="n"), 200, '["list","n",1,null,["list"]]'),
    "all": case(
        encoded("/forms/fields", [("name", "n"), ("count", "2"), ("tags", "a"), ("tags", "b"), ("numbers", "1")])
    ),
    "last-of-repeated": case(encoded("/forms/fields", "name=a&name=b"), 200, '"b"'),
    "last-empty": case(encoded("/forms/fields", "name=a&name="), 422, "missing"),
    "empty-in-list": case(encoded("/forms/fields", "name=a&tags=&tags=b"), 200, '"",'),
    "only-empty-in-list": case(encoded("/forms/fields", "name=a&tags="), 200, '""'),
    "missing": case(encoded("/forms/fields"), 422, '["body","name"]'),
    "wrong": case(encoded("/forms/fields", "name=" + "n" * 30 + "&count=-1&numbers=x"), 422, "too_long"),
    "multipart": case(
        multipart("/forms/fields", field("name", "ä"), field("count", "5"), field("tags", "x")), 200, "ä"
    ),
    "file-for-a-field": case(multipart("/forms/fields", file("name", b"x")), 422, "string_type"),
    "no-content-type": case(post("/forms/fields", b"name=n"), 422, "missing"),
    "json": case(post("/forms/fields", b'{"name": "n"}', ("content-type", "application/json")), 422, "missing"),
    "no-body": case(post("/forms/fields"), 422, "missing"),
    "in-thread": case(encoded("/forms/in-thread", name="n"), 200, "null"),
    "in-thread-file": case(multipart("/forms/in-thread", field("name", "n"), file("file", b"1")), 200, "3"),
    "aliases": case(encoded("/forms/aliased", [("first-name", "a"), ("2nd", "b"), ("", "c")]), 200, '"b"'),
    "aliases-both": case(encoded("/forms/aliased", "first-name=a&2nd=b&second=c"), 200, '"c"'),
    "aliases-first-empty": case(encoded("/forms/aliased", "first-name=a&second=&2nd=b"), 200, '"b"'),
    "aliases-missing": case(encoded("/forms/aliased", "first=a&second=&2nd="), 422, '["body","first-name"]'),
    "json-field": case(encoded("/forms/typed", data="[1, 2]", on="yes", pair="1", anything="x"), 422, "pair"),
    "typed": case(encoded("/forms/typed", "data=[1,2]&on=on&pair=1&pair=2&anything=%00"), 200, "true"),
    "typed-nothing": case(encoded("/forms/typed"), 200),
    "typed-wrong-json": case(encoded("/forms/typed", "data=[1"), 422, "json_invalid"),
    "typed-file-for-json": case(multipart("/forms/typed", file("data", b"[1]"), file("anything", b"")), 422),
    "with-body": case(encoded("/forms/with-body", word="w", number="5"), 200, '["list","w",5]'),
    "with-body-wrong": case(encoded("/forms/with-body", number="x"), 422, '["body","number"]'),
    "by-get": case(get("/forms/by-query?word=x", URLENCODED), 200, "none"),
    "by-get-with-body": case(Request("GET", "/forms/by-query", (URLENCODED,), b"word=x"), 200, '"x"'),
}

MODELS: dict[str, Case] = {
    "plain": case(
        encoded("/forms/plain", [("name", "n"), ("age", "5"), ("tags", "a"), ("tags", "b")]), 200, "validator 'n'"
    ),
    "plain-in-thread": case(encoded("/forms/plain-in-thread", name="n"), 200, '"age":18'),
    "plain-multipart": case(multipart("/forms/plain", field("name", "n"), field("tags", "a")), 200, '"age":18'),
    "plain-nothing": case(encoded("/forms/plain"), 422, '["body","name"]'),
    "plain-empty-values": case(encoded("/forms/plain", "name=&age=&tags=&note="), 422, "missing"),
    "plain-wrong": case(encoded("/forms/plain", "name=n&age=x"), 422, "int_parsing"),
    "plain-others": case(encoded("/forms/plain", "name=n&other=1&other=2&more=3"), 200, '"name":"n"'),
    "plain-validator-raises": case(encoded("/forms/plain", "name=forbidden"), 403, "a validator's"),
    "plain-file-for-text": case(multipart("/forms/plain", file("name", b"x")), 422, "string_type"),
    "strict": case(encoded("/forms/strict", "name=n"), 200),
    "strict-others": case(encoded("/forms/strict", "name=n&other=1&other=2&more="), 422, "extra_forbidden"),
    "open": case(encoded("/forms/open", "name=n&other=1&other=2&more=&name=m"), 200, '"other":["list","1","2"]'),
    "open-file": case(multipart("/forms/open", field("name", "n"), file("f", b"1"), file("e", b"", "")), 200, '"f":{'),
    "aliased": case(encoded("/forms/model-aliased", [("first-name", "n"), ("second[]", "1"), ("second[]", "2")]), 200),
    "aliased-by-name": case(encoded("/forms/model-aliased", "first=n&seconds=1&second=2&x=1"), 200),
    "aliased-all": case(encoded("/forms/model-aliased", "first=n&first-name=m&seconds=1&second=2&second[]=3"), 200),
    "aliased-wrong": case(encoded("/forms/model-aliased", "seconds=x"), 422, "seconds"),
    "seen-nothing": case(encoded("/forms/seen"), 200, "dict"),
    "seen": case(
        encoded("/forms/seen", "z=1&given=2&a=3&z=4&given=5"),
        200,
        '["list","given","5"],["list","z",["list","list","1","4"]],',
    ),
    "optional-missing": case(encoded("/forms/optional-model"), 200, "null"),
    "optional-others": case(encoded("/forms/optional-model", "x=1"), 200, "null"),
    "optional-empty": case(encoded("/forms/optional-model", "name="), 422, "missing"),
    "optional-given": case(encoded("/forms/optional-model", "name=n"), 200, '"n"'),
    "optional-open-missing": case(encoded("/forms/optional-open"), 200, "null"),
    "optional-open-others": case(encoded("/forms/optional-open", "x=1"), 422, "missing"),
    "union": case(encoded("/forms/union", "name=n"), 200, "Strict"),
    "union-second": case(encoded("/forms/union", "first-name=n&x=1"), 200, "Aliased"),
    "two": case(encoded("/forms/two-models", "name=n&x=1"), 200),
    "two-wrong": case(encoded("/forms/two-models", "x=1"), 422),
    "and-field": case(encoded("/forms/model-and-field", "name=n&word=w"), 200, '"w"'),
    "and-field-wrong": case(encoded("/forms/model-and-field", "word=w&age=x"), 422),
    "embedded": case(encoded("/forms/embedded", "data=x&name=n"), 422, '["body","data"]'),
    "filed": case(
        multipart(
            "/forms/filed",
            field("name", "n"),
            file("file", b"1"),
            file("content", b"22"),
            file("more", b"333"),
            file("contents", b"4444"),
            field("contents", "text"),
        ),
        422,
        "bytes_type",
    ),
    "filed-without-bytes": case(
        multipart("/forms/filed", field("name", "n"), file("file", b"1"), file("more", b"333"), file("more", b"4")),
        200,
        '"more":["list",{"class"',
    ),
    "filed-empty": case(
        multipart("/forms/filed", field("name", "n"), file("file", b"", ""), file("more", b"", "")), 422
    ),
    "filed-missing": case(encoded("/forms/filed", "name=n&content=text"), 422, '["body","file"]'),
}

FILES: dict[str, Case] = {
    "file": case(multipart("/forms/file", file("file", b"content")), 200, '"content_type":"text/plain"'),
    "file-empty": case(multipart("/forms/file", file("file", b"")), 200, '"size":0'),
    "file-not-chosen": case(multipart("/forms/file", file("file", b"", "")), 422, "missing"),
    "file-without-a-name": case(multipart("/forms/file", file("file", b"x", "")), 200, '"filename":""'),
    "file-without-type": case(
        multipart("/forms/file", file("file", b"x", content_type=None)), 200, '"content_type":null'
    ),
    "file-last-counts": case(multipart("/forms/file", file("file", b"1"), file("file", b"2", "b")), 200, '"b"'),
    "file-as-text": case(multipart("/forms/file", field("file", "x")), 422, "value_error"),
    "file-urlencoded": case(encoded("/forms/file", file="x"), 422, "value_error"),
    "file-binary": case(multipart("/forms/file", file("file", bytes(range(256)) * 3)), 200, "768"),
    "file-almost-boundaries": case(
        multipart("/forms/file", file("file", b"\r\n--boundary-\r\n\r\n--\r\nboundary-7--\r\n--boundary-6\r\n\r")), 200
    ),
    "file-large": case(multipart("/forms/file", file("file", b"x" * 300_000)), 200, "300000"),
    "file-that-rolls": case(multipart("/forms/file", file("file", b"x" * 1_100_000)), 200, '"rolled":true'),
    "file-of-the-spool-size": case(multipart("/forms/file", file("file", b"x" * (1 << 20))), 200, '"rolled":false'),
    "file-chunked": case(
        post(
            "/forms/file",
            (*(multipart("/", file("file", b"x" * 5000)).body[at : at + 700] for at in range(0, 6000, 700)),),
            MULTIPART,
        ),  # type: ignore[index]
        200,
        "5000",
    ),
    "or-none": case(multipart("/forms/file-or-none", field("other", "x")), 200, "null"),
    "or-none-not-chosen": case(multipart("/forms/file-or-none", file("file", b"", "")), 200, "null"),
    "or-none-no-body": case(post("/forms/file-or-none"), 200, "null"),
    "files": case(multipart("/forms/files", file("files", b"1"), field("x", "y"), file("files", b"2", "b")), 200),
    "files-one-not-chosen": case(multipart("/forms/files", file("files", b"", ""), file("files", b"2")), 200),
    "files-none": case(multipart("/forms/files", file("files", b"", "")), 422, "missing"),
    "files-text": case(multipart("/forms/files", file("files", b"1"), field("files", "y")), 422),
    "files-or-none": case(multipart("/forms/files-or-none", file("files", b"", "")), 200, "null"),
    "bytes": case(multipart("/forms/bytes", file("file", b"content")), 200, '"bytes",7'),
    "bytes-from-text": case(multipart("/forms/bytes", field("file", "ä")), 200, '"bytes",2'),
    "bytes-too-long": case(multipart("/forms/bytes", file("file", b"x" * 3000)), 422, "bytes_too_long"),
    "bytes-empty": case(multipart("/forms/bytes", file("file", b"")), 200, '"bytes",0'),
    "bytes-or-none": case(multipart("/forms/bytes-or-none", file("file", b"", "")), 200, "null"),
    "bytes-or-none-given": case(multipart("/forms/bytes-or-none", file("file", b"1")), 200, "bytes"),
    "many-bytes": case(
        multipart("/forms/many-bytes", file("files", b"1"), file("files", b""), field("files", "x")), 200, '["bytes",0'
    ),
    "tuple-of-bytes": case(
        multipart("/forms/many-bytes", file("files", b"1"), file("more", b"2")), 422, '["body","more",0]'
    ),
    "many-bytes-rolled": case(multipart("/forms/many-bytes", file("files", b"1" * (1 << 20))), 200, "1048576"),
    "both": case(multipart("/forms/both", file("file", b"content")), 422, "file"),
    "mixed": case(
        multipart("/forms/mixed/5?q=1", file("file", b"1"), field("token", "t"), headers=(MULTIPART, ("x-word", "w"))),
        200,
    ),
    "mixed-all-wrong": case(multipart("/forms/mixed/x?q=x", field("file", "1")), 422, '["body","token"]'),
}

ORDER: dict[str, Case] = {
    "dependencies": case(
        multipart(
            "/forms/dependencies",
            field("user", "u"),
            file("file", b"1"),
            field("word", "w"),
            headers=(MULTIPART, ("authorization", "x")),
        ),
        200,
        "attachment",
    ),
    "dependency-refuses-before-the-endpoint-is-validated": case(
        encoded("/forms/dependencies", user="u"), 401, "user u"
    ),
    "dependency-is-not-called-when-wrong": case(encoded("/forms/dependencies", word="w"), 422, "attachment"),
    "form-cannot-be-read": case(raw(b"--x", "/forms/dependencies"), 400, "Invalid multipart data"),
    "request": case(WHOLE, 200, "Stream consumed"),
    "request-has-the-same-file": case(WHOLE, 200, "the same file: True"),
    "request-urlencoded": case(encoded("/forms/request", "a=1&a=2&word=x"), 200, '["list"'.replace('["list"', '"a"')),
    "request-of-another-type": case(post("/forms/request", b"body", ("content-type", "text/plain")), 200, "[4]"),
    "undeclared": case(multipart("/forms/undeclared", file("a", b"1")), 200, '"a"'),
    "closed-after-the-background": case(
        multipart("/forms/closing", file("file", b"123456789")), 200, until="exit closed=False at=8"
    ),
    "closed-after-an-error": case(
        multipart("/forms/closing", file("file", b"123456789"), field("how", "raise")), 500, "error the endpoint fails"
    ),
    "closed-after-a-refusal": case(
        multipart("/forms/closing", file("file", b"123456789"), field("how", "refuse")), 418, "exit closed=False at=4"
    ),
}
for how, status in {"return": 200, "refuse": 418, "raise": 500, "write": 200}.items():
    for size in (10, 1_200_000):
        ORDER[f"keeps-{how}-{size}"] = case(
            multipart("/forms/keeps", file("file", b"x" * size), field("how", how)), status, until="closed a.txt"
        )
ORDER["keeps-nothing-of-what-is-invalid"] = case(
    multipart("/forms/keeps-invalid", file("file", b"x"), field("number", "y")), 422, "int_parsing"
)

DISPOSITION = b"Content-Disposition: form-data; "
ODD: dict[str, Request] = {
    "name-unquoted": headed(DISPOSITION + b"name=a"),
    "name-single-quoted": headed(DISPOSITION + b"name='a'"),
    "name-empty": headed(DISPOSITION + b'name=""'),
    "name-missing": headed(DISPOSITION + b"x=1"),
    "name-twice": headed(DISPOSITION + b'name="a"; name="b"'),
    "name-upper-case": headed(DISPOSITION + b'NAME="a"; FileName="b"'),
    "name-with-spaces": headed(DISPOSITION + b'name = "a" ; filename = " b "'),
    "name-with-semicolon": headed(DISPOSITION + b'name="a;b"; filename="c;d"'),
    "name-with-escaped-quote": headed(DISPOSITION + b'name="a\\"b"; filename="c\\\\d"'),
    "name-with-open-quote": headed(DISPOSITION + b'name="a'),
    "name-with-inner-quotes": headed(DISPOSITION + b'name="a"b"c"'),
    "name-percent": headed(DISPOSITION + b'name="a%22b+c"'),
    "name-utf8": headed(DISPOSITION + 'name="ä€"; filename="ö.txt"'.encode()),
    "name-latin1": headed(DISPOSITION + b'name="\xe4"; filename="\xf6.txt"'),
    "key-latin1": headed(DISPOSITION + b'name="a"; \xc4="x"'),
    "filename-extended": headed(DISPOSITION + b"name=\"a\"; filename*=UTF-8''%e2%82%ac.txt"),
    "filename-both": headed(DISPOSITION + b'name="a"; filename="x"; filename*=UTF-8\'\'%e2%82%ac.txt'),
    "filename-continued": headed(DISPOSITION + b'name="a"; filename*0="x"; filename*1="y"'),
    "filename-of-windows": headed(DISPOSITION + b'name="a"; filename="C:\\dir\\x.txt"'),
    "filename-of-a-share": headed(DISPOSITION + b'name="a"; filename="\\\\host\\x.txt"'),
    "filename-with-path": headed(DISPOSITION + b'name="a"; filename="../../x.txt"'),
    "filename-bare": headed(DISPOSITION + b'name="a"; filename'),
    "options-empty": headed(DISPOSITION + b';; name="a";'),
    "disposition-other": headed(b'Content-Disposition: attachment; name="a"'),
    "disposition-empty": headed(b"Content-Disposition:"),
    "disposition-none": headed(b"Content-Type: text/plain"),
    "disposition-twice": headed(DISPOSITION + b'name="a"\r\n' + DISPOSITION + b'name="b"'),
    "disposition-without-value": headed(b'Content-Disposition: ; name="a"'),
    "header-folded": headed(DISPOSITION + b'name="a";\r\n filename="b"'),
    "header-without-colon": headed(b"Content-Disposition"),
    "header-without-name": headed(b': x\r\nContent-Disposition: form-data; name="a"'),
    "header-with-space": headed(b'Content Disposition: form-data; name="a"'),
    "header-before-colon": headed(b'Content-Disposition : form-data; name="a"'),
    "header-spaces": headed(b'X-A:   b  \r\nX-B:\tc\r\nX-C:\r\nContent-Disposition:form-data;name="a";filename="f"'),
    "header-line-feed": headed(DISPOSITION + b'name="a\nb"; filename="c"'),
    "header-carriage-return": headed(DISPOSITION + b'name="a\rb"'),
    "header-nul": headed(DISPOSITION + b'name="a\0b"; filename="c"'),
    "header-long": headed(b"X: " + b"x" * 4100 + b"\r\n" + DISPOSITION + b'name="a"'),
    "header-too-long": headed(b"X: " + b"x" * 4300 + b"\r\n" + DISPOSITION + b'name="a"'),
    "headers-eight": headed(b"X: y\r\n" * 7 + DISPOSITION + b'name="a"; filename="f"'),
    "headers-nine": headed(b"X: y\r\n" * 8 + DISPOSITION + b'name="a"'),
    "header-transfer-encoding": headed(DISPOSITION + b'name="a"\r\nContent-Transfer-Encoding: base64', data=b"eA=="),
    "header-charset": headed(DISPOSITION + b'name="a"\r\nContent-Type: text/plain; charset=latin-1', data=b"\xe4"),
    "field-called-charset": multipart("/forms/request", field("_charset_", "latin-1"), field("a", b"\xe4")),
    "value-latin1": headed(DISPOSITION + b'name="a"', data=b"\xe4\xff"),
    "value-empty": headed(DISPOSITION + b'name="a"', data=b""),
    "value-of-lines": headed(DISPOSITION + b'name="a"', data=b"\r\n\r\n-\r\n--"),
    "value-with-boundary": headed(DISPOSITION + b'name="a"', data=b"a\r\n--boundary-7x\r\nb"),
    "value-begins-as-boundary": headed(DISPOSITION + b'name="a"', data=b"--boundary-7\r\nb"),
    "nothing": raw(b""),
    "only-end": raw(b"--boundary-7--\r\n"),
    "only-boundary": raw(b"--boundary-7\r\n"),
    "only-text": raw(b"text"),
    "preamble": raw(b"preamble\r\n" + PIECES),
    "empty-lines-before": raw(b"\r\n\r\n" + PIECES),
    "epilogue": raw(PIECES + b"epilogue\r\n--boundary-7\r\n"),
    "no-end": raw(PIECES[:-4]),
    "no-end-at-all": raw(PIECES[:-20]),
    "half-an-end": raw(PIECES[:-3]),
    "end-without-line": raw(PIECES[:-2]),
    "padding": raw(PIECES.replace(b"boundary-7\r\n", b"boundary-7 \t\r\n")),
    "line-feeds": raw(PIECES.replace(b"\r\n", b"\n")),
    "other-boundary": raw(PIECES, content_type="multipart/form-data; boundary=other"),
    "shorter-boundary": raw(PIECES, content_type="multipart/form-data; boundary=boundary-"),
    "no-boundary": raw(PIECES, content_type="multipart/form-data"),
    "empty-boundary": raw(PIECES, content_type="multipart/form-data; boundary="),
    "quoted-boundary": raw(PIECES, content_type='multipart/form-data; boundary="boundary-7"'),
    "escaped-boundary": raw(PIECES, content_type='multipart/form-data; boundary="boundary\\-7"'),
    "long-boundary": raw(PIECES, content_type="multipart/form-data; boundary=" + "b" * 257),
    "two-boundaries": raw(PIECES, content_type="multipart/form-data; boundary=x; boundary=boundary-7"),
    "upper-case": raw(PIECES, content_type="Multipart/FORM-Data; Boundary=boundary-7"),
    "type-with-spaces": raw(PIECES, content_type="multipart/form-data ;boundary=boundary-7 "),
    "type-other-multipart": raw(PIECES, content_type="multipart/mixed; boundary=boundary-7"),
    "type-cut": raw(PIECES, content_type="multipart/form-data boundary=boundary-7"),
    "charset-utf8": raw(PIECES, content_type="multipart/form-data; boundary=boundary-7; charset=UTF-8"),
    "charset-latin1": multipart(
        "/forms/request", field("a", "ä"), headers=(("content-type", MULTIPART[1] + b"; charset=latin-1"),)
    ),
    "charset-utf16": multipart(
        "/forms/request", field("a", "ab"), headers=(("content-type", MULTIPART[1] + b"; charset=utf-16"),)
    ),
    "charset-unknown": multipart(
        "/forms/request", field("a", "ä"), headers=(("content-type", MULTIPART[1] + b"; charset=nonsense"),)
    ),
    "charset-codec": multipart(
        "/forms/request", field("a", "ä"), headers=(("content-type", MULTIPART[1] + b"; charset=rot13"),)
    ),
    "two-types": multipart("/forms/request", field("a", "x"), headers=(MULTIPART, ("content-type", "text/plain"))),
    "type-empty": raw(PIECES, content_type=""),
    "urlencoded-charset": raw(b"a=%e4&b=%c3%a4", content_type="application/x-www-form-urlencoded; charset=latin-1"),
    "urlencoded-upper-case": raw(b"a=1", content_type="Application/X-WWW-Form-URLEncoded"),
    "urlencoded-type-list": raw(b"a=1", content_type="application/x-www-form-urlencoded, text/plain"),
    "urlencoded-empty": encoded("/forms/request", b""),
    "urlencoded-separators": encoded("/forms/request", b"&&a=1&&&b=2&"),
    "urlencoded-semicolons": encoded("/forms/request", b"a=1;b=2"),
    "urlencoded-no-value": encoded("/forms/request", b"a&b=&=c&=&d"),
    "urlencoded-equals": encoded("/forms/request", b"a=b=c&==d"),
    "urlencoded-plus": encoded("/forms/request", b"a+b=c+d%2B%20"),
    "urlencoded-bad-escapes": encoded("/forms/request", b"a=%&b=%4&c=%zz&d=%C3&e=%C3%28&f=%ED%A0%80&g=%F5%80"),
    "urlencoded-raw": encoded("/forms/request", "a=ä%C3ä%A4&ö=\0\n".encode()),
    "urlencoded-not-utf8": encoded("/forms/request", b"a=\xff\xfe%e4\xe4"),
    "urlencoded-large": encoded("/forms/request", b"a=" + b"x" * 300_000),
    "urlencoded-many": encoded("/forms/request", "&".join(f"a{n}={n}" for n in range(1000))),
}

LIMITS: dict[str, Request] = {
    "urlencoded-1001": encoded("/forms/fields", "&".join(f"a{n}={n}" for n in range(1001))),
    "multipart-1000": multipart("/forms/fields", *(field("tags", "x") for _ in range(999)), field("name", "n")),
    "multipart-1001": multipart("/forms/fields", *(field("tags", "x") for _ in range(1001))),
    "files-1001": multipart("/forms/files", *(file("files", b"") for _ in range(1001))),
    "field-of-a-mebibyte": multipart("/forms/fields", field("name", "n"), field("x", "y" * (1 << 20))),
    "field-too-large": multipart("/forms/fields", field("name", "n"), field("x", "y" * ((1 << 20) + 1))),
    "urlencoded-of-a-mebibyte": encoded("/forms/fields", b"name=n&x=" + b"y" * ((1 << 20) - 1)),
    "urlencoded-too-large": encoded("/forms/fields", b"name=n&x=" + b"y" * (1 << 20)),
    "inherited-2": encoded("/limited/inherited", "a=1&a=2"),
    "inherited-3": encoded("/limited/inherited", "a=1&a=2&a=3"),
    "inherited-file": multipart("/limited/inherited", file("file", b"x" * 5000)),
    "inherited-files": multipart("/limited/inherited", file("file", b""), file("file", b"")),
    "own-3": encoded("/limited/own", "a=1&a=2&a=3"),
    "own-4": encoded("/limited/own", "a=1&a=2&a=3&a=4"),
    "own-size": encoded("/limited/own", "a=123456789"),
    "own-size-too-large": encoded("/limited/own", "a=1234567890"),
    "own-part-size": multipart("/limited/own", field("a", "1234567890"), file("file", b"x" * 50)),
    "own-part-size-too-large": multipart("/limited/own", field("a", "12345678901")),
    "own-files": multipart("/limited/own", file("file", b""), file("file", b"")),
    "small": multipart("/limited/small", field("a", "1"), file("file", b"2")),
    "small-too-large": multipart("/limited/small", field("a", "1"), file("file", b"2" * 400)),
    "small-urlencoded-too-large": encoded("/limited/small", b"a=" + b"1" * 400),
    "small-chunked": post("/limited/small", (b"a=", b"1" * 300), URLENCODED),
    "small-chunked-too-large": post("/limited/small", (b"a=", b"1" * 300, b"2" * 300), URLENCODED),
    "mounted": multipart(
        "/forms/mounted/within", field("a", "1"), file("file", b"2"), field("a", "2"), field("a", "3")
    ),
    "mounted-within-limits": multipart("/limited/mounted/within", field("a", "1"), file("file", b"2")),
    "mounted-beyond-limits": encoded("/limited/mounted/within", "a=1&a=2&a=3"),
    "none-nothing": encoded("/limited/none", ""),
    "none-urlencoded": encoded("/limited/none", "a"),
    "none-multipart": multipart("/limited/none", field("a", "1")),
    "none-file": multipart("/limited/none", file("a", b"1")),
}


@table(FIELDS)
def test_fields(both: Pair, case: Case) -> None:
    both.check(case)


@table(MODELS)
def test_models(both: Pair, case: Case) -> None:
    both.check(case)


@table(FILES)
def test_files(both: Pair, case: Case) -> None:
    both.check(case)


@table(ORDER)
def test_order(both: Pair, case: Case) -> None:
    both.check(case)


@pytest.mark.parametrize("request_", ODD.values(), ids=ODD)
def test_odd(both: Pair, request_: Request) -> None:
    both.same(request_)


@pytest.mark.parametrize("request_", LIMITS.values(), ids=LIMITS)
def test_limits(both: Pair, request_: Request) -> None:
    both.same(request_)


@pytest.mark.parametrize("size", [0, 1, 10, 1000])
def test_the_spool_size_is_read_for_each_request(both: Pair, size: int) -> None:
    both.same(post(f"/forms/spool/{size}"))
    try:
        for target, name in (("/forms/file", "file"), ("/forms/bytes", "file"), ("/forms/many-bytes", "files")):
            for length in (0, 1, 2, 10, 11, 1500):
                both.same(multipart(target, file(name, b"x" * length)))
        both.same(multipart("/forms/keeps", file("file", b"x" * 100)), until="closed a.txt")
    finally:
        both.same(post(f"/forms/spool/{1 << 20}"))


def _begun(story: Story, label: str, body: bytes, length: int, content_type: Header = MULTIPART) -> None:
    # The head and a part of the body.
    story.send(label, post(f"/forms/request?{label}", body, content_type, ("content-length", str(length))))


def test_an_error_is_answered_before_the_body_is_complete(both: Pair) -> None:
    def story(teller: Story) -> None:
        _begun(teller, "a", b"no boundary", 1000)
        teller.read("a")
        _begun(teller, "b", PIECES[:-20].replace(b"form-data", b"form data; x=", 1).replace(b"name=", b"x="), 1000)
        teller.read("b")
        _begun(teller, "c", b"&".join([b"a"] * 1010), 100_000, URLENCODED)
        teller.read("c")

    told = both.alike(story)
    assert sum(": 400" in event for event in told) == 3


def test_a_client_that_leaves_runs_nothing(pair_of: Callable[..., Pair]) -> None:
    def story(teller: Story) -> None:
        for label, body, content_type in (
            ("a", PIECES[:50], MULTIPART),
            ("b", PIECES[:-10], MULTIPART),
            ("c", b"word=", URLENCODED),
            ("d", multipart("/", file("file", b"x" * 1_500_000)).body, MULTIPART),
        ):
            assert isinstance(body, bytes)
            _begun(teller, label, body, 10_000_000, content_type)
            teller.leave(label)
            teller.wait_for(f"refused {label} ClientDisconnect ClientDisconnect")
        teller.ask("e", WHOLE)

    pair_of("forms_handled").alike(story)


def test_bodies_arrive_in_pieces(both: Pair) -> None:
    for size in (1, 7, 40):
        pieces = tuple(PIECES[at : at + size] for at in range(0, len(PIECES), size))
        both.same(post("/forms/request", pieces, MULTIPART))


# What bodies are made of, and what breaks them.
PIECES_OF_BODIES = [
    *(
        b"--boundary-7",
        b"\r\n",
        b"\n",
        b"\r",
        b"--",
        b"-",
        b'"',
        b";",
        b":",
        b"=",
        b" ",
        b"\t",
        b"\\",
        b"'",
        b"%",
        b"\xff",
    ),
    *(b"name", b"filename", b"filename*", b"Content-Disposition: form-data; ", b"form-data", b"x" * 300, b"\0"),
]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="DIFFERENTIAL_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
@given(
    st.lists(
        st.tuples(st.integers(0, len(PIECES)), st.integers(0, 12), st.sampled_from([b"", *PIECES_OF_BODIES])),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 5),
)
def test_broken_bodies(pair_of: Callable[..., Pair], changes: list[tuple[int, int, bytes]], pieces: int) -> None:
    body = PIECES
    for start, length, inserted in changes:
        body = body[:start] + inserted + body[start + length :]
    size = len(body) // (pieces + 1) + 1
    sent = tuple(body[at : at + size] for at in range(0, len(body), size)) if pieces else body
    pair_of("forms_handled").same(post("/forms/request", sent, MULTIPART))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="DIFFERENTIAL_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
@given(
    st.lists(
        st.sampled_from(
            [b"&", b"=", b"+", b"%", b";", b"a", b"word", b"%41", b"%c3%a4", b"%E4", b"\xc3\xa4", b"\xff", b"\0"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_urlencoded_bodies(pair_of: Callable[..., Pair], body: bytes) -> None:
    pair_of("forms_handled").same(encoded("/forms/request", body))
