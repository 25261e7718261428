"""The pace: as many steps at once as take about a second."""

from __future__ import annotations

import time

import pytest

from miha.trainer.programs import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("seconds_a_step", [1e-5, 1e-3, 0.05, 3.0])
def test_the_steps_at_once_come_to_take_about_a_second(clock, seconds_a_step):
    pace = Pace()
    for _ in range(40):
        with pace.measure(pace.steps):
            clock[0] += pace.steps * seconds_a_step
    taken = pace.steps * seconds_a_step
    assert 0.5 <= taken <= 1.0 or pace.steps == 1


def test_short_calls_do_not_tell_how_long_more_steps_take(clock):
    pace = Pace()
    for _ in range(1000):
        with pace.measure(10):
            clock[0] += 0.01
    assert pace.steps == 64
