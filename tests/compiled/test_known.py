"""What is recorded of releases hangs together."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from overdrive.compiler import known

TABLE = Path(__file__).parent.parent / "releases" / "variants.toml"
VARIANTS = tomllib.loads(TABLE.read_text())["variant"]


def test_every_line_of_the_fingerprints_is_there_once_and_in_order() -> None:
    lines = known.RECORDED.read_text().splitlines()
    assert lines == sorted(set(lines))
    # One dialect for a fingerprint, or the last line would decide.
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)


def test_every_dialect_is_told_of() -> None:
    told = {(function, variant["dialect"]) for variant in VARIANTS for function in variant["functions"]}
    recorded = {(name, word) for name, prints in known.recorded().items() for word in prints.values()}
    assert {pair for pair in recorded if pair[1] != known.NEWEST} <= told


def test_the_table_tells_of_mirrored_functions_alone() -> None:
    told = {function for variant in VARIANTS for function in variant["functions"]}
    assert told <= set(known.functions())


def test_an_absent_function_has_a_fingerprint_and_no_dialect_unless_recorded() -> None:
    assert known.fingerprint("fastapi.routing:no_such_function").endswith(known.ABSENT)
    assert known.dialect("fastapi.routing:no_such_function") is None
    assert known.dialect("no_such_module:function") is None


def test_the_file_alone_sees_what_the_package_sees() -> None:
    # As `scripts/releases.py` runs it, in environments without overdrive.
    printed = subprocess.check_output([sys.executable, "-P", known.__file__, "--json"], text=True)
    assert json.loads(printed) == {name: known.fingerprint(name) for name in known.functions()}


def test_what_decorators_wrap_counts() -> None:
    def decorated(inner):  # type: ignore[no-untyped-def]
        def outer() -> None:
            inner()

        outer.__wrapped__ = inner  # type: ignore[attr-defined]
        return outer

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    prints = [known.hash_of(*known._codes(decorated(function))) for function in (one, two)]
    assert prints[0] != prints[1]


def test_documentation_does_not_count() -> None:
    def one() -> str:
        """One."""
        return "text"

    def two() -> str:
        """Another."""
        return "text"

    def three() -> str:
        """Another."""
        return "other text"

    prints = {known.hash_of(function.__code__.replace(co_name="f", co_qualname="f")) for function in (one, two)}
    assert len(prints) == 1
    assert known.hash_of(three.__code__) not in prints


def test_what_is_not_installed_is_not_named_as_other_code() -> None:
    assert known.is_installed("starlette.requests:Request.form")
    assert known.is_installed("starlette.moved:function"), "a module of a library that is there"
    assert not known.is_installed("no_such_library.multipart:parse")
