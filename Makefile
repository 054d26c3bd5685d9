# Lexline's commands. `make demo` and `make test` need only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TORCH := torch==2.13.0
# PyTorch's own index carries wheels without the gigabytes of CUDA packages; where it does not answer, the
# ordinary index serves the same release.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: env demo test lint clean

env: $(STAMP)

$(STAMP): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Lexline needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(BIN)/pip install --quiet --retries 0 --timeout 10 --index-url $(TORCH_CPU_INDEX) $(TORCH) 2>/dev/null \
	  || $(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	touch $@
