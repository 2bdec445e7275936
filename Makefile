# The only commands a newcomer needs. `make` alone explains them.
.DEFAULT_GOAL := help
.PHONY: moved help setup demo run folds tables watch up down status audit bench test tests test-all lint style types clean
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
PAPER ?= all
# What a user gives reaches a command as environment, past make and shell: a folder may be called anything.
override SOURCE := $(value SOURCE)
# A simulated plant has a recipe of its own, and needs no look at its clips.
RECIPE_FOR_rig := rig
RECIPE_FOR_bench := p2
RECIPE_FOR_pellets := p3
override RECIPE := $(or $(value RECIPE),$(RECIPE_FOR_$(value SOURCE)),$(if $(value SOURCE),auto,rig))
override PICTURES := $(value PICTURES)
override PAPER := $(value PAPER)
override BUDGET := $(value BUDGET)
override JOBS := $(value JOBS)
override HOURS := $(value HOURS)
override SETTINGS := $(value SETTINGS)
export RECIPE SOURCE PICTURES PAPER BUDGET JOBS HOURS SETTINGS
BIN := .venv/bin
OURS := .venv/.made-by-slimstream
# A .venv that was moved or copied here along with its folder imports the code, and calls the programs, of the
# folder it was made for; slimstream.pth says which. (One that is a link is shared on purpose.)
MOVED := $(shell for pth in .venv/lib/*/site-packages/slimstream.pth; do \
	if [ ! -L .venv ] && [ -e "$$pth" ] && [ "$$(cat "$$pth")" != "$$(pwd -P)/src" ]; then echo moved; fi; done)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := src
# One box, nothing leaves it: no tool reports home.
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_HOME := $(CURDIR)/.prefect
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup: $(BIN)/.ready  ## build .venv from the hashed lock file

$(BIN)/.ready: requirements.lock infra/uv.lock $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "slimstream needs Python 3.11 or 3.12: make PYTHON=python3.11 …")'
	@if [ -L .venv ] || { [ -n "$$(ls -A .venv 2>/dev/null)" ] && [ ! -e $(OURS) ] && [ ! -e $(BIN)/.ready ]; }; then \
	  echo '.venv is a link, or was not made by `make setup`, and would be emptied: move it away and run make again.' >&2; exit 2; fi
	@mkdir -p .venv && touch $(OURS)  # before anything else, so that an interrupted set-up is known as ours
	@find .venv -mindepth 1 -maxdepth 1 ! -path $(OURS) -exec rm -rf {} +
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/uv.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@echo "$$(pwd -P)/src" > "$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/slimstream.pth"
	@touch $@

moved:
	@echo ".venv was made for another folder than $$(pwd -P); it is built anew."

demo: setup  ## run the whole job on the simulated rig and say where to look
	@python -m flows.retrain --recipe rig

run: setup  ## run on your clips: make run SOURCE=<folder or s3://…>; RECIPE=tank takes a recipe instead of choosing settings
	@python -m flows.retrain --recipe "$$RECIPE" $${SOURCE:+--source "$$SOURCE"}

folds: setup  ## leave one group out at a time with the settings in params.yaml; many groups in COUNT=20 folds
	@python -m slimstream folds $${COUNT:+--count "$$COUNT"} $${JOBS:+--jobs "$$JOBS"}

tables: setup  ## the papers' tables on simulated plants; on your clips: make tables SOURCE=<videos> PICTURES=<pictures>, or PAPER=p3 SOURCE=<pictures>
	@python -m slimstream tables "$$PAPER" $${SOURCE:+--source "$$SOURCE"} $${PICTURES:+--pictures "$$PICTURES"} $${BUDGET:+--budget "$$BUDGET"} $${JOBS:+--jobs "$$JOBS"} $${HOURS:+--hours "$$HOURS"}

watch: setup  ## the champion looks at a camera: make watch SOURCE=rtsp://…, or SETTINGS=watch.yaml; without, at the simulated rig
	@if [ -n "$$SOURCE$$SETTINGS" ]; then \
	  python -m slimstream watch $${SETTINGS:+--settings "$$SETTINGS"} -- $${SOURCE:+"$$SOURCE"}; \
	else python -m slimstream watch rig://40 rig://41 rig://42 rig://43; fi

up: setup  ## start the servers of this box (Prefect, MLflow, a worker): docs/operations.md
	@python -m infra.services up

down:  ## end them; runs under way begin again with the next up
	@python -m infra.services down

status:  ## how they are and where
	@python -m infra.services status

audit: setup  ## ask PyPI for known holes in what is pinned, for bundles too: docs/security.md
	@pip-audit --strict --require-hashes --disable-pip $(addprefix -r ,requirements.lock $(wildcard src/slimstream/bundle/*.lock))

bench: setup  ## measure each part against what one would use instead: benchmarks/README.md
	@python -m benchmarks --demo $(PARTS)

# A worker a core, at most four. A file stays with one worker, for its fixtures; the slow rooms come first.
WORKERS := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup style  ## lint, type-check and test
	@$(MAKE) --no-print-directory --jobs 2 types tests  # mypy works on one core

tests:
	@MAKEFLAGS= pytest $(WORKERS)

test-all: setup  ## what make test leaves out: the whole plant, with PostgreSQL, S3, a browser, ffmpeg, MQTT and RTSP (Debian's packages: .ci/run)
	@PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) pytest $(WORKERS) -m box  # they often wait

lint: setup style types

style: setup
	@ruff check src flows infra tests benchmarks
	@ruff format --check src flows infra tests benchmarks
	@lint-imports

types: setup
	@mypy

clean:  ## remove the outs that dvc.yaml names and the report, nothing else: no file of yours, no registry, no clip store
	@python=$(or $(wildcard $(BIN)/python),$(PYTHON)); \
	$$python -c 'import pydantic, ruamel.yaml' 2>/dev/null || { \
	  echo 'make clean reads dvc.yaml with what is in .venv: run `make setup` first.' >&2; exit 2; }; \
	$$python -m slimstream clean
