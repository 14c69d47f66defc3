# Every target sets up its own virtual environment when it is missing or the requirements changed.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help report test test-all lint lab bench calibration notebooks
help:
	@echo "make report       run the weekly pack on the demo product and print where the report is"
	@echo "make test         run the tests, each notebook once among them (about 5 minutes)"
	@echo "make test-all     run everything: simulations, integration tests and notebooks in every way"
	@echo "make lint         formatting, lint, types and the floors of the house"
	@echo "make lab          open the notebooks in JupyterLab"
	@echo "make bench        measure speed against peers in the same run"
	@echo "make calibration  simulate whether intervals and tests keep their promise, 2,000 data sets a line"
	@echo "make notebooks    re-execute the notebooks on the demo and keep only their findings"

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found. Name one with: make PYTHON=/path/to/python"; exit 2; }
	@echo "Setting up $(VENV) (about 3 minutes, once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check -r requirements.txt
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-deps -e .
	@$(RUN) -c "from mctlib import *"  # compiles the kernels, so that no report waits for them
	@touch $@

report: $(READY)
	@$(RUN) -m mctlib run params/weekly.yaml

test: $(READY)
	@$(RUN) -m pytest -n auto -m "not simulation and not integration"

test-all: $(READY)
	@$(RUN) -m pytest -n auto

lint: $(READY)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

lab: $(READY)
	@$(RUN) -m jupyterlab notebooks

bench: $(READY)
	@$(RUN) -c "import chdb, ChannelAttribution" >/dev/null 2>&1 || \
		$(RUN) -m pip install -qq --disable-pip-version-check -c requirements.txt -e ".[bench]"
	@$(RUN) -m tests.benchmarks --size $(or $(SIZE),10)

calibration: $(READY)
	@$(RUN) -m tests.calibration

notebooks: $(READY)
	@$(RUN) -m tests.refresh_notebooks
