# Caravan. `make` alone lists the targets.
#
# PYTHON=python3.12 picks another interpreter (3.11 or newer). CARAVAN_CACHE (~/.cache/caravan) keeps wheels and tools.
# .venv has everything for development; .venv-run has only what the platform needs to run, for the demo and for serving.
PYTHON ?= python3
export PYTHON

DEV := .venv/bin/python
CHART := deploy/helm/caravan --values deploy/helm/caravan/ci/example-values.yaml
RUN := .venv-run/bin/python
# outside the checkout: the user `postgres` must reach it
BACKENDS := $(or $(TMPDIR),/tmp)/caravan-backends-$(shell pwd | cksum | cut -d ' ' -f 1)

.DEFAULT_GOAL := help
.PHONY: help setup check test prove bench bench-kubernetes demo demo-slurm demo-kubernetes demo-everywhere serve openapi backends clean runtime

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv for development, from requirements/dev.txt
	@scripts/venv.sh .venv requirements/dev.txt

runtime:
	@scripts/venv.sh .venv-run requirements/runtime.txt

check: setup ## format, lint, types, imports, openapi/, migrations, the chart
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check --output-format concise .
	$(DEV) -m mypy
	.venv/bin/lint-imports --no-logo
	$(DEV) -m scripts.openapi --check
	$(DEV) -m scripts.migrations --check
	$$($(DEV) -m scripts.tools helm) lint --strict --quiet $(CHART)
	$$($(DEV) -m scripts.tools helm) template caravan $(CHART) > /dev/null

test: setup ## the whole suite, on SQLite and PostgreSQL (as root it installs PostgreSQL; else CARAVAN_TEST_PG=<dsn>)
	$(DEV) -m pytest -n 4 $(ARGS)

prove: setup ## every claim with its figure; CASE=name for one; results in bench/results/
	$(DEV) -m bench.prove $(CASE)

bench: setup ## requests a second on this machine, and what the local backend costs (installs wrk as root)
	$(DEV) -m bench.bench

bench-kubernetes: setup ## how fast jobs come to a real Kubernetes beside a plain script, and what many cost, as root
	$(DEV) -m bench.prove kubernetes-rate

demo: runtime ## the story on this machine, in under 90 s after set-up; ARGS=--keep leaves it running
	@$(RUN) -m bench.demo $(ARGS)

demo-slurm: runtime ## the same story on a real Slurm, installed into the cache as root; ARGS="--slurm 22.05" for another release
	@$(RUN) -m bench.demo --slurm 24.11 $(ARGS)

demo-kubernetes: runtime ## the same story on a real Kubernetes, built into the cache from its Go modules, as root
	@$(RUN) -m bench.demo --kubernetes $(ARGS)

demo-everywhere: runtime ## the story on this machine, then a job on a real Slurm and a real Kubernetes, in one statement; as root
	@$(RUN) -m bench.demo --everywhere $(ARGS)

serve: runtime ## the platform on http://127.0.0.1:8000, its files in ./data
	CARAVAN_MODE=development CARAVAN_DATA_DIR=data .venv-run/bin/caravan serve

openapi: setup ## write openapi/*.json from the code
	$(DEV) -m scripts.openapi

backends: ## start PostgreSQL, Slurm (each release) and Kubernetes to develop against, and print how to reach them; `make clean` ends them
	@mkdir -p $(BACKENDS) && tests/backends/postgres/up.sh $(BACKENDS)/postgres
	@$(PYTHON) -m tests.backends.slurm up $(BACKENDS)/slurm
	@$(PYTHON) -m tests.backends.kubernetes up $(BACKENDS)/kubernetes

clean: ## remove what make made for this checkout (CARAVAN_CACHE, data/ and demo-out/ stay)
	tests/backends/postgres/down.sh $(BACKENDS)/postgres
	$(PYTHON) -m tests.backends.slurm down $(BACKENDS)/slurm
	$(PYTHON) -m tests.backends.kubernetes down $(BACKENDS)/kubernetes
	rm -rf .venv .venv-run $(BACKENDS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis .schemathesis
	find caravan services bench scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
