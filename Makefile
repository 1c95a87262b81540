# Targets; `make` lists them. Each does all the set-up it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Real labelled logs for the slow tests and the benchmarks; tests that need them say so where they are absent.
STREAM_TRIAGE_DATA ?= $(abspath $(patsubst %/ran/oai_rfsim_runs.jsonl.xz,%,$(firstword $(wildcard ../*/data/ran/oai_rfsim_runs.jsonl.xz))))
export STREAM_TRIAGE_DATA
TM500 = --logs .cache/corpus/tm500/runs --labels .cache/corpus/tm500/labels.csv
BOTH = --logs .cache/corpus/both/runs --labels .cache/corpus/both/labels.csv
OAI = $(STREAM_TRIAGE_DATA)/ran/oai_rfsim_runs.jsonl.xz

.DEFAULT_GOAL := help
.PHONY: help demo setup setup-training wheel test java servers browser check fmt bench chaos explore mutants up down train relevance corpus audit transfer networks results clean
unexport PYTHONDONTWRITEBYTECODE # tests start hundreds of processes; without bytecode files each would compile every module

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment, .venv, in three layers: the product, then tests and linters, then training (6 GB).
# A requirement file keeps to the versions of the layers below it (requirements/compile.sh), so a layer only adds packages.
PIP := $(BIN)/pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation
PINNED := $(PIP) --require-hashes

$(VENV)/product: requirements/build.txt requirements/run.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; install it or say make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the product into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PINNED) -r requirements/build.txt
	@$(PINNED) -r requirements/run.txt
	@$(PIP) --editable .
	@touch $@

$(VENV)/developer: $(VENV)/product requirements/dev.txt connectors/shipper/pyproject.toml
	@echo "Installing tests and linters into $(VENV)"
	@$(PINNED) -r requirements/dev.txt
	@$(PIP) --editable connectors/shipper
	@touch $@

$(VENV)/training: $(VENV)/developer requirements/train.txt requirements/track.txt
	@echo "Installing training into $(VENV): about 6 GB, some minutes"
	@$(PINNED) -r requirements/train.txt -r requirements/track.txt
	@touch $@

demo: $(VENV)/product ## judge the sample runs and say how to open them; installs the product alone
	@BIN=$(BIN) sh demo/run.sh

wheel: $(VENV)/product ## build the wheel into dist/
	@$(BIN)/python -m hatchling build -t wheel

setup: $(VENV)/developer ## set up .venv for development: tests and linters, without training

setup-training: $(VENV)/training ## add training to .venv: torch, MLflow and what slow tests need

# Fast tests run first. In a fresh checkout training is not installed yet, which shows that they do not need it.
test: check ## run every test: fast, service (on a real Kafka, OpenSearch and Prometheus) and slow (training, a browser)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --durations=10
	@$(MAKE) --no-print-directory servers browser $(VENV)/training
	REQUIRE_SERVICES=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "slow or service" -n 2 --no-loadscope-reorder --durations=10

# $(call install,PROGRAMS,PACKAGES): system packages, where one of the programs is missing and they may be installed; else the
# tests and `make up` name what is missing.
install = @if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	for program in $(1); do command -v $$program >/dev/null || missing=1; done; \
	[ -z "$$missing" ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $(2) >/dev/null; }; fi

java: # what a Kafka and an OpenSearch need
	$(call install,mvn java openssl unzip,maven default-jre-headless openssl unzip)

servers: java # what the tests need beside them
	$(call install,promtool kcat rsyslogd,prometheus kcat rsyslog rsyslog-kafka)

browser: # what the tests of pages need beside Playwright
	$(call install,chromium npm,chromium npm)

up: setup java ## start a Kafka and an OpenSearch on this machine, without Docker
	@$(BIN)/python -m tests.services.servers up

down: ## stop them again
	@$(BIN)/python -m tests.services.servers down

# About 75 minutes on two cores. `python -m tests.services.chaos --help` names the kinds of fault and how to repeat one.
chaos: setup servers ## act 100,000 histories of log files, inject 600 faults into a farm, stop servers; count broken promises
	$(BIN)/python -m tests.services.histories --histories 100000
	$(BIN)/python -m tests.services.chaos --faults 600
	REQUIRE_SERVICES=1 STREAM_TRIAGE_AWAY_SECONDS=60 $(BIN)/pytest -q -m service tests/services/test_worker.py -k TestDisturbed

MUTANTS := .cache/mutants/venv

$(MUTANTS)/installed: requirements/mutants.txt
	@$(PYTHON) -m venv $(MUTANTS)
	@$(MUTANTS)/bin/pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	@touch $@

mutants: setup $(MUTANTS)/installed ## how many small faults in the edges the fast tests notice, about an hour; ONLY=NAME for one module
	@$(MUTANTS)/bin/python tests/mutants.py --only "$(ONLY)"

explore: setup ## the fast tests with new random examples for the property tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --hypothesis-profile explore

check: setup ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-training ## speed and memory of the whole path beside drain3 alone, and of the models alone
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.edge
	$(BIN)/python -m benchmarks.page

train: setup-training ## rebuild models/oai5g and training/RESULTS.md from the data folder; may be interrupted and called again
	$(BIN)/python -m training.train --oai $(OAI) --out models/oai5g --version 3 --seeds 2 --jobs 2 \
		--checkpoints .cache/training/oai5g --figures training/results/oai5g.json
	$(BIN)/python -m training.early_stop --bundle models/oai5g --oai $(OAI) --write
	$(BIN)/python -m training.experiments.order --oai $(OAI) --seed 1 \
		--checkpoints .cache/training/oai5g/template_hash-1/next_key > training/results/order.md
	$(BIN)/python -m training.report

relevance: setup ## train models/generic, which chooses the lines worth reading, and measure it in training/REDUCTION.md
	$(BIN)/python -m training.relevance --data $(STREAM_TRIAGE_DATA) --out models/generic
	$(BIN)/python -m training.stacks_benchmark --logs $(STREAM_TRIAGE_DATA)/ran --write models/generic
	$(BIN)/python -m training.reduction_benchmark --data $(STREAM_TRIAGE_DATA)

corpus: setup-training ## make both versions of the TM500-style corpus, train models/tm500 on them, and measure it
	$(BIN)/python -m training.corpus --out .cache/corpus/tm500
	$(BIN)/python -m training.both_versions --out .cache/corpus/both --seed 1
	$(BIN)/python -m training.varied.audit
	$(BIN)/python -m training.train $(BOTH) --out models/tm500 --version 4 \
		--rules training/tm500_rules.toml --models baseline --seeds 1 --jobs 2 --figures training/results/tm500.json \
		--source "invented TM500-style runs of both versions, python -m training.both_versions --seed 1"
	$(BIN)/python -m training.early_stop --bundle models/tm500 $(TM500) --split easy --write
	$(BIN)/python -m training.paper.baselines $(TM500)
	$(BIN)/python -m training.experiments.reliability --bundle models/tm500 $(TM500) --split easy
	$(BIN)/python -m training.paper.preprocess $(TM500) --split easy --out training/results
	$(BIN)/python -m training.report

audit: setup ## hold the TM500-style corpus against its guard rails
	$(BIN)/python -m training.corpus.audit

transfer: setup-training ## measure bundles on runs that differ from their training runs, beside the simplest models
	$(BIN)/python -m training.transfer_benchmark --bundle models/tm500

networks: setup-training ## train shapes and settings of the char-CNN side by side; may be interrupted and called again
	$(BIN)/python -m training.experiments.compare_networks --oai $(OAI)
	$(BIN)/python -m training.report

results: setup-training ## write training/RESULTS.md from the figures in training/results
	$(BIN)/python -m training.report

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
