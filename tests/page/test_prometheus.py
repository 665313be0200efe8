"""The metrics as Prometheus itself reads them, and the dashboard of docs/grafana.json with it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve, Served
from tests.page.conftest import APPS

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "grafana.json").read_text())
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
TOKEN = "the-token-of-these-tests"
# What Grafana puts in place of its variables.
VARIABLES = {"$job": "overdrive", "$worker": "1|2", "$__rate_interval": "10s"}
CALLS = ("/quick/1", "/waits", "/thread", "/fails", "/blocks?seconds=0.15", "/later")


def program(name: str) -> str:
    """Debian's, as scripts/prometheus.sh installs it. `PROMETHEUS` and `PROMTOOL` name others."""
    found = os.environ.get(name.upper()) or shutil.which(name)
    assert found is not None, f"There is no {name}: run scripts/prometheus.sh, or set {name.upper()} to its path."
    return found


class Prometheus:
    """A Prometheus that scrapes one server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{self.url}/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """What an expression gives now, a number for each series."""
        return [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]


def until(get: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """What `get` gives once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := get()):
        assert time.monotonic() < deadline, f"it did not come to this: {what}"
        time.sleep(0.2)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def busy(serve_once: Serve) -> Iterator[Served]:
    """Two workers that have something of everything to do."""
    options = ("--inspect=127.0.0.1:0", "--workers", "2", "--no-access-log")
    served = serve_once("inspected:app", *options, app_dir=APPS, env={"OVERDRIVE_INSPECT_TOKEN": TOKEN})
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            # A connection each time, so that both workers get some.
            for path in CALLS:
                httpx.get(f"{served.url}{path}", timeout=30)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    yield served
    over.set()
    for caller in callers:
        caller.join()


@pytest.fixture(scope="module")
def metrics(busy: Served) -> str:
    """Where the metrics are."""
    return f"{busy.wait_for(r'Inspect the event loop at (http://[^/]+)/')[1]}/metrics"


@pytest.fixture(scope="module")
def prometheus(metrics: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    host = metrics.removeprefix("http://").partition("/")[0]
    # As docs/watch.md has it, but for how often.
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: overdrive
    authorization: {{credentials: {TOKEN}}}
    static_configs: [{{targets: ["{host}"]}}]
"""
    )
    port = free_port()
    command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            server = Prometheus(port)

            def has_scraped() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return server.values("up") == [1]
                except httpx.HTTPError:
                    return False

            until(has_scraped, f"a scrape; {metrics}")
            yield server
        finally:
            process.terminate()
            process.wait(20)


def test_promtool_finds_no_fault(metrics: str) -> None:
    answer = httpx.get(metrics, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.status_code == 200
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=answer.content, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_every_scrape_is_read_with_all_its_families(prometheus: Prometheus, metrics: str) -> None:
    until(lambda: prometheus.values("count_over_time(up[1m])")[0] >= 3, "three scrapes")
    [target] = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.values("min_over_time(up[1m])") == [1]
    text = httpx.get(metrics, headers={"authorization": f"Bearer {TOKEN}"}, timeout=10).text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert kinds
    known = prometheus.ask("metadata")
    assert {name: known[name][0]["type"] for name in kinds if name in known} == kinds
    for name, kind in kinds.items():
        found = prometheus.values(f"count({name}{'_count' if kind == 'histogram' else ''})")
        assert found != [], f"{name} has no series"


def test_the_dashboard_finds_its_variables(prometheus: Prometheus) -> None:
    queries = {one["name"]: one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"}

    def values(name: str) -> list[str]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", queries[name]["query"])
        assert found is not None
        answer: list[str] = prometheus.ask(f"label/{found[2]}/values", **{"match[]": filled(found[1])})
        return answer

    assert values("job") == ["overdrive"]
    until(lambda: values("worker") == ["1", "2"], "two workers")


@pytest.mark.parametrize(("panel", "expression"), EXPRESSIONS, ids=[f"{i}-{p}" for i, (p, _) in enumerate(EXPRESSIONS)])
def test_every_panel_of_the_dashboard_has_data(prometheus: Prometheus, panel: str, expression: str) -> None:
    found: list[float] = []

    def has_data() -> bool:
        found[:] = prometheus.values(filled(expression))
        return bool(found) and all(map(math.isfinite, found))

    until(has_data, f"{panel}: {expression} gives numbers")
    assert min(found) >= 0
    if panel in ("Requests a second", "Stalls in the last hour", "Loop stalled", "Errors of the server", "Latency"):
        until(lambda: has_data() and max(found) > 0, f"{panel}: {expression} sees what happens")


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable that nobody knows: {expression}"
    return expression
