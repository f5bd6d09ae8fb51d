# make up     everything on this machine: environment, installation, start; then prints one address
# make test   all tests, in two processes        make test ARGS="tests/core -q" JOBS=0
# make lint   style, types, import rules
# make clean  removes what the above made (never the data folder)
#
# ARGS      further arguments: make up ARGS="--port 9000 --workers 2"
# TORCH     another torch than constraints.txt pins, when installing: make up TORCH=2.14.1
# PIP_ARGS  further arguments of pip install, such as an index of torch builds
# JOBS      processes that test, one thread each; 0 is one process with all threads
# PYTHON    the Python (3.11 or newer) that .venv is made with

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
ARGS ?=
JOBS ?= 2
PIP_ARGS ?=

BIN := .venv/bin
INSTALL = sed 's/^torch==.*/torch==$(TORCH)/' constraints.txt > .venv/constraints.txt && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .venv/constraints.txt $(PIP_ARGS)

.PHONY: up test lint clean
.DELETE_ON_ERROR:

up: .venv/.installed
	@exec $(BIN)/lossatlas up $(ARGS)

# Tests start Python hundreds of times, so they keep its bytecode even where PYTHONDONTWRITEBYTECODE is set.
test: .venv/.installed-dev
	@exec env -u PYTHONDONTWRITEBYTECODE $(if $(filter-out 0,$(JOBS)),OMP_NUM_THREADS=1) $(BIN)/python -m pytest $(if $(filter-out 0,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder) $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Loss Atlas needs Python 3.11 or newer; install it, or name it: make up PYTHON=/path/to/python" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	@echo "Installing Loss Atlas into .venv; the first time this takes some minutes."
	@$(INSTALL) -e .
	@touch $@

.venv/.installed-dev: .venv/.made pyproject.toml constraints.txt
	@echo "Installing Loss Atlas and its development tools into .venv; the first time this takes some minutes."
	@$(INSTALL) -e '.[dev]'
	@touch $@ .venv/.installed
