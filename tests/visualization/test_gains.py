"""Gains: each mutation counts once, with a median and an interval for each group."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from drawn import layout, traces

from miha.results.trials import RunView
from miha.visualization import plot_gains
from miha.visualization.gains import Group, new_values


def group(*gains):
    clones = [SimpleNamespace(gain=gain, selected=gain == 3.0) for gain in gains]
    return Group("relu → tanh", "activation", clones)


def test_gains_count_every_clone_but_the_control(result):
    shown = layout(plot_gains(result))
    clones = [clone for clone in RunView.of(result).clones if clone.gene != "none"]
    for axis in ("yaxis", "yaxis2"):
        counts = [int(text.split("(")[-1].split(" tried")[0]) for text in shown[axis]["ticktext"]]
        assert sum(counts) == len(clones)
    assert any(text.startswith("learning_rate smaller") for text in shown["yaxis2"]["ticktext"])


def test_gains_have_medians_and_intervals(result):
    [medians, _] = [t for t in traces(plot_gains(result)) if "error_x" in t]
    view = RunView.of(result)
    for text in medians["text"]:
        kind = text.removeprefix("<b>").split(" (")[0]
        gains = [c.gain for c in view.clones if c.gene == kind and c.gain is not None]
        assert f"median gain {np.median(gains):+.4g}" in text
        assert ("95 %" in text) == (len(gains) >= 5)


def test_the_words_of_the_figure_are_gains(result):
    shown = layout(plot_gains(result))
    assert shown["title"]["text"] == "Gain in val_loss over the control"


def test_clones_that_failed_count_as_tried_and_have_no_gain():
    tried = group(1.0, None, 3.0, -2.0)
    assert tried.gains == [1.0, 3.0, -2.0] and tried.median == 1.0
    assert tried.text == "relu → tanh (4 tried, 2 better, 1 won)"
    assert group(None, None).median == -math.inf


def test_the_interval_of_a_median_holds_it_and_is_always_the_same():
    low, high = group(1.0, 2.0, 3.0, 4.0, 5.0).interval
    assert 1.0 <= low <= 3.0 <= high <= 5.0
    assert (low, high) == group(1.0, 2.0, 3.0, 4.0, 5.0).interval
    assert group(1.0, 2.0, 3.0, 4.0, None).interval is None


@pytest.mark.parametrize(
    "kind, before, genes, labels",
    [
        ("batch_size", {"batch_size": 8}, {"batch_size": 16}, ["batch_size larger"]),
        ("batch_size", {"batch_size": 8}, {"batch_size": 4}, ["batch_size smaller"]),
        ("activation", {"activations.a": "elu"}, {"activations.a": "relu"}, ["activation → relu"]),
        # The rate comes with the optimizer: it says nothing of smaller rates.
        (
            "optimizer",
            {"optimizer": "sgd", "learning_rate": 0.1},
            {"optimizer": "adam", "learning_rate": 0.001},
            ["optimizer → adam"],
        ),
        (
            "crossover",
            {"weight_decay": None},
            {"weight_decay": 0.5},
            ["crossover: weight_decay larger"],
        ),
        ("batch_size", {"batch_size": 8}, {"batch_size": 8}, []),
    ],
)
def test_a_mutation_is_grouped_by_what_it_brought(kind, before, genes, labels):
    assert list(new_values(kind, before, genes)) == labels
