"""`ReplayCallback`: a schedule in a plain `fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from networks import convolutional, dense
from schedules import ADAM, ALL, DATA, RATES, assert_same, weights

from miha import ArgumentError, HyperparameterSchedule, MihaWarning, ReplayCallback, Segment


def test_the_callback_trains_as_a_replay_where_only_the_learning_rate_changes(rates_replayed):
    model, callback = dense(), ReplayCallback(RATES, strict=True)
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    arguments = {"batch_size": callback.batch_size, "epochs": callback.epochs}
    model.fit(*DATA, shuffle=False, verbose=0, callbacks=[callback, watch], **arguments)
    np.testing.assert_allclose(rates, [0.01, 0.002, 0.002, 0.004, 0.002], rtol=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.004)
    assert_same(model, rates_replayed.model)


def test_what_a_plain_fit_cannot_follow_is_named_in_a_warning():
    model, callback = dense(), ReplayCallback(ALL)
    with pytest.warns(MihaWarning) as caught:
        model.fit(*DATA, batch_size=callback.batch_size, epochs=3, verbose=0, callbacks=[callback])
    [text] = [str(w.message) for w in caught if w.category is MihaWarning]
    for told in (
        "optimizer is adam, then sgd, where the network has adam",
        "batch_size is 16, then 32",
        "activations of dense is relu, then tanh, where the network has relu",
        "miha.replay does",
    ):
        assert told in text
    assert "dense_1" not in text and "epochs" not in text
    # The rate of another optimizer's epochs is none for this one.
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_strict_callback_refuses_before_anything_is_trained():
    model = dense()
    before = weights(model)
    with pytest.raises(ArgumentError, match="must be able to follow.*optimizer is adam, then sgd"):
        model.fit(*DATA, verbose=0, epochs=3, callbacks=[ReplayCallback(ALL, strict=True)])
    assert_same(model, before)


@pytest.mark.parametrize(
    ("model", "epochs", "message"),
    [
        (lambda: dense(), 6, "it has 5 epochs, and fit 6"),
        (lambda: dense("sgd"), 5, "optimizer is adam, where the network has sgd"),
        (lambda: dense(activation="tanh"), 5, "activations of dense is relu, where .* has tanh"),
        (lambda: convolutional(), 5, "activations of dense is relu, where the network has nothing"),
        (
            lambda: dense(
                keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.9))
            ),
            5,
            "the network's own schedule decides the learning rate",
        ),
    ],
)
def test_another_network_or_number_of_epochs_is_named(model, epochs, message):
    callback = ReplayCallback(RATES, strict=True)
    with pytest.raises(ArgumentError, match=message):
        model().fit(*DATA, epochs=epochs, verbose=0, callbacks=[callback])


def test_a_fit_that_is_longer_than_the_schedule_goes_on_at_its_last_rate():
    callback = ReplayCallback(RATES)
    callback.set_model(dense())
    for epoch in range(8):
        callback.on_epoch_begin(epoch)
    assert float(callback.model.optimizer.learning_rate) == pytest.approx(0.004)


def test_the_batch_size_of_the_callback_is_that_of_most_epochs():
    segments = (Segment(3, ADAM.replace(batch_size=8)), Segment(1, ADAM), Segment(3, ADAM))
    assert ReplayCallback(HyperparameterSchedule(segments)).batch_size == 16


def reasons(**changes):
    """Return what a plain `fit` cannot follow where a schedule's only genome has these genes."""
    schedule = HyperparameterSchedule((Segment(2, ADAM.replace(**changes)),))
    callback = ReplayCallback(schedule)
    callback.set_model(dense())
    callback.set_params({"epochs": 2})
    return list(callback._reasons())


def test_what_acts_in_training_alone_is_named_where_it_is_not_zero():
    assert reasons(input_noise=(("x", 0.0),), augmentation=0.0) == []
    [noise] = reasons(input_noise=(("x", 0.5),), augmentation=0.0)
    [share] = reasons(input_noise=(("x", 0.0),), augmentation=0.25)
    assert "input_noise of x is 0.5" in noise
    assert "augmentation is 0.25" in share


def test_what_belongs_to_another_optimizer_is_not_named():
    decaying = ADAM.replace(optimizer="adamw", weight_decay=0.004)
    callback = ReplayCallback(HyperparameterSchedule((Segment(1, decaying), Segment(1, ADAM))))
    callback.set_model(dense())
    callback.set_params({"epochs": 2})
    [reason] = callback._reasons()
    assert reason == "optimizer is adamw, then adam, where the network has adam"
