"""The programs in the documentation of the test client, run as they stand."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from overdrive.testing import TestClient

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "testing.md"


def programs(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(program: str) -> dict[str, Any]:
    # As a module, and not in a function: annotations are looked up in the globals.
    space: dict[str, Any] = {"__name__": "documented"}
    exec(compile(program, str(DOCUMENT), "exec"), space)
    return space


@pytest.mark.parametrize("test", ["test_item", "test_with_lifespan", "test_echo"])
def test_the_tests_of_the_document_pass(test: str) -> None:
    run(programs(DOCUMENT.read_text())[0])[test]()


def test_the_fixture_of_the_document_tells_plans_from_the_rest() -> None:
    fixture = run(programs(DOCUMENT.read_text())[1])["only_plans"]._get_wrapped_function()
    app = run(programs(DOCUMENT.read_text())[0])["app"]
    insisting = fixture()
    next(insisting)
    TestClient(app).get("/items/1")
    with pytest.raises(StopIteration):
        next(insisting)
    insisting = fixture()
    next(insisting)
    TestClient(app, compile="off").get("/items/1")
    with pytest.raises(AssertionError):
        next(insisting)


def test_the_example_of_the_class_runs() -> None:
    (program,) = programs(inspect.cleandoc(TestClient.__doc__ or ""))
    run(program)
