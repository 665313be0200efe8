#!/usr/bin/env bash
# The Autobahn suite against a release build, see tests/autobahn/.
set -euo pipefail
cd "$(dirname "$0")/.."
interpreter=$(python3 scripts/pythons.py --best)
venv=.venvs/autobahn
[ -x $venv/bin/python ] || "$interpreter" -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check .
exec $venv/bin/python tests/autobahn/run.py "$@"
