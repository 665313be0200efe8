"""The sockets that a server accepts connections on: a descriptor, a Unix path, or each address of a host."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from typing import Any

from overdrive.errors import STARTUP_FAILURE, StartupError

# How often a free port is looked for that every address of the host has free.
PORT_ATTEMPTS = 8


class Listener:
    """Bound sockets that `listen` opens and `close` gives back, with the path of a Unix socket that is still ours.

    `address` is how the log names them.
    """

    def __init__(self, sockets: Sequence[socket.socket], address: str) -> None:
        self.sockets = list(sockets)
        self.address = address
        self._path: tuple[str, int, int] | None = None

    @property
    def port(self) -> int | None:
        """The TCP port, None for other sockets."""
        name = self.sockets[0].getsockname()
        return name[1] if isinstance(name, tuple) else None

    def listen(self, backlog: int) -> None:
        """Has the kernel take connections, of which `backlog` may wait to be accepted.

        Raises:
            StartupError: two servers have bound one port, which is allowed, but only one of them may listen.
        """
        for sock in self.sockets:
            try:
                sock.listen(backlog)
            except OSError as error:
                raise _failure(error, sock.getsockname()) from None

    def close(self) -> None:
        """Closes the sockets, and removes the path of ours unless another server has taken it over meanwhile."""
        for sock in self.sockets:
            sock.close()
        if self._path is not None:
            path, *identity = self._path
            self._path = None
            with contextlib.suppress(OSError):
                found = os.stat(path)
                if [found.st_dev, found.st_ino] == identity:
                    os.remove(path)

    @classmethod
    def of_descriptor(cls, fd: int) -> Listener:
        """A bound stream socket inherited from systemd, circus or the like. Works on a duplicate.

        Raises:
            StartupError: it is not open, or no stream socket.
        """
        try:
            sock = socket.socket(fileno=os.dup(fd))
        except OSError as error:
            raise StartupError(
                f"--fd {fd}: not an open socket ({error.strerror}). Pass the number of one that the parent has bound.",
                exit_code=STARTUP_FAILURE,
            ) from None
        if sock.type != socket.SOCK_STREAM:
            sock.close()
            raise StartupError(f"--fd {fd}: must be a stream socket.", exit_code=STARTUP_FAILURE)
        return cls([sock], f"socket {sock.getsockname()}")

    @classmethod
    def of_path(cls, path: str) -> Listener:
        """A Unix socket at `path`. A socket that is there already is replaced, and its mode kept; anything else stays.

        Raises:
            StartupError: it cannot be made.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mode = 0o666
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(path).st_mode
                if stat.S_ISSOCK(found):
                    mode = stat.S_IMODE(found)
                    os.remove(path)
            sock.bind(path)
            os.chmod(path, mode)
            status = os.stat(path)
        except OSError as error:
            sock.close()
            raise _failure(error, path) from None
        listener = cls([sock], f"unix socket {path}")
        listener._path = (path, status.st_dev, status.st_ino)
        return listener

    @classmethod
    def of_host(cls, host: str | None, port: int, *, options: tuple[str, str] = ("--host", "--port")) -> Listener:
        """A socket for each address of `host`, all on one port; None or "" is every address of this machine.

        options: which ones the texts of errors name.

        Raises:
            StartupError: there is no such host, or an address is in use, not ours or not allowed.
        """
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError):
            raise StartupError(
                f"{options[0]} {host}: no such address. Use a name or an address of this machine.",
                exit_code=STARTUP_FAILURE,
            ) from None
        # A dict keeps the order, and the resolver may name an address twice.
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        for attempt in range(PORT_ATTEMPTS):
            try:
                sockets = _bind_all(addresses, port)
            except _Occupied as occupied:
                # A port that is free on one address need not be so on the next.
                if port == 0 and attempt < PORT_ATTEMPTS - 1:
                    continue
                raise _failure(occupied.error, occupied.address, options) from None
            break
        shown = host or "0.0.0.0"
        bound_port = sockets[0].getsockname()[1]
        return cls(sockets, f"http://[{shown}]:{bound_port}" if ":" in shown else f"http://{shown}:{bound_port}")


class _Occupied(Exception):
    """An address that cannot be bound."""

    def __init__(self, error: OSError, address: Any) -> None:
        self.error = error
        self.address = address


def _bind_all(addresses: Sequence[tuple[int, Any]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    unusable: _Occupied | None = None
    for family, address in addresses:
        address = (address[0], port, *address[2:])
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError as error:
            if sock is not None:
                sock.close()
            unusable = _Occupied(error, address)
            # A machine without IPv6 still resolves "localhost" to ::1: another address of the host may do.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            for opened in sockets:
                opened.close()
            raise unusable from None
        sockets.append(sock)
        port = sock.getsockname()[1]
    if not sockets and unusable is not None:
        raise unusable
    return sockets


def _failure(error: OSError, address: Any, options: tuple[str, str] = ("--host", "--port")) -> StartupError:
    is_path = isinstance(address, str)
    where = (
        address if is_path else f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    )
    option = "--uds" if is_path else options[1]
    what, remedy = {
        errno.EADDRINUSE: ("the address is in use", f"Stop what uses it, or choose another with {option}."),
        errno.EACCES: ("no permission", f"Choose another with {option}, or start with the rights to it."),
        errno.EPERM: ("no permission", f"Choose another with {option}, or start with the rights to it."),
        errno.EADDRNOTAVAIL: ("not an address of this machine", f"Choose one that is with {options[0]}."),
        errno.ENOENT: ("there is no such folder", "Create it, or choose another path with --uds."),
    }.get(error.errno or 0, (error.strerror or str(error), f"Choose another with {option}."))
    return StartupError(f"Cannot listen on {where}: {what}. {remedy}", exit_code=STARTUP_FAILURE)
