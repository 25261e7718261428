"""Draws by XLA: by one algorithm, which is named, and a polynomial for normal ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erfinv

from miha.trainer.tensorflow.draws import (
    drawn_by_one_algorithm,
    inverse_error_function,
    normal,
)

SHAPE = (100, 200)
DRAWS = {
    "normal": (lambda seed: keras.random.normal(SHAPE, seed=seed), 0.0, 1.0),
    "uniform": (lambda seed: keras.random.uniform(SHAPE, seed=seed), 0.5, 12**-0.5),
    "truncated": (lambda seed: keras.random.truncated_normal(SHAPE, seed=seed), 0.0, 0.88),
    "dropout": (lambda seed: keras.random.dropout(np.ones(SHAPE), 0.5, seed=seed), 1.0, 1.0),
}


def compiled_draw(draw):
    """Return numbers that a fresh program draws, twice, and the kinds of operations in it."""
    seed = keras.random.SeedGenerator(1)
    program = tf.function(lambda: draw(seed), jit_compile=True).get_concrete_function()
    kinds = {operation.type for operation in program.graph.get_operations()}
    return program().numpy(), program().numpy(), kinds


@pytest.mark.parametrize(("draw", "mean", "spread"), DRAWS.values(), ids=DRAWS)
def test_xla_draws_numbers_of_the_same_kind_without_the_slow_operation(draw, mean, spread):
    *_, chosen_late = compiled_draw(draw)
    with drawn_by_one_algorithm():
        first, second, chosen_once = compiled_draw(draw)
        again, *_ = compiled_draw(draw)
    # What XLA seems to do anew for each number.
    assert "StatelessRandomGetKeyCounter" in chosen_late - chosen_once
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != second) > 0.4
    assert np.mean(first) == pytest.approx(mean, abs=0.03)
    assert np.std(first) == pytest.approx(spread, abs=0.03)


def test_what_was_before_is_there_after_an_error():
    before = (tf.random.stateless_normal, tf.nn.experimental.stateless_dropout)
    with pytest.raises(KeyError), drawn_by_one_algorithm():
        assert tf.random.stateless_normal is not before[0]
        assert tf.nn.experimental.stateless_dropout is not before[1]
        raise KeyError
    assert (tf.random.stateless_normal, tf.nn.experimental.stateless_dropout) == before


def test_the_inverse_error_function_is_that_of_scipy():
    near = np.linspace(-0.9999999, 0.9999999, 20_001)
    far = 1.0 - np.logspace(-7, -1, 50)
    x = np.concatenate([near, far, -far, [0.0, 1e-30]]).astype("float32")
    # Rounded to 32 bits, x itself is unsure where the function is steep.
    np.testing.assert_allclose(inverse_error_function(x), erfinv(x.astype(float)), rtol=3e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_normal_draws_are_finite_and_of_the_wanted_kind(dtype):
    # Only XLA has the algorithm on a CPU.
    draw = tf.function(normal, jit_compile=True)
    drawn = draw((300, 400), [1, 2], mean=2.0, stddev=3.0, dtype=dtype)
    assert drawn.dtype == dtype
    values = tf.cast(drawn, "float64").numpy().ravel()
    assert np.isfinite(values).all()
    # Mean, spread, skewness and what the tails weigh, of a normal distribution.
    parts = (values - 2.0) / 3.0
    moments = [np.mean(parts**power) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0.0, 1.0, 0.0, 3.0], atol=0.06)


def test_no_uniform_draw_is_infinitely_far_away():
    lowest = np.nextafter(np.float32(-1.0), np.float32(0.0))
    assert np.isfinite(inverse_error_function(np.asarray([lowest, -lowest])).numpy()).all()
