# `make book` and `make test` need Python 3.11 to 3.13 and make; everything else is brought by the hashed lock.
PYTHON ?= python3
QUICKSTART := off_manifold_digits

BIN := .venv/bin
STAMP := .venv/installed
PYTEST ?= -n 2 --dist loadfile
# For `make lowest`: what meets other packages most. Without the chapters, the book and the programs around them.
LOWEST := _build/lowest
LIBRARY := $(addprefix tests/, metrics networks data transfer chapters/widgets chapters/test_plots.py \
	chapters/test_runner.py checkpoints/test_loading.py checkpoints/test_reading.py checkpoints/test_states.py \
	test_cli.py test_miner.py test_selector.py test_training.py test_zoo.py)
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help book test kills processors lowest chapters lock clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

book: $(STAMP) ## run the quickstart chapter live and build the whole book around it
	$(BIN)/python book/build.py html --live $(QUICKSTART)

test: $(STAMP) ## everything that CI runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest $(PYTEST) --cov

processors: $(STAMP) ## the tests as other processors would run them, a few hours; PYTEST=… narrows them
	$(BIN)/python tests/processors $(PYTEST)

lowest: $(STAMP) ## a part of the tests on the lowest versions that pyproject.toml allows, in an environment of its own
	$(BIN)/uv venv --quiet --clear --python 3.11 --no-python-downloads $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[book,fid,test]'
	$(LOWEST)/bin/pytest -n 2 --dist loadfile $(LIBRARY)

kills: $(STAMP) ## kill everything that writes, MINEGAN_KILLS times (200), at moments that MINEGAN_KILLS_SEED draws
	$(BIN)/pytest -rA tests/kills

chapters: $(STAMP) ## execute every chapter at reader tier and rewrite the committed outputs
	$(BIN)/python book/build.py chapters

lock: $(STAMP) ## compile requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --fork-strategy fewest \
		--no-emit-index-url --generate-hashes --quiet -o requirements.lock

clean: ## remove what was built (not the environment)
	rm -rf _build

# The environment: made anew when the lock or the list of dependencies changes.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	touch $@
