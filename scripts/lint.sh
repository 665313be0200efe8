#!/usr/bin/env bash
# Formatting, clippy, ruff and mypy; changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
interpreter=$(python3 scripts/pythons.py --best)
venv=.venvs/lint
$venv/bin/python -c 'import fastapi' 2>/dev/null || { "$interpreter" -m venv $venv && $venv/bin/python -m pip install --quiet 'ruff==0.17.*' 'mypy==2.*' click fastapi==0.165.0 starlette==1.10.0 anyio==4.16.0; }
cargo fmt --all --check
PYO3_PYTHON=$interpreter cargo clippy --quiet --workspace --all-targets -- -D warnings
$venv/bin/ruff format --check .
$venv/bin/ruff check .
$venv/bin/mypy
