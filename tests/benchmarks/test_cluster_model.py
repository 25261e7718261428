"""The simulation of a cluster: its arithmetic, and that it says what it is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from paths import ROOT

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from cluster_model import Costs, cycle, draw, idle, makespan, row, waiting  # noqa: E402


def test_one_worker_trains_for_all_and_many_for_the_longest():
    assert makespan([3.0, 1.0, 2.0], 1) == 6.0
    assert makespan([3.0, 1.0, 2.0], 5) == 3.0
    assert waiting([3.0, 3.0], 2) == 0.0


def test_the_order_of_clones_decides_how_long_workers_wait():
    assert makespan([1.0, 1.0, 2.0], 2) == 3.0
    assert makespan([2.0, 1.0, 1.0], 2) == 2.0


def test_workers_have_nothing_to_do_while_they_wait_for_the_last_clone_and_for_winners():
    # The second worker has nothing to do for 3 s in the first cycle, and both for 1 s before the
    # second one.
    assert idle([[4.0, 1.0], [1.0, 1.0]], 2, winner=1.0) == 1 - 7 / (2 * 6)
    assert idle([[2.0, 2.0], [2.0, 2.0]], 2) == 0.0


def test_a_cycle_is_sending_training_and_the_winner():
    costs = Costs(overhead=1.0, driver=0.5, winner=7.0, values=10.0, bandwidth=10.0, per_machine=1)
    # Two machines; clones of 3 and 2 seconds with a second each; half a second for the last.
    assert cycle(costs, [3.0, 2.0], 2) == 2.0 + 4.0 + 0.5 + 7.0
    slow = Costs(overhead=0.0, driver=9.0, winner=0.0, values=0.0)
    assert cycle(slow, [1.0, 1.0], 2) == 2 * 9.0 + 9.0


def test_times_are_drawn_around_their_mean():
    import numpy as np

    seconds = draw(Costs(clone=5.0, spread=0.5), 20_000, np.random.default_rng(0))
    assert np.mean(seconds) == pytest.approx(5.0, rel=0.02)
    assert np.std(seconds) == pytest.approx(2.5, rel=0.05)


def test_the_longest_first_never_waits_longer_on_the_mean():
    found = row(Costs(), 8, per_worker=3, repeats=20)
    assert found["waiting, longest first"] < found["waiting, as they come"]
    assert 1 < found["speed-up"] < 8


def test_it_says_that_it_is_a_simulation_and_what_from(tmp_path):
    (tmp_path / "ray.json").write_text(json.dumps({"costs": {"clone": 12.5}}))
    command = [sys.executable, BENCHMARKS / "cluster_model.py", "--measured", tmp_path / "ray.json"]
    done = subprocess.run([*command, "--repeats", "1"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("A SIMULATION, from") and "clone=12.5" in done.stdout
    assert "1024 workers: seconds" in done.stdout
