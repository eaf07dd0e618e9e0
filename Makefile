# From a bare clone with Python 3.11 or newer: `make demo`, `make test`. `make help` lists the rest.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

IS_NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p $(IS_NEW_ENOUGH) 2> /dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python -m
# Stamps: set-up is repeated when the declared dependencies change, not at every call.
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
DOCS := $(VENV)/.docs-installed
comma := ,
# `$(call install,what)`: pip, with one line for each file it fetches.
install = set -o pipefail; $(RUN) pip install --progress-bar off --disable-pip-version-check -c constraints.txt -e "$(1)" \
	| awk '/Downloading|Using cached|^Processing|^Installing|^Success/ { print "  " substr($$0, 1, 110); fflush() }'

CLASSIC := $(VENV)/.classic-installed

.PHONY: help setup demo test test-classic test-gym-matrix check static lint types layers format bench classic-results results docs clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(DEV)  ## Make .venv with everything that development needs (PYTHON=... chooses the interpreter).

# `make demo ENV=CountsFront-MO-v0`: the same comparison elsewhere; the default keeps the plain folder runs/demo.
ENV ?= ToolCall-MO-v0
DEMO := demo$(if $(filter-out ToolCall-MO-v0,$(ENV)),-$(ENV))
# A dialogue costs several times a response, and its evaluation more than its training.
FEWER := $(if $(findstring MultiTurn,$(ENV)),--eval-problems 128 --eval-every 20)
demo: $(BASE)  ## Compare three weighters on ToolCall-MO-v0 (or ENV=...), 10 min on 2 cores, into runs/demo.
	$(VENV)/bin/llm-morl compare --env $(ENV) --arms gdpo:static gdpo:saw dvao --seeds 3 --steps 80 $(FEWER) --name $(DEMO)

test: $(DEV)  ## Run the tests, the doctests and the notebooks, on all processors.
	$(RUN) pytest --numprocesses auto --dist worksteal

# pycddlib, which morl-baselines needs, is built from source against GMP. Without its headers or a compiler the tests of
# Stable-Baselines3 run alone; with them a missing extra is a failure.
HAS_GMP := $(shell printf '\043include <gmp.h>\n' | $(or $(CC),cc) -E -x c - > /dev/null 2>&1 && echo yes)
NO_GMP := no gmp.h or no C compiler (Debian: libgmp-dev and gcc): without morl-baselines, Stable-Baselines3 alone
test-classic: $(DEV) $(if $(HAS_GMP),$(CLASSIC))  ## Run the tests of classic algorithms, with the extra classic where it can be built.
	$(if $(HAS_GMP),LLM_MORL_REQUIRE_CLASSIC=1 $(RUN) pytest --numprocesses auto --dist worksteal -m "classic or sb3" tests,@echo "$(NO_GMP)" && $(RUN) pytest -m sb3 tests)

check: static test test-classic  ## Everything that continuous integration runs.

static: lint types layers  ## Lint, types and layers, without the tests.

lint: $(DEV)
	$(RUN) ruff check
	$(RUN) ruff format --check

types: $(DEV)
	$(RUN) mypy

layers: $(DEV)
	$(VENV)/bin/lint-imports

format: $(DEV)  ## Format the code and strip the notebooks.
	$(RUN) ruff check --fix
	$(RUN) ruff format
	$(VENV)/bin/python notebooks/strip.py notebooks/*.ipynb

bench: $(DEV)  ## Run the benchmarks, one after the other.
	@for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python "$$script" || exit 1; done

classic-results: $(CLASSIC)  ## Run everything of docs/classic.md (about an hour of CPU time; resumes) and write the page.
	$(VENV)/bin/python docs/build_classic.py run
	$(VENV)/bin/python docs/build_classic.py export
	$(VENV)/bin/python docs/build_classic.py write

results: $(DEV)  ## Run every comparison of docs/results.md (hours; resumes after an interruption) and write the page.
	$(VENV)/bin/python docs/build_results.py run
	$(VENV)/bin/python benchmarks/weighters.py --csv docs/results/cost-of-weighters.csv
	$(VENV)/bin/python docs/build_results.py write

docs: $(DOCS)  ## Build the documentation into build/docs, links checked.
	$(RUN) mkdocs build --strict --quiet --site-dir build/docs
	$(VENV)/bin/python docs/build_api.py build/docs/api
	@echo "open build/docs/index.html"

clean:  ## Remove .venv, builds and caches; results in runs/ stay.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@"$(or $(PYTHON),false)" $(IS_NEW_ENOUGH) \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(BASE): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(call install,.)
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), with the tools of development (a few minutes the first time)"
	@$(call install,.[dev])
	@touch $(BASE) $@

test-gym-matrix: $(DEV)  ## Run the conformance tests on each supported release of Gymnasium.
	@for version in 1.2.3 1.3.0 1.4.0; do $(VENV)/bin/python tests/gymnasium_matrix.py $$version --numprocesses auto || exit 1; done

$(CLASSIC): $(DEV)
	@$(call install,.[dev$(comma)classic])
	@touch $@

$(DOCS): $(DEV)
	@$(call install,.[docs])
	@touch $@
