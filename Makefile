# Two commands do everything: `make demo` (the main job) and `make test`.
# Needs Python 3.11+ and make; the rest comes through the lock files.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
# uv installs the same locks in a fraction of pip's time; it is itself pinned and comes through pip.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode
PURE := not engine and not world and not kubernetes and not cluster and not soak
QUICK := $(PURE) and not simulation and not supply and not vulnerabilities
ENGINE := (engine or kubernetes) and not world and not soak
DATABASES := tests/instance tests/contracts/test_database.py tests/examples
HISTORIES := $(patsubst %,tests/instance/test_%.py,lined_up namesakes orphan_files orphans replication)
ENGINES := tests/adapters tests/world
COMMANDS := tests/cli
DECISIONS := tests/core tests/agent/machine tests/instance
DRILLS := tests/drill
# For how long `make test` sends the agents through simulated disasters; `make check` does for 30 s.
SIMULATION_S ?= 200
EXPLORE ?= 40
# For how long a world is left alone before everything in it is judged to be as it was.
SOAK_S ?= 1200

.PHONY: demo test test-beside test-simulated test-simulated-first test-rest coverage test-services test-databases test-histories test-instances soak endurance prepare clusters check lint types unit unit-engines unit-commands unit-drills unit-rest simulation swarm explore \
	docs figure lock sbom dist audit clean

demo: .venv/.runtime
	@$(BIN)/leeward demo -f examples/payments

# Everything that can run on this machine. What cannot is named at the end, and how to enable it.
# The soak mostly waits: what starts no database and no world runs beside it, and what does runs afterwards.
test: .venv/.dev
	LEEWARD_SOAK_S=$(SOAK_S) $(BIN)/python -m tests.soak.beside \
		$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-beside
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line test-databases
	$(BIN)/python -m pytest -m "world or cluster"

# Two jobs: simulated worlds, and then engines other than databases; and all else, once what it needs is built.
test-beside: test-simulated-first test-rest

test-simulated-first: test-simulated prepare
	@$(MAKE) --no-print-directory test-services

test-simulated: lint types
	LEEWARD_SIMULATION_S=$(SIMULATION_S) $(BIN)/python -m pytest -m "$(PURE)" tests/sim

test-rest: prepare coverage
	$(BIN)/python -m pytest -m "$(PURE)" tests --ignore tests/sim $(patsubst %,--ignore=%,$(DECISIONS))

# What decides: every branch of it, but for 5 %, is taken by its own tests (pyproject.toml, tool.coverage).
coverage: .venv/.dev
	$(BIN)/python -m pytest -m "$(PURE)" $(DECISIONS) --cov --cov-report=term:skip-covered

# An idle world for an hour: make soak SOAK_S=3600. It fails over at the end.
soak: .venv/.dev
	LEEWARD_SOAK_S=$(SOAK_S) $(BIN)/python -m pytest -s -m "soak and not endurance" tests/soak

# A world under load with a fault a minute, for two hours: make endurance SOAK_S=7200. No part of `make test`.
endurance: .venv/.dev
	LEEWARD_SOAK_S=$(SOAK_S) $(BIN)/python -m pytest -s -m endurance tests/soak

# Real API server, upstream definitions and kustomize, built once into the cache where Go is to be had, and promtool
# from Debian's package; the tests that need them say at the end how to get them otherwise.
prepare: .venv/.dev
	-@$(BIN)/python -m tests.kubernetes.prepare
	-@$(BIN)/python -m tests.compile.kustomize.prepare
	-@$(BIN)/python -m tests.compile.promtool.prepare
	-@$(MAKE) --no-print-directory clusters

# What real clusters with nodes consist of: Kubernetes and etcd by Go modules, containerd and the like from Debian's packages.
clusters: .venv/.dev
	@$(BIN)/python -m tests.clusters.prepare

# Databases wait more than they work: two jobs, whose ports differ.
test-databases: test-histories test-instances

test-histories: .venv/.dev
	LEEWARD_PORTS_FROM=20000 $(BIN)/python -m pytest -m "$(ENGINE)" $(HISTORIES)

test-instances: .venv/.dev
	LEEWARD_PORTS_FROM=23000 $(BIN)/python -m pytest -m "$(ENGINE)" $(DATABASES) $(patsubst %,--ignore=%,$(HISTORIES))

test-services: prepare
	$(BIN)/python -m pytest -m "$(ENGINE)" tests $(patsubst %,--ignore=%,$(DATABASES))

# The quick loop: lint, types, unit tests and a short simulation, in less than 90 s.
check: .venv/.dev
	@$(MAKE) --no-print-directory --jobs=5 --output-sync lint types unit simulation

lint: .venv/.dev
	$(BIN)/ruff check src tests examples benchmarks tools
	$(BIN)/ruff format --check src tests examples benchmarks tools
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

# Simulated disasters by the million, on every core: make swarm SEEDS=1000000, or HOURS=8, or both. Interrupted, the same
# command goes on where it was (STATE); make swarm REPLAY='SEED FAULT/PHASE' tells the story of one world.
swarm: .venv/.dev
	@$(BIN)/python -m tests.sim.long_run $(if $(REPLAY),--replay $(REPLAY),$(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(HOURS),--hours $(HOURS)) $(if $(JOBS),--jobs $(JOBS)) --state $(or $(STATE),swarm.json))

# Every interleaving of a small fleet, 40 times as far as `make test` looks; prints what was found, scene by scene.
explore: .venv/.dev
	LEEWARD_EXPLORE=$(EXPLORE) $(BIN)/python -m pytest -q -m simulation tests/sim/test_explore.py

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

DIST ?= dist
VERSION = $(shell $(BIN)/python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

# The documentation as a site, in site/: every link and anchor is checked, and it loads nothing from elsewhere.
docs: .venv/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html; with search: $(PYTHON) -m http.server --directory site"

# The figure of a region loss, from five measured runs: docs/images/failover.json is the report, failover.svg shows it.
figure: .venv/.dev
	$(BIN)/leeward drill region-loss --region us-east-1 --runs 5 -f examples/payments -o json > docs/images/failover.json
	$(BIN)/python tools/failover_figure.py docs/images/failover.json docs/images/failover.svg

# What Leeward consists of, as requirements.lock pins it: CycloneDX 1.6, every package with the hashes of the files that
# may be installed. The same lock gives the same bytes.
sbom: .venv/.dev
	@mkdir -p $(DIST)
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --spec-version 1.6 --output-format JSON --output-file $(DIST)/leeward-$(VERSION).cdx.json
	@echo $(DIST)/leeward-$(VERSION).cdx.json

# What a release consists of: wheel, source, SBOM, and their SHA-256, signed with an SSH key: make dist SIGNING_KEY=FILE.
# SECURITY.md says how that is verified.
dist: sbom
	@$(BIN)/python -m hatchling build --target sdist --target wheel --directory $(DIST) >&2
	@cd $(DIST) && rm -f SHA256SUMS.sig && sha256sum leeward-$(VERSION)* > SHA256SUMS && cat SHA256SUMS
	$(if $(SIGNING_KEY),@ssh-keygen -Y sign -f $(SIGNING_KEY) -n leeward-release $(DIST)/SHA256SUMS)

# Known vulnerabilities of everything that the lock files pin. It asks a service on the network, and so does `make test`
# where one can be reached; PIP_AUDIT_VULNERABILITY_SERVICE=osv asks another one.
audit: .venv/.dev
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements-dev.lock
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements-installer.lock

clean:
	rm -rf site .coverage .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
