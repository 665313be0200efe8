# make help
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON = $(shell python3 scripts/pythons.py --best)

.PHONY: help demo test soak clean-minute lint bench autobahn upstream upstream-all releases pictures clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venvs/demo/installed  ## build, then serve the kitchen example and print its address
	.venvs/demo/bin/overdrive kitchen.main:app --app-dir examples $(DEMO_OPTIONS)

.venvs/demo/installed: pyproject.toml Cargo.lock $(shell find crates python -name '*.rs' -o -name '*.py' -o -path '*/page/*' -o -name Cargo.toml)
	@echo "==> building overdrive with optimizations; the first time takes a few minutes"
	$(PYTHON) -m venv .venvs/demo
	.venvs/demo/bin/python -m pip install --disable-pip-version-check '.[standard]' -r examples/requirements.txt
	touch $@

test:  ## build and run every test, on every Python from 3.11 up that is found
	scripts/test.sh

soak:  ## ten minutes of mixed traffic, with PostgreSQL and Redis: memory, descriptors and references stay flat
	SOAK_SECONDS=$(or $(SOAK_SECONDS),600) scripts/test.sh services -s -k nothing_grows

clean-minute:  ## a minute each of a clean application under load, on a quiet and on a busy machine: the watch tells nothing
	CLEAN_SECONDS=$(or $(CLEAN_SECONDS),60) scripts/test.sh $(or $(VERSION),3.13) tests/watch/test_clean.py -s

lint:  ## formatting, clippy, ruff and mypy
	scripts/lint.sh

bench:  ## every peer side by side: tables, ratios and a chart in bench/results/
	$(PYTHON) bench/run.py $(BENCH_OPTIONS)

autobahn:  ## the WebSocket server cases of the Autobahn test suite (needs a Python 2.7)
	scripts/autobahn.sh

upstream:  ## FastAPI's and Starlette's own test suites through the engine, test by test against stock
	$(PYTHON) tests/upstream/run.py $(UPSTREAM_OPTIONS)

upstream-all:  ## the same for every release of FastAPI that differs to plans (hours)
	$(PYTHON) tests/upstream/every.py $(UPSTREAM_OPTIONS)

releases:  ## is there a release of FastAPI or what it stands on with functions that we do not know?
	python3 scripts/releases.py $(RELEASES_OPTIONS)

pictures:  ## the docs' pictures of the inspect page, taken in Chromium
	scripts/test.sh page -k pictures --screenshots docs/images

clean:  ## remove what was built
	rm -rf target .venvs bench/.venv bench/.venvs autobahn-report python/overdrive/*.so
