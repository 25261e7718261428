# `make demo` and `make test` need Python 3.11+, pip and make; the rest follows from them.
PYTHON ?= python3
BIN := .venv/bin
# Without a notice of the theme's makers at each build.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-all test-slow test-ray lint docs docs-serve notebook benchmark benchmark-population benchmark-workers clean

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

lint: .venv/.dev  ## Check style, types, the direction of imports, the measures of the house, the site.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/measure.py
	$(MKDOCS) build --strict

docs: .venv/.docs  ## Build the site of documents in site/.
	$(MKDOCS) build --strict

docs-serve: .venv/.docs  ## Show the site, and follow what is edited.
	$(MKDOCS) serve

notebook: .venv/.test  ## Train the run of examples/walkthrough.ipynb, and keep its outputs.
	$(BIN)/python tools/notebook.py

benchmark: .venv/.test  ## Compare with `fit`; set ARGS="--data mnist.npz" to read a file.
	$(BIN)/python benchmarks/overhead.py $(ARGS)

benchmark-population: .venv/.jax,benchmark  ## Train clones together, one after another, and alone.
	$(BIN)/python benchmarks/population.py $(ARGS)

benchmark-workers: .venv/.ray,benchmark  ## Train populations on two workers, and without; ARGS="--executor ray".
	$(BIN)/python benchmarks/workers.py $(ARGS)

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache

# One stamp for each set of extras: nothing is installed twice.
.venv/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
