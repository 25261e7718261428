"""Small networks and data for the tests of trainers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

SAMPLES = 96


def images(samples: int = SAMPLES, seed: int = 0):
    """Noisy pictures of two classes: which half is brighter."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=samples)
    x = rng.normal(size=(samples, 8, 8, 1)).astype("float32")
    x[y == 1, :4] += 1
    x[y == 0, 4:] += 1
    return x, y


def _compiled(model, optimizer="adam"):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dense(optimizer="adam", activation="relu"):
    keras.utils.set_random_seed(1)
    return _compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Dense(16, activation=activation),
                layers.Dense(8, activation=activation),
                layers.Dense(2, activation="softmax"),
            ]
        ),
        optimizer,
    )


def shallow(optimizer="adam"):
    """One hidden layer: what is compiled for it is small."""
    keras.utils.set_random_seed(1)
    hidden = layers.Dense(8, activation="relu")
    stack = [keras.Input((8, 8, 1)), layers.Flatten(), hidden]
    model = keras.Sequential([*stack, layers.Dense(2, activation="softmax")])
    return _compiled(model, optimizer)


def normalized(optimizer="adam"):
    """Its steps draw numbers, and keep statistics."""
    keras.utils.set_random_seed(8)
    stack = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dropout(0.2, seed=1)]
    stack += [layers.Dense(8, activation="gelu"), layers.BatchNormalization()]
    model = keras.Sequential([*stack, layers.Dense(2, activation="softmax")])
    return _compiled(model, optimizer)


def convolutional(optimizer="adam"):
    keras.utils.set_random_seed(2)
    return _compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(4, 3, activation="relu"),
                layers.Dropout(0.3, seed=3),
                layers.Flatten(),
                layers.Dense(2, activation="softmax"),
            ]
        ),
        optimizer,
    )


def recurrent():
    keras.utils.set_random_seed(3)
    return _compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Reshape((8, 8)),
                layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                layers.TimeDistributed(layers.Dense(4, activation="tanh")),
                layers.GRU(4),
                layers.Dense(2, activation="softmax"),
            ]
        )
    )


def branched():
    """Two inputs, two outputs, two losses."""
    keras.utils.set_random_seed(4)
    a, b = keras.Input((8, 8, 1), name="a"), keras.Input((4,), name="b")
    joined = layers.Concatenate()(
        [layers.Flatten()(a), layers.Dense(4, activation="elu", name="small")(b)]
    )
    hidden = layers.Dense(8, activation="relu", name="hidden")(joined)
    outputs = {
        "label": layers.Dense(2, activation="softmax", name="label")(hidden),
        "level": layers.Dense(1, activation="sigmoid", name="level")(hidden),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile(
        "adam",
        {"label": "sparse_categorical_crossentropy", "level": "mse"},
        loss_weights={"label": 1.0, "level": 0.5},
        metrics={"label": ["accuracy"]},
    )
    return model


def branched_data(samples: int = SAMPLES, seed: int = 0):
    x, y = images(samples, seed)
    b = np.random.default_rng(seed + 1).normal(size=(samples, 4)).astype("float32")
    return {"a": x, "b": b}, {"label": y, "level": b[:, :1] ** 2}


def nested():
    keras.utils.set_random_seed(5)
    encoder = keras.Sequential(
        [keras.Input((64,)), layers.Dense(8, activation="relu", name="inner")], name="encoder"
    )
    shared = layers.Dense(8, activation="gelu", name="shared")
    inputs = keras.Input((8, 8, 1))
    hidden = encoder(layers.Flatten()(inputs))
    hidden = layers.LeakyReLU(name="leak")(shared(shared(hidden)))
    return _compiled(keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden)))


@keras.saving.register_keras_serializable("miha_tests")
class Subclassed(keras.Model):
    def __init__(self, units=8, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.flatten = layers.Flatten()
        self.hidden = layers.Dense(units, activation=activation)
        self.normalize = layers.BatchNormalization()
        self.outputs_ = layers.Dense(2, activation="softmax")

    def call(self, inputs, training=False):
        hidden = self.normalize(self.hidden(self.flatten(inputs)), training=training)
        return self.outputs_(hidden)

    def get_config(self):
        activation = keras.activations.serialize(self.hidden.activation)
        return {**super().get_config(), "units": self.units, "activation": activation}


def subclassed():
    keras.utils.set_random_seed(6)
    model = _compiled(Subclassed())
    model(np.zeros((1, 8, 8, 1), "float32"))
    return model


class Penalized(keras.Model):
    """A `train_step` of its own: the gradient is taken by hand, plus a penalty."""

    def penalized(self, x, y, training=True):
        predicted = self(x, training=training)
        loss = self.compute_loss(x, y, predicted) + 0.01 * keras.ops.mean(predicted**2)
        return loss, predicted

    def measured(self, loss, y, predicted):
        for metric in self.metrics:
            metric.update_state(*((loss,) if metric.name == "loss" else (y, predicted)))
        # The compiled metrics are a dictionary in it, as in Keras' guide.
        return {metric.name: metric.result() for metric in self.metrics}


class TensorFlowStep(Penalized):
    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss, predicted = self.penalized(x, y)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self.measured(loss, y, predicted)


class TorchStep(Penalized):
    def train_step(self, data):
        x, y = data
        self.zero_grad()
        loss, predicted = self.penalized(x, y)
        loss.backward()
        gradients = [variable.value.grad for variable in self.trainable_variables]
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.measured(loss.detach(), y, predicted.detach())


class JaxStep(Penalized):
    def loss_and_updates(self, trainable, fixed, x, y):
        predicted, fixed = self.stateless_call(trainable, fixed, x, training=True)
        loss = self.compute_loss(x, y, predicted) + 0.01 * keras.ops.mean(predicted**2)
        return loss, (predicted, fixed)

    def train_step(self, state, data):
        import jax

        x, y = data
        trainable, fixed, optimizer, metrics = state
        gradient = jax.value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, (predicted, fixed)), gradients = gradient(trainable, fixed, x, y)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        with keras.StatelessScope(list(zip(self.metrics_variables, metrics, strict=True))) as scope:
            logs = self.measured(loss, y, predicted)
        metrics = [scope.get_current_value(v) for v in self.metrics_variables]
        return logs, (trainable, fixed, optimizer, metrics)


STEPS = {"tensorflow": TensorFlowStep, "torch": TorchStep, "jax": JaxStep}


@keras.saving.register_keras_serializable("miha_tests")
class CustomStep(STEPS[keras.backend.backend()]):
    pass


def custom_step():
    keras.utils.set_random_seed(7)
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Dense(8, activation="tanh")(layers.Flatten()(inputs))
    outputs = layers.Dense(2, activation="softmax")(hidden)
    return _compiled(CustomStep(inputs, outputs))


def gated():
    """One recurrent layer: what is traced for each optimizer class is a third of `recurrent`."""
    keras.utils.set_random_seed(3)
    return _compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Reshape((8, 8)),
                layers.GRU(4, return_sequences=True),
                layers.TimeDistributed(layers.Dense(4, activation="tanh")),
                layers.Flatten(),
                layers.Dense(2, activation="softmax"),
            ]
        )
    )


GALLERY = {
    "dense": (dense, images),
    "convolutional": (convolutional, images),
    "gated": (gated, images),
    "branched": (branched, branched_data),
    "subclassed": (subclassed, images),
}
"""Each network with what makes its data."""

SLOW_GALLERY = {
    "recurrent": (recurrent, images),
    "nested": (nested, images),
    "custom_step": (custom_step, images),
}
"""Those that add least to the others, or whose programs take long to trace: in the slow tests."""

ALL = GALLERY | SLOW_GALLERY
