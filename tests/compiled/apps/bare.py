"""An application that is none of FastAPI's."""

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError
