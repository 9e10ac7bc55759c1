# make train   a virtual environment with the core alone (.venv), and one training run on the NumPy backend
# make test    one with the frameworks and tools (.venv-test): ruff, mypy and all tests
# make test-tensorflow   TensorFlow's adapter, in an environment of its own (.venv-tensorflow, 1.7 GB)
# make sweep   what takes hours: all planted faults, many draws of verify, all mutated files, and the longest tests,
#              with results in bench/results
# make lint    ruff and mypy alone
# make docs    the documentation site, in site/; warnings are errors
# make bench   a quick comparison with the peers that are installed
# make guard   five minutes: has a step become more than 10 % slower than the committed results of this processor?
# make drawing draws docs/architecture.svg again, from the imports
# make clean   removes both environments and every cache
#
# Each environment is installed once, and again when what it was made from changes.

PYTHON ?= python3
# Options of the training run: make train ARGS="--preset pyg --seed 1"
ARGS ?=
# Options of pytest: make test PYTEST_ARGS="-x -k tape"
PYTEST_ARGS ?=
TEST_JOBS ?= 2
# Options of the benchmark
BENCH_ARGS ?= --quick

CORE := .venv
FULL := .venv-test
TENSORFLOW := .venv-tensorflow
PIP_FLAGS := --quiet --disable-pip-version-check

SWEEP_JOBS ?= 2

.PHONY: train test test-tensorflow sweep lint docs bench guard drawing clean

train: $(CORE)/.installed
	$(CORE)/bin/portgnn train $(ARGS)

# One thread a process: the threads of one framework spin while they wait, and starve the other's. On two quiet cores
# two processes take 14 minutes, and one 24.
test: lint
	OMP_NUM_THREADS=1 $(FULL)/bin/python -m pytest -n $(TEST_JOBS) --dist worksteal $(PYTEST_ARGS)

# Not in `make test`: TensorFlow is as large as all other frameworks together.
test-tensorflow: $(TENSORFLOW)/.installed
	OMP_NUM_THREADS=1 $(TENSORFLOW)/bin/python -m pytest tests/backends/test_tensorflow.py
	OMP_NUM_THREADS=1 $(TENSORFLOW)/bin/python -m pytest --pyargs portgnn.testing --backend tensorflow --dtype float64
	OMP_NUM_THREADS=1 $(TENSORFLOW)/bin/python -m pytest --pyargs portgnn.testing --backend tensorflow --dtype float32

# Draws anew each time, and says which draw failed. On a machine with an accelerator, see docs/verify.md.
sweep: $(FULL)/.installed
	$(FULL)/bin/python -m pytest -m sweep
	$(FULL)/bin/python tools/planted.py --jobs $(SWEEP_JOBS) --json bench/results/planted.json
	$(FULL)/bin/python tools/draws.py --backends numpy torch mlx jax --dtypes float64 float32 bfloat16 --device cpu \
	  --draws 30 --jobs $(SWEEP_JOBS) --json bench/results/draws.json
	$(FULL)/bin/python tests/fuzz/fuzz.py --mutations 105000 --json bench/results/fuzz.json
	$(FULL)/bin/python tests/fuzz/bombs.py --json bench/results/bombs.json
	$(FULL)/bin/python bench/studies/unchanged.py compare
	$(FULL)/bin/python bench/studies/seeds.py run

lint: $(FULL)/.installed
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy

docs: $(FULL)/.installed
	NO_MKDOCS_2_WARNING=1 $(FULL)/bin/mkdocs build --strict

# Peers that are not installed are named in the table. More: make bench BENCH_ARGS="--datasets cora,citeseer".
bench: $(FULL)/.installed
	$(FULL)/bin/python bench/run_all.py $(BENCH_ARGS)

guard: $(FULL)/.installed
	$(FULL)/bin/python bench/guard.py

drawing: $(FULL)/.installed
	$(FULL)/bin/python tools/draw_architecture.py

$(CORE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python -m pip install $(PIP_FLAGS) -e .
	touch $@

$(FULL)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[dev,docs,plot,torch,mlx,jax]"
	touch $@

$(TENSORFLOW)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TENSORFLOW)
	$(TENSORFLOW)/bin/python -m pip install $(PIP_FLAGS) -e ".[testing,tensorflow]"
	touch $@

clean:
	rm -rf $(CORE) $(FULL) $(TENSORFLOW) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* dist site
	find portgnn backends tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
