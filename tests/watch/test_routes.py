"""What routes are called: each by its own name, as it was declared, whichever way a request has found it."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve, Served
from tests.watch.test_inspect import APPS, Inspected, until

SOURCE = (Path(APPS) / "named.py").read_text().splitlines()


def line_of(mark: str) -> int:
    return next(number for number, line in enumerate(SOURCE, 1) if line.endswith(f"  # {mark}"))


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "stock"])
def named(request: pytest.FixtureRequest, serve_once: Serve) -> Inspected:
    return Inspected(serve_once("named:app", "--compile", request.param, "--inspect=127.0.0.1:0", app_dir=APPS))


def get(named: Inspected, path: str, host: str | None = None) -> None:
    headers = {"host": host} if host else {}
    assert httpx.get(f"{named.served.url}{path}", headers=headers, timeout=30).status_code == 200


def report(served: Served) -> str:
    before = len(served.log)
    served.process.send_signal(signal.SIGUSR1)
    until(lambda: re.search(r"verdict\n(.*\n)+", served.log[before:]))
    return served.log[before:]


def verdict(named: Inspected, row: str) -> tuple[str, str]:
    """The verdict on an endpoint, and the line below it."""

    def find() -> Any:
        return re.search(
            rf"^{re.escape(row)} +\S.* (OK|Bad|Could be better)(?:\n(.*))?", report(named.served), re.MULTILINE
        )

    found = until(find)
    return found[1], (found[2] or "").strip()


def paths(named: Inspected, endpoint: str, requests: int) -> list[str]:
    """Of the routes with this endpoint, once it has answered so often."""

    def find() -> Any:
        found = [route for route in named.json("/routes") if route["endpoint"] == endpoint]
        return found if sum(route["requests"] for route in found) == requests else None

    return [route["path"] for route in until(find)]


def test_an_endpoint_is_described_once(serve: Serve) -> None:
    served = serve("routed:app", "--lifespan=off", app_dir=APPS)
    with httpx.Client(base_url=served.url) as client:
        answers = [[client.get(path).text for path in ("/one", "/two")] for _ in range(4)]
    assert answers == [["0", "0"], ["1", "1"], ["1", "1"], ["1", "1"]]


def test_routes_that_are_not_fastapis_own_are_told_apart(named: Inspected) -> None:
    for path in ("/blocks", "/fine", "/static/named.py", "/docs"):
        get(named, path)
    named.served.wait_for(r"GET /blocks \(named\.blocks\) blocked the event loop")
    word, line = verdict(named, "GET /blocks")
    assert word == "Bad"
    assert f"named.py:{line_of('blocks')} time.sleep" in line
    for row in ("GET /fine", "GET /static", "GET /docs"):
        assert verdict(named, row)[0] == "OK"


def test_an_endpoint_of_several_paths_has_its_own_name(named: Inspected) -> None:
    get(named, "/twice")
    get(named, "/again")
    assert verdict(named, "GET (named.<lambda>)")[0] == "OK"


def test_the_same_path_of_several_hosts_is_several_routes(named: Inspected) -> None:
    get(named, "/x", "one.local")
    get(named, "/x", "other.local")
    named.served.wait_for(r"GET /x \(named\.of_one\) blocked the event loop")
    word, line = verdict(named, "GET /x (named.of_one)")
    assert word == "Bad"
    assert f"named.py:{line_of('one')} time.sleep" in line
    assert verdict(named, "GET /x (named.of_other)")[0] == "OK"


def test_a_mount_is_called_by_its_pattern(named: Inspected) -> None:
    for number in range(3):
        get(named, f"/t/tenant{number}/x")
        get(named, f"/t/tenant{number}/inner/part{number}/deep/{number}")
    assert paths(named, "named.of_tenant", 3) == ["/t/{tenant}/x"]
    get(named, "/included/m/part/y")
    assert paths(named, "named.of_mount", 1) == ["/included/m/{name}/y"]
    assert paths(named, "named.deep", 3) == ["/t/{tenant}/inner/{part}/deep/{number}"]


def test_a_path_has_its_parameters_as_openapi_has_them(named: Inspected) -> None:
    get(named, "/rest/a/b/c")
    assert paths(named, "named.rest", 1) == ["/rest/{path}"]


def test_the_longest_call_on_a_thread_is_known(named: Inspected) -> None:
    with httpx.Client(base_url=named.served.url) as client:
        for _ in range(40):
            assert client.get("/seldom").status_code == 200
    (found,) = until(
        lambda: [one for one in named.json("/routes") if one["path"] == "/seldom" and one["requests"] == 40]
    )
    assert 0.06 <= found["longest_thread_run"] < 1
    assert found["verdict"]["word"] == "OK"


@pytest.mark.parametrize("name", ["asks", "cycle"])
def test_what_an_object_does_as_it_goes_is_its_own_line(named: Inspected, name: str) -> None:
    get(named, f"/{name}")
    named.served.wait_for(rf"GET /{name} \(named\.{name}\) blocked the event loop")
    word, line = verdict(named, f"GET /{name}")
    assert word == "Bad"
    assert f"named.py:{line_of('del')} time.sleep" in line
