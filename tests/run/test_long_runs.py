"""Long runs: memory, open files and threads do not grow with the cycles."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fakes import make_loop, run
from paths import SUPPORT

from miha.callbacks import Callback

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is open")

CYCLES = 300


class Watch(Callback):
    """Notes megabytes, open files and threads after every cycle."""

    def __init__(self):
        self.memory, self.files, self.threads = [], [], []
        self.optimizers, self.settled = set(), 0

    def on_training_begin(self, task):
        if task.genome.optimizer not in self.optimizers:
            self.optimizers.add(task.genome.optimizer)
            self.settled = len(self.memory)

    def on_cycle_end(self, cycle, clones, winner):
        if cycle % 20 == 0:
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.threads.append(threading.active_count())

    def growth(self, first: int, last: int) -> float:
        """Return the growth of memory between two cycles, each the median of 20 before it."""
        before, after = (statistics.median(self.memory[i - 20 : i]) for i in (first, last))
        return after / before


def check_method(path, cycles, growth):
    """Check that a run of the fake trainer grows by no more than a share after 30 cycles."""
    watch = Watch()
    run(make_loop(path, c=cycles, m=1, n=1, k=1, pop_size=2, callbacks=[watch]))
    assert watch.growth(30, cycles) < growth
    assert max(watch.files[20:]) <= max(watch.files[:20]) + 1
    assert len(set(watch.threads)) == 1


def test_the_method_itself_needs_no_more_after_60_cycles(tmp_path):
    check_method(tmp_path, 60, 1.03)


@pytest.mark.slow
def test_the_method_itself_needs_no_more_after_300_cycles(tmp_path):
    check_method(tmp_path, CYCLES, 1.05)


@pytest.mark.slow
def test_a_network_needs_no_more_after_300_cycles(tmp_path):
    from child import search

    import miha

    watch = Watch()
    space = miha.SearchSpace(optimizers=["adam", "sgd", "rmsprop"])
    numbers = {"c": CYCLES, "m": 1, "n": 1, "k": 1, "pop_size": 2}
    # A rest has no clones, and its end is not watched.
    always = miha.Search(rest=False)
    run = search(tmp_path / "run", **numbers, space=space, search=always, callbacks=[watch])
    run.optimize()
    print("memory", [round(watch.memory[i]) for i in (9, 49, 99, 149, 199, 249, 299)])
    print("no new optimizer class after cycle", watch.settled)
    assert watch.settled < 150
    # A class that is new to the run has a trace and slots of its own, once.
    assert watch.growth(watch.settled + 21, CYCLES) < 1.02
    assert max(watch.files[20:]) <= max(watch.files[:20]) + 1
    assert len(set(watch.threads)) == 1


PEAK = """
import resource, sys
import keras
import miha
from networks import images
# 3 MB of weights and slots: were those of 60 more clones kept, it would show.
hidden, last = keras.layers.Dense(4096, "relu"), keras.layers.Dense(2, "softmax")
model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), hidden, last])
model.compile("adam", "sparse_categorical_crossentropy")
miha.MIHA(
    model, *images(), validation_data=images(32), m=1, n=1, k=1, c=3, pop_size=int(sys.argv[2]),
    mutations=["learning_rate"], execution=miha.Execution(population="sequential"),
    logs=sys.argv[1], verbose=0, seed=0,
).optimize()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_large_population_needs_no_more_memory_than_a_small_one(tmp_path):
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])

    def peak(pop_size: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(tmp_path / str(pop_size)), str(pop_size)],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
        return int(done.stdout.split()[-1])

    small, large = peak(4), peak(64)
    print("kilobytes", small, large)
    assert large < 1.03 * small
