# make demo: install and run the quickstart; make test: install and run the tests; make lint; make setup.
# PYTHON=python3.12 make setup   picks the interpreter; VENV=... the place.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The start-up files are copied on installation, so a change to them installs again.
STARTUP := $(wildcard anomalib_fsad/startup/*)

.PHONY: setup demo test test-unit test-slow lint format clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt $(STARTUP)
	@echo "Installing into $(VENV); torch brings about 3 GB of libraries, which takes some minutes the first time."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/anomalib train --config configs/quickstart.yaml

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow"

test-unit: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not cli" tests/unit anomalib_fsad

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist results runs
