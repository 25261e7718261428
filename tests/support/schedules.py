"""Schedules of hyperparameters for `networks.dense`, and its data."""

from __future__ import annotations

import keras
import numpy as np
from networks import images

from miha import Genome, HyperparameterSchedule, Segment

DATA = images()
SLOTS = (("dense", "relu"), ("dense_1", "relu"))
ADAM = Genome("adam", 0.01, 16, SLOTS)
SGD = Genome("sgd", 0.05, 32, (("dense", "tanh"), ("dense_1", "relu")))

RATES = HyperparameterSchedule(
    (
        Segment(1, ADAM),
        Segment(2, ADAM.replace(learning_rate=0.002), "clone", 1, 1),
        Segment(2, ADAM.replace(learning_rate=0.004), "final", rates=(1.0, 0.5)),
    )
)
"""Only the learning rate changes."""

ALL = HyperparameterSchedule(
    (
        Segment(1, ADAM),
        Segment(1, ADAM.with_activation("dense", "tanh"), "clone", 1, 1, "keep_function"),
        Segment(1, SGD),
    )
)
"""Every gene changes that `dense` has."""


def weights(model):
    return [np.array(keras.ops.convert_to_numpy(value)) for value in model.weights]


def assert_same(first, second):
    """Assert that two networks, or lists of their weights, are the same."""
    lists = [item if isinstance(item, list) else weights(item) for item in (first, second)]
    for one, other in zip(*lists, strict=True):
        np.testing.assert_array_equal(one, other)
