# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Most tests spend their time waiting for servers and leases: two workers per core halve the run.
TEST_WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes. Without bytecode files each of them would compile the code.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test bench bench-scaler bench-peers queues chaos charts servers libraries lint format package reference docs dashboard clean

help:  ## Show these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# What users run; the demo needs nothing that only tests use.
.venv/demo: pyproject.toml constraints.txt build_protocol.py scaler/keda/externalscaler.proto
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Triggerfish needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv ..."
	@$(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

.venv/dev: .venv/demo
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/demo  ## Run the main job on an embedded server and show it (KEEP=1 leaves it running)
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

servers: .venv/dev  ## Download the Redis and Valkey servers that the tests use
	@$(BIN)/python -m tests.servers.fetch

libraries: .venv/dev  ## Install the queue libraries that the tests use
	@$(BIN)/python -m benchmarks.queues.environments arq bullmq celery rq

test: servers libraries  ## Run all tests
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

bench: .venv/bench  ## Benchmark the function host against hand-written loops (OTHER=... also against another version)
	@$(BIN)/python -m benchmarks.host $(if $(FOLDER),--folder $(FOLDER)) $(if $(OTHER),--other $(OTHER))

.venv/bench: .venv/demo
	@$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@

bench-scaler: .venv/bench  ## Benchmark the scaler with up to 10,000 ScaledObjects, beside KEDA's own Redis scalers
	@$(BIN)/python -m benchmarks.scaler $(if $(SIZES),--sizes $(SIZES)) $(if $(FOLDER),--folder $(FOLDER))

bench-peers: .venv/bench  ## Benchmark against FastStream, Celery and others, each in a separate environment
	@$(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

queues: servers  ## Hold the scaler against the queues of other libraries (JOBS=30 LIBRARIES="celery rq" for less)
	@$(BIN)/python -m benchmarks.queues $(if $(JOBS),--jobs $(JOBS)) $(if $(LIBRARIES),--libraries "$(LIBRARIES)") \
		$(if $(FOLDER),--folder $(FOLDER))

chaos: .venv/dev  ## Inject random faults for minutes and verify that nothing is lost (SEED=... repeats a run's faults)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SCENARIO),--scenario $(SCENARIO)) \
		$(if $(RELEASE),--release $(RELEASE)) $(if $(ENTRIES),--entries $(ENTRIES))

charts: .venv/dev  ## Render the Helm chart for each values file in ci/, validate it, and check that mistakes are rejected
	@$(BIN)/python -m tests.charts

lint: .venv/dev  ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: .venv/dev  ## Generate docs/reference and the chart's README and schema from code
	@$(BIN)/python -m tests.docs
	@$(BIN)/python -m tests.charts.reference

docs: .venv/dev  ## Build the documentation site into site/, with warnings as errors (SERVE=1 serves it while you write)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(SERVE),serve,build --quiet --strict)

package: .venv/dev  ## Build the wheel, install it into empty environments, and run the demo from another folder
	@$(BIN)/python -m tests.packaging

dashboard: .venv/dev  ## Generate the chart's Grafana dashboard from code, and a picture of it (a minute)
	@$(BIN)/python -m charts.dashboard
	@$(BIN)/python -m tests.monitoring.picture docs/how-to/dashboard.png

clean:  ## Remove the environment and everything built
	rm -rf .venv .servers dist build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
