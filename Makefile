# Everything runs in .venv, which is made when it is missing or when what it is made from has changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test lint

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q -c constraints.txt --no-deps torch-fidelity
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
	OMP_NUM_THREADS=1 $(BIN)/pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: demo
demo: .venv/ready
	$(BIN)/ganvas train vae --data mnist

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
