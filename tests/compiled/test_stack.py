"""Middleware that keeps what it stands around under a name of its own, or keeps it to itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve

APPS = Path(__file__).parent / "apps"


def listed(app: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "overdrive", "routes", f"named_otherwise:{app}", "--json", "--app-dir", str(APPS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("app", ["private", "with_a_clock", "in_a_circle"])
def test_what_a_middleware_stands_around_is_found_under_any_name(app: str, serve: Serve) -> None:
    assert listed(app)["compiled"] == 1
    served = serve(f"named_otherwise:{app}", "--log-level", "debug", app_dir=APPS)
    with served.connect() as sock:
        sock.sendall(b"GET /items/5 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-passed: 1" in head.lower()
    assert body == b"5"
    served.stop()
    assert "Plans answered 1 request(s)" in served.log


@pytest.mark.parametrize("app", ["hidden", "torn"])
def test_where_it_cannot_be_told_fastapi_answers(app: str) -> None:
    document = listed(app)
    assert document["compiled"] == 0
    reasons = {route["reason"] for route in document["routes"]}
    assert any("middleware that hides what it stands around" in reason for reason in reasons if reason), reasons
