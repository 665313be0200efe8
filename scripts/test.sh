#!/usr/bin/env bash
# Builds and runs every test: Rust's once, Python's on every Python that scripts/pythons.py finds.
#
#   scripts/test.sh                     everything
#   scripts/test.sh 3.13 [pytest …]     one Python alone, with arguments for pytest
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n==> %s\n' "$*"; }

python_suite() { # INTERPRETER [pytest arguments]
    local interpreter=$1 version venv
    shift
    version=$("$interpreter" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    venv=.venvs/$version
    say "Python $version: build and test"
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        rm -rf "$venv"
        "$interpreter" -m venv "$venv"
    fi
    # Only when the list has changed: an installer that finds nothing to do still takes seconds.
    if ! cmp -s tests/requirements.txt "$venv/requirements.txt"; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
        cp tests/requirements.txt "$venv/requirements.txt"
    fi
    # A target folder for each interpreter, within the one folder, so that they do not rebuild each other's crates.
    (
        export VIRTUAL_ENV=$PWD/$venv PYO3_PYTHON=$PWD/$venv/bin/python
        "$venv/bin/maturin" develop --quiet --target-dir "target/py$version"
    )
    # Without a terminal the servers' output is plain; a test that wants colours asks for them.
    if ! "$venv/bin/python" -m pytest "$@"; then
        # On a machine that others load, a deadline may pass for no fault of ours; a real failure fails again.
        say "Python $version: those that failed, once more"
        "$venv/bin/python" -m pytest --last-failed --last-failed-no-failures none "$@"
    fi
}

mapfile -t interpreters < <(python3 scripts/pythons.py)
[ ${#interpreters[@]} -gt 0 ] || exit 1

if [ $# -gt 0 ]; then
    wanted=$1
    shift
    for interpreter in "${interpreters[@]}"; do
        case $("$interpreter" -V) in "Python $wanted."*) python_suite "$interpreter" "$@"; exit ;; esac
    done
    echo "no Python $wanted was found" >&2
    exit 1
fi

say "Rust: reactor and http, without Python"
cargo test --quiet -p overdrive-reactor -p overdrive-http
for interpreter in "${interpreters[@]}"; do
    python_suite "$interpreter"
done
