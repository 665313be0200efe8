"""FastAPI's security classes, scopes, and what depends on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Security
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
    HTTPDigest,
    OAuth2,
    OAuth2AuthorizationCodeBearer,
    OAuth2PasswordBearer,
    OpenIdConnect,
    SecurityScopes,
)
from fastapi.security.http import HTTPBase

from .journal import note

router = APIRouter(prefix="/security")

oauth2 = OAuth2PasswordBearer(tokenUrl="token", scopes={"me": "Read", "items": "Write", "admin": "All"})
oauth2_optional = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


# Each class, with and without an error of its own.


@router.get("/bearer")
async def bearer(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):
    return given


@router.get("/bearer-optional")
async def bearer_optional(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]):
    return given


@router.get("/bearer-in-thread")
def bearer_in_thread(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):
    return given.credentials


@router.get("/basic")
async def basic(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]):
    return given


@router.get("/basic-realm")
async def basic_realm(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="simple"))]):
    return given


@router.get("/basic-optional")
async def basic_optional(given: Annotated[HTTPBasicCredentials | None, Depends(HTTPBasic(auto_error=False))]):
    return given


@router.get("/digest")
async def digest(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPDigest())]):
    return given


@router.get("/digest-optional")
async def digest_optional(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPDigest(auto_error=False))]):
    return given


@router.get("/base")
async def base(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBase(scheme="Other"))]):
    return given


@router.get("/base-optional")
async def base_optional(
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBase(scheme="Other", auto_error=False))],
):
    return given


@router.get("/key-query")
async def key_query(key: Annotated[str, Depends(APIKeyQuery(name="api key"))]):
    return {"key": key}


@router.get("/key-header")
async def key_header(key: Annotated[str, Depends(APIKeyHeader(name="X-Key"))]):
    return {"key": key}


@router.get("/key-cookie")
async def key_cookie(key: Annotated[str, Depends(APIKeyCookie(name="key"))]):
    return {"key": key}


@router.get("/keys-optional")
async def keys_optional(
    query: Annotated[str | None, Depends(APIKeyQuery(name="key", auto_error=False))],
    header: Annotated[str | None, Depends(APIKeyHeader(name="key", auto_error=False))],
    cookie: Annotated[str | None, Depends(APIKeyCookie(name="key", auto_error=False))],
):
    return [query, header, cookie]


@router.get("/password-bearer")
async def password_bearer(token: Annotated[str, Depends(oauth2)]):
    return {"token": token}


@router.get("/password-bearer-optional")
async def password_bearer_optional(token: Annotated[str | None, Depends(oauth2_optional)]):
    return {"token": token}


@router.get("/code-bearer")
async def code_bearer(
    token: Annotated[str, Depends(OAuth2AuthorizationCodeBearer(authorizationUrl="authorize", tokenUrl="token"))],
):
    return {"token": token}


@router.get("/code-bearer-optional")
async def code_bearer_optional(
    token: Annotated[
        str | None,
        Depends(OAuth2AuthorizationCodeBearer(authorizationUrl="authorize", tokenUrl="token", auto_error=False)),
    ],
):
    return {"token": token}


@router.get("/oauth2")
async def plain_oauth2(authorization: Annotated[str, Depends(OAuth2(flows={"password": {"tokenUrl": "t"}}))]):
    return {"authorization": authorization}


@router.get("/oauth2-optional")
async def plain_oauth2_optional(authorization: Annotated[str | None, Depends(OAuth2(auto_error=False))]):
    return {"authorization": authorization}


@router.get("/openid")
async def openid(authorization: Annotated[str, Depends(OpenIdConnect(openIdConnectUrl="/openid"))]):
    return {"authorization": authorization}


@router.get("/openid-optional")
async def openid_optional(
    authorization: Annotated[str | None, Depends(OpenIdConnect(openIdConnectUrl="/openid", auto_error=False))],
):
    return {"authorization": authorization}


class OwnBearer(HTTPBearer):
    """A subclass with an error of its own."""

    def make_not_authenticated_error(self) -> HTTPException:
        note("own error")
        return HTTPException(403, "own", {"x-own": "error"})


class OwnCall(APIKeyHeader):
    """A subclass with a call of its own."""

    async def __call__(self, request: Request) -> str | None:
        note("own call")
        key = await super().__call__(request)
        return f"own {key}"


@router.get("/own-bearer")
async def own_bearer(given: Annotated[HTTPAuthorizationCredentials, Depends(OwnBearer())]):
    return given


@router.get("/own-call")
async def own_call(key: Annotated[str, Depends(OwnCall(name="x-key"))]):
    return key


# Scopes.


async def user(scopes: SecurityScopes, token: Annotated[str, Depends(oauth2)]):
    note(f"user {scopes.scopes} {scopes.scope_str!r}")
    granted = token.split(",")
    for scope in scopes.scopes:
        if scope not in granted:
            raise HTTPException(401, f"not {scope}", {"WWW-Authenticate": f'Bearer scope="{scopes.scope_str}"'})
    return {"token": token}


async def active(user: Annotated[dict[str, Any], Security(user, scopes=["me"])], inactive: bool = False):
    note("active")
    if inactive:
        raise HTTPException(400, "inactive")
    return user


def in_pool(scopes: SecurityScopes):
    note(f"in pool {scopes.scopes}")
    return scopes.scopes


@router.get("/me")
async def me(user: Annotated[dict[str, Any], Security(active, scopes=["items"])]):
    note("endpoint")
    return user


@router.get("/no-scopes")
async def no_scopes(user: Annotated[dict[str, Any], Depends(user)]):
    return user


@router.get("/two-scopes")
async def two_scopes(
    first: Annotated[dict[str, Any], Security(user, scopes=["me"])],
    second: Annotated[dict[str, Any], Security(user, scopes=["items"])],
):
    # Other scopes are another entry of the cache.
    return first is second


@router.get("/same-scopes")
async def same_scopes(
    first: Annotated[dict[str, Any], Security(user, scopes=["me", "items"])],
    second: Annotated[dict[str, Any], Security(user, scopes=["items", "me"])],
):
    return first is second


@router.get("/scopes-unused")
async def scopes_unused(
    first: Annotated[object, Security(object, scopes=["me"])],
    second: Annotated[object, Security(object, scopes=["items"])],
):
    return first is second


@router.get("/scopes-in-pool", dependencies=[Security(user, scopes=["admin"])])
async def scopes_in_pool(scopes: Annotated[list[str], Security(in_pool, scopes=["me", "me"])]):
    return scopes


@router.get("/scopes-of-endpoint")
async def scopes_of_endpoint(scopes: SecurityScopes):
    return scopes.scopes


guarded = APIRouter(prefix="/guarded", dependencies=[Security(user, scopes=["admin"])])


@guarded.get("/item")
async def guarded_item(user: Annotated[dict[str, Any], Security(active, scopes=["items"])]):
    note("endpoint")
    return user


@guarded.post("/item")
async def guarded_body(body: dict[str, int]):
    note("endpoint")
    return body


router.include_router(guarded)
