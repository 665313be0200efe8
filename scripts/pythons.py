"""Prints the Python interpreters that overdrive can be built and tested with, newest first, one a minor version.

    python3 scripts/pythons.py             every one from 3.11 up
    python3 scripts/pythons.py --best      the newest alone

Looked at: $PATH (python3, python3.11 …), pyenv's and uv's folders. A shim that does not run is passed over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
NEWEST_TRIED = 20


def candidates() -> Iterator[Path]:
    """Places where interpreters are kept, the user's own $PATH first."""
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST[1], NEWEST_TRIED))]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield from (Path(folder) / name for name in names)
    home = Path.home()
    for versions in (home / ".pyenv/versions", home / ".local/share/uv/python"):
        for name in names[1:]:
            yield from sorted(versions.glob(f"*/bin/{name}"), reverse=True)


def version(interpreter: Path) -> tuple[int, int] | None:
    """(major, minor) of a CPython with a working venv, else None."""
    check = (
        "import sys, platform, sysconfig, venv, ensurepip; "
        "assert platform.python_implementation() == 'CPython' and not sysconfig.get_config_var('Py_GIL_DISABLED'); "
        "assert sys.version_info.releaselevel == 'final'; "
        "print(*sys.version_info[:2])"
    )
    try:
        found = subprocess.run([interpreter, "-c", check], capture_output=True, text=True, timeout=20)
        major, minor = map(int, found.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return (major, minor)


def main() -> int:
    found: dict[tuple[int, int], Path] = {}
    seen: set[Path] = set()
    for candidate in candidates():
        if not candidate.exists() or candidate in seen:
            continue
        seen.add(candidate)
        number = version(candidate)
        if number and number >= OLDEST:
            found.setdefault(number, candidate)
    newest_first = [found[number] for number in sorted(found, reverse=True)]
    if not newest_first:
        print("no CPython from 3.11 up with the venv module was found", file=sys.stderr)
        return 1
    print(*(newest_first[:1] if "--best" in sys.argv[1:] else newest_first), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
