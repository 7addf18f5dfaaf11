# Needs Python 3.11 or newer and make, nothing else. Everything is installed into .venv; `make clean` removes it.
# On Windows, where there is no make, the pip lines in the README do what `make lab` does.

PYTHON       ?= python3
# not for students
TORCH        ?= torch==2.13.0
TRANSFORMERS ?= transformers==5.23.0
NOTEBOOKS    ?= notebooks/*.ipynb
UV           ?= uv
# for students again

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab update clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# JupyterLab refuses to serve root unless told. Without a display there is no browser to open: it prints its address.
AS_ROOT    = $(if $(filter 0,$(shell id -u)),--allow-root)
NO_BROWSER = $(if $(filter Darwin,$(shell uname))$(DISPLAY)$(WAYLAND_DISPLAY),,--no-browser)
# In Lab's terminals and cells, commands are those of .venv: roofline-kit, pip and python.
WITH_VENV  = PATH="$(CURDIR)/.venv/bin:$$PATH"

lab: .venv/lab  ## open the course in JupyterLab
	$(WITH_VENV) jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(AS_ROOT) $(NO_BROWSER)

update: .venv/lab  ## bring the course's corrections, and keep what you wrote
	@.venv/bin/roofline-kit update

# not for students
.PHONY: site test torch test-torch notebooks lint javascript lock

site: .venv/site  ## make pages for reading alone, to be opened without a server or a network
	.venv/bin/python scripts/build_site.py build/site
	@echo "Open build/site/index.html"

# Four processes, for two cores: servers, clusters and clocks are waited for. tests/conftest.py says what is dealt to one of
# them together, and what begins first.
PYTEST = .venv/bin/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder --durations 40
HAS_TORCH = $(shell ls -d .venv/lib/python3*/site-packages/torch 2>/dev/null)

# tests/test_run_again.py runs the pages, twice in one kernel, and compares what they show with what is stored.
test: .venv/dev  ## run the unit tests, the examples in docstrings and the notebooks
	$(PYTEST) $(if $(HAS_TORCH),,-m "not torch") --nbval tests roofline_kit assignments

# Any build of PyTorch will do. On Linux, pip takes the CUDA build, several GB: to get the small one, put the address of
# PyTorch's CPU index into the environment variable PIP_EXTRA_INDEX_URL and ask for TORCH=torch==2.13.0+cpu.
torch: .venv/dev  ## install PyTorch and transformers: from then on, `make test` compares with them
	.venv/bin/python -m pip install --quiet "$(TORCH)" "$(TRANSFORMERS)"

test-torch: torch  ## run only the tests that compare with PyTorch and transformers
	$(PYTEST) -m torch tests

notebooks: .venv/dev  ## run all notebooks and store their outputs (or only NOTEBOOKS=...)
	.venv/bin/python scripts/execute_notebooks.py $(NOTEBOOKS)

lint: .venv/dev  ## check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@if test -x $(PRETTIER); then $(PRETTIER) --check $(JAVASCRIPT); \
	else echo "JavaScript is not checked: scripts/install_tools.sh installs its formatter." >&2; test -z "$$CI"; fi

# `make javascript` before a commit that changes it. Prettier takes its 100 columns from .prettierrc.json, as editors do.
PRETTIER   = .node/node_modules/.bin/prettier
JAVASCRIPT = 'roofline_kit/**/*.js' 'docs/_static/*.js'

javascript:  ## format the JavaScript of the explorers
	$(PRETTIER) --write $(JAVASCRIPT)

lock:  ## for maintainers: choose the newest versions anew (needs uv)
	$(UV) pip compile $(LOCK) requirements.in -o requirements.txt
	$(UV) pip compile $(LOCK) requirements-site.in -o requirements-site.txt
	$(UV) pip compile $(LOCK) requirements-dev.in -o requirements-dev.txt

# One version for every system and every Python from 3.11 on, so that a notebook says the same to everybody.
LOCK = --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
       --annotation-style line --custom-compile-command "make lock"

# for students again
clean:  ## remove .venv and everything that can be made again
	rm -rf .venv .node build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# What is installed is recorded by an empty file, newer than what it was installed from.
define INSTALL
@echo "Installing $< into .venv: a minute or two, only when it has changed."
@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
@touch $@
endef

.venv/lab: requirements.txt pyproject.toml | .venv/bin/python
	$(INSTALL)

# not for students
.venv/dev: requirements-dev.txt pyproject.toml | .venv/bin/python
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check "pip>=26" # older ones choose for twice as long
	$(INSTALL)

.venv/site: requirements-site.txt pyproject.toml | .venv/bin/python
	$(INSTALL)

# for students again
.venv/bin/python:
	@for python in "$(PYTHON)" python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -m venv --clear .venv || { rm -rf .venv; exit 1; }; \
	  exit 0; \
	done; \
	echo "The course needs Python 3.11 or newer: install it, or say where it is with PYTHON=/path/to/python3." >&2; exit 1
