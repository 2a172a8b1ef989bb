# The tasks of this repository; `make` lists them. GNU make, Python 3.11 or newer and its pip are all they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

BENCHES ?= clients streams gateway gateway_faults gateway_memory cancel verifier

VLLM_SIZE = First run only: downloads vLLM for the CPU, about 1 GB, 3.4 GB on disk in ~/.cache/abstractcore, kept there.
DOCKER_SIZE = Needs a Docker daemon; as root on Debian it installs and starts one (65 MB) and stops it again.
BROWSER_SIZE = Drives the Chromium of this machine; as root on Debian it installs one (125 MB). Playwright is 55 MB, in .venv.
LIVE_SIZE = First run only: the live tests get torch, MLX, llama.cpp and SDKs, about 450 MB, 1.5 GB on disk, kept there too.

.PHONY: help setup demo test test-unit test-live test-container test-browser
.PHONY: bench soak fuzz lint audit format check build clean

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-14s %s\n", $$1, $$2 }'
	@echo
	@echo "demo, test, test-live, test-container, test-browser: $(VLLM_SIZE)"
	@echo "test, test-live: $(LIVE_SIZE)"
	@echo "test-container: $(DOCKER_SIZE)"
	@echo "test-browser: $(BROWSER_SIZE)"

setup: $(VENV)/.stamp-dev ## Make .venv with all that development needs (downloads about 67 MB)

demo: $(VENV)/.stamp-runtime ## Start a real vLLM on this machine and ask it (about 1 GB the first time, see below)
	@echo "$(VLLM_SIZE)"
	$(BIN)/abstractcore demo

test: test-unit test-live ## Run the fast tests, then those against a real vLLM (see below)

test-unit: $(VENV)/.stamp-test ## Run the fast tests; they use no network and no server
	$(BIN)/pytest -n auto --dist loadfile tests/unit tests/docs

test-live: $(VENV)/.stamp-test ## Run the tests against a real vLLM on the CPU (see below)
	@echo "$(VLLM_SIZE)"
	@echo "$(LIVE_SIZE)"
	python=$$($(BIN)/python scripts/live_env.py) && PYTHONPATH=$(CURDIR)/src "$$python" -m pytest tests/live

test-container: $(VENV)/.stamp-test ## Run the tests in real containers (see below)
	@echo "$(VLLM_SIZE)"
	@echo "$(DOCKER_SIZE)"
	$(BIN)/pytest tests/container

test-browser: $(VENV)/.stamp-browser ## Run the tests of the pages in a real Chromium (see below)
	@echo "$(VLLM_SIZE)"
	@echo "$(BROWSER_SIZE)"
	$(BIN)/pytest tests/browser

bench: $(VENV)/.stamp-test ## Measure clients and gateway beside others (BENCH=--short is quicker; needs cc, gets the others from PyPI)
	for name in $(BENCHES); do echo "== bench/$$name.py"; $(BIN)/python "bench/$$name.py" $(BENCH); done

soak: $(VENV)/.stamp-test ## Have a client live through answers, faults and cancels for half an hour: does anything pile up?
	$(BIN)/python bench/soak.py $(BENCH)

fuzz: $(VENV)/.stamp-test ## Give every reader of bytes from outside 100,000 inputs made to break it (FUZZ="--minutes 10" is quicker)
	$(BIN)/python bench/fuzz.py $(FUZZ)

lint: $(VENV)/.stamp-dev ## Check style, types, layers and Dockerfiles, and look for secrets
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint docker/*/Dockerfile tests/container/*/Dockerfile
	$(BIN)/python scripts/scan_secrets.py

audit: $(VENV)/.stamp-audit ## Look up known vulnerabilities of the packages in .venv (asks PyPI: needs the network)
	$(BIN)/python scripts/audit.py

format: $(VENV)/.stamp-dev ## Mend style, as far as a tool can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint test ## Run lint, and all tests that need no container

build: $(VENV)/.stamp-dev ## Build the wheel and the source archive into dist/
	rm -rf dist
	$(BIN)/python -m build

clean: ## Remove .venv, dist and caches from this folder; ~/.cache/abstractcore stays
	rm -rf $(VENV) dist build .screenshots .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for a set of installed packages and is made anew when pyproject.toml changes.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is missing or older than 3.11" >&2; \
		echo "try:   make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "error: $(PYTHON) has no venv module" >&2; \
		echo "try:   apt install python3-venv    (Debian, Ubuntu)" >&2; exit 1; }

$(VENV)/.stamp-runtime: pyproject.toml | $(BIN)/python
	@echo "Installing pip and abstractcore (downloads about 12 MB)"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-test: pyproject.toml $(VENV)/.stamp-runtime
	@echo "Installing the test tools (downloads about 11 MB)"
	@$(PIP) install --group test
	@touch $@

$(VENV)/.stamp-browser: pyproject.toml $(VENV)/.stamp-test
	@echo "Installing Playwright (downloads about 55 MB)"
	@$(PIP) install --group browser
	@touch $@

$(VENV)/.stamp-audit: pyproject.toml $(VENV)/.stamp-dev
	@echo "Installing pip-audit (downloads about 7 MB)"
	@$(PIP) install --group audit
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-test
	@echo "Installing the lint and build tools (downloads about 44 MB)"
	@$(PIP) install --group dev
	@touch $@
