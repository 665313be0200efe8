# make help
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON = $(shell python3 scripts/pythons.py --best)

.PHONY: help demo test lint bench autobahn upstream pictures clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: .venvs/demo/installed  ## build, then serve the kitchen example and print its address
	.venvs/demo/bin/overdrive kitchen.main:app --app-dir examples $(DEMO_OPTIONS)

.venvs/demo/installed: pyproject.toml Cargo.lock $(shell find crates python -name '*.rs' -o -name '*.py' -o -name Cargo.toml)
	@echo "==> building overdrive with optimizations; the first time takes a few minutes"
	$(PYTHON) -m venv .venvs/demo
	.venvs/demo/bin/python -m pip install --disable-pip-version-check '.[standard]' -r examples/requirements.txt
	touch $@

test:  ## build and run every test, on every Python from 3.11 up that is found
	scripts/test.sh

lint:  ## formatting, clippy, ruff and mypy
	scripts/lint.sh

bench:  ## every peer side by side: tables, ratios and a chart in bench/results/
	$(PYTHON) bench/run.py $(BENCH_OPTIONS)

autobahn:  ## the WebSocket server cases of the Autobahn test suite (needs a Python 2.7)
	scripts/autobahn.sh

upstream:  ## FastAPI's and Starlette's own test suites through the engine, test by test against stock
	$(PYTHON) tests/upstream/run.py $(UPSTREAM_OPTIONS)

pictures:  ## the docs' pictures of the inspect page, taken in Chromium
	scripts/test.sh page -k pictures --screenshots docs/images

clean:  ## remove what was built
	rm -rf target .venvs bench/.venv bench/.venvs autobahn-report python/overdrive/*.so
