# Two commands: `make lab` opens the course, `make test` checks it. Both make their own environment.

VENV ?= .venv
PYTHON ?=
ARGS ?=
export VENV PYTHON

RUN := $(VENV)/bin/python
# One thread in each of the test runner's processes, and one on any machine: the same last digits.
QUIET := OMP_NUM_THREADS=1
# A kernel that does not answer is a failure with a name, not a run without an end.
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg \
	--nbval-cell-timeout=600

.DEFAULT_GOAL := help
.PHONY: help lab test site notebooks check-notebooks lint steady pictures links bench-course bench-monitor bench-picture bench-sweep bench-slider ci clean

help:  ## show this list
	@echo "make lab     open the course in JupyterLab (in gradcourse-notebooks/, a copy of your own)"
	@echo "make test    run the tests, notebooks included"
	@echo
	@echo "For authors:"
	@echo "make notebooks        execute notebooks/source/*.py into notebooks/*.ipynb"
	@echo "make check-notebooks  say whether the two agree"
	@echo "make lint             ruff and mypy"
	@echo "make pictures         renew the README's pictures of the lessons, and their words"
	@echo "make links            stamp badges and links from pyproject.toml (ARGS=--check: only compare)"
	@echo "make steady           the notebooks' tests fifty times over; says how many runs failed"
	@echo "make site             the course as pages without a kernel, in site/ (half an hour; ARGS=api: seconds)"
	@echo "make bench-course     imports, the first picture, each lesson's time and memory, the install"
	@echo "make bench-sweep      a profile and a phase diagram, beside loop, vmap and NumPy"
	@echo "make bench-picture    what drawing and encoding a picture costs in the kernel"
	@echo "make bench-monitor    what watching and clipping gradients costs, beside torch's clip"
	@echo "make bench-slider     from key press to picture in a browser, beside the usual ways"
	@echo "make ci               everything that the continuous integration runs"
	@echo "make clean            remove the environment and caches; your notebooks stay"
	@echo
	@echo "PYTHON=python3.12 chooses the Python, VENV=folder the environment, ARGS='...' adds options,"
	@echo "as in: make lab ARGS='--port 8900 --no-browser'   make test ARGS='tests/cli -x'"

lab:
	@tools/environment.sh test
	@$(RUN) -m gradcourse lab $(ARGS)

test:
	@tools/environment.sh test
	@$(QUIET) $(RUN) -m pytest -n 2 --dist loadfile $(NBVAL) $(ARGS)

notebooks:
	@tools/environment.sh test
	@$(RUN) tools/build_notebooks.py $(ARGS)

check-notebooks:
	@tools/environment.sh test
	@$(RUN) tools/build_notebooks.py --check $(ARGS)

lint:
	@tools/environment.sh dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

steady:
	@tools/environment.sh test
	@$(QUIET) $(RUN) tools/repeat_tests.py -n 2 --dist loadfile $(ARGS)

pictures:
	@tools/environment.sh dev
	@$(QUIET) $(RUN) -m tools.lesson_pictures $(ARGS)

links:
	@tools/environment.sh dev
	@$(RUN) -m tools.stamp_links $(ARGS)

site:
	@tools/environment.sh dev
	@$(QUIET) $(RUN) -m tools.build_site $(ARGS)

bench-course:
	@tools/environment.sh dev
	@$(RUN) -m benchmarks.course $(ARGS)

bench-picture:
	@tools/environment.sh test
	@$(QUIET) $(RUN) -m benchmarks.picture $(ARGS)

bench-sweep:
	@tools/environment.sh test
	@$(RUN) -m benchmarks.sweep $(ARGS)

bench-monitor:
	@tools/environment.sh test
	@$(QUIET) $(RUN) -m benchmarks.monitor $(ARGS)

bench-slider:
	@tools/environment.sh bench
	@$(QUIET) $(RUN) -m benchmarks.slider $(ARGS)

ci:
	@bash .ci/run

clean:
	@if [ -f "$(VENV)/.made-by-make" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find gradcourse tests tools notebooks -name __pycache__ -prune -exec rm -rf {} +
