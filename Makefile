# One command per intent. `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS ?= 6
BENCH   ?= all
NATIVE := hatch_build.py ares_otel/storage/rows/native_sources.py $(wildcard ares_otel/storage/rows/pyx/*.p*)

# Tests start hundreds of interpreters: what one of them has compiled is kept for the others, whatever is set outside.
export PYTHONDONTWRITEBYTECODE :=

SAY_ENCODER = $(BIN)/python -c 'from ares_otel.storage.rows.implementation import active; print(active().sentence)'

.DEFAULT_GOAL := help
.PHONY: help demo up native test test-faults test-all fuzz sanitize lint format docs proto programs check bench wheel clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

# Two stamps: what a user needs, and what the tests need on top of it.
$(VENV)/.installed: pyproject.toml
	@echo "Installing Ares OTel into $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ares OTel needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@# The pip that comes with Python 3.11 gives up while a release of OpenTelemetry is there for a part of its packages.
	-$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade pip
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e .
	@touch $(VENV)/.native $@
	@$(SAY_ENCODER)

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need (once) ..."
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@

# A third: the native row encoder, in place; pip brings what builds it. Without a C compiler nothing is built. The first
# install has built it already.
$(VENV)/.native: $(NATIVE) | $(VENV)/.installed
	@if [ ! -e $@ ] || [ -n "$$(find $(NATIVE) -newer $@)" ]; then \
	    echo "Building the native row encoder, whose sources changed ..."; \
	    $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps -e . && touch $@ && $(SAY_ENCODER); \
	fi

native: $(VENV)/.installed-dev ## Build the native row encoder alone, and say why when that fails
	$(BIN)/python hatch_build.py
	@touch $(VENV)/.native

demo: $(VENV)/.native ## Start everything with a small shop that sends real traffic
	$(BIN)/ares-otel up --demo

up: $(VENV)/.native ## Start Ares
	$(BIN)/ares-otel up

test: $(VENV)/.installed-dev $(VENV)/.native ## Run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-faults: $(VENV)/.installed-dev $(VENV)/.native ## Run the whole fault suite, print its table (FAULTS=--write-fault-table: also into docs/reliability.md)
	$(BIN)/python -m pytest tests/faults -n $(WORKERS) --dist worksteal -m 'long_faults or not long_faults' $(FAULTS)

test-all: ## Run all tests on Python 3.11, 3.12 and 3.13
	for version in 3.11 3.12 3.13; do $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; done

fuzz: $(VENV)/.installed-dev $(VENV)/.native ## Compare the two row encoders over damaged requests (SECONDS=300, SEED=…)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

sanitize: $(VENV)/.installed-dev ## Run the encoder's tests and the fuzzer with address and undefined behaviour sanitizers
	$(BIN)/python -m tests.fuzz.sanitized --seconds $(or $(SECONDS),60)

lint: $(VENV)/.installed-dev ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev ## Write the generated reference pages and Grafana's dashboards
	$(BIN)/python -m tests.support.reference
	$(BIN)/python -m tests.support.pipeline_reference
	$(BIN)/python -m tests.support.testing_page
	$(BIN)/python -m tests.support.grafana

proto: $(VENV)/.installed-dev ## Write the modules that are generated from the .proto files
	$(BIN)/python -m tests.support.protos

programs: $(VENV)/.installed-dev ## Build the programs in Go that tests talk to, into ~/.cache/ares-otel-tests; the tests do it otherwise
	GOFLAGS=-p=$$(getconf _NPROCESSORS_ONLN) $(BIN)/python -m tests.support.programs

check: lint test ## What CI runs

bench: $(VENV)/.native ## Each benchmark small, a few minutes; BENCH="ingest --help" for one of them
	$(BIN)/ares-otel bench $(BENCH)

wheel: $(VENV)/.installed-dev ## Build the wheel
	$(BIN)/python -m build --wheel

clean: ## Remove what was built
	rm -rf $(VENV) .venv-3.1* build dist ares_otel/storage/rows/_native*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
