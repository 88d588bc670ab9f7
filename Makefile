# make demo and make test need nothing but python3: they install into $(VENV) first.
# Choose another interpreter or place by, say, make test PYTHON=python3.12 VENV=/tmp/minisegnet

PYTHON ?= python3
VENV   ?= .venv
ROUNDS ?= 3

# `python -m` rather than $(VENV)/bin/pytest, whose first line is the venv's path and has a length limit.
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo demo-instances test lint bench kernels gpu notebooks clean
.NOTPARALLEL:

help:
	@echo "make demo      train a small U-Net on made-up shapes for a minute, save a picture of what it sees"
	@echo "make demo-instances  train a small Mask R-CNN on the same shapes for some minutes, save what it finds"
	@echo "make test      run the tests; those marked torch run only where PyTorch is installed"
	@echo "make lint      check style with ruff and types with mypy"
	@echo "make bench     run every benchmark, each writing its table"
	@echo "make kernels   compile the CUDA kernels without a GPU; registers and spills against kernels/registers.txt"
	@echo "make gpu       on an NVIDIA GPU: run the tests, look for rules broken, measure into results/cuda/"
	@echo "make notebooks  make the lessons' .ipynb files from their sources"
	@echo "make clean     remove .venv, builds and caches; keeps runs/"
	@echo
	@echo "PYTHON=$(PYTHON)  VENV=$(VENV)"

demo: $(VENV)/demo.stamp
	$(RUN) -m minisegnet demo

demo-instances: $(VENV)/demo.stamp
	$(RUN) -m minisegnet demo-instances

# As many processes as there are cores, so one thread of BLAS in each.
test: $(VENV)/test.stamp
	OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n auto

lint: $(VENV)/lint.stamp
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# All that needs no GPU, those beside PyTorch in ROUNDS rounds: hours at their own default of 15.
bench: $(VENV)/bench.stamp
	@set -e; for name in cpu_step cpu_operations cpu_pixels; do echo "== $$name"; $(RUN) benchmarks/$$name.py --rounds $(ROUNDS); done
	@set -e; for name in cpu_endurance emulator_speed import_time; do echo "== $$name"; $(RUN) benchmarks/$$name.py; done

kernels: $(VENV)/kernels.stamp
	$(RUN) -m minisegnet.cuda.registers

# Two processes: each holds memory of the GPU for itself. The benchmark compares with PyTorch where that sees the GPU:
# $(VENV)/bin/python -m pip install torch
gpu: $(VENV)/gpu.stamp
	$(RUN) -m minisegnet.cuda.device
	OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n 2
	$(RUN) tests/cuda/sanitize.py
	$(RUN) benchmarks/cuda_kernels.py --write

notebooks: $(VENV)/test.stamp
	$(RUN) notebooks/build.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is touched last, so that an interrupted install is taken up again, and setup.py is newer when it changed.

$(VENV)/venv.stamp:
	@command -v $(PYTHON) > /dev/null || { \
	    echo "minisegnet needs Python 3.10 or later, and there is no $(PYTHON) here: install it, or name another, make PYTHON=..."; \
	    exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "minisegnet needs Python 3.10 or later, and $(PYTHON) is $$($(PYTHON) -V 2>&1): name another, make PYTHON=python3.12"; \
	    exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	    echo "$(PYTHON) has no venv module: install it (on Debian and Ubuntu: sudo apt install python3-venv), or name another, make PYTHON=..."; \
	    exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/venv.stamp setup.py
	$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/venv.stamp setup.py
	$(PIP) --editable '.[test]'
	@touch $(VENV)/demo.stamp $@

$(VENV)/kernels.stamp: $(VENV)/venv.stamp setup.py
	$(PIP) --editable '.[kernels]'
	@touch $(VENV)/demo.stamp $@

# CuPy is built for one version of CUDA: the driver's, as nvidia-smi tells it.
$(VENV)/gpu.stamp: $(VENV)/venv.stamp setup.py
	@version=$$(nvidia-smi 2> /dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p'); \
	case "$$version" in \
	    12) extra=cuda12 ;; \
	    1[3-9]) extra=cuda13 ;; \
	    "") echo "make gpu needs an NVIDIA GPU, and nvidia-smi finds none here; make test runs the kernels without one"; exit 1 ;; \
	    *) echo "make gpu needs a driver for CUDA 12 or later, and nvidia-smi tells of $$version: install a later driver"; exit 1 ;; \
	esac >&2; \
	echo "$(PIP) --editable .[test,$$extra]"; \
	$(PIP) --editable ".[test,$$extra]"
	@touch $(VENV)/demo.stamp $(VENV)/test.stamp $@

$(VENV)/bench.stamp: $(VENV)/venv.stamp setup.py
	$(PIP) --editable '.[torch]'
	@touch $(VENV)/demo.stamp $@

$(VENV)/lint.stamp: $(VENV)/venv.stamp setup.py
	$(PIP) --editable '.[lint]'
	@touch $(VENV)/demo.stamp $@
