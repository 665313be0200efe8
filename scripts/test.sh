#!/usr/bin/env bash
# Builds and runs every test: Rust's once, Python's on every Python that scripts/pythons.py finds.
#
#   scripts/test.sh                     everything
#   scripts/test.sh 3.13 [pytest …]     one Python alone, with arguments for pytest
#   scripts/test.sh module              Rust's tests of the Python crate alone
#   scripts/test.sh releases [pytest …] those alone that need older releases of FastAPI, on the newest Python
#   scripts/test.sh services [pytest …] those alone that need PostgreSQL and Redis, on the newest Python
#   scripts/test.sh instruments […]     those alone of instruments (Sentry, OpenTelemetry and others), likewise
#   scripts/test.sh applications [pytest …] those alone that serve other projects' applications (-k gradio: one of them)
#   scripts/test.sh page [pytest …]     those alone that need a browser or Prometheus (Debian's, installed if there is none)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n==> %s\n' "$*"; }

installed() { # REQUIREMENTS VENV: only when the list has changed; an installer with nothing to do still takes seconds
    local copy=$2/${1//\//-}
    if ! cmp -s "$1" "$copy"; then
        "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1"
        cp "$1" "$copy"
    fi
}

find_venv() { # INTERPRETER; sets version and venv
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    venv=.venvs/$version
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        rm -rf "$venv"
        "$1" -m venv "$venv"
    fi
}

python_suite() { # INTERPRETER [pytest arguments]
    local interpreter=$1 version venv
    shift
    find_venv "$interpreter"
    say "Python $version: build and test"
    installed tests/requirements.txt "$venv"
    for group in services applications instruments page; do
        case "$*" in *tests/$group*) installed tests/$group/requirements.txt "$venv" ;; esac
    done
    case "$*" in *tests/page*) scripts/chromium.sh && scripts/prometheus.sh ;; esac
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

# What of the Python crate is tested in Rust. A program that embeds Python, unlike a module, needs a library to link with.
module_suite() { # INTERPRETERS
    local interpreter library version venv
    for interpreter in "$@"; do
        library=$("$interpreter" -c 'from sysconfig import get_config_var as get
print(get("LIBDIR") if get("Py_ENABLE_SHARED") else "")')
        [ -n "$library" ] || continue
        find_venv "$interpreter"
        say "Rust: the Python crate, with Python $version"
        # The interpreter, its signature and the folder are those of the build for the Python tests: nothing else is built twice.
        PYO3_PYTHON=$PWD/$venv/bin/python PYO3_ENVIRONMENT_SIGNATURE=cpython-$version-64bit \
            LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
            cargo test --quiet -p overdrive-python --lib --target-dir "target/py$version"
        return
    done
    say "Rust: the Python crate is not tested by itself, as no Python here has a shared library (--enable-shared)"
}

mapfile -t interpreters < <(python3 scripts/pythons.py)
[ ${#interpreters[@]} -gt 0 ] || exit 1

case ${1:-} in
    module)
        module_suite "${interpreters[@]}"
        exit
        ;;
    services | applications | instruments | page | releases)
        folder=tests/$1
        shift
        python_suite "${interpreters[0]}" "$folder" "$@"
        exit
        ;;
esac
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
# Several files at a time: most of a test is waiting for a server to start, to answer or to stop.
at_once=(-n "$(($(getconf _NPROCESSORS_ONLN) + 1))" --dist loadfile)
for interpreter in "${interpreters[@]}"; do
    python_suite "$interpreter" "${at_once[@]}"
done
module_suite "${interpreters[@]}"
# On the newest alone: what they are about, drivers and other projects' applications, is the same on each.
python_suite "${interpreters[0]}" tests/services tests/applications
python_suite "${interpreters[0]}" tests/instruments "${at_once[@]}"
python_suite "${interpreters[0]}" tests/page
# What releases of FastAPI do otherwise they do on each. The oldest differs most; `test.sh releases` runs the others, too.
python_suite "${interpreters[0]}" tests/releases -k "oldest and not newest"
