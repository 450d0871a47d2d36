# Each target does its own set-up: it only needs Python 3.11 or newer, git and make.
PYTHON ?= python3
# Not `?=`: a variable of the environment would have `make clean` delete an environment of yours.
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
USABLE = $(VENV)/.usable
READY = $(VENV)/.ready
DBT = .venv-dbt/.ready

PEERS ?= floor,floor_tail,script,rest_api,rest_api_plain
SCENARIO ?= all
REPEATS ?= 3

.PHONY: help demo test test-quick airflow golden docs screenshots bench lint lock build wheel-test clean
.DEFAULT_GOAL := help

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# What the demo needs, in the versions of the lock; all that tests and tools need is three times as much.
$(USABLE): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --constraint requirements.lock --editable ".[analysis]"
	@touch $@

$(READY): $(USABLE) | $(DBT)
	$(PIP) --requirement requirements.lock
	@touch $@

# dbt cannot be installed beside the rest: see the file of requirements.
$(DBT): tests/dbt/requirements.txt
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

demo: $(USABLE) ## A tour: load sample data into DuckDB over real HTTP, and show what is found in it
	$(BIN)/komos demo

test: $(READY) ## Run the whole test suite, two processes more than cores
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

test-quick: $(READY) ## Run the tests of less than 1.5 s that need no browser, server or scheduler
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

bench: $(READY) ## Measure loads beside what else could be used (PEERS=all SCENARIO=bulk)
	$(BIN)/python -m benchmarks.run --peers $(PEERS) --scenario $(SCENARIO) --repeats $(REPEATS)

airflow: ## Try the Airflow DAG in Airflow's standalone mode (installs some 160 packages)
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check ".[airflow]"
	.venv-airflow/bin/python tests/airflow_standalone.py

golden: $(READY) ## Rewrite what is generated in docs/, the dbt package and the queries' texts in all dialects
	$(BIN)/python -m pytest tests/analytics/test_golden.py tests/test_tables.py tests/test_reference.py tests/dbt/test_files.py --rewrite-golden

docs: $(READY) ## Build the documentation as a site, in site/
	$(BIN)/zensical build --strict
	cp docs/llms.txt site/

screenshots: $(READY) ## Take the pictures in docs/images from the demo, with a real browser and terminal
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python docs/images/make.py

lint: $(READY) ## Check style, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock: ## Pin all dependencies anew in requirements.lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet pip-tools
	.venv-lock/bin/pip-compile --quiet --extra dev --strip-extras --unsafe-package komos-source --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

build: $(READY) ## Build the wheel and the source distribution
	$(BIN)/python -m build

wheel-test: ## Install the wheel in a clean environment, and run the demo there
	rm -rf .venv-wheel && $(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[analysis]"
	cd .venv-wheel && bin/komos-source demo --fast

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-lock .venv-wheel .venv-airflow .venv-dbt .venv-singer .venv-airbyte dist .pytest_cache .mypy_cache .ruff_cache .hypothesis site
	if [ -f komos-demo/.komos-demo ]; then rm -rf komos-demo; fi  # only what the demo made
