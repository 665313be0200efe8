"""A release of FastAPI that came after ours: what it leaves alone is compiled, what it changes is its own code's."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fastapi
import httpx
import pytest

from tests.conftest import Serve

APPS = Path(__file__).parent / "apps"
NEXT = "999.0.0"
MIRRORED = "request_params_to_args"

Change = Callable[[str], str]
Release = Callable[..., dict[str, str]]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """`release(change)`: the environment of a server with another FastAPI, a mirrored function's module changed.

    With `everywhere`, all other modules, too.
    """

    def make(change: Change, everywhere: bool = False) -> dict[str, str]:
        copy = tmp_path / "fastapi"
        shutil.copytree(Path(fastapi.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        start = copy / "__init__.py"
        start.write_text(start.read_text().replace(f'"{fastapi.__version__}"', f'"{NEXT}"'))
        for module in copy.rglob("*.py") if everywhere else [copy / "dependencies" / "utils.py"]:
            module.write_text(change(module.read_text()))
        return {"PYTHONPATH": str(tmp_path)}

    return make


def in_function(source: str, line: str) -> str:
    """`source` with a line more at the start of the mirrored function."""
    found = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == MIRRORED)
    lines = source.splitlines(keepends=True)
    lines.insert(found.body[0].lineno - 1, f"    {line}\n")
    return "".join(lines)


def test_a_release_that_leaves_what_we_mirror_alone_is_compiled(serve: Serve, release: Release) -> None:
    def change(source: str) -> str:
        # All lines stand elsewhere; there is a comment, and a function of which nobody knows.
        source = in_function(source, "# Reads parameters.")
        return f'# {NEXT}\n{source}\n\ndef {MIRRORED}_of_tomorrow() -> str:\n    return "tomorrow"\n'

    served = serve("plain_and_with:app", app_dir=APPS, env=release(change))
    assert "Compiled 2 of 2 routes" in served.log
    assert httpx.get(f"{served.url}/plain").json() == NEXT
    assert httpx.get(f"{served.url}/with/5").json() == 5


def test_a_release_that_changes_a_function_serves_the_routes_that_need_it(serve: Serve, release: Release) -> None:
    def change(source: str) -> str:
        return in_function(source, "received_params = {field.name: '7' for field in fields}")

    variables = release(change)
    served = serve("plain_and_with:app", app_dir=APPS, env=variables)
    reason = f"not the code we know: fastapi.dependencies.utils:{MIRRORED}"
    assert f"Compiled 1 of 2 routes (1: {reason})" in served.log
    assert httpx.get(f"{served.url}/plain").json() == NEXT
    # As the changed function has it, not as a plan would.
    assert httpx.get(f"{served.url}/with/5").json() == 7


def test_routes_and_strict_name_the_changed_function(serve: Serve, release: Release) -> None:
    variables = release(lambda source: in_function(source, "received_params = dict(received_params)"))
    refused = serve("plain_and_with:app", "--compile", "strict", app_dir=APPS, env=variables, ready=False)
    assert refused.wait() != 0
    assert f"fastapi.dependencies.utils:{MIRRORED}" in refused.log
    assert "Traceback" not in refused.log
    command = [sys.executable, "-m", "overdrive", "routes", "plain_and_with:app", "--app-dir", APPS, "--json"]
    listed = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True, check=True)
    reasons = {route["path"]: route["reason"] for route in json.loads(listed.stdout)["routes"]}
    assert reasons["/plain"] is None
    assert reasons["/with/{parameter}"].endswith(MIRRORED)


@pytest.mark.parametrize(
    ("name", "error"),
    [("_IncludedRouter", "AttributeError"), ("AsyncExitStackMiddleware", "ImportError")],
    ids=["lacks-a-class", "cannot-be-imported"],
)
def test_a_release_that_cannot_be_read_serves_all_routes(serve: Serve, release: Release, name: str, error: str) -> None:
    variables = release(lambda source: source.replace(name, f"{name}OfTomorrow"), everywhere=True)
    served = serve("plain_and_with:app", app_dir=APPS, env=variables)
    assert f"Compiled no routes: FastAPI {NEXT} is not one that can be read ({error}: " in served.log
    assert "Traceback" not in served.log
    assert httpx.get(f"{served.url}/with/5").json() == 5
    command = [sys.executable, "-m", "overdrive", "routes", "plain_and_with:app", "--app-dir", APPS]
    listed = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert listed.returncode != 0
    assert f"FastAPI {NEXT} is not one that can be read" in listed.stdout + listed.stderr
    assert "Traceback" not in listed.stderr
