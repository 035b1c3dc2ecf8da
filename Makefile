# `make quickstart` sets up .venv and runs the whole pipeline; `make test` sets up .venv and runs the tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help quickstart test e2e fuzz faults audit newest-optuna lint check docs format clean
.DEFAULT_GOAL := help

help:
	@echo "make quickstart   set up .venv, then train, profile, search and export on handwritten digits (minutes)"
	@echo "make test         set up .venv, then run all tests that take seconds"
	@echo "make e2e          the long tests: whole runs, a cluster on this machine and its failures, pages in a browser"
	@echo "make fuzz         10,000 wrong files: a result or one sentence (FUZZ=ci: some hundreds; PART=part1 ... part20)"
	@echo "make faults       runs of the real command, killed and hurt 100 times (HURTS, SEED)"
	@echo "make audit        known vulnerabilities of the pinned versions, and the licences of what is installed"
	@echo "make newest-optuna  the tests of samplers and of the study against the newest Optuna that pip finds"
	@echo "make check        lint and test, which must pass before a commit"
	@echo "make lint         ruff, mypy, import-linter, and the shape and words of the tree"
	@echo "make docs         build the site of docs/ into site/ (Python 3.11 or newer)"
	@echo "make format       rewrite what ruff can"
	@echo "make clean        remove .venv and caches (never runs/)"

.venv: $(STAMP)

# Rebuilt when its inputs change. A machine without Python's venv gets a sentence instead of a traceback.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed, but $(PYTHON) is " + sys.version.split()[0] + "; try: make PYTHON=python3.12") if sys.version_info < (3, 10) else None'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is needed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	rm -f $(STAMP)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/ffnet-search run sweeps/digits.yaml

# Two processes of one thread, each with whole files: their fixtures are made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(or $(PROCESSES),2) --dist loadfile

# The tests of the tree itself are lint's.
HOUSE := tests/test_house.py tests/test_places.py

test: $(STAMP)
	$(PYTEST) -m "not slow" $(addprefix --ignore ,$(HOUSE))

e2e: $(STAMP)
	$(PYTEST) -m slow
	$(PYTEST) --no-loadscope-reorder tests/e2e

# FUZZ names a profile of tests/fuzz/entry_points.py: full or ci.
fuzz: $(STAMP)
	FUZZ=$(or $(FUZZ),full) $(PYTEST:loadfile=load) -q tests/fuzz $(if $(PART),-k "$(PART)-")

faults: $(STAMP)
	$(BIN)/python tests/faults/hurts.py --hurts $(or $(HURTS),100) --seed $(or $(SEED),0) $(if $(KINDS),--kinds $(KINDS))

audit: $(STAMP)
	$(BIN)/python benchmarks/supply_chain.py

# Beside the pinned one: the tests see it first.
newest-optuna: $(STAMP)
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .venv/newest optuna
	PYTHONPATH=.venv/newest $(BIN)/python -c 'import optuna; print("Optuna", optuna.__version__)'
	PYTHONPATH=.venv/newest $(BIN)/python -m pytest -q tests/test_pareto_sampler*.py tests/test_surrogate.py \
		tests/test_optuna_sampler.py tests/contracts/test_samplers.py tests/test_trial_rows.py \
		tests/test_trial_reader.py tests/test_study.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q $(HOUSE)

check: lint test

docs: $(STAMP)
	@if [ -x $(BIN)/mkdocs ]; then NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict; \
	else echo "the site is not built: its tools need Python 3.11 or newer"; fi

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +
