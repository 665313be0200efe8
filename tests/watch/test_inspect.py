"""The inspect listener, as programs see it: who gets in, what it says, and that a blocked loop does not silence it."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from overdrive.cli import main
from tests.conftest import Serve, Served

APPS = Path(__file__).parent / "apps"
SOURCE = (APPS / "inspected.py").read_text().splitlines()
BLOCKING_LINE = next(number for number, line in enumerate(SOURCE, 1) if line.endswith("# blocks"))


class Inspected:
    """A server and its inspect listener."""

    def __init__(self, served: Served) -> None:
        self.served = served
        found = served.wait_for(r"Inspect the event loop at (http://\S+)/\?token=(\S+)")
        self.url, self.token = found[1], found[2]

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.get(f"{self.url}{path}", params=parameters, headers=headers, timeout=10)

    def json(self, path: str, **parameters: Any) -> Any:
        response = self.get(path, **parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def call(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.served.url}{path}", timeout=30)

    def begin(self, path: str) -> threading.Thread:
        thread = threading.Thread(target=self.call, args=(path,))
        thread.start()
        return thread

    def events_of(self, line: str) -> list[dict[str, Any]]:
        """The events of the latest request of that line."""
        events = self.json("/events")["events"]
        serials = [event["request"] for event in events if event.get("line") == line]
        return [event for event in events if serials and event["request"] == serials[-1]]


def until(get: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `get` gives once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := get()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "stock"])
def inspected(request: pytest.FixtureRequest, serve_once: Serve) -> Inspected:
    options = ("--inspect", "127.0.0.1:0", "--compile", request.param)
    return Inspected(serve_once("inspected:app", *options, app_dir=APPS))


@pytest.fixture(scope="module")
def any_inspected(serve_once: Serve) -> Inspected:
    return Inspected(serve_once("inspected:app", "--inspect=127.0.0.1:0", app_dir=APPS))


def test_without_the_token_nothing_is_told(any_inspected: Inspected) -> None:
    url, token = any_inspected.url, any_inspected.token
    for path in ("/", "/events", "/stalls", "/routes", "/numbers", "/steps", "/report", "/metrics", "/none"):
        for parameters, headers in (
            ({}, {}),
            ({"token": token[:-1]}, {}),
            ({"token": f"{token}x"}, {}),
            ({"token": ""}, {}),
            ({}, {"authorization": "Bearer wrong"}),
            ({}, {"authorization": f"Basic {token}"}),
        ):
            response = httpx.get(f"{url}{path}", params=parameters, headers=headers)
            assert response.status_code == 403, (path, parameters, headers)
            assert token not in response.text
    assert httpx.get(f"{url}/events", params={"token": token}).status_code == 200
    assert httpx.get(f"{url}/events", headers={"authorization": f"bearer {token}"}).status_code == 200


def test_sums_over_no_routes_are_nothing(serve: Serve) -> None:
    fresh = Inspected(serve("inspected:app", "--inspect=127.0.0.1:0", app_dir=APPS))
    assert "overdrive_threadpool_run_seconds_total{" in until(lambda: fresh.get("/metrics").text)
    assert not re.findall(r"^.* -0$", fresh.get("/metrics").text, re.MULTILINE)


def test_the_page_is_in_one_piece_and_runs_no_script_but_its_own(any_inspected: Inspected) -> None:
    response = any_inspected.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    assert "default-src 'none'" in policy
    assert f'<script nonce="{nonce[1]}">' in response.text
    assert "{{" not in response.text.partition("<script")[0]
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", response.text)
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


def test_other_methods_and_paths_are_refused(any_inspected: Inspected) -> None:
    headers = {"authorization": f"Bearer {any_inspected.token}"}
    refused = httpx.post(f"{any_inspected.url}/events", headers=headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    missing = any_inspected.get("/none")
    assert missing.status_code == 404
    assert "/metrics" in missing.text


def test_a_request_is_told_from_its_head_to_its_end(inspected: Inspected) -> None:
    inspected.call("/waits?seconds=0.02")
    events = until(lambda: ended(inspected.events_of("GET /waits?seconds=0.02")))
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "received"
    assert kinds[-1] == "ended"
    assert kinds.count("step-began") == kinds.count("step-ended") >= 2
    assert {event["status"] for event in events if event["kind"] == "answers"} == {200}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    began = [event["at"] for event in events if event["kind"] == "step-began"]
    paused = [event["at"] for event in events if event["kind"] == "step-ended"]
    assert max(after - before for before, after in zip(paused, began[1:], strict=False)) >= 0.015
    place = next(event["route"] for event in events if event["kind"] == "found")
    # Routes are told once a second.
    until(lambda: [route["path"] for route in inspected.json("/routes") if [1, place] in route["places"]] == ["/waits"])


def ended(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return events if events and events[-1]["kind"] == "ended" else []


def test_events_are_told_once(any_inspected: Inspected) -> None:
    any_inspected.call("/quick/1")
    first = until(lambda: (batch := any_inspected.json("/events"))["events"] and batch)
    any_inspected.call("/quick/2")
    second = until(lambda: (batch := any_inspected.json("/events", since=first["next"]))["events"] and batch)
    assert min(event["number"] for event in second["events"]) >= first["next"]
    assert "GET /quick/1" not in [event.get("line") for event in second["events"]]


def test_time_in_a_thread_is_told(any_inspected: Inspected) -> None:
    any_inspected.call("/thread?seconds=0.06")
    events = until(lambda: ended(any_inspected.events_of("GET /thread?seconds=0.06")))
    [ran] = [event for event in events if event["kind"] == "thread-ran"]
    [wanted] = [event for event in events if event["kind"] == "thread-wanted"]
    assert 0.06 <= ran["ended"] - ran["began"] < 1
    assert wanted["at"] <= ran["began"] <= ran["ended"] <= ran["at"]


def test_a_stall_is_told_while_the_loop_is_blocked(inspected: Inspected) -> None:
    blocked = inspected.begin("/blocks?seconds=1.5")

    def under_way() -> Any:
        stalls = inspected.json("/stalls")["stalls"]
        return next((stall for stall in stalls if not stall["over"] and stall["stack"]), None)

    stall = until(under_way)
    assert blocked.is_alive(), "it was told only when it was over"
    line = stall["stack"][stall["blamed"]]
    assert (Path(line["file"]).name, line["line"], line["function"]) == ("inspected.py", BLOCKING_LINE, "blocks")
    assert line["source"] == "time.sleep(seconds)  # blocks"
    assert [BLOCKING_LINE, SOURCE[BLOCKING_LINE - 1]] in stall["around"]
    blocked.join()
    over = until(lambda: [one for one in inspected.json("/stalls")["stalls"] if one["over"]])[-1]
    assert over["began"] == pytest.approx(stall["began"], abs=1e-4)
    assert over["line"] == "GET /blocks?seconds=1.5"
    assert over["seconds"] == pytest.approx(1.5, abs=0.3)
    assert len([one for one in inspected.json("/stalls")["stalls"] if one["began"] == over["began"]]) == 1


def test_the_lag_grows_while_a_step_keeps_the_loop(inspected: Inspected) -> None:
    blocked = inspected.begin("/blocks?seconds=4")
    until(lambda: any(second["lag"] > 1 for second in inspected.json("/numbers")[0]["seconds"]))
    assert blocked.is_alive(), "it was told only when it was over"
    blocked.join()


def test_everything_is_told_while_c_code_keeps_the_gil(inspected: Inspected) -> None:
    inspected.call("/quick/1")
    blocked = inspected.begin("/explodes")

    def unseen() -> Any:
        stalls = inspected.json("/stalls")["stalls"]
        return [stall for stall in stalls if not stall["over"] and stall["seconds"] > 0.3]

    [stall] = until(unseen)
    places = {route["path"]: [place for _, place in route["places"]] for route in inspected.json("/routes")}
    for path in ("/", "/events", "/routes", "/numbers", "/steps", "/steps.csv", "/metrics"):
        assert inspected.get(path).status_code == 200
    report = until(lambda: reported(inspected, "/explodes")) if stall["route"] is not None else ""
    assert blocked.is_alive(), "it was told only when it was over"
    assert stall["stack"] == []
    # Stock FastAPI's route is known when its first step is over.
    if stall["route"] is not None:
        assert places["/explodes"] == [stall["route"]]
        assert re.search(r"GET /explodes .* Bad\n", report)
    blocked.join()


def reported(inspected: Inspected, path: str) -> str:
    """The report, once it has a bad word on an endpoint."""
    report = inspected.get("/report").text
    return report if re.search(rf"GET {path} .* Bad\n", report) else ""


def test_the_report_is_that_of_the_server(inspected: Inspected) -> None:
    inspected.call("/blocks?seconds=0.25")
    report = until(lambda: reported(inspected, "/blocks"))
    assert inspected.get("/report").headers["content-type"] == "text/plain; charset=utf-8"
    assert re.search(r"^endpoint +pattern +requests +at once", report)
    found = re.search(r"GET /blocks +async .* Bad\n +(\S+):(\d+) (.*)\n +use await asyncio\.sleep", report)
    assert found is not None, report
    assert int(found[2]) == BLOCKING_LINE


def test_routes_have_their_numbers_and_verdicts(any_inspected: Inspected) -> None:
    any_inspected.call("/quick/3")
    any_inspected.call("/fails")
    any_inspected.call("/blocks?seconds=0.2")

    def told() -> Any:
        routes = {route["path"]: route for route in any_inspected.json("/routes")}
        return routes if routes.get("/blocks", {}).get("verdict", {}).get("word") == "Bad" else None

    routes = until(told)
    assert routes["/quick/{number}"]["verdict"]["word"] == "OK"
    assert routes["/quick/{number}"]["endpoint"] == "inspected.quick"
    assert sum(routes["/fails"]["latencies"][5]["counts"]) == routes["/fails"]["requests"] >= 1
    assert routes["/blocks"]["verdict"]["line"].endswith(f"inspected.py:{BLOCKING_LINE} time.sleep(seconds)  # blocks")


def test_the_steps_tell_what_happened(any_inspected: Inspected) -> None:
    any_inspected.call("/waits?seconds=0.03")
    steps = until(lambda: answered(any_inspected, "/waits?seconds=0.03"))
    actions = [re.sub(r", ran .*", "", step["action"]) for step in steps]
    assert actions == ["is received", "begins on the loop", "waits", "goes on", "is answered", "ends"]
    assert {step["handler"] for step in steps} == {"async inspected.waits"}
    assert re.fullmatch(r"200 after \d+ ms", steps[4]["response"])
    text = any_inspected.get("/steps.csv", only="/waits?seconds=0.03").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["action"] for row in rows] == [step["action"] for step in steps]
    assert set(rows[0]) == {"at", "request", "handler", "action", "server", "response"}


def answered(inspected: Inspected, target: str) -> list[dict[str, Any]]:
    steps = inspected.json("/steps", only=target)
    return steps if steps and steps[-1]["action"].startswith("ends") else []


def test_the_steps_say_who_had_the_loop(any_inspected: Inspected) -> None:
    any_inspected.call("/blocks?seconds=0.31")
    steps = until(
        lambda: [
            step for step in any_inspected.json("/steps", only="/blocks?seconds=0.31") if "blocked" in step["server"]
        ]
    )
    assert re.fullmatch(r"was blocked for 3\d\d ms", steps[-1]["server"])


def test_numbers_come_every_second(any_inspected: Inspected) -> None:
    any_inspected.call("/blocks?seconds=0.4")

    def several() -> Any:
        [worker] = any_inspected.json("/numbers")
        return worker if len(worker["seconds"]) >= 3 and max(s["lag"] for s in worker["seconds"]) > 0.2 else None

    worker = until(several)
    assert worker["process"] == any_inspected.served.process.pid
    seconds = worker["seconds"]
    gaps = [after["at"] - before["at"] for before, after in pairwise(seconds)]
    assert min(gaps) > 0.5
    assert all(second["memory"] > 1e6 for second in seconds)
    assert sum(second["requests"] for second in seconds) >= 1


METRIC = re.compile(r"([a-z_]+)(?:\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\.)*\",?)*)\})? (-?[0-9.e+-]+|\+Inf|NaN)")


def test_metrics_are_in_prometheus_format(any_inspected: Inspected) -> None:
    any_inspected.call("/quick/4")
    any_inspected.call("/blocks?seconds=0.2")
    any_inspected.call("/thread")
    last = 'route="/thread",endpoint="inspected.thread",status="2xx"'
    text = until(lambda: text if last in (text := any_inspected.get("/metrics").text) else "")
    assert any_inspected.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    types: dict[str, str] = {}
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} is told of twice"
            types[name] = kind
        elif not line.startswith("#"):
            found = METRIC.fullmatch(line)
            assert found is not None, line
            family = re.sub(r"_(bucket|sum|count)$", "", found[1])
            assert types.get(found[1]) or types.get(family) == "histogram", line
            assert line.rpartition(" ")[0] not in samples, f"{line} is told of twice"
            samples[line.rpartition(" ")[0]] = float(found[3])
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}"
        assert name.startswith(("overdrive_", "process_"))
    labels = 'worker="1",method="GET",route="/quick/{number}",endpoint="inspected.quick",status="2xx"'
    bucket = f"overdrive_http_request_duration_seconds_bucket{{{labels},"
    buckets = [value for name, value in samples.items() if name.startswith(bucket)]
    assert buckets == sorted(buckets)
    assert buckets[-1] == samples[f"overdrive_http_request_duration_seconds_count{{{labels}}}"] >= 1
    assert samples['overdrive_loop_stalls_total{worker="1"}'] >= 1
    assert samples['overdrive_loop_lag_seconds_count{worker="1"}'] >= 1
    assert samples['overdrive_threadpool_calls_total{worker="1"}'] >= 1
    assert samples['process_resident_memory_bytes{worker="1"}'] > 1e6
    assert samples["overdrive_workers"] == 1


def test_a_websocket_is_told_of(any_inspected: Inspected) -> None:
    with connect(f"{any_inspected.served.ws_url}/socket") as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
    events = until(lambda: ended(any_inspected.events_of("WS /socket")))
    assert events[0]["kind"] == "received"


def test_of_many_requests_a_sample_is_told(serve: Serve) -> None:
    inspected = Inspected(serve("inspected:app", "--inspect=127.0.0.1:0", "--no-access-log", app_dir=APPS))

    def flood() -> None:
        with httpx.Client() as client:
            for number in range(1500):
                client.get(f"{inspected.served.url}/quick/{number}")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    every = until(lambda: (every := inspected.json("/events")["every"]) > 1 and every, 30)
    for thread in threads:
        thread.join()
    assert every & (every - 1) == 0
    events = inspected.json("/events")["events"]
    received = [event for event in events if event["kind"] == "received"]
    assert 0 < len(received) < 6000
    assert {event["request"] for event in events} <= {event["request"] for event in received} | {
        event["request"] for event in events[:100]
    }


@pytest.mark.parametrize("compile_mode", ["auto", "off"])
def test_methods_that_clients_make_up_are_counted_as_one(serve: Serve, compile_mode: str) -> None:
    inspected = Inspected(serve("inspected:app", "--compile", compile_mode, "--inspect=127.0.0.1:0", app_dir=APPS))
    with httpx.Client() as client:
        for number in range(20):
            client.request(f"MADE{number}UP", f"{inspected.served.url}/waits")
        client.get(f"{inspected.served.url}/waits")
    until(lambda: sum(route["requests"] for route in inspected.json("/routes")) == 21)
    methods = {route["method"]: route["requests"] for route in inspected.json("/routes")}
    assert sorted(methods.values()) == [1, 20]
    assert methods["GET"] == 1


def test_several_workers_are_shown_together_and_apart(serve: Serve) -> None:
    inspected = Inspected(serve("inspected:app", "--workers", "2", "--inspect=127.0.0.1:0", app_dir=APPS))
    workers = until(lambda: (found := inspected.json("/numbers")) and len(found) == 2 and found)
    assert [worker["worker"] for worker in workers] == [1, 2]
    processes = {worker["process"] for worker in workers}
    assert len(processes) == 2
    assert inspected.served.process.pid not in processes

    def blocked_both() -> Any:
        inspected.call("/blocks?seconds=0.2")
        stalls = inspected.json("/stalls")["stalls"]
        return stalls if {stall["worker"] for stall in stalls} == {1, 2} else None

    until(blocked_both, 30)
    for number in (1, 2):
        apart = inspected.json("/stalls", worker=number)["stalls"]
        assert {stall["worker"] for stall in apart} == {number}

    def requests(**parameters: Any) -> int:
        routes = inspected.json("/routes", **parameters)
        return next((route["requests"] for route in routes if route["path"] == "/blocks"), 0)

    until(lambda: requests() == requests(worker=1) + requests(worker=2) > 0)
    assert re.search(r"GET /blocks .* Bad\n", inspected.get("/report").text)
    assert 'overdrive_loop_stalls_total{worker="2"}' in inspected.get("/metrics").text
    assert any(step["request"].startswith("2: #") for step in inspected.json("/steps"))


def test_a_worker_that_dies_is_replaced_on_the_page(serve: Serve) -> None:
    inspected = Inspected(serve("inspected:app", "--workers", "2", "--inspect=127.0.0.1:0", app_dir=APPS))
    before = until(lambda: (found := inspected.json("/numbers")) and len(found) == 2 and found)
    os.kill(before[0]["process"], signal.SIGKILL)

    def replaced() -> Any:
        workers = inspected.json("/numbers")
        return workers if len(workers) == 2 and workers[0]["process"] not in (0, before[0]["process"]) else None

    assert [worker["worker"] for worker in until(replaced, 30)] == [1, 2]


def test_a_given_token_is_kept(serve: Serve) -> None:
    token = "a-token-of-my-own"
    served = serve("inspected:app", "--inspect=127.0.0.1:0", app_dir=APPS, env={"OVERDRIVE_INSPECT_TOKEN": token})
    assert Inspected(served).token == token


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--inspect=nonsense",), r"--inspect nonsense: must be HOST:PORT"),
        (("--inspect=127.0.0.1:99999",), r"--inspect 127.0.0.1:99999: must be HOST:PORT"),
        (("--inspect", "--watch", "off"), r"--inspect shows what the watch sees: it needs --watch on or strict"),
        (("--inspect=:0", "--inspect-token", "short"), r"--inspect-token: must have 16 characters or more"),
        (("--inspect=192.0.2.1:80",), r"Cannot listen on 192.0.2.1:80: .* with --inspect"),
    ],
)
def test_a_wrong_option_is_explained(serve: Serve, options: tuple[str, ...], complaint: str) -> None:
    served = serve("inspected:app", *options, app_dir=APPS, ready=False)
    assert served.wait() != 0
    assert re.search(complaint, served.log), served.log
    assert "Traceback" not in served.log


def test_the_application_may_follow_the_bare_option() -> None:
    context = main.make_context("overdrive", ["--inspect", "inspected:app", "--port", "0"])
    assert context.params["app"] == "inspected:app"
    assert context.params["inspect"] == "127.0.0.1:8765"
    context = main.make_context("overdrive", ["--inspect", "9000", "inspected:app"])
    assert context.params["inspect"] == "9000"
