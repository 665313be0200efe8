"""Where plans stand within a built middleware stack."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from overdrive._overdrive import Plans
from overdrive.answering import answering


class Planned:
    """Stands in the place of `app`, a part of the stack: plans answer there, or the part itself.

    handles: the part has the exception handlers; otherwise it is the router.
    """

    def __init__(self, app: Any, *, handles: bool) -> None:
        self.app = app
        self.plans: Plans | None = None
        self.handles = handles

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """An ASGI application. Plans belong to asyncio; on any other loop the router answers."""
        if (
            self.plans is not None
            and scope["type"] in ("http", "websocket")
            and asyncio._get_running_loop() is not None
        ):
            planned = self.plans.call(scope, receive, send, self.handles)
            if (told := answering.get()) is not None:
                told("asgi: FastAPI's own router" if planned is None else "plan")
            if planned is not None:
                return planned
        answer: Awaitable[None] = self.app(scope, receive, send)
        return answer
