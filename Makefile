# The tasks of this repository; `make` lists them. GNU make, Python 3.11+ and pip are all they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help
help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-11s %s\n", $$1, $$2 }'

# Each stamp stands for one set of installed packages and is renewed when pyproject.toml changes.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "error: no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PIP) install --upgrade 'pip>=25.1'

$(VENV)/.stamp-runtime: pyproject.toml | $(BIN)/python
	@echo "Installing abstractcore and what it needs (downloads about 15 MB)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-test: pyproject.toml $(VENV)/.stamp-runtime
	@echo "Installing the test tools (downloads about 15 MB)"
	@$(PIP) install --group test
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-test
	@echo "Installing the lint and build tools (downloads about 30 MB)"
	@$(PIP) install --group dev
	@touch $@

.PHONY: setup
setup: $(VENV)/.stamp-dev ## Create .venv with everything for development

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
