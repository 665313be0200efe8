"""A browser, and a server whose inspect page it opens."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import Serve, Served

APPS = Path(__file__).parent.parent / "watch" / "apps"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """The system's Chromium. `CHROMIUM` names another."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found is not None, "There is no Chromium: apt-get install chromium, or set CHROMIUM to its path."
    return found


class Scene:
    """A server, the address of its page, and what calls it meanwhile."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.address = served.wait_for(r"Inspect the event loop at (\S+)")[1]
        self._threads: list[threading.Thread] = []

    def begin(self, path: str, times: int = 1) -> threading.Thread:
        """Calls an endpoint so many times, without waiting for it here."""

        def call() -> None:
            with httpx.Client(timeout=30) as client:
                for _ in range(times):
                    client.get(f"{self.served.url}{path}")

        thread = threading.Thread(target=call)
        thread.start()
        self._threads.append(thread)
        return thread

    def join(self) -> None:
        """Waits until all is answered."""
        while self._threads:
            self._threads.pop().join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scene(serve_once: Serve) -> Iterator[Scene]:
    scene = Scene(serve_once("inspected:app", "--inspect=127.0.0.1:0", "--no-access-log", app_dir=APPS))
    yield scene
    scene.join()


@pytest.fixture
def page(browser: Browser, scene: Scene) -> Iterator[Page]:
    """The page of `scene`, whose scripts must not fail, and which must not ask anybody else for anything."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(scene.address)
    yield page
    page.close()
    assert failures == []
    own = scene.address.partition("/?")[0]
    assert [url for url in asked if not url.startswith((own, "data:"))] == []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="take pictures of the inspect page for the docs")


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures go; None: nowhere."""
    folder = request.config.getoption("--screenshots")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
