"""Credentials are read, refused and scoped as FastAPI does."""

from __future__ import annotations

import base64

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import Header, cookies, get, json_post


def auth(value: str | bytes) -> Header:
    """An Authorization header."""
    return ("Authorization", value)


def basic(text: bytes) -> Header:
    """Basic credentials."""
    return auth(b"Basic " + base64.b64encode(text))


SECURITY: dict[str, Case] = {
    "bearer": case(get("/security/bearer", auth("Bearer x")), 200, '{"scheme":"Bearer","credentials":"x"}'),
    "bearer-missing": case(get("/security/bearer"), 401, "www-authenticate: Bearer"),
    "bearer-empty": case(get("/security/bearer", auth("")), 401),
    "bearer-without-token": case(get("/security/bearer", auth("Bearer")), 401),
    "bearer-blank-token": case(get("/security/bearer", auth("Bearer  ")), 401),
    "bearer-two-words": case(get("/security/bearer", auth("Bearer a b")), 200, '"a b"'),
    "bearer-two-blanks": case(get("/security/bearer", auth("Bearer  a")), 200),
    "bearer-tab": case(get("/security/bearer", auth("Bearer\ta")), 401),
    "bearer-lower-case": case(get("/security/bearer", auth("bearer x")), 200, '"bearer"'),
    "bearer-other-scheme": case(get("/security/bearer", auth("Basic x")), 401),
    "bearer-latin1": case(get("/security/bearer", auth(b"Bearer \xe9")), 200, "é"),
    "bearer-twice-first-wins": case(get("/security/bearer", auth("Bearer 1"), auth("Bearer 2")), 200, '"1"'),
    "bearer-twice-first-wrong": case(get("/security/bearer", auth("Basic 1"), auth("Bearer 2")), 401),
    "bearer-optional-missing": case(get("/security/bearer-optional"), 200, "null"),
    "bearer-optional-other": case(get("/security/bearer-optional", auth("Basic x")), 200, "null"),
    "bearer-in-thread": case(get("/security/bearer-in-thread", auth("Bearer x")), 200, '"x"'),
    "basic": case(get("/security/basic", basic(b"user:pass")), 200, '"username":"user","password":"pass"'),
    "basic-missing": case(get("/security/basic"), 401, "www-authenticate: Basic"),
    "basic-empty-password": case(get("/security/basic", basic(b"user:")), 200, '"password":""'),
    "basic-two-colons": case(get("/security/basic", basic(b"user:a:b")), 200, '"a:b"'),
    "basic-no-colon": case(get("/security/basic", basic(b"user")), 401),
    "basic-not-ascii": case(get("/security/basic", basic("üser:x".encode())), 401),
    "basic-not-base64": case(get("/security/basic", auth("Basic !")), 401),
    "basic-base64-with-garbage": case(get("/security/basic", auth("Basic dXNl!!cjpwYXNz")), 200),
    "basic-base64-without-padding": case(get("/security/basic", auth("Basic dXNlcjpwYXNzMQ")), 401),
    "basic-in-capitals": case(get("/security/basic", auth("BASIC dXNlcjpwYXNz")), 200),
    "basic-not-ascii-header": case(get("/security/basic", auth(b"Basic \xe9")), 401),
    "basic-realm": case(get("/security/basic-realm"), 401, 'Basic realm="simple"'),
    "basic-realm-wrong": case(get("/security/basic-realm", auth("Basic !")), 401, 'realm="simple"'),
    "basic-optional": case(get("/security/basic-optional"), 200, "null"),
    "basic-optional-wrong": case(get("/security/basic-optional", auth("Basic !")), 401),
    "digest": case(get("/security/digest", auth("Digest x")), 200, '"Digest"'),
    "digest-other": case(get("/security/digest", auth("Bearer x")), 401, "www-authenticate: Digest"),
    "digest-optional": case(get("/security/digest-optional", auth("Bearer x")), 200, "null"),
    "base": case(get("/security/base", auth("Whatever x")), 200, '"Whatever"'),
    "base-missing": case(get("/security/base"), 401, "www-authenticate: Other"),
    "base-optional": case(get("/security/base-optional"), 200, "null"),
    "key-in-query": case(get("/security/key-query?api+key=k"), 200, '"k"'),
    "key-in-query-missing": case(get("/security/key-query"), 401, "www-authenticate: APIKey"),
    "key-in-query-empty": case(get("/security/key-query?api%20key="), 401),
    "key-in-query-twice": case(get("/security/key-query?api%20key=1&api%20key=2"), 200, '"2"'),
    "key-in-header": case(get("/security/key-header", ("x-key", "k")), 200, '"k"'),
    "key-in-header-missing": case(get("/security/key-header"), 401),
    "key-in-header-empty": case(get("/security/key-header", ("x-key", "")), 401),
    "key-in-cookie": case(get("/security/key-cookie", cookies("key=k")), 200, '"k"'),
    "key-in-cookie-missing": case(get("/security/key-cookie"), 401),
    "keys-optional": case(get("/security/keys-optional"), 200, "[null,null,null]"),
    "keys-optional-given": case(get("/security/keys-optional?key=1", ("key", "2"), cookies("key=3")), 200, '"3"'),
    "keys-optional-empty": case(get("/security/keys-optional?key=", ("key", ""), cookies("key=")), 200),
    "password-bearer": case(get("/security/password-bearer", auth("Bearer x")), 200, '"x"'),
    "password-bearer-missing": case(get("/security/password-bearer"), 401, "www-authenticate: Bearer"),
    "password-bearer-without-token": case(get("/security/password-bearer", auth("Bearer")), 200),
    "password-bearer-other": case(get("/security/password-bearer", auth("Basic x")), 401),
    "password-bearer-optional": case(get("/security/password-bearer-optional"), 200, "null"),
    "code-bearer": case(get("/security/code-bearer", auth("Bearer x")), 200),
    "code-bearer-missing": case(get("/security/code-bearer"), 401),
    "code-bearer-optional": case(get("/security/code-bearer-optional", auth("Basic x")), 200, "null"),
    "oauth2": case(get("/security/oauth2", auth("Anything at all")), 200, "Anything at all"),
    "oauth2-missing": case(get("/security/oauth2"), 401),
    "oauth2-optional": case(get("/security/oauth2-optional"), 200, "null"),
    "openid": case(get("/security/openid", auth("Bearer x")), 200, '"Bearer x"'),
    "openid-missing": case(get("/security/openid"), 401),
    "openid-optional": case(get("/security/openid-optional"), 200, "null"),
    "subclass-with-own-error": case(get("/security/own-bearer"), 403, "x-own: error"),
    "subclass-with-own-error-given": case(get("/security/own-bearer", auth("Bearer x")), 200),
    "subclass-with-own-call": case(get("/security/own-call", ("x-key", "k")), 200, '"own k"'),
    "subclass-with-own-call-missing": case(get("/security/own-call"), 401, "own call"),
    "scopes-granted": case(get("/security/me", auth("Bearer me,items")), 200, "user ['items', 'me'] 'items me'"),
    "scopes-not-granted": case(get("/security/me", auth("Bearer me")), 401, 'scope="items me"'),
    "scopes-granted-then-refused": case(get("/security/me?inactive=1", auth("Bearer me,items")), 400, "active"),
    "scopes-granted-parameter-wrong": case(get("/security/me?inactive=x", auth("Bearer me,items")), 422, "user ["),
    "scopes-none": case(get("/security/no-scopes", auth("Bearer x")), 200, "user [] ''"),
    "scopes-make-another-entry": case(get("/security/two-scopes", auth("Bearer me,items")), 200, "false"),
    "scopes-in-another-order-make-none": case(get("/security/same-scopes", auth("Bearer me,items")), 200, "true"),
    "scopes-make-another-entry-of-what-has-none": case(get("/security/scopes-unused"), 200, "false"),
    "scopes-in-pool": case(get("/security/scopes-in-pool", auth("Bearer admin")), 200, "in pool ['me']"),
    "scopes-of-the-endpoint": case(get("/security/scopes-of-endpoint"), 200, "[]"),
    "router-guards": case(get("/security/guarded/item", auth("Bearer me,items")), 401, 'scope="admin"'),
    "router-lets-in": case(get("/security/guarded/item", auth("Bearer admin,me,items")), 200, "endpoint"),
    "router-guards-before-the-body": case(json_post("/security/guarded/item", {"a": "x"}), 401, "www-authenticate"),
    "router-lets-in-wrong-body": case(json_post("/security/guarded/item", {"a": "x"}, auth("Bearer admin")), 422),
}


@table(SECURITY)
def test_security(both: Pair, case: Case) -> None:
    both.check(case)
