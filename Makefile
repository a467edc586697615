# Needs make and Python 3.11 or newer, nothing else: everything goes into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
BIN := .venv/bin
STAMP := .venv/.installed
BASE := .venv/.installed-base
# Processes that the tests run in; 0 for one that a debugger can follow. Twice the cores: many tests wait for processes.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2))))
# A process that has nothing left takes tests of another: the slow ones do not all lie in one.
BALANCE := $(if $(filter 0,$(WORKERS)),,--dist worksteal)

# Else each of the many processes that the tests start compiles the whole program anew.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
# The machine's own certificates where it has any: behind a company's proxy no others will do.
export UV_SYSTEM_CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),1,0)

# The first Python that runs and is new enough; PYTHON=… overrides. A shim that only prints an error is passed over.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

SYNC = test -w "$${HOME:-/}" || export UV_NO_CACHE=1; $(BIN)/uv sync --frozen --quiet --inexact --python $(BIN)/python

help: ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# An environment whose Python is gone, as after an update of the system, is made anew.
$(shell test -x $(BIN)/python || rm -f $(STAMP) $(BASE))

venv: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml uv.lock | $(BASE)
	@$(SYNC)
	@touch $(STAMP)

# What a user installs, without extras and development tools: enough for the demo, and the start of everything else.
$(BASE): pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "caravan needs Python 3.11 or newer with venv; set PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv --clear; }
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
	@$(SYNC) --no-dev
	@touch $(BASE)

demo: $(BASE) ## Run the main job on two simulated hosts, in under a minute
	@$(BIN)/caravan demo

test: $(STAMP) ## Run the tests, on a real Redis and a real PostgreSQL brought up for them
	$(BIN)/python -m pytest -n $(WORKERS) $(BALANCE) $(ARGS)

test-faults: $(STAMP) ## Provoke every fault of docs/explanation/reliability.md
	$(BIN)/python -m pytest -n $(WORKERS) $(BALANCE) -m fault $(ARGS)

test-all: $(STAMP) ## Run every test there is, the slow ones too
	$(BIN)/python -m pytest -n $(WORKERS) $(BALANCE) -m "thorough or not thorough" $(ARGS)

coverage: $(STAMP) ## Run the tests and show which lines they reach, in processes that they start too
	$(BIN)/python -m pytest -n $(WORKERS) $(BALANCE) --cov --cov-report=term --cov-report=html $(ARGS)

lint: $(STAMP) ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## Everything that has to be green before a change lands

fmt: $(STAMP) ## Format and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## Measure how close to the shortest night it comes, simulated and in real processes
	$(BIN)/python -m benchmarks.scheduling --check
	$(BIN)/python -m benchmarks.nights --results --check

soak: $(STAMP) ## Break everything for four minutes under 5,000 jobs, then prove that none is lost or done twice
	$(BIN)/python -m benchmarks.soak $(ARGS)

mutants: $(STAMP) ## Take each predicate of the fence and of the tokens away once: the tests have to notice
	$(BIN)/python -m tests.mutants $(ARGS)

overhead: $(STAMP) ## Measure what the queue itself costs, beside a plain Celery worker and a bare loop
	$(BIN)/python -m benchmarks.overhead $(ARGS)
	$(BIN)/python -m benchmarks.startup

reference: $(STAMP) ## Write the generated pages and tables of docs/ anew, after a change of what they describe
	$(BIN)/python -m tests.repo.docs.tables

screens: $(STAMP) ## Record the screens of docs/ anew, after a change of what run, watch, status or explain show
	$(BIN)/uv run --no-sync --with pyte python -m benchmarks.screens

docs: $(STAMP) ## Build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.PHONY: help venv demo test test-faults test-all coverage lint check fmt bench soak mutants overhead reference screens docs
