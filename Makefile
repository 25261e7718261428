# `make demo` and `make test` need Python 3.11+, pip and make; the rest follows from them.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-all test-slow test-ray lint arguments notebook benchmark benchmark-population benchmark-workers clean

demo: .venv/.examples  ## Train a small network on handwritten digits, with MIHA and without.
	$(BIN)/python -m miha demo

test: .venv/.test  ## Run the tests that CI runs.
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=25

test-all: test .venv/.test,jax,torch  ## Run the trainers of Keras' other backends as well.
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/trainer/jax tests/trainer/test_backends.py tests/data/test_streams.py
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests/trainer/test_torch.py tests/trainer/test_backends.py tests/data/test_streams.py

test-slow: .venv/.test,jax  ## Run the tests that take minutes.
	$(BIN)/python -m pytest -m slow
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m slow tests/trainer/test_backends.py

test-ray: .venv/.test,compare,ray  ## Run what needs Ray, which is large.
	$(BIN)/python -m pytest -m "slow or not slow" tests/compare/test_ray.py tests/executors/test_ray*.py

lint: .venv/.dev  ## Check style, types, the direction of imports, the measures of the house.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/measure.py
	$(BIN)/python tools/arguments.py --check

arguments: .venv/.test  ## Write docs/arguments.md from the docstrings.
	$(BIN)/python tools/arguments.py

notebook: .venv/.test  ## Train the run of examples/walkthrough.ipynb, and keep its outputs.
	$(BIN)/python tools/notebook.py

benchmark: .venv/.test  ## Compare with `fit`; set ARGS="--data mnist.npz" to read a file.
	$(BIN)/python benchmarks/overhead.py $(ARGS)

benchmark-population: .venv/.jax,benchmark  ## Train clones together, one after another, and alone.
	$(BIN)/python benchmarks/population.py $(ARGS)

benchmark-workers: .venv/.ray,benchmark  ## Train populations on two workers, and without; ARGS="--executor ray".
	$(BIN)/python benchmarks/workers.py $(ARGS)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# One stamp for each set of extras: nothing is installed twice.
.venv/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
