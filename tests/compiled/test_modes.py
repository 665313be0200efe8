"""`--compile`, `overdrive routes`, and what becomes of code that is not the one known."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import sniffio
from fastapi import FastAPI

import overdrive
from tests.conftest import Serve

APPS = Path(__file__).parent / "apps"


def routes(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "overdrive", "routes", *arguments, "--app-dir", str(APPS)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_routes_are_listed_with_the_reason_of_those_that_are_not_compiled() -> None:
    listed = routes("partly:app")
    assert listed.returncode == 0, listed.stderr
    states = {line.split()[1]: line.split(maxsplit=2)[2] for line in listed.stdout.splitlines()[:-1]}
    assert states["/compiled"] == "compiled"
    assert states["/form"] == "compiled"
    assert states["/marked"] == "it is marked as uncompiled"
    assert states["/stream"] == "compiled"
    assert states["/own-handler"] == "a request handler of its own (get_route_handler)"
    assert states["/own-matches"] == "its own matches()"
    assert states["/{value:own}"] == "a path with a convertor of its own"
    assert states["/mounted"] == "a mounted application"
    assert states["/mounted/in"] == "compiled"
    assert listed.stdout.splitlines()[-1].startswith("Compiled 4 of 8 routes")


def test_routes_are_listed_for_programs_with_the_time_it_took() -> None:
    document = json.loads(routes("partly:app", "--json").stdout)
    assert (document["operations"], document["compiled"]) == (8, 4)
    by_path = {route["path"]: route for route in document["routes"]}
    assert by_path["/compiled"]["compiled"]
    assert by_path["/compiled"]["reason"] is None
    assert by_path["/own-matches"]["reason"] == "its own matches()"
    assert document["seconds"].keys() == {"overdrive", "fastapi"}


def test_routes_that_the_start_up_adds_are_listed_if_it_is_run() -> None:
    assert "/late" not in routes("partly:app").stdout
    assert "/late" in routes("partly:app", "--with-lifespan").stdout


@pytest.mark.parametrize(
    ("app", "reason"),
    [("nothing:app", "No module"), ("partly:nothing", "nothing"), ("bare:app", "not one of FastAPI's")],
)
def test_what_cannot_be_listed_is_one_line(app: str, reason: str) -> None:
    listed = routes(app)
    assert listed.returncode != 0
    assert reason in listed.stderr or reason in listed.stdout
    assert "Traceback" not in listed.stderr


def test_strict_refuses_to_start_with_a_route_that_is_not_compiled(serve: Serve) -> None:
    served = serve("partly:app", "--compile", "strict", app_dir=APPS, ready=False)
    assert served.wait() != 0
    assert "--compile strict: Compiled 4 of 8 routes" in served.log
    assert "Traceback" not in served.log


def test_strict_starts_with_all_routes_compiled(serve: Serve) -> None:
    served = serve("features:app", "--compile", "strict", app_dir=APPS)
    assert httpx.get(f"{served.url}/number/5").json() == {"value": 5, "q": None}


def test_off_compiles_nothing(serve: Serve) -> None:
    served = serve("features:app", "--compile", "off", app_dir=APPS)
    assert "Compiled" not in served.log
    assert httpx.get(f"{served.url}/number/5").json() == {"value": 5, "q": None}


def test_routes_that_are_not_compiled_are_served_all_the_same(serve: Serve) -> None:
    served = serve("partly:app", app_dir=APPS)
    assert httpx.get(f"{served.url}/own-handler").headers["x-own"] == "1"
    assert httpx.post(f"{served.url}/form", data={"a": "1"}).json() == "1"
    assert httpx.get(f"{served.url}/x-y").json() == ["x", "y"]
    assert httpx.get(f"{served.url}/mounted/in").json() == "in the mount"
    assert httpx.get(f"{served.url}/own-matches").json() == "matched"


def test_a_patched_function_turns_off_what_mirrors_it_and_no_more(serve: Serve) -> None:
    served = serve("patched:app", app_dir=APPS)
    assert (
        "Compiled 1 of 2 routes (1: not the code we know: fastapi.dependencies.utils:request_params_to_args)"
        in served.log
    )
    assert httpx.get(f"{served.url}/plain").json() == "plain"
    assert httpx.get(f"{served.url}/with/5").json() == "patched"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_on_a_loop_that_is_not_asyncio_fastapi_answers(backend: str) -> None:
    api = FastAPI()
    traced: list[str] = []

    @api.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, object]:
        traced.extend(frame.name for frame in traceback.extract_stack())
        return {"item": item_id, "library": sniffio.current_async_library()}

    app = overdrive.compile(api)
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/items/5",
        "raw_path": b"/items/5",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"a")],
        "client": None,
        "server": None,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    anyio.run(app, scope, receive, send, backend=backend)
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"]) == {"item": 5, "library": backend}
    assert ("run_endpoint_function" in traced) == (backend == "trio")
