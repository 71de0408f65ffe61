# make setup        install everything into .venv, at the versions of constraints.txt
# make demo         D24FAD beside PatchCore and PaDiM on drawn organs
# make test         all tests but the slow ones, in two processes (WORKERS=1 for one)
# make test-unit    those that start no anomalib process
# make test-slow    the slow ones: golden figures, full-size networks, tutorials
# make test-pythons the quick tests on each supported Python that uv finds, each in an environment of its own
# make fuzz         fresh broken files of all kinds for ten minutes (MINUTES=60 for more); what is found is kept
# make lint         ruff and mypy;   make format  lets ruff mend what it can
# make build        sdist and wheel, and the wheel without torch, in dist/; checked by twine and tried in empty environments
# make docs         the documentation site in site/;   make tutorials  executes and renders docs/tutorials first
# make clean        remove what the others made
#
# PYTHON=python3.12 make setup   picks the interpreter; VENV=... the place.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The start-up files are copied on installation, so a change to them installs again.
STARTUP := $(wildcard anomalib_fsad/startup/*)
# A file stays in one process, since its fixtures train networks; each process has a core to itself.
# A process that dies ends the run and is named: xdist would start another, and wait for it for ever.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --max-worker-restart 0

.PHONY: setup demo test test-unit test-slow test-pythons fuzz lint format build docs tutorials clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt $(STARTUP)
	@echo "Installing into $(VENV); torch brings about 3 GB of libraries, which takes some minutes the first time."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/anomalib-fsad demo

test: $(INSTALLED)
	$(TEST) -m "not slow"

test-unit: $(INSTALLED)
	$(TEST) -m "not slow and not cli" tests/unit anomalib_fsad

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

test-pythons: $(INSTALLED)
	$(BIN)/python -m tests.pythons --uv $(BIN)/uv

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The wheel is built from the sdist, so that the sdist is known to be whole.
build: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m build --no-isolation --wheel --outdir dist anomalib_fsad/deploy/distribution
	$(BIN)/twine check --strict dist/*
	DIST=dist $(BIN)/python -m pytest tests/integration/test_build.py

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorials: $(INSTALLED)
	$(BIN)/python -m tests.docs.tutorials

clean:
	rm -rf $(VENV) $(VENV)-3.* build dist site results runs
