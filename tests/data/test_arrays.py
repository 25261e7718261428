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
        ({"x": X, "y": Y, "validation_data": (X, Y, Y, Y)}, r"must be \(x, y\).*tuple of 4"),
        ({"x": X, "y": Y, "validation_data": [X, Y, Y, Y]}, "Received: a list of 4"),
        ({"x": X, "y": Y.tolist()}, r"a list or tuple of values such as 0.*np.array"),
        ({"x": X, "y": Y, "validation_data": (X[:5] * np.nan, Y[:5])}, "`validation_data`.*finite"),
        ({"x": X, "y": Y, "validation_split": 1.0}, "between 0 and 1"),
        ({"x": X, "y": Y, "validation_split": 0.99}, "leave samples on both sides"),
        ({"x": iter(X), "y": Y}, "must be arrays"),
        ({"x": np.array([{}, []], dtype=object), "y": Y}, "must be arrays"),
        (
            {"x": X, "y": Y, "class_weight": {0: 1.0}, "sample_weight": np.ones(10)},
            "must not both be given",
        ),
        ({"x": X, "y": (Y, Y), "class_weight": {0: 1.0}}, "single target.*2 targets in a list"),
        ({"x": X, "y": None, "class_weight": {0: 1.0}}, "single target.*none"),
        ({"x": X, "y": Y, "class_weight": {"0": 1.0}}, "whole numbers.*the class '0'"),
        ({"x": X, "y": Y, "class_weight": {0.5: 1.0}}, "whole numbers.*the class 0.5"),
        ({"x": X, "y": Y.astype(str), "class_weight": {0: 1.0}}, "must be numbers.*np.unique"),
        # A mask for each image, a one-hot vector and a label for each step.
        (
            {"x": X, "y": np.zeros((10, 4, 4, 1)), "class_weight": {0: 1.0}},
            r"one class for each sample, as in `fit`.*\(10, 4, 4, 1\).*shape \(10, 4, 4\)",
        ),
        (
            {"x": X, "y": np.zeros((10, 5, 3)), "class_weight": {0: 1.0}},
            r"one class for each sample, as in `fit`.*shape \(10, 5\)",
        ),
        (
            {"x": X, "y": np.full((10, 5), 2), "class_weight": {0: 1.0}},
            r"or one-hot targets.*numbers up to 2.*shape \(10, 5\)",
        ),
    ],
)
def test_broken_data_is_refused_with_rule_and_value(arguments, message):
    with pytest.raises(ArgumentError, match=f"(?s){message}") as refused:
        prepare(**arguments)
    assert "Received" in str(refused.value)


@pytest.mark.parametrize("given", [X, (X,), [X], (X, None)])
def test_validation_data_needs_no_targets_where_there_are_none(given):
    _, validation = prepare(X, None, validation_data=given)
    assert validation.y is None
    np.testing.assert_array_equal(validation.x, X)


def test_a_class_may_be_named_by_any_whole_number_and_lie_in_an_axis_of_its_own():
    weights = {np.int64(0): 2.0, 2.0: 0.5}
    for y in (Y, Y[:, None], Y[:, None, None], Y.astype("float32")):
        data, _ = prepare(X, y, class_weight=weights)
        np.testing.assert_array_equal(data.sample_weight, np.choose(Y, [2.0, 1.0, 0.5]))


def test_what_is_missing_is_taken_where_the_user_says_so():
    x = np.where(X == 3, np.nan, X)
    data, validation = prepare(x, x, None, None, (x, x), must_be_finite=False)
    assert np.isnan(data.y).sum() == np.isnan(validation.x).sum() == 1
    with pytest.raises(ArgumentError, match=r"miha\.Execution\(check_finite=False\)"):
        prepare(x, Y)
