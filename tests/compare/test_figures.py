"""The figures of a comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compared import made

from miha.compare import Comparison
from miha.compare.comparison import REFERENCE
from miha.compare.figures import best_so_far, look_of, plot_correlations, plot_fields
from miha.compare.records import Cell, Place


@pytest.mark.parametrize(
    "mode, values, best",
    [
        ("min", [3, math.nan, 1, 2], [3, 3, 1, 1]),
        ("max", [1, math.inf, 3, 2], [1, 1, 3, 3]),
        ("max", [math.nan, 1], [-math.inf, 1]),
    ],
)
def test_the_best_so_far_never_gets_worse(mode, values, best):
    assert best_so_far(values, mode).tolist() == best


def test_the_curves_are_means_over_seeds_of_the_best_so_far():
    figure = made().plot_epochs()
    assert [trace.name for trace in figure.data] == ["MIHA", "random search"] * 2
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    assert list(figure.data[0].y) == pytest.approx([0.9, 0.4, 0.4, 0.2])


def test_the_curves_against_seconds_step_when_an_epoch_ends():
    line = made().plot_seconds().data[0]
    seconds, values = np.array(line.x), np.array(line.y, float)
    assert seconds[0] == pytest.approx(0.5) and seconds[-1] == pytest.approx(2.0)
    assert values[seconds < 0.99] == pytest.approx(0.9)
    assert values[(seconds > 1.01) & (seconds < 1.99)] == pytest.approx(0.4)
    assert values[-1] == pytest.approx(0.2)


def test_a_strategy_that_stopped_early_keeps_its_best_to_the_end():
    cells = [
        Cell(Place("a", REFERENCE, seed), {"loss": 1.0}, curve=tuple((i, v) for i in range(1, n)))
        for seed, (n, v) in enumerate([(3, 1.0), (5, 3.0)])
    ]
    about = {"monitor": "val_loss", "mode": "min", "metric": "loss", "metric_mode": "min"}
    about |= {"strategies": [REFERENCE], "starts": ["a"], "random_starts": []}
    line = Comparison(tuple(cells), about, {}).plot_epochs().data[0]
    assert list(line.y) == [2.0, 2.0, 2.0, 2.0]


def test_the_scores_are_a_point_for_each_seed_and_their_mean():
    figure = made().plot_scores()
    points, mean = figure.data[:2]
    assert sorted(points.x) == pytest.approx([0.9, 0.91, 0.92])
    assert mean.x[0] == pytest.approx(0.91) and mean.error_x.array[0] == pytest.approx(
        0.00577, 0.01
    )


def test_twelve_strategies_look_different():
    names = ["MIHA", *(f"strategy {i}" for i in range(12))]
    comparison = Comparison((), {"strategies": names, "starts": []}, {})
    looks = [tuple(look_of(comparison, name).values())[:2] for name in names]
    assert len(set(looks)) == 13


def test_fields_are_drawn_beside_each_other_in_the_colours_of_the_first():
    true = np.arange(8.0).reshape(2, 2, 2)
    gappy = np.where(true % 2 == 0, np.nan, true)
    figure = plot_fields({"true": true, "gappy": gappy})
    maps = figure.data
    assert len(maps) == 4
    assert [(m.zmin, m.zmax) for m in maps] == [(0, 3), (0, 3), (4, 7), (4, 7)]
    np.testing.assert_array_equal(maps[0].z, true[0][::-1])  # The first line is at the top.
    assert [heading.text for heading in figure.layout.annotations] == ["true", "gappy"]
    assert figure.layout.yaxis.domain[1] == 1.0 and figure.layout.width == 340


def test_correlations_are_a_line_of_means_with_their_errors():
    figure = plot_correlations(np.array([[0.5, 1.0], [0.7, 1.0], [math.nan, 1.0]]))
    assert list(figure.data[0].x) == [1, 2]
    assert list(figure.data[0].y) == pytest.approx([0.6, 1.0])
    assert list(figure.data[0].error_y.array) == pytest.approx([0.1, 0.0])
