# Caravan. `make` alone lists the targets.
# PYTHON=python3.12 picks another interpreter; CARAVAN_CACHE (~/.cache/caravan) keeps wheels and tools between runs.
PYTHON ?= python3
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup check test prove bench demo serve openapi backends clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv, for development: everything in requirements/dev.txt
	@scripts/venv.sh .venv requirements/dev.txt

clean: ## remove what make made here (.venv*, build output, caches of tools; not CARAVAN_CACHE)
	rm -rf .venv .venv-run build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find caravan services bench scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
