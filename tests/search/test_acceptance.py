from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import FakeTrainer, make_loop, make_network, run
from miha.search.acceptance import accepted, noise


def test_a_steady_trend_is_no_noise():
    assert noise([5.0, 4.0, 3.0, 2.0, 1.0]) == 0


def test_the_noise_of_independent_values_is_their_standard_deviation():
    values = np.random.default_rng(0).normal(3.0, 0.5, 20_000)
    assert noise(values.tolist()) == pytest.approx(0.5, rel=0.02)


def test_a_fast_beginning_is_hardly_noise():
    assert noise([2.0, 0.6, 0.3, 0.2, 0.15, 0.12, 0.1, 0.09]) < 0.03


def test_a_single_leap_is_no_noise():
    assert noise([1.0, 0.9, 0.8, 0.7, 0.2, 0.1, 0.0, -0.1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, 2.0, 1.0, 2.0], [1.0, math.nan, 2.0, 1.0, 5.0]]
)
def test_a_few_values_tell_no_noise(values):
    assert noise(values) == 0


CONTROL, CLOSE, BETTER, WORSE = (
    make_network(clone=i, values=(v,)) for i, v in enumerate((1.0, 0.95, 0.8, 1.2))
)


@pytest.mark.parametrize(
    ("ranked", "first"),
    [
        ([CLOSE, CONTROL], CONTROL),
        ([CLOSE, BETTER], CONTROL),
        ([BETTER, CLOSE], BETTER),
        ([CONTROL, CLOSE], CONTROL),
        ([CLOSE], CONTROL),
        ([WORSE], CONTROL),
    ],
)
def test_the_control_stays_where_no_mutant_is_clearly_better(ranked, first):
    found = accepted(ranked, CONTROL, 0.1, "min")
    assert found[0] is first and len(found) == len(ranked)


def test_where_large_is_better_a_mutant_must_be_larger():
    assert accepted([WORSE], CONTROL, 0.1, "max")[0] is WORSE
    assert accepted([BETTER], CONTROL, 0.1, "max")[0] is CONTROL


def test_a_control_that_has_diverged_keeps_nobody_back():
    lost = make_network(values=(math.nan,))
    assert accepted([WORSE], lost, 0.1, "min") == [WORSE]


@pytest.mark.parametrize(("margin", "winner"), [(0.0, 1), (1.0, 0)])
def test_a_run_selects_a_mutant_only_when_its_gain_is_more_than_noise(tmp_path, margin, winner):
    # The main line goes up and down by 1; the mutant ends 0.1 below the control.
    values = iter([5.0, 6.0, 4.0, 6.0])

    class Noisy(FakeTrainer):
        def _logs(self):
            logs = super()._logs()
            return logs | ({"val_loss": next(values)} if len(self.trainings) == 1 else {})

    trainer = Noisy(script={1: {"val_loss": 4.0}, 2: {"val_loss": 3.9}})
    loop = make_loop(tmp_path, trainer, m=4, n=1, c=1, pop_size=2, margin=margin)
    run(loop)
    assert loop.log.winners == {1: winner}
