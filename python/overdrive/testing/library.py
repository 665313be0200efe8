"""Starlette's own test client, and the httpx that it uses: responses must be of the same classes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from starlette import exceptions

if TYPE_CHECKING:
    import httpx

    testclient: Any
else:
    try:
        with warnings.catch_warnings():
            # It may recommend another httpx, which is no business of ours.
            warnings.simplefilter("ignore")
            from starlette import testclient
            from starlette.testclient import httpx
    except (ImportError, RuntimeError) as error:
        raise ImportError("overdrive.testing needs Starlette and httpx: pip install starlette httpx") from error

# As it is now: others may put our own in its place later.
StarletteTestClient: Any = testclient.TestClient

# Raised where the application refuses a WebSocket with a response. The very class, so that either name catches it.
WebSocketDenialResponse: Any = testclient.WebSocketDenialResponse

# What it warns with; older releases have no class of their own for that.
StarletteDeprecationWarning: type[Warning] = getattr(exceptions, "StarletteDeprecationWarning", DeprecationWarning)

__all__ = ["StarletteDeprecationWarning", "StarletteTestClient", "WebSocketDenialResponse", "httpx", "testclient"]
