# One command per intent. `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS ?= 4
BENCH   ?= all

.DEFAULT_GOAL := help
.PHONY: help demo up test test-faults test-all lint format docs check bench wheel clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

# Two stamps: what a user needs, and what the tests need on top of it.
$(VENV)/.installed: pyproject.toml
	@echo "Installing Ares OTel into $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ares OTel needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need (once) ..."
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## Start everything with a small shop that sends real traffic
	$(BIN)/ares-otel up --demo

up: $(VENV)/.installed ## Start Ares
	$(BIN)/ares-otel up

test: $(VENV)/.installed-dev ## Run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-faults: $(VENV)/.installed-dev ## Run the whole fault suite, print its table (FAULTS=--write-fault-table: also into docs/reliability.md)
	$(BIN)/python -m pytest tests/faults -n $(WORKERS) --dist worksteal -m 'long_faults or not long_faults' $(FAULTS)

test-all: ## Run all tests on Python 3.11, 3.12 and 3.13
	for version in 3.11 3.12 3.13; do $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; done

lint: $(VENV)/.installed-dev ## Style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev ## Write the generated reference pages
	$(BIN)/python -m tests.support.reference
	$(BIN)/python -m tests.support.pipeline_reference

check: lint test ## What CI runs

bench: $(VENV)/.installed ## Each benchmark small, a few minutes; BENCH="ingest --help" for one of them
	$(BIN)/ares-otel bench $(BENCH)

wheel: $(VENV)/.installed-dev ## Build the wheel
	$(BIN)/python -m build --wheel

clean: ## Remove what was built
	rm -rf $(VENV) .venv-3.1* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
