"""The meter: tickets, the best network, memory."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rivals import START

from miha.compare.meter import BudgetSpent, Meter, peak_memory
from miha.errors import MihaError


def meter(folder: Path, limit: int = 2, **arguments) -> Meter:
    return Meter(folder, limit, arguments.pop("mode", "min"), time.time(), **arguments)


def test_a_meter_gives_no_more_tickets_than_its_limit(tmp_path):
    one, other = meter(tmp_path), meter(tmp_path)
    one.take()
    other.take()
    assert one.is_over and one.taken == 2
    with pytest.raises(BudgetSpent, match="2 epochs at most"):
        other.take()


def test_a_meter_is_over_when_its_time_is(tmp_path):
    late = Meter(tmp_path, 9, "min", time.time() - 10, time_limit=5.0)
    assert late.is_over and not meter(tmp_path, 9, time_limit=5.0).is_over
    late.take()  # A network that was being built meanwhile trains one epoch.
    assert late.taken == 1


@pytest.mark.parametrize("mode, best", [("min", 0.1), ("max", 0.9)])
def test_a_meter_keeps_the_network_with_the_best_value(tmp_path, mode, best):
    one = meter(tmp_path, mode=mode)
    values = [math.nan, 0.5, 0.1, math.inf, 0.9, 0.3, math.nan]
    for value in values:
        genome = START.replace(learning_rate=value)
        one.offer(value, genome, lambda value=value: [[value]])
    found = one.best()
    assert found.value == best == found.genome.learning_rate == found.weights[0][0]


def test_a_meter_keeps_the_earlier_network_whole_while_a_better_one_is_written(
    tmp_path, monkeypatch
):
    one = meter(tmp_path)
    one.offer(0.5, START, lambda: [np.zeros(3)])

    def killed(*arguments, **more):
        arguments[0].write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        one.offer(0.1, START, lambda: [np.ones(3)])
    assert one.best().value == 0.5 and not one.best().weights[0].any()


def test_a_meter_is_settled_when_every_epoch_that_has_begun_is_written_down(tmp_path):
    one, other = meter(tmp_path), meter(tmp_path)
    one.take()
    other.take()
    one.record(0.5)
    assert one.is_over and not one.is_settled  # The other one is in the middle of its epoch.
    other.record(0.4)
    assert one.is_settled


def test_a_meter_without_a_network_says_what_to_do(tmp_path):
    with pytest.raises(MihaError, match="task.build"):
        meter(tmp_path).best()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no such file")
def test_the_peak_of_memory_is_the_childs_and_not_its_parents(tmp_path):
    large = np.ones(50_000_000)
    code = "from miha.compare.meter import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 1 < float(child.stdout) < large.nbytes / 1e6 < peak_memory()
