"""Older releases of FastAPI, each with the libraries of its day or of today, answer as on uvicorn.

Other folders' tests that compare the two are run anew in an environment with that release, of which they ask the same
as of the newest. The environments are kept in .venvs/releases.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import overdrive

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".venvs" / "releases"
PYTHON = f"py{sys.version_info.major}.{sys.version_info.minor}"
NEEDED = ("uvicorn[standard]", "python-multipart", "itsdangerous", "httpx", "click", "pytest")
# The first has what was the newest on its day, the others what they resolve to now.
RELEASES = {
    "oldest": ("fastapi==0.140.0", "starlette==1.3.1", "pydantic==2.13.4", "anyio==4.14.1"),
    "oldest with the newest libraries": ("fastapi==0.140.0",),
    "null counts as none": ("fastapi==0.150.0",),
    "models by the names of all parameters": ("fastapi==0.159.1",),
    "no limits of bodies": ("fastapi==0.163.2",),
    "newest but one": ("fastapi==0.164.0",),
}
SUITE = (
    "tests/compiled/test_equal.py",
    "tests/compiled/test_overrides.py",
    "tests/compiled/test_stack.py",
    "tests/differential/test_bodies.py",
    "tests/differential/test_exits.py",
    "tests/differential/test_params.py",
    "tests/differential/test_places.py",
    "tests/differential/test_streams.py",
)


@pytest.fixture(scope="module", params=RELEASES.values(), ids=RELEASES.keys())
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter that has these releases, and overdrive as this one has it."""
    wanted: tuple[str, ...] = request.param
    place = HOME / f"run-{'-'.join(wanted).replace('==', '-')}-{PYTHON}"
    python = place / "bin" / "python"
    installed = place / "installed"
    needed = "\n".join((*wanted, *NEEDED))
    if not installed.exists() or installed.read_text() != needed:
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted, *NEEDED], check=True)
        installed.write_text(needed)
    libraries = place / "lib" / f"python{PYTHON.removeprefix('py')}" / "site-packages"
    (libraries / "built-overdrive.pth").write_text(f"{Path(overdrive.__file__).parent.parent}\n")
    return python


def test_every_mirrored_function_is_known(python: Path) -> None:
    code = "from overdrive.compiler import known; print([f for f in known.functions() if known.dialect(f) is None])"
    assert subprocess.check_output([python, "-c", code], text=True).strip() == "[]"


def test_answers_are_fastapis(python: Path) -> None:
    variables = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    command = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SUITE]
    ended = subprocess.run(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert ended.returncode == 0, ended.stdout
