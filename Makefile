# Everything lives in .venv, made from constraints.txt; only make and Python 3.11 or later are needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test check lint format data docs docs-serve clean browser

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
RECIPE ?= recipes/edge_json_135m.yaml
ARGS ?=
TEST_PROCESSES ?= 2
# What is imported is compiled once, whatever the environment says: the libraries take many times as long to compile as
# to load, and the tests start a hundred processes.
export PYTHONDONTWRITEBYTECODE :=

FIND_PYTHON = for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; exit 0; }; done

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## Train and measure the model of RECIPE; ARGS="--smoke" for a first look in about two minutes
	$(BIN)/slmbench run $(RECIPE) $(ARGS)

test: $(STAMP) browser ## Run every test, those on the real weights too; ARGS='-m "not real"' leaves them out
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

# The tests of pages drive a real Chromium, which only the system's own packages have.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Chromium, once" && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	echo "No Chromium: the tests of pages are left out. Install your system's package of it to run them." >&2

check: lint test ## Check format, lint and types, then run every test

lint: $(STAMP) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## Put the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: $(STAMP) ## Build the frozen data again, byte for byte
	$(BIN)/slmbench data build edge_json

docs: $(STAMP) ## Build the documentation site into site/docs; it opens from the disk
	$(BIN)/python benchmarks/commands_page.py --write docs/commands.md
	rm -rf site/docs
	$(BIN)/python -m zensical build --strict --clean

docs-serve: docs ## The same, then serve it at http://127.0.0.1:8000/, where its search works
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site/docs 8000

clean: ## Remove .venv and what the tools left; runs/ stays
	rm -rf $(VENV) build dist site/docs .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "slmbench needs Python 3.11 or later: install it, or name it with make PYTHON=/path/to/python3 ..." >&2; \
		exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$python: a few minutes, once"; \
	"$$python" -m venv $(VENV) || { echo "Python cannot make a virtual environment: install its venv package" >&2; exit 1; }
	@# Compiling all that is installed takes a minute; what is used is compiled when it is.
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile -c constraints.txt -e '.[dev]'
	@touch $@
