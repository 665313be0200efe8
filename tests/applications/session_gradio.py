"""Events of a Gradio application, called as its clients call them, and the files around them."""

from __future__ import annotations

from typing import Any

from tests.applications.recorded import Recorder

HEADERS: dict[str, str] = {}
# Numbers of the process', durations, and secrets of the session's.
VARYING = {
    "app_id", "app_start_timestamp", "average_duration", "duration", "time", "rank_eta", "eta", "queue_eta",
    "avg_event_process_time", "avg_event_concurrent_process_time", "progress_data_time", "avg_time",
    "last-modified", "etag", "username", "bytes",
}  # fmt: skip
BOUNDARY = "a-boundary"


def hold(recorder: Recorder) -> None:
    """The session."""
    pages(recorder)
    events(recorder)
    queue(recorder)
    files(recorder)


def pages(recorder: Recorder) -> None:
    for path in (
        "/",
        "/config",
        "/config/",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/theme.css",
        "/robots.txt",
    ):
        recorder.ask("GET", path)
    recorder.ask("HEAD", "/")
    for path in ("/manifest.json", "/favicon.ico", "/pwa_icon", "/monitoring", "/gradio_api/startup-events"):
        recorder.ask("GET", path)
    for path in ("user", "login_check", "token", "app_id", "queue/status", "runs"):
        recorder.ask("GET", f"/gradio_api/{path}")
    recorder.ask("GET", "/gradio_api/deep_link?session_hash=none")
    recorder.ask("GET", "/static/img/logo.svg")
    recorder.ask("GET", "/static/none.css")
    recorder.ask("GET", "/static/../../etc/passwd")
    recorder.ask("GET", "/static/img/logo.svg", headers={"range": "bytes=0-9"})
    recorder.ask("GET", "/assets/none.js")
    recorder.ask("GET", "/none")
    recorder.ask("POST", "/config")
    recorder.ask("OPTIONS", "/config", headers={"origin": "http://a.test", "access-control-request-method": "GET"})
    recorder.ask("GET", "/config", headers={"origin": "http://a.test"})


def events(recorder: Recorder) -> None:
    """Called for their answer."""
    for path in ("run/greet", "api/greet", "run/greet/"):
        recorder.ask("POST", f"/gradio_api/{path}", {"data": ["you"], "session_hash": "first"})
    recorder.ask("POST", "/gradio_api/run/remember", {"data": ["ada", None], "session_hash": "first"})
    recorder.ask("POST", "/gradio_api/run/remember", {"data": ["bob", None], "session_hash": "first"})
    recorder.ask("POST", "/gradio_api/run/remember", {"data": ["eve", None], "session_hash": "second"})
    recorder.ask("POST", "/gradio_api/run/none", {"data": []})
    recorder.ask("POST", "/gradio_api/run/greet", {"data": "none"})
    recorder.ask("POST", "/gradio_api/run/greet", {"data": []})
    recorder.ask("POST", "/gradio_api/run/greet", headers={"content-type": "application/json"}, body=b"{")
    recorder.ask("POST", "/gradio_api/run/greet", {"data": ["nobody"]})
    recorder.ask("POST", "/gradio_api/reset", {"event_id": "none"})
    recorder.ask("POST", "/gradio_api/cancel", {"session_hash": "a", "fn_index": 0, "event_id": "none"})
    recorder.ask("POST", "/gradio_api/component_server", {"session_hash": "a", "component_id": 1, "fn_name": "x"})


def queue(recorder: Recorder) -> None:
    """Called through the queue: the answers are streams of events."""
    calls: list[tuple[str, list[Any]]] = [("greet", ["ada"]), ("count", [3]), ("greet", ["nobody"]), ("greet", [])]
    for name, data in calls:
        made = recorder.document("POST", f"/gradio_api/call/{name}", {"data": data}) or {}
        recorder.ask("GET", f"/gradio_api/call/{name}/{made.get('event_id')}")
    recorder.ask("POST", "/gradio_api/call/none", {"data": []})
    recorder.ask("GET", "/gradio_api/call/greet/none")
    made = recorder.document("POST", "/gradio_api/call/v2/greet", {"name": "ada"}) or {}
    recorder.ask("GET", f"/gradio_api/call/v2/greet/{made.get('event_id')}")
    for number, data in enumerate((["you"], [4])):
        joined = {"data": data, "fn_index": number, "session_hash": "a-session", "trigger_id": 1}
        recorder.ask("POST", "/gradio_api/queue/join", joined)
        recorder.ask("GET", "/gradio_api/queue/data?session_hash=a-session")
    recorder.ask("POST", "/gradio_api/queue/join", {"data": 5})
    recorder.ask("GET", "/gradio_api/queue/data")


def files(recorder: Recorder) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="some.txt"\r\n'
    body = f"{head}Content-Type: text/plain\r\n\r\n{'some text ' * 1000}\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    (path,) = recorder.document("POST", "/gradio_api/upload", headers=kind, body=body, record=False)
    recorder.ask("POST", "/gradio_api/upload", headers=kind, body=b"nonsense")
    recorder.ask("POST", "/gradio_api/upload", {"not": "a form"})
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    recorder.ask("POST", "/gradio_api/run/measure", {"data": [file], "session_hash": "first"})
    for name in ("file=", "file/"):
        answer = recorder.ask("GET", f"/gradio_api/{name}{path}", record=False)
        assert answer.body == b"some text " * 1000, answer
    recorder.ask("GET", "/gradio_api/file=/etc/passwd")
    recorder.ask("GET", "/gradio_api/upload_progress?upload_id=none")
