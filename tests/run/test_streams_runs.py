"""The whole method on data that is read anew for each epoch, and how much memory that takes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from forked import run_script
from networks import images, shallow
from sources import Pairs, dataset, mapped

import miha
from miha import MihaWarning


def run(folder, source, **arguments):
    arguments = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "seed": 3} | arguments
    arguments["space"] = miha.SearchSpace(["adam", "sgd"], ["relu", "tanh"])
    return miha.MIHA(
        shallow(), *source, validation_data=images(32, 9), logs=folder, verbose=0, **arguments
    )


class Stop(miha.Callback):
    def on_cycle_end(self, cycle, clones, winner):
        raise KeyboardInterrupt


def assert_same(first, second):
    left_out = ["seconds"]
    assert first.history.drop(columns=left_out).equals(second.history.drop(columns=left_out))
    for a, b in zip(first.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["dataset", pytest.param("memory-mapped", marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_as_one_that_was_not_and_as_one_on_arrays(kind, tmp_path):
    x, y = images(100)
    source = (dataset(x, y).batch(20),) if kind == "dataset" else mapped(tmp_path, x, y)
    arguments = {"execution": miha.Execution(data_memory=0), "batch_size": 16}
    whole = run(tmp_path / "whole", source, **arguments).optimize()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", source, callbacks=[Stop()], **arguments).optimize()
    assert_same(whole, run(tmp_path / "stopped", source, **arguments).optimize())
    assert_same(whole, run(tmp_path / "arrays", (x, y), batch_size=16).optimize())


def test_a_run_on_batches_of_their_own_leaves_the_batch_size_alone(tmp_path):
    with pytest.warns(MihaWarning, match="no mutation of batch_size: the data comes in batches"):
        search = run(tmp_path / "run", (Pairs(*images(100)),))
    assert search.genome.batch_size == 20
    assert "batch_size" not in set(search.optimize().lineage["gene"])


def test_the_batch_size_to_begin_with_is_that_of_the_batches(tmp_path):
    source = (dataset(*images(100)).batch(24),)
    assert run(tmp_path / "run", source).genome.batch_size == 24
    assert run(tmp_path / "run", source, batch_size=10).genome.batch_size == 10
    assert run(tmp_path / "run", (dataset(*images(100)),)).genome.batch_size == 32


def test_another_dataset_is_another_run(tmp_path):
    x, y = images(100)
    run(tmp_path / "run", (dataset(x, y).batch(20),), c=0).optimize()
    with pytest.raises(miha.RunExistsError, match="the data differ"):
        run(tmp_path / "run", (dataset(x + 1, y).batch(20),), c=0)


MEMORY = """
import sys, numpy as np, keras, miha
folder = sys.argv[1]
samples, features = 96_000, 1024  # 393 MB.
x = np.load(f"{folder}/x.npy", mmap_mode="r")
y = np.zeros(samples, "int32")
keras.utils.set_random_seed(0)
layers = [keras.Input((features,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2, "softmax")]

def search(x, y, name, memory):
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    arguments = dict(m=1, n=1, k=1, c=0, batch_size=512, verbose=0, seed=0, keep="none")
    arguments["execution"] = miha.Execution(data_memory=memory)
    return miha.MIHA(model, x, y, logs=f"{folder}/{name}", **arguments)

def megabytes(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

search(np.ones((2048, features), "float32"), y[:2048], "small", None).optimize()
open("/proc/self/clear_refs", "w").write("5")
before = megabytes("VmRSS")
search(x, y, "large", int(sys.argv[2])).optimize()
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    ("memory", "is_little"),
    [(50_000_000, True), pytest.param(10**9, False, marks=pytest.mark.slow)],
)
def test_a_memory_mapped_array_is_trained_on_within_little_memory(tmp_path, memory, is_little):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (96_000, 1024))
    x[::1000] = 1
    del x
    (tmp_path / "script.py").write_text(MEMORY)
    done = run_script(tmp_path / "script.py", tmp_path, memory)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert (float(done.stdout) < 200) == is_little  # MB; the array has 393.
