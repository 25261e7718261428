"""Data as `fit` takes it, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from miha import ArgumentError
from miha.data.arrays import prepare

X, Y = np.arange(40.0).reshape(10, 4), np.arange(10) % 3


def test_floats_become_the_float_that_keras_computes_with_and_integers_stay():
    data, validation = prepare(X, Y)
    assert data.x.dtype == "float32"
    assert data.y.dtype == Y.dtype
    assert data.samples == 10
    assert validation is None


def test_structures_keep_their_shape_and_lists_become_tuples():
    data, _ = prepare({"a": X, "b": [X, X]}, (Y, Y))
    assert set(data.x) == {"a", "b"}
    assert isinstance(data.x["b"], tuple)
    assert len(data.arrays) == 5


def test_data_frames_and_tensors_are_arrays():
    data, _ = prepare(pd.DataFrame(X), keras.ops.convert_to_tensor(Y))
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)


def test_the_last_samples_validate_as_in_fit():
    data, validation = prepare(X, Y, validation_split=0.3)
    np.testing.assert_array_equal(data.x, X[:7])
    np.testing.assert_array_equal(validation.y, Y[7:])


def test_class_weights_become_sample_weights():
    data, _ = prepare(X, Y, class_weight={0: 2.0, 2: 0.5})
    np.testing.assert_array_equal(data.sample_weight, [{0: 2.0, 1: 1.0, 2: 0.5}[y] for y in Y])


def test_class_weights_of_one_hot_targets_are_those_of_their_class():
    data, _ = prepare(X, np.eye(3)[Y], class_weight={1: 3.0})
    np.testing.assert_array_equal(data.sample_weight, np.where(Y == 1, 3.0, 1.0))


def test_validation_data_may_have_weights():
    _, validation = prepare(X, Y, validation_data=(X, Y, np.ones(10)))
    assert validation.sample_weight.dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X, "y": Y[:9]}, "as many samples"),
        ({"x": {"a": X, "b": X[:5]}, "y": Y}, "as many samples"),
        ({"x": np.where(X == 3, np.nan, X), "y": Y}, "must be finite. Received: 1 values"),
        ({"x": X, "y": np.where(Y == 2, np.inf, Y)}, "must be finite"),
        ({"x": X[:0], "y": Y[:0]}, "at least one sample"),
        ({"x": X, "y": Y, "validation_data": X}, r"must be \(x, y\)"),
        ({"x": X, "y": Y, "validation_data": (X[:5] * np.nan, Y[:5])}, "`validation_data`.*finite"),
        ({"x": X, "y": Y, "validation_split": 1.0}, "between 0 and 1"),
        ({"x": X, "y": Y, "validation_split": 0.99}, "leave samples on both sides"),
        ({"x": iter(X), "y": Y}, "must be arrays"),
        ({"x": np.array([{}, []], dtype=object), "y": Y}, "must be arrays"),
        (
            {"x": X, "y": Y, "class_weight": {0: 1.0}, "sample_weight": np.ones(10)},
            "must not both be given",
        ),
        ({"x": X, "y": (Y, Y), "class_weight": {0: 1.0}}, "single target"),
    ],
)
def test_broken_data_is_refused_with_rule_and_value(arguments, message):
    with pytest.raises(ArgumentError, match=f"(?s){message}") as refused:
        prepare(**arguments)
    assert "Received" in str(refused.value)
