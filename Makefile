# `make help` lists what there is. Every target makes the environment it needs.

PYTHON ?= python3.11
DATA ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
IS_PYTHON_3_11 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'

# What the demo trains on: its own drawings, unless DATA names a folder with train/, validation/ and test/.
DEMO_DATA := $(if $(DATA),$(DATA),demo/data)

.PHONY: help setup check test test-slow test-chaos test-cluster test-browser demo drawings bench tensorboard clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP) ## make the environment in .venv (PYTHON=/path/to/python3.11)

$(STAMP): setup.py constraints.txt pyproject.toml
	@$(PYTHON) $(IS_PYTHON_3_11) 2>/dev/null || { \
	  echo "error: Python 3.11 is wanted (TensorFlow with tf.estimator ends there, the other packages begin there)"; \
	  echo "  asked:  PYTHON=$(PYTHON)"; \
	  echo "  found:  $$($(PYTHON) --version 2>/dev/null || echo 'no such program that runs')"; \
	  echo "  change: install it (on Debian: apt-get install python3.11 python3.11-venv),"; \
	  echo "          or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11"; \
	  exit 2; } >&2
	@$(BIN)/python $(IS_PYTHON_3_11) 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV): about 2 GB, a few minutes at the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $@

check: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(STAMP) ## all tests but the longer ones and those that need hosts
	$(BIN)/python -m pytest -m 'not slow and not chaos and not hosts and not browser'

test-cluster: $(STAMP) ## bring up a cluster on two hosts made of namespaces, and do all with it (as root)
	$(BIN)/python -m pytest -s -m hosts tests/hosts

test-browser: $(STAMP) ## look at TensorBoard in a headless browser (on Debian: apt-get install chromium-driver)
	$(BIN)/python -m pytest -s -m browser tests/browser

test-slow: $(STAMP) ## the longer tests, half an hour
	$(BIN)/python -m pytest -m slow

test-chaos: $(STAMP) ## strike every role in every way: the whole table, half an hour
	$(BIN)/python -m pytest tests/integration/test_chaos.py

drawings: $(STAMP)
	rm -rf demo/data
	$(BIN)/python -m launch.prepare_data --synthetic=600 --output=demo/data

demo: $(STAMP) $(if $(DATA),,drawings) ## train, evaluate, export, predict; DATA=folder takes your own pictures
	$(BIN)/python -m launch.train \
	  --train_data_pattern='$(DEMO_DATA)/train/*' --eval_data_pattern='$(DEMO_DATA)/validation/*' \
	  --train_dir=demo/train_dir --start_new_model \
	  --model=CnnModel --label_loss=CrossEntropyLoss \
	  --strategy=multi_worker_mirrored --num_workers=2 \
	  --batch_size=64 --num_epochs=12 --save_checkpoints_steps=20
	$(BIN)/python -m launch.inference \
	  --train_dir=demo/train_dir --input_data_pattern='$(DEMO_DATA)/test/*' --output_file=demo/submission.csv
	@echo
	@echo "Metrics of the last checkpoint on $(DEMO_DATA)/validation:"
	@tail -n 1 demo/train_dir/eval/metrics.jsonl
	@echo "First lines of demo/submission.csv ($$(($$(wc -l < demo/submission.csv) - 1)) predictions):"
	@head -n 6 demo/submission.csv
	@echo "Where everything lies:"
	@echo "  pictures      $(DEMO_DATA)"
	@echo "  checkpoints   demo/train_dir"
	@echo "  evaluations   demo/train_dir/eval/metrics.jsonl"
	@echo "  SavedModels   demo/train_dir/export"
	@echo "  submission    demo/submission.csv"

tensorboard: $(STAMP) ## curves of a run, or of all runs in a folder, on this machine only: LOGDIR=folder [PORT=6006]
	@test -n '$(LOGDIR)' || { echo "error: which runs? make tensorboard LOGDIR=/path/to/train_dir, or a folder of several" >&2; exit 2; }
	$(BIN)/tensorboard --logdir='$(LOGDIR)' --host=127.0.0.1 --port=$(or $(PORT),6006)

bench: $(STAMP) $(if $(DATA),,drawings) ## measure what benchmarks/ measures; DATA=folder as for the demo
	$(BIN)/python -m benchmarks.startup --train_data_pattern='$(DEMO_DATA)/train/*'
	$(BIN)/python -m benchmarks.training_input --train_data_pattern='$(DEMO_DATA)/train/*'
	$(BIN)/python -m benchmarks.supervision --train_data_pattern='$(DEMO_DATA)/train/*'
	$(BIN)/python -m benchmarks.inference --input_data_pattern='$(DEMO_DATA)/*/*-of-*'

clean: ## remove the environment, the demo and all caches
	rm -rf $(VENV) demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
