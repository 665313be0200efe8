"""Faults that block nothing are told of once, and with lines that are the user's."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"


def get(served: Served, *paths: str) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        for path in paths:
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("compiling", ["auto", "off"])
def test_paths_that_clients_choose_make_no_new_faults(serve: Serve, compiling: str) -> None:
    served = serve("faults:app", "--report", "--compile", compiling, app_dir=APPS)
    get(served, *(f"/never/{number}" for number in range(30)))
    get(served, *(f"/fails/{number}" for number in range(30)))
    get(served, "/neither")
    served.wait_for(r"WARNING: +the coroutine neither .* was never awaited; in GET /neither")
    served.stop()
    warned = re.findall(r"^WARNING: +(.*(?:never awaited|nobody asked).*)$", served.log, re.MULTILINE)
    assert sorted(line.split()[2] for line in warned) == ["neither", "never", "of"], warned
    assert re.search(r"30 x the coroutine never \(\S+\) was never awaited; in GET /never/", served.log)
    assert re.search(r"30 x a task of fail \(\S+\) has raised LookupError", served.log)
