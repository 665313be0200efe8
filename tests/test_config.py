"""`Config`: one place for every option, checked before anything of the user's runs."""

from __future__ import annotations

import configparser
import logging
import os
import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import overdrive
from overdrive import Config, ConfigError, StartupError
from overdrive.config import ELSEWHERE_IN_PYTHON
from overdrive.listener import Listener


def config(app: Any = "main:app", **options: Any) -> Config:
    return Config(app, **{"log_config": None, **options})


@pytest.fixture(autouse=True)
def _same_process_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A `Config` changes the environment, the path and the loggers of its process."""
    environment, path = dict(os.environ), list(sys.path)
    loggers = [logging.getLogger(f"overdrive{name}") for name in ("", ".error", ".access", ".asgi")]
    kept = [(logger, logger.level, logger.handlers, logger.propagate) for logger in loggers]
    for name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
        monkeypatch.delenv(name, raising=False)
    yield
    for logger, level, handlers, propagate in kept:
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("port", -1, "a whole number from 0 to 65535"),
        ("port", 65536, "a whole number from 0 to 65535"),
        ("port", "8000", "a whole number from 0 to 65535"),
        ("port", None, "a whole number from 0 to 65535"),
        ("fd", -1, "a whole number of at least 0"),
        ("workers", 0, "a whole number of at least 1"),
        ("workers", 1.5, "a whole number of at least 1"),
        ("workers", True, "a whole number of at least 1"),
        ("backlog", 0, "a whole number from 1 to 2147483647"),
        ("backlog", 2**31, "a whole number from 1 to 2147483647"),
        ("limit_concurrency", 0, "a whole number of at least 1"),
        ("limit_connections", 0, "a whole number of at least 1"),
        ("limit_max_requests", 0, "a whole number of at least 1"),
        ("limit_max_requests_jitter", -1, "a whole number of at least 0"),
        ("max_header_size", 255, "a whole number of at least 256"),
        ("max_headers", 0, "a whole number of at least 1"),
        ("ws_max_size", 0, "a whole number of at least 1"),
        ("ws_max_queue", 0, "a whole number of at least 1"),
        ("timeout_keep_alive", -1, "a number of seconds, 0 or more"),
        ("timeout_keep_alive", float("nan"), "a number of seconds, 0 or more"),
        ("timeout_header_read", 0, "a number of seconds, more than 0"),
        ("timeout_graceful_shutdown", -0.1, "a number of seconds, 0 or more"),
        ("timeout_worker_healthcheck", 0, "a number of seconds, more than 0"),
        ("timeout_worker_healthcheck", None, "a number of seconds, more than 0"),
        ("ws_ping_interval", float("inf"), "a number of seconds, 0 or more"),
        ("ws_ping_timeout", "20", "a number of seconds, 0 or more"),
        ("watch_threshold", 0, "a number of seconds, more than 0"),
        ("watch_threshold", 0.0001, "0.001 seconds at the least"),
        ("reload_delay", -1, "a number of seconds, 0 or more"),
        ("lifespan", "maybe", "one of auto, on, off"),
        ("interface", "cgi", "one of auto, asgi3, asgi2, wsgi"),
        ("loop", "trio", "one of auto, asyncio, uvloop, or a factory as module:attribute"),
        ("log_level", "loud", "one of critical, error, warning, info, debug, trace"),
        ("root_path", None, "text"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_with_its_option(name: str, value: Any, must: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(**{name: value})
    assert str(raised.value) == f"--{name.replace('_', '-')} {value}: must be {must}."
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("X Y", "1")], 'invalid header name "x y"'),
        ([("X", "a\r\nSet-Cookie: b")], "invalid value of header x"),
        ([("X", "€")], "'€' has characters that a header cannot carry"),
    ],
)
def test_a_header_that_cannot_be_sent_is_told(headers: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(headers=headers)
    assert said in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize("name", ELSEWHERE_IN_PYTHON)
@pytest.mark.parametrize("taker", [Config, overdrive.run])
def test_an_option_that_means_nothing_here_raises_and_says_what_to_do(taker: Any, name: str) -> None:
    with pytest.raises(TypeError) as raised:
        taker("main:app", **{name: "anything"})
    assert str(raised.value) == f"overdrive has no option {name!r}: {ELSEWHERE_IN_PYTHON[name]}"


@pytest.mark.parametrize("taker", [Config, overdrive.run])
def test_an_unknown_option_raises(taker: Any) -> None:
    with pytest.raises(TypeError, match=r"^overdrive has no option 'prot'$"):
        taker("main:app", prot=80)


def test_the_first_arguments_have_uvicorns_order() -> None:
    made = Config("main:app", "0.0.0.0", 80, "/run/app.sock", 3, "asyncio")
    assert (made.app, made.host, made.port, made.uds, made.fd, made.loop) == (
        "main:app",
        "0.0.0.0",
        80,
        "/run/app.sock",
        3,
        "asyncio",
    )


def test_workers_come_from_web_concurrency_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config().workers == 1
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert config().workers == 3
    assert config(workers=2).workers == 2


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "1.5"])
def test_a_wrong_web_concurrency_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", value)
    with pytest.raises(ConfigError, match=rf"^WEB_CONCURRENCY={value}: must be a whole number of at least 1\.$"):
        config()


def test_trusted_proxies_come_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config().forwarded_allow_ips == ["127.0.0.1", "::1"]
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8, 192.0.2.1")
    assert config().forwarded_allow_ips == ["10.0.0.0/8", "192.0.2.1"]
    assert config(forwarded_allow_ips="*").forwarded_allow_ips == ["*"]
    assert config(forwarded_allow_ips=["a", "b"]).forwarded_allow_ips == ["a", "b"]


def test_an_env_file_may_hold_the_servers_own_variables(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("WEB_CONCURRENCY=4\n")
    assert config(env_file=file).workers == 4


def test_reloading_has_one_worker(caplog: pytest.LogCaptureFixture) -> None:
    made = config(reload=True, workers=4)
    assert made.workers == 1
    assert made.should_reload
    assert '"workers" is ignored when reloading is enabled.' in caplog.text


def test_what_to_watch_without_reload_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    config(reload_includes=["*.html"])
    assert "without --reload nothing is" in caplog.text


def test_one_folder_or_pattern_may_be_given_as_a_string() -> None:
    made = config(reload=True, reload_dirs="a", reload_includes="*.b", reload_excludes="*.c")
    assert (made.reload_dirs, made.reload_includes, made.reload_excludes) == (["a"], ["*.b"], ["*.c"])


def test_a_config_travels_to_another_process() -> None:
    made = Config("main:app", port=1234, headers=[("a", "b")])
    assert pickle.loads(pickle.dumps(made)) == made


def test_logging_is_left_alone_without_a_configuration() -> None:
    logger = logging.getLogger("overdrive")
    handlers = [logging.NullHandler()]
    logger.handlers = list(handlers)
    config()
    assert logger.handlers == handlers


@pytest.mark.parametrize("level", ["warning", "WARNING", logging.WARNING])
def test_the_log_level_may_be_a_name_or_a_number(level: str | int) -> None:
    config(log_level=level)
    assert logging.getLogger("overdrive.error").level == logging.WARNING
    assert logging.getLogger("overdrive.access").level == logging.WARNING


@pytest.mark.parametrize(
    ("log_config", "said"),
    [
        ({"version": 1, "handlers": {"x": {"class": "not.there"}}}, "Unable to configure handler 'x'"),
        ({}, "dictionary doesn't specify a version"),
        ({"version": 7}, "Unsupported version: 7"),
        (configparser.RawConfigParser(), "missing 'formatters'"),
        (3, "must be a dict or a file, not int"),
    ],
)
def test_a_wrong_logging_configuration_is_told(log_config: Any, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(log_config=log_config)
    assert str(raised.value).startswith("log_config: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_loading_finds_the_application_once(tmp_path: Path) -> None:
    (tmp_path / "loaded_once.py").write_text("class App:\n    async def __call__(self, a, b, c): pass\napp = App()\n")
    made = config("loaded_once:app", app_dir=str(tmp_path))
    assert not made.loaded
    made.load()
    assert made.loaded
    assert made.loaded_app is sys.modules["loaded_once"].app
    assert sys.path[0] == str(tmp_path)


def test_an_application_object_needs_no_import() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    made = config(app)
    made.load()
    assert made.loaded_app is app


def test_a_factory_that_makes_no_application_is_told(tmp_path: Path) -> None:
    (tmp_path / "makes_nothing.py").write_text("def create(): return None\n")
    with pytest.raises(StartupError, match='"makes_nothing:create" gives an object of type NoneType, which cannot be'):
        config("makes_nothing:create", app_dir=str(tmp_path), factory=True).load()


def test_an_asterisk_application_is_not_taken_for_a_factory() -> None:
    called: list[Any] = []

    async def app(*arguments: Any) -> None:
        called.append(arguments)

    made = config(app)
    made.load()
    assert made.loaded_app is app
    assert called == []


def test_a_wsgi_application_is_recognized_and_the_option_named() -> None:
    def app(environ: Any, start_response: Any) -> Any: ...

    with pytest.raises(StartupError, match=r"takes two arguments, as WSGI does\. Serve it with --interface wsgi\."):
        config(app).load()


def test_binding_sets_the_port_that_was_free() -> None:
    made = config(port=0)
    listener = made.bind()
    try:
        assert made.port == listener.port == listener.sockets[0].getsockname()[1] != 0
        assert listener.address == f"http://127.0.0.1:{made.port}"
    finally:
        listener.close()


def test_binding_does_not_yet_take_connections() -> None:
    listener = config(port=0).bind()
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.port or 0), timeout=5)
        listener.listen(16)
        socket.create_connection(("127.0.0.1", listener.port or 0), timeout=5).close()
    finally:
        listener.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("kept")
    with pytest.raises(StartupError, match=f"Cannot listen on {file}: the address is in use"):
        config(uds=str(file)).bind()
    assert file.read_text() == "kept"


def test_every_address_of_the_machine_is_named_by_nothing() -> None:
    listener = Listener.of_host(None, 0)
    try:
        families = {sock.family for sock in listener.sockets}
        assert socket.AF_INET in families
        assert listener.address == f"http://0.0.0.0:{listener.port}"
        assert len({sock.getsockname()[1] for sock in listener.sockets}) == 1
    finally:
        listener.close()
