# Two commands do everything: `make demo` (the main job) and `make test`.
# Needs Python 3.11+ and make; the rest comes through the lock files.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
# uv installs the same locks in a fraction of pip's time; it is itself pinned and comes through pip.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode
QUICK := not engine and not world and not kubernetes and not simulation
ENGINES := tests/adapters tests/world
COMMANDS := tests/cli
DRILLS := tests/drill
# For how long `make test` sends the agents through simulated disasters; `make check` does for 30 s.
SIMULATION_S ?= 300

.PHONY: demo test prepare check lint types unit unit-engines unit-commands unit-drills unit-rest simulation lock clean

demo: .venv/.runtime
	@$(BIN)/leeward demo examples/payments

# Everything that can run on this machine. What cannot is named at the end, and how to enable it.
test: lint types prepare
	LEEWARD_SIMULATION_S=$(SIMULATION_S) $(BIN)/python -m pytest

# Real API server, upstream definitions and kustomize, built once into the cache where Go is to be had, and promtool
# from Debian's package; the tests that need them say at the end how to get them otherwise.
prepare: .venv/.dev
	-@$(BIN)/python -m tests.kubernetes.prepare
	-@$(BIN)/python -m tests.compile.kustomize.prepare
	-@$(BIN)/python -m tests.compile.promtool.prepare

# The quick loop: lint, types, unit tests and a short simulation, in less than 90 s.
check: .venv/.dev
	@$(MAKE) --no-print-directory --jobs=5 --output-sync lint types unit simulation

lint: .venv/.dev
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/lint-imports

types: .venv/.dev
	$(BIN)/mypy

# In parts, which wait more than they work: `make check` runs them beside each other.
unit: unit-engines unit-commands unit-drills unit-rest

unit-engines: .venv/.dev
	$(BIN)/python -m pytest -q -m "$(QUICK)" $(ENGINES)

unit-commands: .venv/.dev
	$(BIN)/python -m pytest -q -m "$(QUICK)" $(COMMANDS)

unit-drills: .venv/.dev
	$(BIN)/python -m pytest -q -m "$(QUICK)" $(DRILLS)

unit-rest: .venv/.dev
	$(BIN)/python -m pytest -q -m "$(QUICK)" tests $(patsubst %,--ignore=%,$(ENGINES) $(COMMANDS) $(DRILLS))

simulation: .venv/.dev
	LEEWARD_SIMULATION_S=30 $(BIN)/python -m pytest -q -m simulation tests/sim/test_swarm.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error[python-too-old]: Leeward needs Python 3.11 or newer; fix: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "error[no-venv]: $(PYTHON) cannot make a virtual environment; fix: install its venv module (Debian: python3-venv)" >&2; exit 2; }

# One environment serves both; the developer's lock is a superset, pinned alike.
.venv/.runtime: requirements.lock requirements-installer.lock pyproject.toml | .venv/bin/python
	@echo "installing what the lock file pins (about 100 MB the first time)" >&2
	@$(PIP) --require-hashes -r requirements-installer.lock
	@$(UV) --require-hashes -r requirements.lock
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@$(UV) --require-hashes -r requirements-dev.lock
	@touch $@

LOCK := uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --extra world --extra build
lock:
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group pyproject.toml:dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
