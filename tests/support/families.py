"""Network families and data for the tests of comparisons."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.records import Genome

SEEN: list[int] = []
"""Samples of each step that a network was trained with, written down by the network itself."""

START = Genome("adam", 0.01, 16, (("hidden", "relu"),))
SAMPLES = 64


@keras.saving.register_keras_serializable("tests")
class Tally(keras.layers.Layer):
    """Writes down how many samples pass through it in training."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            tf.py_function(note, [tf.shape(inputs)[0]], [])
        return inputs


def note(count: Any) -> None:
    """Write a step down: in the file that the environment names, for other processes, or here."""
    if "TALLY" not in os.environ:
        SEEN.append(int(count))
    else:
        with open(os.environ["TALLY"], "a") as file:
            file.write(f"{int(count)}\n")


def optimizer(genome: Genome) -> Any:
    return type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)


def build(genome: Genome, *layers: Any) -> Any:
    """Return a classifier of two classes."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            *layers,
            keras.layers.Dense(4, dict(genome.activations).get("hidden", "tanh"), name="hidden"),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer(genome), loss, metrics=["accuracy"], jit_compile=False)
    return model


def build_with_tally(genome: Genome) -> Any:
    """Return a network that runs eagerly: it trains for few steps, and tracing it takes longer."""
    model = build(genome, Tally())
    model.run_eagerly = True
    return model


def gap(y: Any, found: Any) -> Any:
    """Return a value whose name does not tell how it is better."""
    return keras.ops.mean(1 - keras.ops.max(found, axis=-1))


def build_with_gap(genome: Genome) -> Any:
    model = build(genome)
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer(genome), loss, metrics=[gap], jit_compile=False)
    return model


def data() -> Any:
    """Return 64 objects to train on, 32 to validate, 32 to test."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 4)).astype("float32")
    y = (x[:, 0] > 0.5 * x[:, 1]).astype("uint8")
    parts = [slice(SAMPLES), slice(SAMPLES, 96), slice(96, 128)]
    return tuple((x[part], y[part]) for part in parts)


def build_teacher(genome: Genome) -> Any:
    """Return a network whose first weights fit `curves` exactly if its activation is elu."""
    one = keras.initializers.Identity  # Without a gain: Keras forgets it when it copies.
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(
                2, dict(genome.activations)["hidden"], kernel_initializer=one(), name="hidden"
            ),
            keras.layers.Dense(2, kernel_initializer=one()),
        ]
    )
    model.compile(optimizer(genome), "mse")
    return model


def curves() -> Any:
    """Return data that `build_teacher` with elu fits."""
    x = np.random.default_rng(1).uniform(-3, 3, size=(128, 2)).astype("float32")
    y = np.where(x > 0, x, np.expm1(x))
    return (x[:64], y[:64]), (x[64:96], y[64:96]), (x[96:], y[96:])
