# Lexline's commands. `make demo` and `make test` need only Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
WHEELS := $(VENV)/wheels
TORCH := torch==2.13.0
# PyTorch's own index has wheels without the gigabytes of CUDA packages. If it cannot be reached, pip takes the same
# release from its default index.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# Do not compile all modules now: most are never imported. Python compiles a module at its first import and keeps the
# result, so do not let the environment forbid that: compiling PyTorch's modules takes as long as importing them.
INSTALL := $(BIN)/pip install -qq --no-compile
unexport PYTHONDONTWRITEBYTECODE
export SAM_CLI_TELEMETRY := 0

CLIENTS := .venv-clients
CLIENTS_STAMP := $(CLIENTS)/.ready
CLIENTS_INSTALL := $(CLIENTS)/bin/pip install -qq --no-compile --no-deps

.PHONY: env demo notebook test test-verification test-browser test-clients verify-aws bench lint generate clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

env: $(STAMP) $(WHEELS) ## create the one environment, .venv, with every dependency pinned

# An environment keeps the Python that created it. Whoever names another one has to know.
.PHONY: same-python
same-python:
	@$(if $(filter file,$(origin PYTHON)),,$(PYTHON) scripts/check_python.py $(VENV))

# Two pips at once install the packages that constraints.txt lists, in half the time. The next pip checks that every
# requirement is installed, and installs what is missing.
$(STAMP): requirements.txt constraints.txt pyproject.toml | same-python
	@$(PYTHON) scripts/check_python.py
	@echo "Creating the environment in $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(INSTALL) --retries 0 --timeout 10 --index-url $(TORCH_CPU_INDEX) $(TORCH) 2>/dev/null \
	  || $(INSTALL) $(TORCH)
	@grep == constraints.txt | xargs -P 2 -n 55 $(INSTALL) --no-deps || true
	@$(INSTALL) -r requirements.txt -c constraints.txt
	@$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $@

# `lexline up` on the local cloud installs the functions' packages from here, so it needs no internet.
$(WHEELS): functions/dependencies/requirements.txt $(STAMP)
	@$(BIN)/pip download -qq --no-deps --only-binary=:all: --platform manylinux2014_$$(uname -m) --dest $@ -r $<
	@touch $@

# The clients that people use: the SageMaker SDK, JupyterLab and the AWS CLI. The SDK's botocore is newer than MiniStack's,
# so they have an environment of their own. The programs in it import localcloud.session from here.
$(CLIENTS_STAMP): notebooks/requirements.txt tests/clients/sdk-v2.txt
	@$(PYTHON) scripts/check_python.py
	@echo "Creating the clients' environment in $(CLIENTS) (a minute the first time)"
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@grep == notebooks/requirements.txt | xargs -P 2 -n 70 $(CLIENTS_INSTALL)
	@$(CLIENTS_INSTALL) --upgrade --target $(CLIENTS)/sdk-v2 -r tests/clients/sdk-v2.txt
	@echo "$(CURDIR)" > $$($(CLIENTS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lexline.pth
	@touch $@

notebook: env $(CLIENTS_STAMP) ## open the walkthrough with the SageMaker SDK, on your deployment (PROFILE=name for AWS)
	@variables="$$($(BIN)/lexline env $(if $(PROFILE),--profile "$(PROFILE)"))" && eval "$$variables" \
	  && exec $(CLIENTS)/bin/jupyter lab notebooks/word_language_model.ipynb

demo: env ## run the whole pipeline on this machine, and clean up (DATA=path: your own text; PLAYGROUND=1: end in the web page)
	@PLAYGROUND="$(PLAYGROUND)" PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh $(if $(DATA),"$(DATA)")

# Three processes keep two cores busy, because each waits for a part of its time.
test: env ## run every test that is not slow: unit, integration, faults, end to end
	$(BIN)/pytest tests/unit tests/integration tests/faults tests/e2e -m "not slow" \
	  --numprocesses 3 --dist loadfile --no-loadscope-reorder

# The tests marked as slow, and the random sequences of faults again, more of them than in `make test`. HOSTING_PYTHON=path
# also tests the PyTorch of the hosting image.
test-verification: env ## run the slow tests: documented commands, `make verify-aws` on two local clouds, a small account, kills
	$(BIN)/pytest tests/verification tests/integration tests/faults tests/e2e -m slow --numprocesses 2 --dist loadfile

# Chromium comes from Debian's packages, if this user may install them. Without it, the tests are skipped.
test-browser: env ## use the playground in Chromium (SCREENSHOTS=folder for pictures of every view)
	@scripts/install_chromium.sh
	@$(INSTALL) -r tests/browser/requirements.txt -c constraints.txt
	$(BIN)/pytest tests/browser

# Both processes have a local cloud and a stack of their own, and mostly wait for them.
test-clients: env $(CLIENTS_STAMP) ## run the notebook, the SageMaker SDK 3 and 2, and the AWS CLI against a local cloud
	$(BIN)/pytest tests/clients --numprocesses 2 --dist loadfile --no-loadscope-reorder

verify-aws: env ## compare AWS with the local cloud in your account, and delete everything afterwards (PROFILE=name)
	@test -n "$(PROFILE)" || { echo "Give your AWS profile: make verify-aws PROFILE=name" >&2; exit 2; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/verify_aws.py --profile "$(PROFILE)" --output build/verify-aws.json

bench: $(STAMP) ## compare training and generation with a plain PyTorch loop, in 75 minutes (QUICK=1: a part, in 3; DATA=path)
	@$(BIN)/python -m benchmarks.bench $(if $(filter-out 0,$(QUICK)),--quick) $(if $(DATA),--data "$(DATA)")

# Unit tests fail while a generated file is out of date.
generate: $(STAMP) ## write the state machine's JSON, the OpenAPI document, and the image mappings of template.yaml
	$(BIN)/python scripts/write_state_machine.py
	$(BIN)/python scripts/write_image_mappings.py
	$(BIN)/python scripts/write_openapi.py

lint: $(STAMP) ## check style, types and the template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy functions model_scripts localcloud lexline
	PATH="$(CURDIR)/$(BIN):$$PATH" sam validate --lint --region us-east-1

clean: ## delete what builds leave behind, but not the environment
	rm -rf .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis build
