# Everything a fresh machine needs: Python 3.11 or newer, and this file. `make demo` and `make test` set up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check docs wheel examples format setup clean

demo: $(READY)
	$(BIN)/grasp demo --out out/demo

# One thread a process: two processes share two cores better than four threads do.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/pyright
	$(BIN)/python tests/snippets.py
	$(BIN)/python -m pytest -q tests/test_imports.py

# The documentation site, in out/site. A warning or a dead link is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The distributions, in out/dist, checked and installed into a new environment. They are built by the pinned hatchling.
wheel: $(READY)
	rm -rf out/dist
	$(BIN)/python -m build --no-isolation --outdir out/dist
	$(BIN)/python -m twine check --strict out/dist/*
	$(BIN)/python tests/distributions.py out/dist

# Every example at its small size; its output is compared with the output that its text shows.
examples: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/test_examples.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(READY)

# torch goes first and by its exact version, so that a CPU build at hand is taken and nothing larger is fetched.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .hypothesis
