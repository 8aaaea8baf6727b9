# Everything runs in .venv, which is made when it is missing or when what it is made from has changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test lint

setup: .venv/ready

# Only what is locked is installed. CUDA is for a torch that can't be imported without it; see lock/update.py.
LOCKED := pip install -q --no-deps --require-hashes --only-binary :all:
.venv/ready: pyproject.toml $(wildcard lock/*.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/$(LOCKED) --no-index -r lock/cpu.txt 2>/dev/null || true
	$(BIN)/$(LOCKED) -r lock/packages.txt
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/$(LOCKED) -r lock/cuda.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

# The studio's page: built by Node.
PAGE := src/ganvas/studio/page/index.html

$(PAGE): $(wildcard web/*.* web/src/* web/src/*/* results/*.json results/*.png)
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run build
	touch $@

.PHONY: page studio
page: $(PAGE)

# The page, and the runs of `make demo` in it.
studio: .venv/ready $(PAGE)
	$(BIN)/ganvas studio runs

# One thread each: the nets are tiny, and some tests start processes of their own. Those of the page need Node and Chromium.
test: .venv/ready $(if $(shell command -v npm),$(PAGE))
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: demo
demo: .venv/ready
	$(BIN)/ganvas train vae --data mnist

# The site, in build/docs; what would be a broken page is an error.
.PHONY: docs
docs: .venv/ready
	$(BIN)/python -m sphinx -q -W -c docs . build/docs

# The whole benchmark, beside its peers in an environment of their own; `make bench BENCH="dcgan --quick"` for a part.
.PHONY: bench
bench: .venv/ready benchmarks/.peers/ready
	$(BIN)/python benchmarks/run.py $(BENCH)

# Runs are killed, damaged, moved, starved of room: a minute; `make torture TORTURE=` for the two hours of docs/reliability.md.
TORTURE ?= --short
.PHONY: torture
torture: .venv/ready
	$(BIN)/python benchmarks/torture.py $(TORTURE)

benchmarks/.peers/ready: benchmarks/peers.txt
	$(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/pip install -q -r benchmarks/peers.txt
	touch $@

# The lock, from pyproject.toml: `make lock UPGRADE=1` takes the newest releases.
.PHONY: lock release audit
lock:
	$(PYTHON) -m venv .lock
	.lock/bin/pip install -q uv
	.lock/bin/python lock/update.py $(if $(UPGRADE),--upgrade)
	rm -r .lock

.release/ready: lock/release.txt
	$(PYTHON) -m venv .release
	.release/bin/$(LOCKED) -r lock/release.txt
	touch $@

# Wheel, source, and what they are made and tested with (CycloneDX): the Python packages, and what is built into the page.
release: .venv/ready $(PAGE) .release/ready
	rm -rf dist build
	.release/bin/python -m build -n -o dist
	.release/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o dist/ganvas.cdx.json $(BIN)/python
	sed -i "s|file://$(CURDIR)|.|" dist/ganvas.cdx.json
	cd web && npm sbom --sbom-format cyclonedx --sbom-type library --omit dev >../dist/page.cdx.json

# The wheel in dist/ in a new environment of each Python, and the oldest releases that pyproject.toml allows, on the first.
PYTHONS ?= python3.11 python3.12 python3.13
.PHONY: installs
installs:
	for python in $(PYTHONS); do lock/installed.sh $$python highest || exit 1; done
	lock/installed.sh $(firstword $(PYTHONS)) lowest-direct

# Known holes in what is locked; asks PyPI and npm. What can't be audited counts as a hole.
audit: .release/ready
	.release/bin/pip-audit --strict --disable-pip --require-hashes -r lock/packages.txt
	cd web && npm audit
