"""A callback of Keras may look at the network; where it changes it, a warning says so, once."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

from miha import MihaWarning
from miha.integrations import keras_guests
from miha.integrations.keras_guests import Guest


@pytest.fixture
def network():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.stop_training = False
    return model


class Halving(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.05


class Clipping(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        for weight in self.model.trainable_variables:
            weight.assign(keras.ops.clip(weight, -0.01, 0.01))


class Freezing(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[0].trainable = False


class Exchanging(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer = keras.optimizers.Adam()


def blending():
    def halve(epoch, logs):
        callback.model.optimizer.learning_rate = 0.05

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=halve)
    return callback


@pytest.mark.parametrize(
    ("make", "change", "cure"),
    [
        (Halving, "learning rate", "LearningRateSchedule"),
        (blending, "learning rate", "LearningRateSchedule"),
        (Clipping, "weights", "Constraint"),
        (Freezing, "`trainable`", "before the run"),
        (Exchanging, "optimizer", "compile"),
    ],
)
def test_what_a_callback_changes_is_named_once_with_the_cure(network, make, change, cure):
    callback = make()
    guest = Guest(callback, network, 2)
    words = rf"callback {type(callback).__name__} changes the network \({change}\): .*{cure}"
    with pytest.warns(MihaWarning, match=words):
        guest.call("on_epoch_begin", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MihaWarning)
        guest.call("on_epoch_begin", 1)


def test_only_hooks_that_a_callback_has_are_looked_at(network, monkeypatch):
    looks = []
    read = keras_guests.State.__init__

    def note(state, model):
        looks.append(model)
        read(state, model)

    monkeypatch.setattr(keras_guests.State, "__init__", note)
    guest = Guest(Looking(), network, 3)
    for hook in ("on_train_begin", "on_epoch_begin"):
        guest.call(hook, *[0] * (hook == "on_epoch_begin"))
    assert looks == []
    guest.call("on_epoch_end", 0, {})
    # Once: what is afterwards is read beside it.
    assert looks == [network]


def test_a_weight_that_is_not_a_number_has_not_changed_by_that(network):
    network.layers[0].bias.assign([np.nan])
    guest = Guest(Looking(), network, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MihaWarning)
        guest.call("on_epoch_end", 0, {})


class Looking(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        self.model.stop_training = epoch == 1


def test_a_callback_that_looks_is_not_warned_of_and_may_ask_for_the_end(network):
    guest = Guest(Looking(), network, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MihaWarning)
        guest.call("on_epoch_end", 0, {})
        assert not guest.has_stopped
        guest.call("on_epoch_end", 1, {})
    # The next callback shall not be taken for the one that asked.
    assert guest.has_stopped and not network.stop_training
