"""Faults that block nothing are told of once, and with lines that are the user's."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
# A console script lies in a folder of no library's.
SCRIPT = os.path.join(os.path.dirname(sys.executable), "overdrive")


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


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
def test_the_servers_own_command_makes_no_coroutines(serve: Serve, loop: str) -> None:
    options = ("--watch", "strict", "--compile", "off", "--loop", loop)
    served = serve("faults:app", *options, app_dir=APPS, command=[SCRIPT])
    get(served, "/soon")
    told = served.wait_for(r"WARNING: +the coroutine never (.*)")
    assert "it was made at" not in told[1]
