# The two commands a newcomer needs: `make demo` and `make test`. Both set up a virtual environment of their own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test check format clean

help:
	@echo "make demo    learn cartpole-swingup from nothing and show what was learned"
	@echo "make test    run the tests with branch coverage"
	@echo "make check   formatting, lint and types"
	@echo "make format  apply the formatting"
	@echo "make clean   remove the virtual environment and caches"

demo: $(STAMP)
	$(BIN)/drift-wm demo

# Tests run in as many processes as there are cores, each with one thread.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term --cov-fail-under=90

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage

# Set up once, and again when the dependencies change.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
