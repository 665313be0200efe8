"""Where a suite runs: its source as it was published, and a virtual environment with overdrive in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from suites import Suite

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".venvs" / "upstream"
# What builds overdrive, what it needs itself, what ends a test that hangs: no part of what the suite is run with.
OURS = {
    "click": "click>=8.1",
    "maturin": "maturin>=1.9,<2",
    "pytest-timeout": "pytest-timeout>=2.3",
    "overdrive": "",
    "pip": "",
}


class SetupError(Exception):
    """A suite cannot be run here; says why."""


@dataclass(frozen=True)
class Environment:
    """Of one suite on one Python.

    folder: for all that is kept of it.
    surroundings: the Python, the platform, and whether root runs the tests.
    packages: what is installed, but for what is ours; by name.
    """

    suite: Suite
    folder: Path
    python: Path
    surroundings: dict[str, str]
    packages: dict[str, str]

    @property
    def versions(self) -> dict[str, str]:
        """All that stock's outcomes depend on."""
        return self.surroundings | self.packages

    @property
    def minor(self) -> str:
        """The Python's version, as `3.13`."""
        return ".".join(self.surroundings["python"].split(".")[:2])

    def unpack(self) -> Path:
        """The source, fresh: a suite leaves files that its next run would find."""
        place = self.folder / "source"
        shutil.rmtree(place, ignore_errors=True)
        return unpack(self.suite, place)

    def build(self) -> None:
        """Builds overdrive as it stands, into the environment."""
        command = [self.python.parent / "maturin", "develop", "--quiet", "--target-dir", f"target/py{self.minor}"]
        variables = {"VIRTUAL_ENV": str(self.folder / "venv"), "PYO3_PYTHON": str(self.python)}
        run(command, f"overdrive cannot be built for Python {self.minor}", **variables)

    def install(self, requirement: str) -> Environment:
        """The environment with another release of one package in the place of what is there."""
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", requirement]
        run(pip, f"{requirement} cannot be installed")
        return replace(self, packages=packages_of(self.python))


def prepare(suite: Suite, interpreter: Path, *, pinned: bool, apart: str = "") -> Environment:
    """Installs what the suite needs, if that has not been done. Not `pinned`: the newest releases, anew.

    apart: the beginning of another folder's name, for one whose packages will be changed.

    Raises:
        SetupError: the suite cannot be fetched, or what it needs cannot be installed.
    """
    version = output([interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    folder = HOME / f"{apart}{suite.name}-{suite.version}-py{version}"
    venv = folder / "venv"
    python = venv / "bin" / "python"
    needed = suite.requirements(unpack(suite, folder / "requirements"))
    constraints = ["--constraint", str(suite.pins)] if pinned and suite.pins.exists() else []
    wanted = json.dumps([needed, suite.pins.read_text() if constraints else ""])
    installed = folder / "installed.json"
    if not pinned or not installed.exists() or installed.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        installed.unlink(missing_ok=True)
        run([interpreter, "-m", "venv", venv], "no virtual environment can be made")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *constraints]
        run([*pip, *needed, *filter(None, OURS.values())], f"what the suite of {suite.title} needs cannot be installed")
        installed.write_text(wanted)
    return Environment(suite, folder, python, surroundings_of(python), packages_of(python))


def unpack(suite: Suite, place: Path) -> Path:
    """The unpacked source distribution, below `place`.

    Raises:
        SetupError: it cannot be had, or is another than it was.
    """
    source = place / f"{suite.name}-{suite.version}"
    if source.exists():
        return source
    with tarfile.open(fetch(suite)) as archive:
        archive.extractall(place, filter="data")
    return source


def fetch(suite: Suite) -> Path:
    """The source distribution, from PyPI the first time."""
    folder = HOME / "sdists"
    archive = folder / f"{suite.name}-{suite.version}.tar.gz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wanted = ["--no-binary", suite.name, "--dest", folder, f"{suite.name}=={suite.version}"]
        run([*pip, *wanted], f"{suite.title} cannot be downloaded")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if suite.sha256 is not None and found != suite.sha256:
        raise SetupError(f"{archive} is not what was published: its sha256 is {found}")
    return archive


def surroundings_of(python: Path) -> dict[str, str]:
    """Where tests run."""
    code = "import platform, sys; print(platform.python_version(), sys.platform)"
    version, platform = output([python, "-c", code]).split()
    # Files that nobody may read are no obstacle to root, and some tests are about such files.
    return {"python": version, "platform": platform, "user": "root" if os.geteuid() == 0 else "not root"}


def packages_of(python: Path) -> dict[str, str]:
    """What is installed, by name; but for what is ours."""
    listed = output([python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"])
    packages = {package["name"].lower(): package["version"] for package in json.loads(listed)}
    return {name: packages[name] for name in sorted(packages) if name not in OURS}


def output(command: list[str | Path]) -> str:
    """What a command prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def run(command: list[str | Path], otherwise: str, **variables: str) -> None:
    """Runs a command in the repository; `otherwise` is what its failing means."""
    if subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode:
        raise SetupError(otherwise)
