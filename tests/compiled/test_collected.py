"""A compiled application that nobody needs any more is garbage like any other."""

from __future__ import annotations

import gc
import weakref

from fastapi import FastAPI
from fastapi.testclient import TestClient

import overdrive


def test_a_compiled_application_is_collected_with_its_plans() -> None:
    def serve_once() -> weakref.ref[FastAPI]:
        app = FastAPI()

        @app.get("/{value}")
        async def endpoint(value: int, q: str = "default") -> dict[str, str]:
            return {"q": q}

        with TestClient(overdrive.compile(app)) as client:
            assert client.get("/1").json() == {"q": "default"}
        assert type(app.middleware_stack).__name__ == "ServerErrorMiddleware"
        return weakref.ref(app)

    app = serve_once()
    gc.collect()
    assert app() is None
