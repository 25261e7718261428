"""Draws by XLA: by one algorithm, which is named."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from miha.trainer.tensorflow.draws import drawn_by_one_algorithm

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
