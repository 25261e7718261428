"""`replay` and `ReplayCallback`, with Keras."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from networks import convolutional, dense, images

import miha
from miha import (
    MIHA,
    ArgumentError,
    Genome,
    HyperparameterSchedule,
    MihaWarning,
    ReplayCallback,
    Stretch,
    replay,
)
from miha.replays.replay import _check_sizes

DATA, VALIDATION = images(), images(32, seed=9)
SLOTS = (("dense", "relu"), ("dense_1", "relu"))
ADAM = Genome("adam", 0.01, 16, SLOTS)
RATES = HyperparameterSchedule(
    (
        Stretch(1, ADAM),
        Stretch(2, ADAM.replace(learning_rate=0.002), "clone", 1, 1),
        Stretch(2, ADAM.replace(learning_rate=0.004), "final", anneal=True),
    )
)
ALL = HyperparameterSchedule(
    (
        Stretch(1, ADAM),
        Stretch(1, ADAM.with_activation("dense", "tanh"), "clone", 1, 1, "keep_function"),
        Stretch(1, Genome("sgd", 0.05, 32, (("dense", "tanh"), ("dense_1", "relu")), 0.9)),
    )
)


def weights(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.weights]


def assert_same(first, second):
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(a, b)


def quiet(model, schedule, **arguments):
    return replay(model, *DATA, schedule, verbose=0, **arguments)


def test_a_replay_with_the_seed_of_the_run_is_the_network_of_the_run(tmp_path):
    result = MIHA(
        convolutional(), *DATA, validation_data=VALIDATION, m=1, n=1, k=1, c=4, pop_size=4,
        batch_size=16, seed=3, verbose=0, restarts=0, logs=tmp_path / "run",
    ).optimize()  # fmt: skip
    assert len({stretch.genome for stretch in result.schedule.stretches}) > 2
    result.schedule.save(tmp_path / "schedule.json")
    replayed = replay(
        convolutional(), *DATA, tmp_path / "schedule.json", validation_data=VALIDATION,
        validation_batch_size=16, seed=result.schedule.seed, verbose=0,
    )  # fmt: skip
    assert_same(replayed.model, result.model)
    assert replayed.genome == result.genome
    assert list(replayed.history["epoch"]) == list(range(1, result.schedule.epochs + 1))
    assert replayed.history["val_loss"].iloc[-1] == result.history["val_loss"].iloc[-1]


def test_a_replay_follows_every_gene_and_leaves_the_users_network_alone(capsys):
    model = dense()
    before = weights(model)
    replayed = replay(model, *DATA, ALL, seed=0)
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert replayed.genome == ALL.genome
    assert isinstance(replayed.model.optimizer, keras.optimizers.SGD)
    assert [layer.activation.__name__ for layer in replayed.model.layers[1:]] == [
        *("tanh", "relu", "softmax"),
    ]
    assert list(replayed.history["stretch"]) == [1, 2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == ["[1/3", "[2/3", "[3/3"]
    assert lines[2].startswith("[3/3] sgd at 0.05, batch size 32, dense: tanh, dense_1: relu: loss")


class Pairs(keras.utils.PyDataset):
    """The data, in batches of 16."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return tuple(part[16 * index : 16 * (index + 1)] for part in DATA)


def test_a_source_of_batches_is_as_good_as_arrays():
    from_batches = replay(dense(), Pairs(), None, RATES, shuffle=False, verbose=0)
    assert_same(from_batches.model, quiet(dense(), RATES, shuffle=False).model)


def test_batches_that_cannot_be_made_others_are_refused():
    fixed = SimpleNamespace(rebatches=False, batch_size=16, samples=96)
    with pytest.raises(ArgumentError, match=r"batches of 16, where the schedule has \[16, 32\]"):
        _check_sizes([16, 32, 16], fixed)
    _check_sizes([16, 16], fixed)


def test_a_seed_that_is_not_given_is_drawn_and_told():
    first = quiet(dense(), RATES)
    assert_same(first.model, quiet(dense(), RATES, seed=first.seed).model)


@pytest.mark.parametrize(
    ("genome", "message"),
    [
        (Genome("adam", 0.01, 16, (("conv2d", "relu"),)), "a layer with an activation for each"),
        (Genome("adam", 0.01, 16, (("dense", "own"),)), "activations for "),
        (Genome("adam", None, 16, SLOTS), "a learning rate where the network's is no schedule"),
        (Genome("adam", 0.01, 97, SLOTS), "must not exceed the number of samples"),
        (Genome("madam", 0.01, 16, SLOTS), "An optimizer must be the name"),
        (Genome("adam", 0.01, 16, (("dense", "softmax"),)), "elementwise function"),
    ],
)
def test_a_network_that_cannot_follow_is_refused(genome, message):
    with pytest.raises(ArgumentError, match=message):
        quiet(dense(), HyperparameterSchedule((Stretch(1, genome),)))


def test_the_callback_trains_as_a_replay_where_only_the_learning_rate_changes():
    model, callback = dense(), ReplayCallback(RATES, strict=True)
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    model.fit(
        *DATA, batch_size=callback.batch_size, epochs=callback.epochs, shuffle=False, verbose=0,
        callbacks=[callback, watch],
    )  # fmt: skip
    np.testing.assert_allclose(rates, [0.01, 0.002, 0.002, 0.004, 0.002], rtol=1e-6)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.004)
    assert_same(model, quiet(dense(), RATES, shuffle=False).model)


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
    for a, b in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


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
    stretches = (Stretch(3, ADAM.replace(batch_size=8)), Stretch(1, ADAM), Stretch(3, ADAM))
    assert ReplayCallback(HyperparameterSchedule(stretches)).batch_size == 16


def test_the_names_are_public():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("replay", "Replayed", "ReplayCallback", "HyperparameterSchedule", "Stretch"):
            assert getattr(miha, name).__name__ == name
