"""The functions of FastAPI, Starlette, pydantic and anyio that plans mirror, and whether they are the code we know.

A plan does natively what these functions do in Python. `mirrored.toml` lists them by the features that mirror them; if
the code of one is not among the fingerprints recorded in `fingerprints.txt`, because of another release or because
somebody has replaced it, the features that mirror it are off, and nothing else. A fingerprint is a hash of the compiled
code without docstrings and line numbers, so it differs between Python versions and does not between releases that leave
a function alone.

Each line of `fingerprints.txt` is a function, a Python version, a hash (or `absent`: releases lack the function) and a
dialect: `-` where the code does what the newest release's does, else a word for how it behaves, by which the compiler
asks for it, or `not-mirrored`, which turns features off as an unknown fingerprint does. Lines are sorted and stand for
themselves, so that files of two branches merge.

`python -m overdrive.compiler.known --record` adds the fingerprints of what is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

RECORDED = Path(__file__).with_name("fingerprints.txt")
# In the place of a hash: there is no such function, in releases that did without it.
ABSENT = "absent"
# The dialect of code that does what the newest release's does.
NEWEST = "-"
# The dialect of code that was read and behaves otherwise, without anything in plans that would do the same.
NOT_MIRRORED = "not-mirrored"

_TABLES = tomllib.loads(Path(__file__).with_name("mirrored.toml").read_text())
# Feature: the functions that it mirrors.
FEATURES: dict[str, tuple[str, ...]] = {feature: tuple(names) for feature, names in _TABLES["features"].items()}
# As FEATURES, of what goes on as well, if slower, where it is off: nobody need be told.
SHORTCUTS: dict[str, tuple[str, ...]] = {feature: tuple(names) for feature, names in _TABLES["shortcuts"].items()}
# What instruments put around functions, and what `sentry` and `opentelemetry` do in the place of theirs.
INSTRUMENTS, SENTRY, OPENTELEMETRY = (tuple(_TABLES[name]) for name in ("instruments", "sentry", "opentelemetry"))

# What `behaves` has found: a release does not change while it is loaded.
_behaviours: dict[str, str] = {}
# Take known instruments away from what they stand around.
_seen_through: list[Callable[[Any], Any]] = []


def features_off() -> dict[str, str]:
    """The features that are off, each with the first function whose code is not known."""
    return {feature: name for feature in FEATURES if (name := unknown(feature)) is not None}


def unknown(feature: str) -> str | None:
    """The first function that `feature` mirrors and whose code plans do not know; None if they know all."""
    return next(unknowns(feature), None)


def unknowns(feature: str) -> Iterator[str]:
    """All of them."""
    return (name for name in (FEATURES | SHORTCUTS)[feature] if dialect(name) in (None, NOT_MIRRORED))


def dialect(name: str) -> str | None:
    """How the function under `name` behaves, as recorded; None if it is not the code we know."""
    found = fingerprint(name)
    return None if found is None else recorded().get(name, {}).get(found)


def behaves(name: str) -> str:
    """The dialect of a function, once it was known. Where it is not, the features that mirror it are off."""
    if name not in _behaviours:
        found = dialect(name)
        if found is None:
            return NEWEST
        _behaviours[name] = found
    return _behaviours[name]


def functions() -> list[str]:
    """All mirrored functions."""
    return sorted({name for names in FEATURES.values() for name in names})


def fingerprint(name: str) -> str | None:
    """The Python version and the hash of what is found under `name` now; None if that is no Python function."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        found = pristine(name)
    except LookupError:
        return f"{version} {ABSENT}"
    if not isinstance(found, FunctionType):
        return None
    return f"{version} {hash_of(*_codes(found))}"


def find(name: str) -> Any:
    """What is found under `name` now.

    Raises:
        LookupError: there is nothing.
    """
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = found.__dict__[part] if isinstance(found, type) else getattr(found, part)
    except (ImportError, AttributeError, KeyError):
        raise LookupError(name) from None
    found = getattr(found, "__func__", found)
    if isinstance(found, property):
        return found.fget
    return found.__wrapped__ if isinstance(found, type(recorded)) else found


def is_installed(name: str) -> bool:
    """Whether the libraries are there that the function under `name` needs. Without them it is nobody's other code."""
    try:
        importlib.import_module(name.partition(":")[0])
    except ModuleNotFoundError as error:
        # A module of a library that is there has moved: its name has a dot.
        return error.name is None or "." in error.name
    except ImportError:
        pass
    return True


def pristine(name: str) -> Any:
    """The same without the known instruments around it."""
    found = find(name)
    for see_through in _seen_through:
        found = see_through(found)
    return found


def see_through(unwrap: Callable[[Any], Any]) -> None:
    """From now on functions are looked at as `unwrap` gives them. This file stands alone; of instruments it is told."""
    _seen_through.append(unwrap)


def is_patched(name: str) -> bool:
    """Whether something is in the place of a function that was not written there, as another release's would be."""
    found = pristine(name)
    return not isinstance(found, FunctionType) or found.__code__.co_qualname != name.partition(":")[2]


def hash_of(*codes: CodeType) -> str:
    """A hash of what code does: not of where it stands, nor of its documentation."""
    digest = hashlib.blake2b(digest_size=12)
    for code in codes:
        for part in _parts(code):
            digest.update(part)
            digest.update(b"\0")
    return digest.hexdigest()


def _codes(function: FunctionType) -> Iterator[CodeType]:
    """The code of a function, and of those that its decorators have wrapped."""
    found: Any = function
    while isinstance(found, FunctionType):
        yield found.__code__
        found = getattr(found, "__wrapped__", None)


def _parts(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)).encode()
    for place, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(constant, key=repr)).encode()
        elif place == 0 and isinstance(constant, str) and _has_docstring(code):
            yield b"docstring"
        else:
            yield repr(constant).encode()


def _has_docstring(code: CodeType) -> bool:
    # Before Python 3.14 a text in the first place is a function's docstring, or None stands there. Comprehensions and
    # generator expressions, whose names are in angle brackets, have none and begin with any constant of theirs.
    if sys.version_info >= (3, 14):
        return bool(code.co_flags & 0x4000000)
    return not code.co_name.startswith("<")


@cache
def recorded() -> dict[str, dict[str, str]]:
    """The dialects of all fingerprints, by function."""
    found: dict[str, dict[str, str]] = {}
    for line in RECORDED.read_text().splitlines():
        name, version, digest, behaves = line.split()
        found.setdefault(name, {})[f"{version} {digest}"] = behaves
    return found


def record(new: Mapping[str, str], dialects: Mapping[str, str]) -> None:
    """Adds fingerprints by function; `dialects`: of those that behave otherwise than the newest release's."""
    known = {name: dict(prints) for name, prints in recorded().items()}
    for name, text in new.items():
        prints = known.setdefault(name, {})
        prints[text] = dialects.get(name, prints.get(text, NEWEST))
    lines = [f"{name} {text} {word}\n" for name, prints in known.items() for text, word in prints.items()]
    RECORDED.write_text("".join(sorted(lines)))
    recorded.cache_clear()


def main() -> int:
    """Records the installed releases, or tells what is not known of them."""
    parser = argparse.ArgumentParser(prog="python -m overdrive.compiler.known", description=main.__doc__)
    parser.add_argument("--record", action="store_true", help="add what is installed to fingerprints.txt")
    parser.add_argument("--json", action="store_true", help="print the fingerprints of what is installed")
    options = parser.parse_args()
    # A FastAPI that cannot be imported would seem to have none of its functions.
    importlib.import_module("fastapi.routing")
    installed = {name: fingerprint(name) for name in functions()}
    if options.json:
        print(json.dumps(installed, indent=1))
        return 0
    installed |= {name: fingerprint(name) for names in SHORTCUTS.values() for name in names}
    with_instruments = {name: fingerprint(name) for name in (*INSTRUMENTS, *OPENTELEMETRY, *SENTRY)}
    installed.update((name, text) for name, text in with_instruments.items() if text is None or ABSENT not in text)
    missing = [name for name in installed if dialect(name) is None]
    for name in missing:
        print(f"unknown:   {name} {installed[name]}")
    if options.record:
        # What is missing of the newest release is a mistake in `mirrored.toml`; older ones have their own way in.
        record({name: text for name, text in installed.items() if text is not None and ABSENT not in text}, {})
    return 0 if options.record or not missing else 1


if __name__ == "__main__":
    sys.exit(main())
