"""The other frameworks with a Rust core: how each is installed and started, and which rows it cannot serve, and why.

Each has a virtual environment of its own, because they do not agree on versions, and an application written in its own
idiom: `apps/NAME_rows.py`. The versions are those that these files were written for.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from environment import BENCH, FRAMEWORK_VENVS, VENV, CommandFailed, build
from servers import Server


@dataclass(frozen=True)
class Framework:
    """A framework: what pip installs, what follows its interpreter on the command line, and by the name of a row why it
    cannot serve that.

    Its program gets the port and what is wanted: `many` for the 500 routes, `app` for the other endpoints. `refusals`
    are statuses with which it refuses a request beside the proper ones. The report makes the remark wherever it runs,
    and those by the name of a row there.
    """

    name: str
    requirements: tuple[str, ...]
    command: str
    unable: Mapping[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    remark: str = ""
    remarks: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM

    def remarks_on(self, row: str) -> list[str]:
        """What to know of it in that row."""
        return [remark for remark in (self.remark, self.remarks.get(row, "")) if remark]

    @property
    def server(self) -> Server:
        """How it is started."""
        python = f"{{frameworks}}/{self.name}/bin/python"
        return Server(self.name, f"{python} {self.command}", stop_signal=self.stop_signal)


_PLAIN = "{apps}/%s_rows.py {port} {object}"

FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework(
            "robyn",
            ("robyn[pydantic]==0.88.0",),
            _PLAIN % "robyn" + " --log-level WARNING",
            stop_signal=signal.SIGKILL,  # it takes no notice of others for longer than we wait
            remarks={"def": "no thread pool: endpoints that block run one after the other"},
            unable={
                "dependencies": "what it injects is made once, not by functions called for each request",
                "oauth2": "its authentication knows no scopes, and nothing that it injects is left again",
            },
        ),
        Framework(
            "django-bolt",
            ("django-bolt==0.13.0",),
            "{apps}/django_bolt_rows.py {object} runbolt --host 127.0.0.1 --port {port} --no-admin --skip-checks",
            unable={"oauth2": "its dependencies cannot be generators"},
            remarks={"def": "no thread pool where it sees nothing in the endpoint's source that blocks, as here"},
        ),
        Framework(
            "pyrustapi",
            ("pyrustapi==2.0.1",),
            _PLAIN % "pyrustapi",
            remark="it writes a line for each request, which cannot be turned off",
        ),
        Framework(
            "turboapi",
            ("turboapi==0.5.22", "dhi==1.1.15"),  # the oldest dhi that it admits: it loses lists with 1.7
            _PLAIN % "turboapi",
            refusals=(500,),
            remark="what it does not accept it answers with 500",
            unable={
                "invalid": "it answers an invalid body with 500",
                "dependencies": "its endpoints get the Depends object instead of what the dependency returns",
                "oauth2": "its endpoints get the Depends object instead of what the dependency returns",
                "sleep": "it breaks off the connections of one client beyond some 200",
            },
        ),
        Framework(
            "fastrapi",
            ("fastrapi==0.2.11",),
            _PLAIN % "fastrapi",
            unable={
                "dict": "its async def endpoints fail: no running event loop",
                "dependencies": "its async def dependencies fail: no running event loop",
                "oauth2": "it has no OAuth2 class, and its dependencies cannot be generators",
                "sleep": "its async def endpoints fail: no running event loop",
            },
        ),
    )
}


def prepare(names: Iterable[str], *, install: bool) -> dict[str, str]:
    """Installs these frameworks; those that are not there afterwards, with the reason."""
    missing: dict[str, str] = {}
    for name in names:
        try:
            if install:
                _install(FRAMEWORKS[name])
            elif not _installed(name):
                missing[name] = "it is not installed yet: run once without --no-build"
        except CommandFailed as error:
            missing[name] = f"it could not be installed: {error.said}"
    return missing


def versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each of these that is installed."""
    return {name: version for name in names if (version := _installed(name))}


def _install(framework: Framework) -> None:
    """Makes the environment, with the interpreter that overdrive is measured with, unless it is right already."""
    folder = FRAMEWORK_VENVS / framework.name
    mark = folder / "requirements.json"
    wanted = json.dumps([*framework.requirements, (VENV / "pyvenv.cfg").read_text()])
    if mark.exists() and mark.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    build([VENV / "bin/python", "-m", "venv", folder])
    # Compiling someone's package from source would measure this machine's compiler, if it works at all.
    build([folder / "bin/pip", "install", "--quiet", "--only-binary", ":all:", *framework.requirements])
    mark.write_text(wanted)


def _installed(name: str) -> str:
    folder = FRAMEWORK_VENVS / name
    if not (folder / "requirements.json").exists():
        return ""
    script = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run([folder / "bin/python", "-c", script], capture_output=True, text=True, timeout=20, cwd=BENCH)
    return done.stdout.strip()
