"""Callbacks of Keras that a run can call, and those that are refused by name."""

from __future__ import annotations

import warnings

import keras
import pytest
from networks import dense, images

from miha import MIHA, ArgumentError, MihaWarning
from miha.callbacks import Callback
from miha.integrations.keras_checks import check_keras_callback, is_keras_callback


def test_callbacks_of_keras_are_told_from_others():
    class Mine(keras.callbacks.EarlyStopping):
        """One of Keras' with a name of its own."""

    assert is_keras_callback(Mine()) and is_keras_callback(keras.callbacks.Callback())
    assert not is_keras_callback(Callback()) and not is_keras_callback(None)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: keras.callbacks.EarlyStopping(), r"EarlyStopping: .*miha.Budget\(patience=3\)"),
        (lambda: keras.callbacks.ReduceLROnPlateau(), "the learning rate is a gene"),
        (lambda: keras.callbacks.LearningRateScheduler(lambda e, r: r), "LearningRateSchedule"),
        (lambda: keras.callbacks.BackupAndRestore("nowhere"), "run the same script again"),
        (lambda: keras.callbacks.TerminateOnNaN(), "not finite"),
        (lambda: keras.callbacks.ModelCheckpoint("a.keras", save_freq=10), "save_freq='epoch'"),
        (lambda: keras.callbacks.TensorBoard("a", update_freq=10), "update_freq='epoch'"),
        (lambda: keras.callbacks.TensorBoard("a", update_freq="batch"), "update_freq='epoch'"),
    ],
)
def test_what_a_run_cannot_do_is_refused_with_the_cure(make, words):
    with pytest.raises(ArgumentError, match=words):
        check_keras_callback(make())


def test_a_search_refuses_it_before_it_writes_anything(tmp_path):
    guests = [keras.callbacks.ReduceLROnPlateau()]
    with pytest.raises(ArgumentError, match="the learning rate is a gene"):
        MIHA(dense(), *images(), callbacks=guests, logs=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Counting(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        """Count."""


def test_hooks_of_batches_are_warned_of_by_name():
    with pytest.warns(MihaWarning, match="on_train_batch_end of Counting will not be called"):
        check_keras_callback(Counting())


@pytest.mark.parametrize("frequency", [None, "epoch"])
def test_hooks_of_batches_of_a_callback_that_acts_by_epochs_do_nothing(frequency):
    by_epochs = Counting()
    by_epochs.log_freq = frequency  # As Weights & Biases has it.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_keras_callback(by_epochs)
        check_keras_callback(keras.callbacks.CSVLogger("log.csv"))
