"""A choice of activations that is traced once: the values and gradients of Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import make_contract_trainer, train

from miha.trainer.tensorflow import choice

NAMES = ("relu", "tanh", "sigmoid", "gelu", "elu", "silu", "softplus", "leaky_relu", "mish")
FUNCTIONS = [keras.activations.get(name) for name in NAMES]
VALUES = np.random.default_rng(1).normal(0, 3, (5, 7)).astype("float32")


def applied(choose, place, functions, values=VALUES):
    """Return outputs, and gradients of their squares, from a graph as a step has it."""

    @tf.function(input_signature=[tf.TensorSpec((None, *values.shape[1:]), values.dtype)])
    def step(values):
        index = tf.constant(place)
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = choose(index, functions, values)
            squares = outputs * outputs
        assert outputs.shape.as_list() == values.shape.as_list()
        return outputs, tape.gradient(squares, values)

    return [part.numpy() for part in step(tf.constant(values))]


@pytest.fixture
def no_rewriting():
    """Let TensorFlow leave graphs as they are: it rounds gelu otherwise beside its gradient."""
    options = tf.config.optimizer
    options.set_experimental_options({"disable_meta_optimizer": True})
    yield
    options.set_experimental_options({"disable_meta_optimizer": False})


@pytest.mark.usefixtures("no_rewriting")
@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_values_and_gradients_are_those_of_the_function_itself_bit_for_bit(place, dtype):
    values = VALUES.astype(dtype)
    found = applied(choice.choose, place, FUNCTIONS, values)
    wanted = applied(
        lambda index, functions, values: functions[place](values), place, FUNCTIONS, values
    )
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_layers_of_any_width_share_one_trace_and_batches_of_another_rank_have_their_own():
    choice._traced_once.cache_clear()
    for shape in [(5, 7), (3, 2), (4, 9)]:
        applied(choice.choose, 0, FUNCTIONS, np.ones(shape, "float32"))
    forward, backward = choice._traced_once(tuple(FUNCTIONS), tf.float32, 2)
    assert choice._traced_once.cache_info().currsize == 1
    assert forward.experimental_get_tracing_count() == 1
    assert backward.experimental_get_tracing_count() == 1

    applied(choice.choose, 0, FUNCTIONS, np.ones((2, 3, 4), "float32"))
    assert choice._traced_once.cache_info().currsize == 2


def test_the_variable_of_a_function_of_ones_own_has_its_gradient():
    width = tf.Variable(2.0)
    functions = [keras.activations.relu, lambda values: values * width]

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            outputs = choice.choose(tf.constant(1), functions, tf.constant(VALUES))
        return tape.gradient(outputs, width)

    assert gradient().numpy() == pytest.approx(VALUES.sum(), rel=1e-5)


def test_values_of_unknown_rank_are_chosen_too():
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def step(values):
        return choice.choose(tf.constant(1), FUNCTIONS, values)

    np.testing.assert_allclose(step(VALUES), np.tanh(VALUES), rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class WithSlopes(keras.layers.Dense):
    """A layer that returns its activation's slopes beside its values."""

    def call(self, x):
        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = super().call(x)
        return tf.concat([values, tape.gradient(values, x)], axis=-1)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units + shape[-1])


def test_a_layer_that_takes_derivatives_of_its_activation_trains_as_in_fit_and_mutates():
    keras.utils.set_random_seed(1)
    layers = [WithSlopes(4, "tanh", name="own"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(2).normal(size=(40, 4)).astype("float32"), np.arange(40) % 3
    trainer = make_contract_trainer(model, (x, y), batch_size=20, shuffle=False)
    own, start = trainer.genome, trainer.snapshot()
    train(trainer, 2)
    trained = trainer.snapshot()

    model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    for found, wanted in zip(trained.variables, model.get_weights(), strict=False):
        np.testing.assert_array_equal(found, wanted)

    trainer.restore(start)
    trainer.express(own.with_activation("own", "silu"))
    train(trainer, 2)
    assert not np.array_equal(trainer.snapshot().variables[0], trained.variables[0])
