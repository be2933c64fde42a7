# Two commands for a new user: `make demo` and `make test`. Everything else here serves them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all test-long zoo check lint types imports fuzz bench wheel docs clean help

help:
	@echo "make demo      four peers on this machine, from nothing to a trust matrix"
	@echo "make test      the test suite, but for long batteries: some minutes"
	@echo "make test-all  all of it: live demos of every scenario, peers killed again and again"
	@echo "make zoo       every family of language models through a peer's code: ten minutes, goes on where it stopped"
	@echo "make test-long memory and disk over ten thousand rounds: half an hour"
	@echo "make check     lint, types, import contracts"
	@echo "make fuzz      ten minutes of fuzzing for each decoder; FUZZ_SECONDS=10 for a short run"
	@echo "make bench     what the product takes, each figure beside its aim; ten minutes, with nothing else running"
	@echo "make wheel     build the wheel, install it in an empty environment and run it"
	@echo "make docs      the documentation as web pages, in build/docs"
	@echo "make clean     remove what the above made"

demo: $(VENV)/.ready
	@$(BIN)/gossipllm demo

# A file's tests stay in one process, which is what lets them share slow fixtures.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 10

test: $(VENV)/.ready-dev
	$(PYTEST) -m "not battery"

test-all: $(VENV)/.ready-dev
	$(PYTEST) --hypothesis-profile full

test-long: $(VENV)/.ready-dev
	LONG_TESTS=1 $(BIN)/python -m pytest -s tests/peers/run/test_memory.py

zoo: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/zoo/zoo.py

check: lint types imports

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	$(BIN)/basedpyright

imports: $(VENV)/.ready-dev
	$(BIN)/lint-imports

wheel: $(VENV)/.ready-dev
	$(BIN)/python tests/wheel_check.py

FUZZ_SECONDS ?= 600

fuzz: $(VENV)/.ready-dev
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/bench.py

# mkdocs-material prints twelve lines about its successor where this is not set.
docs: $(VENV)/.ready-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# One dependency of libp2p (fastecdsa) has no wheels: it is compiled here, against Python's and GMP's headers.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "gossipllm needs Python 3.11 or newer as $(PYTHON); name another with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@include=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	printf '#include <Python.h>\n#include <gmp.h>\nint main(void) { return 0; }\n' \
	  | $${CC:-cc} $$CFLAGS -I"$$include" -x c - $$LDFLAGS -lgmp -o /dev/null 2>/dev/null || { \
	  echo "a C compiler or the headers of Python or GMP are missing. Debian: apt install build-essential python3-dev libgmp-dev; Fedora: dnf install gcc python3-devel gmp-devel; macOS: xcode-select --install, brew install gmp, then export CFLAGS=-I\$$(brew --prefix)/include LDFLAGS=-L\$$(brew --prefix)/lib" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment. Debian: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.ready: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing gossipllm into $(VENV); the first time takes some minutes"
	@$(PIP) --editable .
	@touch $@

# libp2p brings trio-typing, whose stubs hide trio's own types from every checker.
$(VENV)/.ready-dev: $(VENV)/.ready
	@$(PIP) --editable '.[dev]'
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs $(VENV)/lib/python3*/site-packages/outcome-stubs
	@touch $@
