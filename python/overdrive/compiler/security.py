"""FastAPI's security schemes: what of a request each of them looks at."""

from __future__ import annotations

from typing import Any

from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPBasic,
    HTTPBearer,
    HTTPDigest,
    OAuth2,
    OAuth2AuthorizationCodeBearer,
    OAuth2PasswordBearer,
    OpenIdConnect,
)
from fastapi.security.http import HTTPBase

BY_AUTHORIZATION = (
    HTTPBase,
    HTTPBasic,
    HTTPBearer,
    HTTPDigest,
    OAuth2,
    OAuth2AuthorizationCodeBearer,
    OAuth2PasswordBearer,
    OpenIdConnect,
)
BY_KEY = {APIKeyCookie: "cookies", APIKeyHeader: "headers", APIKeyQuery: "query_params"}


def presented(call: Any) -> tuple[str, str] | None:
    """The attribute of a request, and the key there, that the scheme `call` looks at.

    A scheme needs no request then, but an object with that one value. None if `call` is no scheme of FastAPI's.
    """
    kind = type(call)
    if "__call__" in getattr(call, "__dict__", ()):
        return None
    if kind in BY_AUTHORIZATION:
        return "headers", "Authorization"
    if kind in BY_KEY:
        return BY_KEY[kind], call.model.name
    return None
