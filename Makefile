# make demo    everything on the embedded text, no network, a few minutes
# make test    lint and the tests; `make test-all` the long ones too and the demo in a fresh clone;
#              `make test-cluster` those that start a SLURM of two nodes here,
#              `make test-reliability` those that kill runs twenty times and fill disks
#              (both need root), `make test-s3` those that push to a local S3 server,
#              `make test-gpu` those that train on a GPU, `make test-browser` those that open
#              the pages in Debian's chromium
# make docs    the site of README and docs/, build/docs/index.html
# make paper   the paper's tables and figures from PTB and GloVe: hours on a CPU without the large
#              model, days with it, or about 25 minutes of a GPU for the large column
# make slice   as much of it as fits (GNU timeout): make slice MINUTES=20 TARGET=table1_large-20
# make plan    what `make paper` would compute, what is there already, and how long it takes;
#              of one target: make plan TARGET=table1_large-20 (Table 1's large column;
#              `table1_large` trains the same model for 55 epochs, which Table 1 does not show)
# make collect tables and figures from what `make paper` has measured so far, while it runs too
#              (another preset: make paper CONFIG=config/ablations.yaml; plan, slice, collect too)
# make clean   removes the demo's tables and figures; `make distclean` downloads, all runs and the
#              environment too

PYTHON ?= python3
CORES ?= all
CONFIG ?= config/paper.yaml
# More for Snakemake: OPTIONS="--resources gpu=6"
OPTIONS ?=
VENV := .venv
RUN := . $(VENV)/bin/activate &&
DEMO := --configfile config/demo.yaml

.PHONY: slice demo test test-all test-cluster test-reliability test-gpu test-s3 test-browser paper plan collect docs lint bench clean distclean

$(VENV)/.ready: requirements.lock pyproject.toml kdlab/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	cat workflow/activate.sh >> $(VENV)/bin/activate
	$(RUN) pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./kdlab
	touch $@

# Its results are nobody's to commit: their folder hides itself from git, as caches do.
demo: $(VENV)/.ready
	$(RUN) python -m kdlab.unlock
	mkdir -p results/demo && echo '*' > results/demo/.gitignore
	$(RUN) snakemake --cores $(CORES) --quiet host $(DEMO) -- all
	@echo "Open results/demo/report.html: tables, figures and claims on one page"

# Two workers, a file of tests to each at a time: a file's tests share finished projects.
test: lint
	$(RUN) pytest -n 2 --dist loadfile

test-all: test docs
	$(RUN) pytest -n 2 --dist loadfile -m slow
	copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && git clone --quiet . "$$copy" && \
		$(MAKE) -C "$$copy" demo

test-cluster: $(VENV)/.ready
	$(RUN) pytest -m cluster tests/test_cluster.py

test-reliability: $(VENV)/.ready
	$(RUN) pytest -m reliability tests/test_reliability.py

test-gpu: $(VENV)/.ready
	$(RUN) pytest -m gpu tests/test_gpu.py

test-s3: $(VENV)/.ready
	$(RUN) pip install --quiet --disable-pip-version-check -c requirements.lock -r requirements-s3.txt
	$(RUN) pytest -m s3 tests/test_s3.py

test-browser: docs
	$(RUN) pytest -m browser tests/test_browser.py

paper: $(VENV)/.ready
	$(RUN) python -m kdlab.unlock
	$(RUN) python workflow/scripts/plan.py --config $(CONFIG) --cores $(CORES)
	$(RUN) snakemake --cores $(CORES) $(OPTIONS) --configfile $(CONFIG) -- all

MINUTES ?= 60
TARGET ?= all
slice: $(VENV)/.ready
	$(RUN) python -m kdlab.unlock
	$(RUN) python workflow/scripts/plan.py --config $(CONFIG) --cores $(CORES) --target $(TARGET)
# timeout has a process group of its own, so that its signal reaches every job: Ctrl-C is passed on.
	$(RUN) { timeout $(MINUTES)m snakemake --cores $(CORES) $(OPTIONS) --configfile $(CONFIG) -- $(TARGET) & \
		trap "kill -TERM $$!" INT TERM; wait $$! || { rc=$$?; wait $$!; test $$rc -eq 124 \
		&& echo "The time is up: trainings have written checkpoints."; }; }
	$(RUN) python workflow/scripts/plan.py --config $(CONFIG) --cores $(CORES) --target $(TARGET)

plan: $(VENV)/.ready
	$(RUN) python workflow/scripts/plan.py --config $(CONFIG) --cores $(CORES) --target $(TARGET)

# Also beside a run that is going on, whose lock it leaves alone.
collect: $(VENV)/.ready
	$(RUN) beside=$$(python -m kdlab.unlock --beside) && \
		snakemake --cores $(CORES) $$beside --configfile $(CONFIG) -- data && \
		python workflow/scripts/publish.py --config $(CONFIG) && \
		snakemake --cores $(CORES) $$beside --configfile $(CONFIG) --config partial=true -- all

# Material for MkDocs speaks of its successor at each build.
docs: $(VENV)/.ready
	$(RUN) pip install --quiet --disable-pip-version-check -c requirements.lock -r requirements-docs.txt
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "Pages:   build/docs/index.html"

lint: $(VENV)/.ready
	$(RUN) ruff check . && ruff format --check . && snakefmt --check Snakefile rules
	$(RUN) mypy
	$(RUN) snakemake --lint

bench: $(VENV)/.ready
	$(RUN) python -m benchmarks.language_model && python -m benchmarks.code_learning && python -m benchmarks.lookup

clean:
	rm -rf results/demo
	rm -rf build kdlab/build .pytest_cache .hypothesis .mypy_cache .ruff_cache

distclean: clean
	rm -rf data/ptb runs .snakemake $(VENV)
