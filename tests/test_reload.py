"""`--reload`: a new server process for every change that counts, whatever the user's file holds meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from overdrive.config import Config
from overdrive.errors import ConfigError
from overdrive.reload import FileFilter
from tests.conftest import Serve, Served

READY = "Application startup complete"
DELAY = ("--reload-delay", "0.05")

APPLICATION = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"{body}"}})
"""


def write(path: Path, text: str) -> None:
    """Saves as an editor does: at once, never a half of it."""
    draft = path.with_name(path.name + "~")
    draft.write_text(text)
    draft.replace(path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder / "main.py", APPLICATION.format(body="first"))
    return folder


def body(served: Served) -> str:
    return httpx.get(served.url, trust_env=False, timeout=20).text


def reloading(serve: Serve, project: Path, *options: str) -> Served:
    served = serve("main:app", "--reload", *DELAY, *options, cwd=project, app_dir=project)
    served.wait_for(READY)
    return served


def test_a_change_is_served_after_a_reload(serve: Serve, project: Path) -> None:
    served = reloading(serve, project)
    assert body(served) == "first"
    assert f"Will watch for changes in these directories: ['{project}']" in served.log
    assert f"Started reloader process [{served.process.pid}] using WatchFiles" in served.log
    write(project / "main.py", APPLICATION.format(body="second"))
    served.wait_for(r"WARNING:  WatchFiles detected changes in 'main\.py'\. Reloading\.\.\.")
    # The socket stays open meanwhile, so that this waits for the new process.
    assert body(served) == "second"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def app(:\n", "SyntaxError: "),
        ("import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise LookupError('while importing')\n", "LookupError: while importing"),
    ],
)
def test_an_error_in_the_users_file_is_printed_once_and_the_next_save_recovers(
    serve: Serve, project: Path, text: str, error: str
) -> None:
    served = reloading(serve, project)
    write(project / "main.py", text)
    served.wait_for(r'ERROR:    "main" cannot be imported')
    traceback = served.log[served.log.index("Reloading...") :]
    assert traceback.count(f"\n{error}") == 1
    assert traceback.count('main.py", line 1') == 1
    assert "importlib" not in traceback
    assert "overdrive/" not in traceback
    write(project / "main.py", APPLICATION.format(body="mended"))
    served.wait_for(READY, count=2)
    assert body(served) == "mended"


def test_a_file_that_is_broken_from_the_start_can_be_mended(serve: Serve, project: Path) -> None:
    write(project / "main.py", "app = 1 /\n")
    served = serve("main:app", "--reload", *DELAY, cwd=project, app_dir=project)
    served.wait_for("SyntaxError")
    write(project / "main.py", APPLICATION.format(body="mended"))
    served.wait_for(READY)
    assert body(served) == "mended"


def test_a_start_that_fails_in_lifespan_can_be_mended(serve: Serve, project: Path) -> None:
    failing = "from cli_lifespan import app_told_failure as app\n"
    write(project / "main.py", failing)
    apps = {"PYTHONPATH": str(Path(__file__).parent / "apps")}
    served = serve("main:app", "--reload", *DELAY, cwd=project, app_dir=project, env=apps)
    served.wait_for("the database is away")
    write(project / "main.py", APPLICATION.format(body="mended"))
    served.wait_for(READY)
    assert body(served) == "mended"


def test_files_that_do_not_count_change_nothing(serve: Serve, project: Path) -> None:
    (project / "kept").mkdir()
    served = reloading(serve, project, "--reload-include", "*.html", "--reload-exclude", "kept")
    for name in ("notes.txt", ".hidden.py", "main.pyc", "kept/module.py"):
        write(project / name, "")
    # The kernel tells of changes in their order: whatever the others caused would be in the log before this.
    write(project / "page.html", "")
    served.wait_for("WatchFiles detected changes in 'page.html'. Reloading")
    served.wait_for(READY, count=2)
    assert served.log.count("Reloading...") == 1


def test_a_folder_beside_the_current_one_is_watched_when_named(serve: Serve, project: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    served = reloading(serve, project, "--reload-dir", str(library))
    assert f"Will watch for changes in these directories: ['{library}']" in served.log
    write(project / "main.py", APPLICATION.format(body="second"))
    write(library / "module.py", "")
    served.wait_for(f"WatchFiles detected changes in '{library / 'module.py'}'. Reloading")


def test_sigusr1_prints_the_verdicts(serve: Serve, project: Path) -> None:
    served = reloading(serve, project)
    served.signal(signal.SIGUSR1)
    served.wait_for("No request has come in, and nothing has blocked the event loop")
    assert served.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_processes(serve: Serve, project: Path, number: signal.Signals) -> None:
    served = reloading(serve, project)
    child = int(served.wait_for(r"Started server process \[(\d+)\]")[1])
    served.signal(number)
    assert served.wait() == 0
    assert served.log.splitlines()[-1] == f"INFO:     Stopping reloader process [{served.process.pid}]"
    assert f"Finished server process [{child}]" in served.log
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_second_signal_does_not_wait_for_a_running_request(serve: Serve, project: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    apps = {"PYTHONPATH": str(Path(__file__).parent / "apps")}
    served = serve("cli_app:app", "--reload", *DELAY, cwd=project, env=apps)
    served.wait_for(READY)
    with served.connect() as client:
        client.sendall(f"GET /hold?{fifo} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        served.wait_for("holding")
        served.signal(signal.SIGTERM)
        served.wait_for("Waiting for connections to close")
        served.signal(signal.SIGTERM)
        assert served.wait() == 0


def test_a_debugger_can_read_the_terminal(serve: Serve, project: Path) -> None:
    telling = "import sys\nprint('stdin is', sys.stdin.fileno(), flush=True)\n"
    write(project / "main.py", telling + APPLICATION.format(body="told"))
    served = serve("main:app", "--reload", *DELAY, cwd=project, app_dir=project)
    served.wait_for("stdin is 0\n")


def test_without_watchfiles_it_is_told_how_to_get_it(serve: Serve, project: Path, tmp_path: Path) -> None:
    (tmp_path / "watchfiles.py").write_text("raise ModuleNotFoundError(name='watchfiles')\n")
    served = serve("main:app", "--reload", app_dir=project, env={"PYTHONPATH": str(tmp_path)}, ready=False)
    assert served.wait() == 2
    assert "ERROR:    --reload needs the package watchfiles, which is not installed: pip install" in served.log
    assert "Traceback" not in served.log


def counts(project: Path, name: str, **options: list[str]) -> bool:
    config = Config("main:app", reload=True, log_config=None, **options)  # type: ignore[arg-type]
    return FileFilter(config)(project / name)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("main.py", {}, True),
        ("package/module.py", {}, True),
        ("page.html", {}, False),
        (".hidden.py", {}, False),
        ("main.pyc", {}, False),
        (".main.py.swp", {}, False),
        ("~main.py", {}, False),
        ("page.html", {"reload_includes": ["*.html"]}, True),
        ("main.py", {"reload_includes": ["*.html"]}, True),
        ("main.py", {"reload_excludes": ["*.py"]}, False),
        ("main_test.py", {"reload_excludes": ["*_test.py"]}, False),
        ("main.py", {"reload_excludes": ["*_test.py"]}, True),
        (".env", {"reload_includes": [".e*"]}, False),
        (".env", {"reload_includes": [".e*", ".*"]}, True),
        (".env", {"reload_includes": [".env"]}, True),
        ("package/module.py", {"reload_excludes": ["package"]}, False),
        ("package/deep/module.py", {"reload_excludes": ["package"]}, False),
        ("packages.py", {"reload_excludes": ["package"]}, True),
    ],
)
def test_which_files_count(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, list[str]],
    expected: bool,
) -> None:
    (project / "package/deep").mkdir(parents=True)
    monkeypatch.chdir(project)
    assert counts(project, name, **options) is expected


def watched(monkeypatch: pytest.MonkeyPatch, project: Path, **options: list[str]) -> list[Path]:
    monkeypatch.chdir(project)
    return FileFilter(Config("main:app", reload=True, log_config=None, **options)).folders  # type: ignore[arg-type]


def test_which_folders_are_watched(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    (project / "one/deep").mkdir(parents=True)
    (project / "two").mkdir()
    one, two = project / "one", project / "two"
    assert watched(monkeypatch, project) == [project]
    assert watched(monkeypatch, project, reload_dirs=["one", "two"]) == [one, two]
    assert watched(monkeypatch, project, reload_dirs=["one", "one/deep", "one"]) == [one]
    assert watched(monkeypatch, project, reload_dirs=["one"], reload_includes=["tw*"]) == [one, two]
    assert watched(monkeypatch, project, reload_dirs=["one", "two"], reload_excludes=["two"]) == [one]
    with pytest.raises(ConfigError, match="--reload-dir three: there is no such folder"):
        watched(monkeypatch, project, reload_dirs=["three"])
