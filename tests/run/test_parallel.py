"""Batches shared out to several devices, by `keras.distribution` and by `tf.distribute`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from fakes import GENOME, SPACE
from forked import run_script
from paths import SUPPORT

from miha.mutations import BatchSizeMutation
from miha.mutations.rules import broken_rule
from miha.search.restarts import draw_restart
from miha.space import batch_size_bounds

CHILD = SUPPORT / "parallel_child.py"
TOLERANCE = {"jax": 1e-5, "tensorflow": 0.0}
"""On JAX, a step in a loop is compiled otherwise than one alone, and rounds otherwise."""


def child(backend, deed, folder):
    if find_spec(backend) is None:
        pytest.skip(f"pip install 'miha[{backend}]'")
    if backend == os.environ["KERAS_BACKEND"]:
        done = run_script(CHILD, backend, deed, folder)
    else:
        done = imported_anew(backend, deed, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def imported_anew(*arguments):
    path = os.pathsep.join([str(CHILD.parent), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, CHILD, *arguments],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )


BACKENDS = pytest.mark.parametrize("backend", ["jax", "tensorflow"])


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def numbers(request, tmp_path_factory):
    found = child(request.param, "numbers", tmp_path_factory.mktemp(request.param))
    return found | {"backend": request.param}


def assert_as_fit(difference, backend):
    assert difference["values"] <= TOLERANCE[backend]
    assert difference["slots"] <= TOLERANCE[backend]
    assert difference["logs"] < 1e-5


def test_values_and_slots_are_those_of_fit(numbers):
    assert_as_fit(numbers["full"], numbers["backend"])


def test_every_device_takes_a_part_of_a_batch(numbers):
    assert numbers["parts"] == numbers["multiple"] == 2
    assert numbers["device"].endswith("batches shared out to 2 devices")


def test_values_are_logged_in_the_order_of_one_device_alone(numbers):
    """Workers compare the names of what is logged, and have one device."""
    names = ["loss", "accuracy"] if numbers["backend"] == "tensorflow" else ["accuracy", "loss"]
    assert numbers["logged"] == [*names, *(f"val_{name}" for name in names)]


def test_what_cannot_be_shared_out_is_refused(numbers):
    refused = numbers["refused"]
    rule = "must be a multiple of the number of devices that a batch is shared out to, 2."
    assert refused["batch_size"].startswith(f"`batch_size` {rule} Received: batch_size=15.")
    assert refused["validation"].startswith(f"`validation_batch_size` {rule}")
    if numbers["backend"] == "jax":
        assert "Received: ModelParallel on jax" in refused["other"]
        assert "population='fused', but its batches are shared out" in refused["fused"]
    else:
        assert "Received: OneDeviceStrategy" in refused["other"]


@pytest.mark.slow
@BACKENDS
def test_trainings_of_other_kinds_are_as_fit_and_begin_again(tmp_path, backend):
    found = child(backend, "more", tmp_path)
    for case in ("left", "sgd", "normalized"):
        assert_as_fit(found[case], backend)
    assert found["restored"] == {"snapshot": 0.0, "archive": 0.0}
    assert found["finite"]  # With one sample left for two devices.


@pytest.mark.slow
@BACKENDS
def test_a_whole_run_goes_on_where_it_was_interrupted(tmp_path, backend):
    found = child(backend, "run", tmp_path)
    assert found["state"] == "finished" and found["failures"] == [] and found["predicts"]
    assert len(found["sizes"]) > 1 and all(size % 2 == 0 for size in found["sizes"])
    assert found["is same"]


@pytest.mark.parametrize("step", [None, 10])
@pytest.mark.parametrize("multiple", [1, 2, 3, 4])
def test_batch_sizes_stay_multiples(multiple, step):
    low, high = batch_size_bounds(None, 12, 100, multiple)
    assert low % multiple == high % multiple == 0 and low <= 12 <= high
    space = replace(SPACE, batch_size=(low, high), batch_multiple=multiple)
    rng, genome, sizes = np.random.default_rng(0), GENOME.replace(batch_size=12), set()
    for _ in range(60):
        genome = BatchSizeMutation(step).mutate(genome, space, rng)
        sizes |= {genome.batch_size, draw_restart(genome, space, 2, rng)[0].batch_size}
        assert broken_rule(GENOME, genome, space) is None
    assert len(sizes) > 2 and all(size % multiple == 0 for size in sizes)
    wrong = genome.replace(batch_size=multiple + 1)
    assert multiple == 1 or "a multiple of" in broken_rule(GENOME, wrong, space)
