# make run        set up and run the receiver with its embedded defaults
# make gallery    the same with a server for each outcome
# make check      the everyday check: lint, types, layers, fast tests
# make test       everything: lint, types, layers, all tests
# make fuzz       more than ten million inputs for the parsers, and sessions against their model for longer
# make soak       serve for ten minutes (MINUTES=n) with faults injected: nothing lost, nothing grown
# make bench      the receiver beside other servers on the same work, and what README.md says of it (about 25 minutes)
# make reference  write the references of the configuration and the commands in README.md anew
#
# PYTHON names the Python of the virtual environment; without it the first of 3.11 to 3.13 is taken.

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: run gallery test check lint fast-tests all-tests fuzz soak bench packages reference format clean

run: $(VENV)/.run
	$(BIN)/smtpd-anontls serve --config config/receive.yaml

gallery: $(VENV)/.run
	$(BIN)/smtpd-anontls serve --config config/gallery.yaml

test: packages $(VENV)/.dev
	# What Kerberos needs is compiled meanwhile.
	./.ci/kerberos $(BIN)/python & compiling=$$!; $(MAKE) lint; code=$$?; wait $$compiling && exit $$code
	$(MAKE) all-tests

check: $(VENV)/.dev lint fast-tests

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast-tests: $(VENV)/.dev
	$(BIN)/pytest -n auto -m "not slow" --hypothesis-profile=quick

all-tests: $(VENV)/.dev
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n auto --cov --cov-report= $(PYTEST_ARGUMENTS)
	$(BIN)/coverage report --skip-covered --fail-under=90
	$(BIN)/coverage report --include='smtpd_anontls/domain/*,smtpd_anontls/protocol/*,smtpd_anontls/selection/*' \
	    --skip-covered --fail-under=100

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz all
	SESSION_MACHINE_EXAMPLES=500 $(BIN)/pytest tests/components/test_session_machine.py

soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10)

bench: packages $(VENV)/.dev
	$(BIN)/python -m bench --write

packages:
	./.ci/packages $(PYTHON)

reference: $(VENV)/.dev
	$(BIN)/python -m docs.reference
	$(BIN)/python -m docs.commands

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.*

$(VENV)/bin/python:
	python=$$(./.ci/python $(PYTHON)) && "$$python" -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.fuzz: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev,fuzz]'
	@touch $@ $(VENV)/.dev $(VENV)/.run
