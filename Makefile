# Set-up included:  make demo   make test   make slow
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev,root,simulate
PIP := $(BIN)/python -m pip --disable-pip-version-check --timeout 30 --retries 5
OUT ?= demo
LOWEST ?= tests/commands/test_likelihood.py tests/events tests/inference/test_questions.py tests/pages tests/report tests/scoring tests/workspace
JOBS ?= 2
comma := ,
READY := $(VENV)/.ready-$(subst $(comma),-,$(EXTRAS))

.PHONY: demo test style types tests slow coverage lowest studies lint format site notebooks wheel setup clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile --editable '.[$(EXTRAS)]'
	touch $@

demo: setup  ## the main job on the packaged example
	$(BIN)/bumpfit demo -o $(OUT)

lint: style types

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: style  ## lint, types and the fast tests; types beside the tests: they take a minute of one core
	$(MAKE) --no-print-directory -j 2 types tests

tests: setup
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m 'not slow and not statistics'

slow: setup  ## whole runs, the commands of the documents, kills, and the statistical experiments in a reduced form
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m 'slow or statistics'

coverage: setup  ## which lines of the source the fast tests run: coverage/index.html; what numba compiles is not seen
	$(PIP) install --quiet pytest-cov
	$(BIN)/pytest -n $(JOBS) -m 'not slow and not statistics' --cov=bumpfit --cov-report=term --cov-report=html:coverage

lowest:  ## unit tests with the lowest versions that pyproject.toml promises, which use what their own dependencies deprecate
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) tests/lowest_versions.py root > $(VENV)-lowest/requirements.txt
	$(VENV)-lowest/bin/python -m pip install --quiet -r $(VENV)-lowest/requirements.txt pytest pytest-timeout hypothesis tables --editable .
	$(VENV)-lowest/bin/python -m pytest -W default -m 'not slow and not statistics' $(LOWEST)

studies: setup  ## the statistical experiments at full size, as the documentation quotes them: hours
	BUMPFIT_STUDIES=1 $(BIN)/pytest -m statistics --timeout 0
	BUMPFIT_STUDIES=1 $(BIN)/pytest tests/inference/test_hostile_models.py tests/events/test_foreign_files.py --timeout 0
	BUMPFIT_FUZZ=500 $(BIN)/pytest tests/fuzz

site: setup  ## the documentation as a site, broken links being errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: setup  ## run all notebooks and keep what they show: some minutes
	$(PIP) install --quiet '.[notebooks]'
	$(BIN)/python notebooks/execute.py

wheel: setup  ## archive and wheel in dist, checked; then the demo from the wheel alone in an environment of its own
	$(PIP) install --quiet --editable '.[release]'
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m check_wheel_contents dist/*.whl
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet dist/*.whl
	cd $(VENV)-wheel && bin/bumpfit demo -o demo

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-wheel dist coverage .coverage $(OUT)
