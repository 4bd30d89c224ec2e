# The commands of a bare clone: `make demo`, `make test`, `make test-slow`, `make test-beam`. Everything is installed into .venv,
# but for the last.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test test-slow test-beam install clean

demo: $(VENV)/installed
	$(VENV)/bin/python -m experiments.benchmark --config=configs/benchmark/demo.py --workdir=runs/demo

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest -m slow --numprocesses auto --dist loadfile

# Beam wants a protobuf older than that of constraints.txt, so it has an environment of its own.
test-beam:
	$(PYTHON) -m venv $(VENV)-beam
	$(VENV)-beam/bin/python -m pip --disable-pip-version-check install --quiet --editable '.[beam]' pytest pytest-timeout
	$(VENV)-beam/bin/python -m pytest -m 'slow or not slow' tests/test_preprocessing_beam.py

install: $(VENV)/installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: faceflax needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python setup.cfg constraints.txt
	@echo "installing faceflax and its dependencies into $(VENV) (about a minute)"
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-beam runs
