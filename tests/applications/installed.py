"""The applications, each in a virtual environment of its own: what they need conflicts with what we do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import overdrive

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
PINS = FOLDER / "pins"
VENVS = ROOT / ".venvs/applications"
INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Application:
    """An application from PyPI.

    name: of its file among the pins.
    title: the project's and its release.
    app: what a server is told to serve; in the folder `apps` if it is not the project's own.
    options: of the servers' command line.
    environment: for its process. `{folder}` stands for an empty folder of its own, `{apps}` for that
        folder.
    share: of its routes that must be compiled.
    """

    name: str
    title: str
    app: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    share: float = 0.9

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment of one server's process."""
        places = {"folder": str(folder), "apps": str(FOLDER / "apps")}
        return {name: value.format(**places) for name, value in self.environment.items()}


APPLICATIONS = {
    application.name: application
    for application in (
        Application(
            "gradio",
            "Gradio 6.31.0",
            "gradio_app:app",
            environment={
                "GRADIO_ANALYTICS_ENABLED": "False",
                "GRADIO_TEMP_DIR": "{folder}/files",
                "HF_HUB_OFFLINE": "1",
                "HF_HOME": "{folder}",
            },
        ),
        Application(
            "litellm",
            "LiteLLM's proxy 1.106.2",
            "litellm.proxy.proxy_server:app",
            environment={
                "CONFIG_FILE_PATH": "{apps}/litellm.yaml",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_TELEMETRY": "False",
            },
        ),
        Application(
            "phoenix",
            "Arize Phoenix 20.26.1",
            "phoenix_app:app",
            environment={
                "PHOENIX_WORKING_DIR": "{folder}",
                "PHOENIX_SQL_DATABASE_URL": "sqlite:///{folder}/phoenix.db",
                "PHOENIX_GRPC_PORT": "0",
                "PHOENIX_TELEMETRY_ENABLED": "false",
                "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            },
        ),
    )
}


def python_of(application: Application) -> Path:
    """The interpreter of the application's environment, which is made, and filled, the first time.

    It is of the same version as this one, so that the overdrive that is tested here can be imported there, from where
    it is.
    """
    venv = VENVS / f"{application.name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = venv / "bin/python"
    pins = PINS / f"{application.name}.txt"
    copy = venv / pins.name
    if not copy.exists() or copy.read_text() != pins.read_text():
        shutil.rmtree(venv, ignore_errors=True)
        _run([sys.executable, "-m", "uv", "venv", "--python", sys.executable, str(venv)])
        # All that is needed is in the list: nothing is left to be resolved.
        _run([sys.executable, "-m", "uv", "pip", "install", "--python", str(python), "--no-deps", "-r", str(pins)])
        shutil.copy(pins, copy)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "overdrive_under_test.pth").write_text(f"{Path(overdrive.__file__).parent.parent}\n")
    return python


def _run(command: list[str]) -> None:
    # That of these tests names an environment that pip would take for its own.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
