"""Bodies are read, parsed and validated as FastAPI does."""

from __future__ import annotations

import codecs
import json

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import Request, get, json_post, post

JSON = ("content-type", "application/json")
ITEM = {"name": "n", "price": 1.5, "tags": ["a"], "part": {"name": "p"}, "parts": {"x": {"name": "y", "count": 2}}}
BARE = b'{"name": "n"}'


def with_body(method: str, target: str, content: object) -> Request:
    """Any method with a JSON body."""
    return Request(method, target, (JSON,), json.dumps(content).encode())


def typed(content_type: str | bytes, body: bytes = BARE, target: str = "/bodies/item") -> Request:
    """A body of another type."""
    return post(target, body, ("content-type", content_type))


BODIES: dict[str, Case] = {
    "model": case(json_post("/bodies/item", ITEM), 200, '"set":["name","part","parts","price","tags"]'),
    "model-smallest": case(json_post("/bodies/item", {"name": "n"}), 200, '"set":["name"]'),
    "model-ignores-others": case(json_post("/bodies/item", {"name": "n", "other": 1}), 200),
    "model-missing-field": case(json_post("/bodies/item", {}), 422, '["body","name"]'),
    "model-wrong-fields": case(json_post("/bodies/item", {"name": 1, "price": "x", "tags": "a"}), 422, "list_type"),
    "model-wrong-deep": case(
        json_post("/bodies/item", {"name": "n", "parts": {"x": {"count": -1}}}), 422, '["body","parts","x","count"]'
    ),
    "model-validator-refuses": case(json_post("/bodies/item", {"name": "bad"}), 422, "a bad name"),
    "model-validator-raises-http-exception": case(
        json_post("/bodies/item", {"name": "forbidden"}), 403, "lets through"
    ),
    "model-validator-fails": case(json_post("/bodies/item", {"name": "broken"}), 500),
    "model-in-thread": case(json_post("/bodies/item-in-thread", ITEM), 200, "endpoint"),
    "model-in-thread-wrong": case(json_post("/bodies/item-in-thread", {}), 422),
    "put-with-path-and-query": case(with_body("PUT", "/bodies/item/5?q=x", ITEM), 200, '"item_id":5'),
    "put-with-everything-wrong": case(with_body("PUT", "/bodies/item/x?q=x", {}), 422, '["path","item_id"]'),
    "patch": case(with_body("PATCH", "/bodies/item", {"name": "n", "tags": []}), 200, '{"name":"n","tags":[]}'),
    "delete-with-body": case(with_body("DELETE", "/bodies/item", ITEM), 200),
    "delete-without-body": case(Request("DELETE", "/bodies/item"), 422, "missing"),
    "get-with-body": case(with_body("GET", "/bodies/item", ITEM), 200, '"price":1.5'),
    "get-without-body": case(get("/bodies/item"), 200, "null"),
    "empty": case(post("/bodies/item", b"", JSON), 422, "missing"),
    "no-body-at-all": case(post("/bodies/item"), 422, "missing"),
    "blank": case(post("/bodies/item", b"  ", JSON), 422, "json_invalid"),
    "null": case(json_post("/bodies/item", None), 422, "model_attributes_type"),
    "list-for-model": case(json_post("/bodies/item", []), 422, "model_attributes_type"),
    "text-for-model": case(json_post("/bodies/item", "x"), 422),
    "number-for-model": case(json_post("/bodies/item", 5), 422),
    "optional-missing": case(post("/bodies/optional"), 200, '"item":null'),
    "optional-empty": case(post("/bodies/optional", b"", JSON), 200, '"item":null'),
    "optional-null": case(json_post("/bodies/optional", None), 200, '"item":null'),
    "optional-given": case(json_post("/bodies/optional", ITEM), 200),
    "optional-wrong": case(json_post("/bodies/optional", {}), 422),
    "default-is-copied": case([post("/bodies/default")] * 2, 200, '"tags":["changed"]'),
    "strict": case(json_post("/bodies/strict", {"number": 1}), 200),
    "strict-number-as-text": case(json_post("/bodies/strict", {"number": "1"}), 422, "int_type"),
    "strict-date-as-text": case(json_post("/bodies/strict", {"number": 1, "at": "2024-01-01"}), 422, "datetime_type"),
    "strict-tuple-as-list": case(json_post("/bodies/strict", {"number": 1, "pair": [1, 2]}), 422, "tuple_type"),
    "strict-uuid-as-text": case(
        json_post("/bodies/strict", {"number": 1, "key": "123e4567-e89b-12d3-a456-426614174000"}), 422
    ),
    "strict-extra": case(json_post("/bodies/strict", {"number": 1, "x": 1}), 422, "extra_forbidden"),
    "strict-float-for-int": case(json_post("/bodies/strict", b'{"number": 1.0}'), 422),
    "aliased": case(json_post("/bodies/aliased", {"firstName": "a", "in-side": {"name": "b"}}), 200, '"firstName":"a"'),
    "aliased-by-name": case(json_post("/bodies/aliased", {"first_name": "a", "nested": {"name": "b"}}), 200),
    "aliased-wrong": case(json_post("/bodies/aliased", {"first_name": 1, "in-side": {}}), 422, '"in-side"'),
    "two": case(json_post("/bodies/two", {"item": ITEM, "part": {"name": "p"}}), 200),
    "two-one-missing": case(json_post("/bodies/two", {"item": ITEM}), 422, '["body","part"]'),
    "two-both-wrong": case(json_post("/bodies/two", {"item": {}, "part": {"name": 1}}), 422),
    "two-empty": case(post("/bodies/two"), 422, '["body","part"]'),
    "two-list": case(json_post("/bodies/two", [1]), 422),
    "two-null": case(json_post("/bodies/two", None), 422),
    "two-text": case(typed("text/plain", BARE, "/bodies/two"), 422),
    "several": case(
        json_post("/bodies/several/1?q=a", {"item": ITEM, "part": {"name": "p"}, "importance": 5, "note": "n"}), 200
    ),
    "several-smallest": case(json_post("/bodies/several/1", {"item": {"name": "n"}}), 200, '"importance":1'),
    "several-wrong": case(
        json_post("/bodies/several/x", {"item": {"nome": 1}, "importance": 0, "note": "too long"}), 422, '"importance"'
    ),
    "several-name-behind-alias": case(json_post("/bodies/several/1", {"item": {"name": "n"}, "note_": "x"}), 200),
    "several-nulls": case(json_post("/bodies/several/1", {"item": None, "part": None, "importance": None}), 422),
    "several-not-embedded": case(json_post("/bodies/several/1", ITEM), 422, '["body","item"]'),
    "embedded": case(json_post("/bodies/embedded", {"item": ITEM}), 200),
    "embedded-not": case(json_post("/bodies/embedded", ITEM), 422, '["body","item"]'),
    "embedded-null": case(json_post("/bodies/embedded", {"item": None}), 422),
    "embedded-empty": case(post("/bodies/embedded"), 422),
    "embedded-optional-empty": case(post("/bodies/embedded-optional"), 200, "null"),
    "embedded-optional-object": case(json_post("/bodies/embedded-optional", {}), 200, "null"),
    "embedded-optional-list": case(json_post("/bodies/embedded-optional", []), 422, "missing"),
    "embedded-default-is-copied": case([json_post("/bodies/embedded-mutable", {})] * 2, 200, '["a","b"]'),
    "scalar": case(json_post("/bodies/scalar", 5), 200, '"value":5'),
    "scalar-from-text": case(json_post("/bodies/scalar", "5"), 200, '"value":5'),
    "scalar-constraint": case(json_post("/bodies/scalar", 0), 422, "greater_than"),
    "scalar-bool": case(json_post("/bodies/scalar", True), 200),
    "scalar-float-whole": case(json_post("/bodies/scalar", b"5.0"), 200),
    "scalar-float": case(json_post("/bodies/scalar", b"5.5"), 422, "int_from_float"),
    "scalar-exponent": case(json_post("/bodies/scalar", b"1e3"), 200, "1000"),
    "scalar-big": case(json_post("/bodies/scalar", b"123456789012345678901234567890"), 200, "123456789012345678901"),
    "scalar-infinite-cannot-be-told-in-an-error": case(json_post("/bodies/scalar", b"1e999"), 500),
    "scalar-minus-zero": case(json_post("/bodies/strict-scalar", b"-0"), 200, "0"),
    "strict-scalar-from-bool": case(json_post("/bodies/strict-scalar", True), 422, "int_type"),
    "text": case(json_post("/bodies/text", "x"), 200, '"value":"x"'),
    "text-from-a-plain-body": case(typed("text/plain", b"plain", "/bodies/text"), 200, '"plain"'),
    "bytes-that-cannot-be-told-in-an-error": case(typed("text/plain", b"\xff", "/bodies/text"), 500),
    "bytes-from-a-binary-body": case(typed("application/octet-stream", b"\x00\xff", "/bodies/bytes"), 200, "[0,255]"),
    "bytes-from-json": case(json_post("/bodies/bytes", "é"), 200, "[195,169]"),
    "any-object": case(json_post("/bodies/any", {"a": [1, None, {"b": "é"}]}), 200, "dict"),
    "any-number": case(json_post("/bodies/any", b"1"), 200, '"int"'),
    "any-null": case(json_post("/bodies/any", b"null"), 200, "NoneType"),
    "any-nan": case(json_post("/bodies/any", b"NaN"), 200, "nan"),
    "any-infinities": case(json_post("/bodies/any", b"[Infinity, -Infinity, 1e999]"), 200, "[inf, -inf, inf]"),
    "any-lone-surrogate": case(json_post("/bodies/any", b'"\\ud800"'), 200, "ud800"),
    "any-surrogate-pair": case(json_post("/bodies/any", b'"\\ud83d\\ude00"'), 200),
    "any-escaped-nul": case(json_post("/bodies/any", b'"\\u0000"'), 200),
    "any-control-character": case(json_post("/bodies/any", b'"\x01"'), 422, "Invalid control character"),
    "any-newline-in-text": case(json_post("/bodies/any", b'"a\nb"'), 422, "Invalid control character"),
    "any-bytes": case(typed("application/octet-stream", b"\x00", "/bodies/any"), 200, "bytes"),
    "any-without-type": case(post("/bodies/any", b"1"), 200, "bytes"),
    "any-missing": case(post("/bodies/any"), 422, "missing"),
    "any-default": case(post("/bodies/any-default"), 200, "nothing"),
    "any-default-null": case(json_post("/bodies/any-default", None), 200),
    "any-is-the-object-of-the-request": case(json_post("/bodies/any-is-json", {"a": 1}), 200, '"same":true'),
    "union-first": case(json_post("/bodies/union", ITEM), 200, '"Item"'),
    "union-second": case(json_post("/bodies/union", {"name": "n", "count": 2}), 200, '"Part"'),
    "union-list": case(json_post("/bodies/union", ["1", 2]), 200, '"list"'),
    "union-number": case(json_post("/bodies/union", "5"), 200, '"int"'),
    "union-none-fits": case(json_post("/bodies/union", {"x": 1}), 422),
    "discriminated": case(json_post("/bodies/pet", {"kind": "dog"}), 200, '"barks":true'),
    "discriminated-unknown": case(json_post("/bodies/pet", {"kind": "cow"}), 422, "union_tag_invalid"),
    "discriminated-missing": case(json_post("/bodies/pet", {}), 422, "union_tag_not_found"),
    "discriminated-wrong": case(json_post("/bodies/pet", {"kind": "cat", "lives": "x"}), 422, '["body","cat","lives"]'),
    "discriminated-by-function": case(json_post("/bodies/told", 5), 200, "discriminator 5"),
    "union-left-to-right": case(json_post("/bodies/left-to-right", "5"), 200, '"int"'),
    "generic": case(json_post("/bodies/page", {"entries": [ITEM], "total": 1}), 200),
    "generic-wrong": case(json_post("/bodies/page", {"entries": [{}]}), 422, '["body","entries",0,"name"]'),
    "root-model": case(json_post("/bodies/numbers", [1, "2"]), 200, "[1,2]"),
    "root-model-wrong": case(json_post("/bodies/numbers", [1, "x"]), 422, '["body",1]'),
    "recursive": case(json_post("/bodies/tree", {"value": 1, "children": [{"value": 2}]}), 200),
    "recursive-wrong": case(json_post("/bodies/tree", {"value": 1, "children": [{"value": "x"}]}), 422),
    "before-validator-sees-the-object": case(json_post("/bodies/before", {"a": 1}), 200, "before dict {'a': 1}"),
    "before-validator-sees-bytes": case(post("/bodies/before", b"x"), 422, "before bytes"),
    "dataclass": case(json_post("/bodies/point", {"x": 1}), 200, '{"x":1,"y":0}'),
    "dataclass-wrong": case(json_post("/bodies/point", {"y": "z"}), 422),
    "typed-dict": case(json_post("/bodies/options", {"depth": "1"}), 200, '{"depth":1}'),
    "typed-dict-wrong": case(json_post("/bodies/options", {"depth": "x"}), 422),
    "list-of-models": case(json_post("/bodies/list", [ITEM, {"name": "b"}]), 200),
    "list-of-models-wrong": case(json_post("/bodies/list", [ITEM, {}, {"name": "bad"}]), 422, '["body",2,"name"]'),
    "list-of-models-from-object": case(json_post("/bodies/list", {}), 422, "list_type"),
    "dict-with-int-keys": case(json_post("/bodies/dict", {"1": 2, "3": 0.5}), 200, '{"1":2.0,"3":0.5}'),
    "dict-with-wrong-keys": case(json_post("/bodies/dict", {"x": 2}), 422, "[key]"),
    "mapping": case(json_post("/bodies/mapping", {"a": {"b": 1}}), 200),
    "set": case(json_post("/bodies/set", [3, 1, 3]), 200, "[1,3]"),
    "decimal-from-float": case(json_post("/bodies/decimal", b"1.10"), 200, "1.1"),
    "decimal-from-text": case(json_post("/bodies/decimal", "1.10"), 200, "1.1"),
    "body-with-its-own-media-type": case(typed("application/vnd.x", b"{}", "/bodies/not-body-media-type"), 422),
    "body-with-its-own-media-type-as-json": case(json_post("/bodies/not-body-media-type", {}), 200),
    "validator-function": case(json_post("/bodies/validated", 5), 200, "before 5"),
    "in-dependency": case(json_post("/bodies/in-dependency", {"name": "n"}), 200, "dependency"),
    "in-dependency-wrong": case(json_post("/bodies/in-dependency", {}), 422),
    "in-dependency-and-endpoint": case(json_post("/bodies/in-both", {"item": ITEM, "part": {"name": "n"}}), 200),
    "in-dependency-and-endpoint-wrong": case(json_post("/bodies/in-both", {"item": {}, "part": {}}), 422),
    "validator-sees-contextvar-of-dependency": case(
        json_post("/bodies/with-tenant", {"name": "n"}, ("x-tenant", "acme")), 200, "tenant=acme"
    ),
    "contextvar-does-not-outlive-the-request": case(json_post("/bodies/item", {"name": "n"}), 200, "tenant=nobody"),
    "any-body-changed-by-a-dependency": case(json_post("/bodies/enriched", {"a": 1}), 200, '"seen":true'),
    "any-body-not-an-object": case(json_post("/bodies/enriched", [1]), 422),
}

PARSING: dict[str, Case] = {
    "broken": case(post("/bodies/item", b"{", JSON), 422, '"loc":["body",1]'),
    "broken-late": case(post("/bodies/item", b'{"name": "n",}', JSON), 422, "json_invalid"),
    "broken-twice": case(post("/bodies/item", b'{"name": "n"} {}', JSON), 422, "Extra data"),
    "broken-after-umlauts": case(post("/bodies/item", '{"é€😀": }'.encode(), JSON), 422, '"loc":["body",8]'),
    "single-quotes": case(post("/bodies/item", b"{'name': 'n'}", JSON), 422, "double quotes"),
    "comment": case(post("/bodies/item", b'{"name": "n"} // x', JSON), 422),
    "blanks-around": case(post("/bodies/item", b' \r\n\t{"name": "n"}\n ', JSON), 200),
    "other-blanks-around": case(post("/bodies/item", b'\x0b{"name": "n"}', JSON), 422),
    "no-break-space": case(post("/bodies/item", '\xa0{"name": "n"}'.encode(), JSON), 422),
    "utf8-bom": case(post("/bodies/item", codecs.BOM_UTF8 + BARE, JSON), 200),
    "utf16": case(post("/bodies/item", BARE.decode().encode("utf-16"), JSON), 200),
    "utf16-big-endian-without-bom": case(post("/bodies/item", BARE.decode().encode("utf-16-be"), JSON), 200),
    "utf32": case(post("/bodies/item", BARE.decode().encode("utf-32"), JSON), 200),
    "utf32-little-endian-without-bom": case(post("/bodies/item", BARE.decode().encode("utf-32-le"), JSON), 200),
    "utf16-cut": case(post("/bodies/item", BARE.decode().encode("utf-16")[:-1], JSON), 400),
    "two-boms": case(post("/bodies/item", codecs.BOM_UTF8 * 2 + BARE, JSON), 422),
    "only-a-bom": case(post("/bodies/item", codecs.BOM_UTF8, JSON), 422),
    "one-nul": case(post("/bodies/any", b"\x00", JSON), 422),
    "bad-utf8": case(post("/bodies/item", b'{"name": "\xff"}', JSON), 400, "error parsing the body"),
    "overlong-utf8": case(post("/bodies/item", b'{"name": "\xc0\xaf"}', JSON), 400),
    "utf8-of-a-surrogate": case(post("/bodies/any", b'"\xed\xa0\x80"', JSON), 200),
    "charset-is-ignored": case(typed("application/json; charset=latin-1", b'{"name": "\xe9"}'), 400),
    "nan-for-a-float": case(post("/bodies/item", b'{"name": "n", "price": NaN}', JSON), 500),
    "infinity-for-a-float": case(post("/bodies/item-in-thread", b'{"name": "n", "price": -Infinity}', JSON), 200),
    "nan-in-lower-case": case(post("/bodies/any", b"nan", JSON), 422),
    "plus": case(post("/bodies/any", b"+1", JSON), 422),
    "leading-zero": case(post("/bodies/any", b"01", JSON), 422),
    "hex": case(post("/bodies/any", b"0x10", JSON), 422),
    "underscore": case(post("/bodies/any", b"1_000", JSON), 422),
    "point-alone": case(post("/bodies/any", b"1.", JSON), 422),
    "arabic-digits": case(post("/bodies/any", b"\xd9\xa5", JSON), 422),
    "duplicate-keys-last-wins": case(post("/bodies/item", b'{"name": "a", "name": "b"}', JSON), 200, '"name":"b"'),
    "duplicate-keys-order": case(post("/bodies/any", b'{"a": 1, "b": 2, "a": 3}', JSON), 200, "{'a': 3, 'b': 2}"),
    "4300-digits": case(post("/bodies/any", b"1" * 4300, JSON), 200),
    "5000-digits": case(post("/bodies/any", b"1" * 5000, JSON), 400),
    "5000-digits-as-float": case(post("/bodies/any", b"1" * 5000 + b".0", JSON), 200, "inf"),
    "deep": case(post("/bodies/any", b"[" * 500 + b"]" * 500, JSON), 200),
    "too-deep": case(post("/bodies/any", b"[" * 200_000, JSON), 400),
    "long": case(post("/bodies/item", json.dumps({"name": "n", "tags": ["x" * 1000] * 1000}).encode(), JSON), 200),
    "type-with-parameters": case(typed('application/json; charset="utf-8"; x=y'), 200),
    "type-in-capitals": case(typed("Application/JSON"), 200),
    "type-with-plus-json": case(typed("application/problem+json"), 200),
    "type-with-plus-json-not-application": case(typed("text/x+json"), 422),
    "type-ends-with-json": case(typed("application/notjson"), 422),
    "type-text-json": case(typed("text/json"), 422, "model_attributes_type"),
    "type-form": case(typed("application/x-www-form-urlencoded", b"name=n"), 422),
    "type-plain": case(typed("text/plain"), 422),
    "type-empty": case(typed(""), 422),
    "type-nonsense": case(typed("json"), 422),
    "type-with-blanks": case(typed("application / json"), 422),
    "type-comma": case(typed("application/json, text/plain"), 422),
    "type-not-ascii": case(typed(b"application/json; x=\xe9"), 200),
    "type-twice-first-wins": case(post("/bodies/item", BARE, JSON, ("content-type", "text/plain")), 200),
    "type-missing-is-not-json": case(post("/bodies/item", BARE), 422),
    "type-without-a-body": case(typed("text/plain", b""), 422, "missing"),
    "chunked": case(post("/bodies/item", (b'{"na', b'me": ', b'"n"}'), JSON), 200, '"name":"n"'),
    "chunked-broken": case(post("/bodies/item", (b"{", b"]"), JSON), 422),
    "chunked-empty": case(post("/bodies/item", (b"",), JSON), 422, "missing"),
    "read-by-the-endpoint": case(post("/bodies/request-only", b"x" * 100_000), 200, '"again":100000'),
    "read-by-the-endpoint-chunked": case(post("/bodies/request-only", (b"x" * 1000,) * 50), 200, "50000"),
    "read-by-the-endpoint-empty": case(post("/bodies/request-only"), 200, '"length":0'),
    "streamed-by-the-endpoint": case(post("/bodies/streamed", b"x" * 300_000), 200, "300000"),
    "streamed-by-the-endpoint-chunked": case(post("/bodies/streamed", (b"x" * 1000,) * 50), 200, "50000"),
    "not-read": case([post("/bodies/unread", b"x" * 1000), post("/bodies/unread")], 200, "unread"),
    "not-read-json": case(post("/bodies/unread", b"{", JSON), 200),
    "read-again-after-the-model": case(json_post("/bodies/after-body", {"name": "n"}), 200, '"json":{"name":"n"}'),
}


@table(BODIES)
def test_bodies(both: Pair, case: Case) -> None:
    both.check(case)


@table(PARSING)
def test_parsing(both: Pair, case: Case) -> None:
    both.check(case)
