# Two commands set themselves up and run: `make demo` and `make test`.
VENV := .venv
PYTHON := $(VENV)/bin/python
DEMO := demo
RUN_IN_WINDOW := scripts/with-display

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts manifest pytest clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## Build the virtual environment and whatever it needs

$(VENV)/.ready: pyproject.toml napari.yaml scripts/setup
	scripts/setup $(VENV)
	@touch $@

demo: setup ## Made-up cohort, trained model, heat maps, report and screenshot in demo/
	$(RUN_IN_WINDOW) $(VENV)/bin/harm3 demo $(DEMO)

test: lint types contracts manifest pytest ## Everything that must hold

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup
	$(PYTHON) -m mypy

contracts: setup
	$(VENV)/bin/lint-imports

manifest: setup
	$(PYTHON) -m npe2 validate napari-harm3

pytest: setup
	$(PYTHON) -m pytest -m "not gui" -n 2
	$(RUN_IN_WINDOW) $(PYTHON) -m pytest -m gui -n 2

clean: ## Remove the environment and the demo
	rm -rf $(VENV) $(DEMO)
