# What the project does, one word each; works from a clean clone with Python 3.11 or newer and a package index.

VENV := .venv
PY := $(VENV)/bin/python
# The first of these that is there and new enough; a venv may only be missing, so ask for that too.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python,$(if $(shell \
	$(p) -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) and print(1)' 2>/dev/null),$(p))))
ARGS ?=
# Tests run in two processes of one thread each: most are too small for two threads to help. Files are begun in
# the order of tests/conftest.py, and not by how many tests they have.
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help run test check gpu-test truth chaos fuzz soak ranks lint docs dist bench study clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## analyse network no1 on CIFAR-10 (ARGS="--samples 1000 …" adds options)
	$(PY) -m streamspread run --layers all $(ARGS)

test: $(VENV)/.installed ## all tests that this machine can run
	$(ONE_THREAD) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

CHECKED := $(addprefix tests/,test_imports.py results store streams datasets observe planner reports/test_tables.py \
	accumulators/test_contract.py accumulators/test_merging.py linalg/test_panels.py linalg/test_eigenvalues.py \
	api/test_directions.py engine/test_overflow.py cli/test_main.py cli/test_show.py)

check: $(VENV)/.installed ## ruff, mypy and the tests that find most in the least time, in under a minute
	@$(MAKE) --no-print-directory lint
	$(ONE_THREAD) $(PY) -m pytest -q -n 2 --dist loadfile $(CHECKED) $(ARGS)

gpu-test: $(VENV)/.installed ## the tests that need an NVIDIA GPU
	$(PY) -m pytest -m gpu $(ARGS)

truth: $(VENV)/.installed ## 100,000 generated cases against references (ARGS="--count 2000 --seed 7")
	$(PY) -m benchmarks.truth $(ARGS)

chaos: $(VENV)/.installed ## runs killed 100 times and resumed to the same bits (ARGS="--kills 20 --seed 7 --case gram")
	$(PY) -m tests.chaos $(ARGS)

fuzz: $(VENV)/.installed ## 5,000 malformed inputs by group (ARGS="--count 500 --seed 7 --group weights")
	$(PY) -m tests.fuzz $(ARGS)

soak: $(VENV)/.installed ## 1,000 analyses in one process: memory, files, threads and hooks flat
	$(PY) -m tests.soak $(ARGS)

ranks: $(VENV)/.installed ## several processes against one, on real layers: the same, and faster (ARGS="--data parquet:PATH")
	$(PY) -m tests.real_ranks $(ARGS)
	$(PY) -m benchmarks.ranks $(ARGS)

lint: $(VENV)/.installed ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(VENV)/.installed ## the documentation as a web site: docs/_build/html/index.html
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html $(ARGS)

dist: $(VENV)/.installed ## source distribution and wheel: built, checked, and tried in an environment of their own
	$(PY) -m release.check $(ARGS)

BENCHMARKS := against_float64 against_sklearn against_pca full_spectrum against_incremental_pca sketch_on_real_layers beyond_the_sample wide_layers growth cpu_limit gpu_limit ranks

bench: $(VENV)/.installed ## every benchmark (ARGS="--data parquet:PATH"); results go to benchmarks/results
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(PY) -m benchmarks.$$name $(ARGS); done

study: $(VENV)/.installed ## the article in docs/study again (ARGS="--data parquet:PATH"); without ARGS its figures and text
	$(PY) -m docs.study.make $(ARGS)

clean: ## remove the environment and all caches
	rm -rf $(VENV) build dist docs/_build docs/gallery .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# CuPy comes in one package per CUDA release: where PyTorch has a GPU, take the one for PyTorch's.
$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer with venv found: install one, or give PYTHON=…" >&2; exit 2; }
	@echo "setting up $(VENV) (minutes the first time: PyTorch is large)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@cuda=$$($(PY) -c 'import torch; print(torch.version.cuda.split(".")[0] if torch.cuda.is_available() else "")'); \
	test -z "$$cuda" || $(PY) -m pip install --quiet --disable-pip-version-check -e ".[cuda$$cuda]"
	@$(PY) -c 'from streamspread.engine.loading import load_all; load_all()'
	@touch $@
