"""Compares the releases of FastAPI, Starlette, pydantic and anyio with the functions that plans mirror.

    python3 scripts/releases.py                     is there a release with functions that we do not know?
    python3 scripts/releases.py --record            record those that tests/releases/variants.toml tells of
    python3 scripts/releases.py --prune             and drop what no release has, if all is known
    python3 scripts/releases.py --package fastapi   one package alone
    python3 scripts/releases.py --sets              which releases of FastAPI are the same to us

A release is looked at on each Python that is found, beside the newest releases of all else. What differs from the
newest release must stand in `variants.toml`, with the dialect that somebody has found; the newest releases' own
functions are recorded by `python -m overdrive.compiler.known --record`. It ends with 1 if there is something that
nobody has read.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venvs" / "releases"
KNOWN = ROOT / "python" / "overdrive" / "compiler" / "known.py"
VARIANTS = ROOT / "tests" / "releases" / "variants.toml"
# The first that is looked at: FastAPI's is what we promise, the others' were the newest on that day.
FIRST = {"fastapi": "0.140.0", "starlette": "1.3.1", "pydantic": "2.13.4", "anyio": "4.14.1"}
PIP = ["-m", "pip", "--disable-pip-version-check"]

Version = tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """Functions that releases from `first` to `last` have otherwise."""

    functions: frozenset[str]
    first: Version
    last: Version
    dialect: str

    def tells_of(self, function: str, release: str) -> bool:
        """Whether somebody has read this function of this release."""
        return function in self.functions and self.first <= version(release) <= self.last


def main() -> int:
    """What the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="add what is known to fingerprints.txt")
    parser.add_argument("--prune", action="store_true", help="drop what no release has from fingerprints.txt")
    parser.add_argument("--sets", action="store_true", help="list releases of FastAPI by what they differ in")
    parser.add_argument("--package", choices=FIRST, action="append", help="look at this one; may be repeated")
    parser.add_argument("--python", type=Path, action="append", help="an interpreter; all that are found, unless told")
    options = parser.parse_args()
    if options.prune and options.package:
        parser.error("what no release has is known only of all packages")
    known = load(KNOWN)
    pythons = options.python or interpreters()
    unread: dict[str, list[str]] = {}
    sets: dict[str, list[str]] = {}
    seen: dict[str, set[str]] = {}
    for package in options.package or FIRST:
        for release in releases(package):
            for python in pythons:
                found = fingerprints(python, package, release)
                for function, text in found.items():
                    seen.setdefault(function, set()).add(text or "")
                for function, text in sift(known, found, package, release, record=options.record):
                    unread.setdefault(f"{function} {text}", []).append(f"{package} {release}")
                if package == "fastapi" and python is pythons[0]:
                    sets.setdefault(set_of(found), []).append(release)
    if options.prune and not unread:
        for line in prune(known, seen):
            print(f"dropped: {line}")
    if options.sets:
        for name, members in sets.items():
            print(name, *members)
    for function, where in unread.items():
        print(f"not read: {function}, {where[0]} to {where[-1]}")
    if not unread:
        print("Every function of every release is known.")
    return 1 if unread else 0


def sift(
    known: Any, found: dict[str, str | None], package: str, release: str, *, record: bool
) -> Iterator[tuple[str, str]]:
    """Records what `variants.toml` tells of; gives the functions, and their fingerprints, of which nobody has told."""
    recorded = known.recorded()
    new: dict[str, str] = {}
    dialects: dict[str, str] = {}
    for function, text in found.items():
        before = None if text is None else recorded.get(function, {}).get(text)
        told = next((variant for variant in variants() if variant.tells_of(function, release)), None)
        if text is None or (before is None and told is None):
            yield function, text or "is no Python function"
        elif told is not None and told.dialect != before:
            if record and before is None:
                new[function], dialects[function] = text, told.dialect
            else:
                yield function, f"{text}: recorded as {before}, told of as {told.dialect}"
    if new:
        known.record(new, dialects)
        print(f"{package} {release}: {len(new)} recorded")


def prune(known: Any, seen: dict[str, set[str]]) -> Iterator[str]:
    """Drops the fingerprints that no release has; gives their lines.

    Those of instruments stay, which no environment here has, and those of Pythons that were not found.
    """
    minors = {text.partition(" ")[0] for texts in seen.values() for text in texts}
    kept = []
    for line in known.RECORDED.read_text().splitlines(keepends=True):
        function, minor, digest, _ = line.split()
        if function in known.INSTRUMENTS or minor not in minors or f"{minor} {digest}" in seen.get(function, ()):
            kept.append(line)
        else:
            yield line.rstrip()
    known.RECORDED.write_text("".join(kept))
    known.recorded.cache_clear()


def releases(package: str) -> list[str]:
    """All releases from the first that counts, in order, as pip lists them."""
    listed = output([sys.executable, *PIP, "index", "versions", package])
    found = re.search(r"Available versions: (.*)", listed)
    assert found is not None, listed
    first = version(FIRST[package])
    final = (name for name in found[1].split(", ") if name.replace(".", "").isdigit())
    return sorted((name for name in final if version(name) >= first), key=version)


def fingerprints(python: Path, package: str, release: str) -> dict[str, str | None]:
    """Of all mirrored functions, with one package in another release than the newest."""
    base = environment(python)
    minor = base.name.removeprefix("py")
    kept = HOME / f"{package}-{release}-py{minor}.json"
    wanted = way_of_looking()
    if kept.exists():
        content = json.loads(kept.read_text())
        if content["known"] == wanted:
            found: dict[str, str | None] = content["found"]
            return found
    python = base / "bin" / "python"
    places = [fetch(python, package, release, minor)]
    if package != "fastapi":
        # The newest may not do with older libraries.
        places.append(fetch(python, "fastapi", FIRST["fastapi"], minor))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}
    # `-P`: the modules beside it have names like those of packages.
    printed = subprocess.run(
        [python, "-P", KNOWN, "--json"], env=variables, stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(printed.stdout)
    if package != "fastapi":
        # Other modules may have taken a function in under their own names.
        own = {text for name, text in found.items() if name.partition(":")[0].partition(".")[0] == package}
        own -= {f"{minor} {load(KNOWN).ABSENT}"}
        found = {name: text for name, text in found.items() if text in own or name.startswith(f"{package}.")}
    kept.write_text(json.dumps({"known": wanted, "found": found}))
    return found


@cache
def way_of_looking() -> str:
    """A name for the functions that are looked at, and for how they are hashed."""
    known = load(KNOWN)
    ways = (known.fingerprint, known.hash_of, known._codes, known._parts, known._has_docstring)
    text = json.dumps([*known.functions(), *map(inspect.getsource, ways)])
    return hashlib.blake2b(text.encode()).hexdigest()


def set_of(found: dict[str, str | None]) -> str:
    """A name for a set of fingerprints."""
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=6).hexdigest()


def fetch(python: Path, package: str, release: str, minor: str) -> Path:
    """A folder with one package and nothing else that could get into the way."""
    # All but pydantic are Python alone; its core must be the one that it asks for.
    place = HOME / (f"{package}-{release}" + (f"-py{minor}" if package == "pydantic" else ""))
    if not place.exists():
        needs = [f"{package}=={release}"] if package == "pydantic" else ["--no-deps", f"{package}=={release}"]
        shutil.rmtree(unfinished := place.with_suffix(".part"), ignore_errors=True)
        subprocess.run([python, *PIP, "install", "--quiet", "--target", unfinished, *needs], check=True)
        unfinished.rename(place)
    return place


@cache
def environment(python: Path) -> Path:
    """A virtual environment with the newest releases."""
    minor = output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    place = HOME / f"py{minor}"
    if not place.exists():
        subprocess.run([python, "-m", "venv", place], check=True)
    packages = ["fastapi", "python-multipart", "itsdangerous"]
    subprocess.run([place / "bin" / "python", *PIP, "install", "--quiet", "--upgrade", *packages], check=True)
    return place


def interpreters() -> list[Path]:
    """The Pythons of this machine that overdrive runs on."""
    return [Path(line) for line in output([sys.executable, ROOT / "scripts" / "pythons.py"]).splitlines()]


@cache
def variants() -> list[Variant]:
    """What somebody has read."""
    return [
        Variant(
            frozenset(entry["functions"]),
            first=version(entry["releases"][0]),
            last=version(entry["releases"][1]),
            dialect=entry["dialect"],
        )
        for entry in tomllib.loads(VARIANTS.read_text())["variant"]
    ]


@cache
def version(name: str) -> Version:
    """Something to order releases by."""
    return tuple(map(int, re.findall(r"\d+", name)))


def load(file: Path) -> Any:
    """`known.py` alone, which needs nothing of the package around it."""
    if file.stem not in sys.modules:
        found = importlib.util.spec_from_file_location(file.stem, file)
        assert found is not None, file
        assert found.loader is not None, file
        sys.modules[file.stem] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules[file.stem])
    return sys.modules[file.stem]


def output(command: list[str | Path]) -> str:
    """What a command prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
