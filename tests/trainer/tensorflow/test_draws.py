"""Draws by XLA: the same numbers, by one algorithm."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from miha.trainer.tensorflow.draws import drawn_by_one_algorithm


def compiled_draw():
    """Return numbers that a fresh program draws, and the kinds of operations in it."""
    seed = keras.random.SeedGenerator(1)
    draw = tf.function(lambda: keras.random.normal((3, 4), seed=seed), jit_compile=True)
    program = draw.get_concrete_function()
    return program().numpy(), {operation.type for operation in program.graph.get_operations()}


def test_xla_draws_the_same_numbers_without_the_slow_operation():
    late, chosen_late = compiled_draw()
    with drawn_by_one_algorithm():
        once, chosen_once = compiled_draw()
    np.testing.assert_array_equal(once, late)
    # What XLA seems to do anew for each number.
    assert "StatelessRandomGetKeyCounter" in chosen_late - chosen_once


def test_what_was_before_is_there_after_an_error():
    before = tf.random.stateless_normal
    try:
        with drawn_by_one_algorithm():
            assert tf.random.stateless_normal is not before
            raise KeyError
    except KeyError:
        assert tf.random.stateless_normal is before
