.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench proof kernel wheel clean

PYTHON ?= python3
TORCH  := $(shell grep '^torch==' constraints.txt)
BIN    := .venv/bin
READY  := .venv/.installed

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## Make phantoms, train on them for a moment, evaluate, draw: into demo/ (no download of data, no GPU)
	$(BIN)/heartseg demo --out demo

test: lint ## Check the style and the types, then run the tests: five minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY) ## Check the style and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy heartseg

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure against the peers; inference and saving too: make bench SCANS=scan.nii.gz DATA=data/Task02_Heart
	$(BIN)/python benchmarks/artifacts.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/layout.py
	$(if $(SCANS),$(BIN)/python benchmarks/inference.py $(SCANS))
	$(if $(DATA),$(BIN)/python benchmarks/saving.py $(DATA))

proof: $(READY) ## Run the long tests; kill trainings at random moments; run Kaggle's script in an empty environment
	HEARTSEG_PROOF=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "proof or fuzz" -n 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/proof.py
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/proof_kaggle.py

kernel: $(READY) ## Write the script for a plain `kaggle kernels push`: make kernel BUNDLE=ventricles
	$(BIN)/heartseg kaggle script $(or $(BUNDLE),left_atrium)

wheel: $(READY) ## Build the wheel, with the bundles inside, into dist/
	rm -rf build && $(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean: ## Remove the environment and what was built; runs and masks stay
	rm -rf .venv build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache

# torch comes first and by itself: pip then takes the build that its settings point to (a CPU build, say), and
# nothing after it asks for another. Without such settings a Linux machine gets the CUDA build: gigabytes.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "heartseg needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@
