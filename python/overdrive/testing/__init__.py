"""Tests of an application as it is served: Starlette's `TestClient`, but through the engine, over a real connection.

See `TestClient`. Starlette and httpx must be installed.
"""

from overdrive.testing.client import TestClient
from overdrive.testing.inprocess import InProcessWarning
from overdrive.testing.library import WebSocketDenialResponse
from overdrive.testing.records import Answered, answers, listeners
from overdrive.testing.websocket import WebSocketTestSession

__all__ = [
    "Answered",
    "InProcessWarning",
    "TestClient",
    "WebSocketDenialResponse",
    "WebSocketTestSession",
    "answers",
    "listeners",
]
