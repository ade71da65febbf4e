# Everything runs in .venv, made on first use; on a fresh machine python3.11, pip and make suffice.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OFFLINE := echo "pip could not install. Without the internet, name a mirror: PIP_INDEX_URL=https://… make …, \
	or a folder of wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=/path make …" >&2; exit 1
N ?= 100

.DEFAULT_GOAL := help
.PHONY: help setup demo test check tck dcp-tck interop serve bench bench-dataplane attack crash

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.dev .venv/.delta ## Make .venv with everything for development.

demo: .venv/.demo ## Run the life of a data product on four nodes of this machine.
	$(BIN)/yunhe demo

test: .venv/.dev .venv/.delta ## Run all tests.
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: .venv/.dev ## Format, lint, types, layers, tidy.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py

tck: .venv/.dev ## Run the official Dataspace Protocol kit (Java 17 and Maven needed).
	$(BIN)/python -m tck $(TCK)

dcp-tck: .venv/.dev ## Run the official Decentralized Claims Protocol kit (Java 17 and Maven needed).
	$(BIN)/python -m tck.dcp $(TCK)

interop: .venv/.dev ## Run both directions against Eclipse EDC (Java 17 and Maven needed).
	$(BIN)/python -m interop.edc $(INTEROP)

serve: .venv/.demo ## Run the node of node.toml (CONFIG=… for another).
	$(BIN)/yunhe serve $(or $(CONFIG),node.toml)

bench: .venv/.dev ## Measure against floors taken in the same run.
	$(BIN)/python -m benchmarks

bench-dataplane: .venv/.dev ## Measure the governed data plane (ONLY=tpch for one set of rows).
	$(BIN)/python -m benchmarks.dataplane $(if $(ONLY),--only $(ONLY))

attack: .venv/.dev ## Attack a node with the corpus; SABOTAGE=1 breaks the gate on purpose to prove it bites.
	$(BIN)/python tests/attack $(if $(SABOTAGE),--sabotage)

crash: .venv/.dev ## Kill nodes at random crash points N times (N=1000).
	YUNHE_CRASH_RUNS=$(N) YUNHE_CRASH_NEGOTIATIONS=$(or $(NEGOTIATIONS),200) $(BIN)/python -m pytest -q -p no:cacheprovider --timeout 0 -m crash

# A stamp file a set of extras: running again is fast, a changed dependency installs anew.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	  echo "Python 3.11 or newer is needed; found: $$($(PYTHON) --version 2>&1) ($(PYTHON))." >&2; \
	  echo "Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "no ensurepip here: making .venv without it, with this machine's pip"; \
	  $(PYTHON) -m venv --clear --without-pip .venv && \
	  $(PYTHON) -m pip --python .venv/bin/python install --quiet pip; }

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv (once; some 700 MB, a minute on a fast line) ..."
	@$(PIP) install -c constraints.txt -e '.[demo]' || { $(OFFLINE); }
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv everything for development (once; a few minutes) ..."
	@$(PIP) install -c constraints.txt -e '.[dev]' || { $(OFFLINE); }
	@touch .venv/.demo $@

# The stock Delta Sharing client pins older pandas and pyarrow than ours: an environment of its own.
.venv/.delta: .venv/bin/python interop/delta/requirements.txt
	$(PYTHON) -m venv .venv/delta || { \
	  $(PYTHON) -m venv --clear --without-pip .venv/delta && \
	  $(PYTHON) -m pip --python .venv/delta/bin/python install --quiet pip; }
	.venv/delta/bin/python -m pip --disable-pip-version-check --quiet install -r interop/delta/requirements.txt
	@touch $@
