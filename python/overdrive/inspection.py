"""`--inspect`: the address of the inspect page, its token, and the listener behind it."""

from __future__ import annotations

import logging
import re
import secrets
import socket
import string
from typing import TYPE_CHECKING

from overdrive._overdrive import Inspector
from overdrive.errors import ConfigError
from overdrive.listener import Listener

if TYPE_CHECKING:
    from overdrive.config import Config
    from overdrive.watch import LoopWatch

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
DEFAULT_ADDRESS = f"{DEFAULT_HOST}:{DEFAULT_PORT}"

# Shorter ones could be guessed.
SHORTEST_TOKEN = 16
BACKLOG = 64

_ADDRESS = re.compile(r"(?:(?P<host>[^\[\]:]*|\[[0-9A-Fa-f:.%]+\]):)?(?P<port>\d{1,5})")
_TOKEN_LETTERS = frozenset(string.ascii_letters + string.digits + "-._~")

logger = logging.getLogger("overdrive.error")


class Inspection:
    """The listener of the inspect page, while it serves. `url` is its address with the token."""

    def __init__(self, listener: Listener, token: str, watch: LoopWatch | None) -> None:
        self._listener = listener
        self.url = f"{listener.address}/?token={token}"
        nonce = secrets.token_urlsafe(16)
        sockets = [sock.fileno() for sock in listener.sockets]
        self.engine = Inspector(sockets, token=token, nonce=nonce, watch=watch.engine if watch is not None else None)

    @classmethod
    def open(cls, config: Config, watch: LoopWatch | None = None) -> Inspection:
        """Binds, serves and tells where. `watch`: that of this process; None where workers have theirs.

        Raises:
            StartupError: the address cannot be had.
        """
        if config.inspect_address is None or config.inspect_token is None:
            raise ValueError("the configuration has no --inspect")
        host, port = config.inspect_address
        listener = Listener.of_host(host, port, options=("--inspect", "--inspect"))
        try:
            listener.listen(BACKLOG)
            inspection = cls(listener, config.inspect_token, watch)
        except BaseException:
            listener.close()
            raise
        logger.info(
            "Inspect the event loop at %s",
            inspection.url,
            extra={"color_message": "Inspect the event loop at \x1b[1m%s\x1b[0m"},
        )
        return inspection

    def add_worker(self, sock: socket.socket, number: int) -> None:
        """Shows a worker, too, that tells its news over the other end of `sock`."""
        self.engine.add_worker(sock.fileno(), number)

    def close(self) -> None:
        """Stops serving."""
        self.engine.close()
        self._listener.close()


def address(option: str | bool | None) -> tuple[str, int] | None:
    """Host and port of the option's value; None when it is off.

    Raises:
        ConfigError: it is no address.
    """
    # In the environment a flag is a word.
    word = {"true": True, "false": False}.get(option.lower()) if isinstance(option, str) else option
    if option is None or word is False:
        return None
    if word is True:
        return DEFAULT_HOST, DEFAULT_PORT
    found = _ADDRESS.fullmatch(option) if isinstance(option, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ConfigError(
            f"--inspect {option}: must be HOST:PORT or a port, [::1]:{DEFAULT_PORT} for IPv6; "
            f"without a value it is {DEFAULT_ADDRESS}."
        )
    host = (found["host"] or DEFAULT_HOST).strip("[]")
    return host, int(found["port"])


def is_address(text: str) -> bool:
    """Whether a word of the command line is the option's value, rather than what follows it."""
    return _ADDRESS.fullmatch(text) is not None


def token(given: str | None) -> str:
    """The token that was given, or a random one.

    Raises:
        ConfigError: it could be guessed, or an address cannot hold it.
    """
    if given is None:
        return secrets.token_urlsafe(24)
    if len(given) < SHORTEST_TOKEN or not _TOKEN_LETTERS.issuperset(given):
        raise ConfigError(
            f"--inspect-token: must have {SHORTEST_TOKEN} characters or more: letters, digits, and -._~ alone."
        )
    return given
