# make demo   the main job: a real search on this machine, from nothing
# make check  lint, types, import contracts, and the tests that train nothing: in about 6 minutes
# make test   the same with all tests, which train, search, attack and are killed
# make ui     the Dagster UI on the history in .varve/
# make bench  what is fast and what is not, as tables

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# torch is pinned, and its CPU build is ten times smaller. Where pip has no index or links of its
# own, PyTorch's CPU index is asked too; TORCH_INDEX= switches that off, or names another one.
TORCH_INDEX ?= $(shell $(PYTHON) -m pip config list 2>/dev/null | grep -qE 'index-url|find-links' || echo https://download.pytorch.org/whl/cpu)
EXTRA_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.DEFAULT_GOAL := help
.PHONY: help demo check test ui bench lint install clean

help:
	@sed -n '1,5s/^# //p' Makefile

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Varve needs Python 3.11 or newer, found $$($(PYTHON) --version); say make PYTHON=python3.x"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "cannot make $(VENV); on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV); this takes a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
	    --constraint requirements.lock $(EXTRA_INDEX) --editable '.[cpu,models,dev]'
	@touch $@

install: $(READY)

demo: $(READY)
	@$(BIN)/varve search demo

ui: $(READY)
	@$(BIN)/varve ui

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

check: $(READY) lint
	@$(BIN)/pytest -n 2 --dist loadfile -m 'not trains and not daemon'

test: $(READY) lint
	@$(BIN)/pytest -n 2 --dist loadfile

bench: $(READY)
	@$(BIN)/python tests/bench_search.py
	@$(BIN)/python tests/bench_epochs.py
	@$(BIN)/python tests/bench_lake.py
	@$(BIN)/python tests/bench_launchers.py
	@$(BIN)/python tests/bench_sandbox.py
	@$(BIN)/python tests/bench_ladder.py
	@$(BIN)/python -m tests.bench_models
	@PYTHONPATH=.:tests $(BIN)/python tests/bench_patching.py
	@PYTHONPATH=.:tests $(BIN)/python tests/estimate_prices.py

clean:
	rm -rf $(VENV)
