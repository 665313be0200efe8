"""Which lines of a stack are the user's, and what they say."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import FrameType

Frame = tuple[str, int, str]
"""File, line number, qualified name of the function."""

# Packages that call the user's code, or serve it: never the place where a remedy is due.
FRAMEWORKS = ("overdrive", "fastapi", "starlette", "anyio", "uvloop", "pydantic", "asyncio")

# Where `asyncio.run` is.
RUNNERS = os.path.join("asyncio", "runners.py")

PACKAGE_FOLDERS = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Blame:
    """The line of the user's that kept the loop, and what it was in.

    call: the function that the line was in, in a library or in Python; None: in a C function, or in nothing else.
    outermost: the first line of the user's, which is in the endpoint if a framework called that.
    """

    frame: Frame
    source: str
    call: Frame | None
    outermost: Frame

    def __str__(self) -> str:
        file, line, function = self.frame
        text = f"{short(file)}:{line}, in {function}"
        if self.source:
            text += f": {self.source}"
        return text


def blame(stack: Sequence[Frame], *, strict: bool = False) -> Blame | None:
    """The innermost line of the user's code in a stack (innermost first). None: nothing of it is Python.

    Where all of it is a library's, as with an application that was installed, the innermost line of one that is no
    framework counts; then, unless `strict`, that of a framework, as where it makes a response of what an endpoint gave,
    and then the outermost line.
    """
    for is_theirs in (is_users, is_no_frameworks) if strict else (is_users, is_no_frameworks, is_packages):
        theirs = [place for place, frame in enumerate(stack) if is_theirs(frame)]
        if theirs:
            return _blame(stack, theirs[0], theirs[-1])
    return _blame(stack, len(stack) - 1, len(stack) - 1) if stack and not strict else None


def frames(innermost: FrameType | None) -> Iterator[Frame]:
    """The stack of a thread, innermost first."""
    frame = innermost
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname
        frame = frame.f_back


def within_loop(stack: Sequence[Frame]) -> list[Frame]:
    """What the loop runs of a stack, without who runs the loop: the server, its command, the user's `asyncio.run`."""
    own, _, _ = libraries()
    return list(takewhile(lambda frame: not _inside(frame[0], own[0]) and not frame[0].endswith(RUNNERS), stack))


def _blame(stack: Sequence[Frame], place: int, outermost: int) -> Blame:
    frame = stack[place]
    source = linecache.getline(frame[0], frame[1]).strip()
    return Blame(frame, source, stack[place - 1] if place else None, stack[outermost])


def is_users(frame: Frame) -> bool:
    """Whether a line is neither of Python's library nor of an installed package."""
    return _is_users(frame[0])


def is_no_frameworks(frame: Frame) -> bool:
    """Whether a line is of a package that is no framework, nor of Python's library."""
    return _is_no_frameworks(frame[0])


def is_packages(frame: Frame) -> bool:
    """Whether a line is of an installed package, but not of overdrive."""
    own, _, packages = libraries()
    return any(_inside(frame[0], folder) for folder in packages) and not _inside(frame[0], own[0])


def short(file: str) -> str:
    """A file's name as people know it: relative to the current folder if it is inside."""
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative


@cache
def _is_users(file: str) -> bool:
    return not file.startswith("<") and not any(_inside(file, folder) for folder in _library_folders())


@cache
def _is_no_frameworks(file: str) -> bool:
    packages = [_package(file, folder) for folder in _package_folders() if _inside(file, folder)]
    return packages[0] not in FRAMEWORKS if packages else _is_users(file)


def _package(file: str, folder: str) -> str:
    return Path(file).relative_to(folder).parts[0].removesuffix(".py")


@cache
def libraries() -> tuple[list[str], list[str], list[str]]:
    """Where overdrive is, where Python's library, and where installed packages."""
    own = str(Path(__file__).parent.parent)
    return [own], sorted(_python_folders()), sorted(_package_folders())


@cache
def _library_folders() -> frozenset[str]:
    own = str(Path(__file__).parent.parent)
    return frozenset({own, *_python_folders(), *_package_folders()})


@cache
def _python_folders() -> frozenset[str]:
    return frozenset({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


@cache
def _package_folders() -> frozenset[str]:
    """The environment's own, and whatever else is imported from: the user's, the system's, Debian's."""
    others = (entry.rstrip(os.sep) for entry in sys.path if os.path.basename(entry.rstrip(os.sep)) in PACKAGE_FOLDERS)
    return frozenset({sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *others})


def _inside(file: str, folder: str) -> bool:
    return file.startswith(folder + os.sep)
