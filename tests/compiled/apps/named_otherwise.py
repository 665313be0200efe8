"""Applications below middleware that has no attribute `app`."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI


class Private:
    """Keeps the application under another name."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-passed", b"1")]
            await send(message)

        await self._app(scope, receive, stamped)


class WithAClock(Private):
    """Keeps other things that can be called."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._clock = time.monotonic
        self._kind = dict


class InACircle(Private):
    """Keeps what leads back to itself."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._own = self.stop
        self._keeper = Keeper(self._own)
        self._keeper.keeper = self._keeper

    def stop(self) -> None: ...


class Keeper:
    def __init__(self, kept: Any) -> None:
        self.kept = kept
        self.keeper: Any = None

    def __call__(self) -> None: ...


class Torn(Private):
    """Holds two that lead to the routes."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._other = Private(app)


class Hidden:
    """Keeps the application where no attribute leads to it."""

    def __init__(self, app: Any) -> None:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        self._call = call

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._call(scope, receive, send)


def below(middleware: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(middleware)

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> int:
        return item_id

    return app


private, with_a_clock, in_a_circle = below(Private), below(WithAClock), below(InACircle)
torn, hidden = below(Torn), below(Hidden)
