"""`replay`: a network trained along a schedule, with Keras."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import fields, replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from fakes import RICH
from networks import dense, images, normalized
from schedules import ADAM, ALL, DATA, RATES, SLOTS, assert_same

import miha
from miha import (
    MIHA,
    ArgumentError,
    Genome,
    HyperparameterSchedule,
    Search,
    SearchSpace,
    Segment,
    replay,
)
from miha.replays.replay import _BY_NETWORK, _check_sizes, _space


@pytest.fixture(scope="module")
def followed():
    """A replay in which every gene changes, what it printed, and the network it was given."""
    model, lines = dense(), io.StringIO()
    with contextlib.redirect_stdout(lines):
        replayed = replay(model, *DATA, ALL)
    return replayed, lines.getvalue().splitlines(), model


def test_a_replay_with_the_seed_of_the_run_is_the_network_of_the_run(tmp_path):
    validation = images(32, seed=9)
    result = MIHA(
        normalized(),
        *DATA,
        validation_data=validation,
        batch_size=16,
        m=1,
        n=1,
        k=1,
        c=4,
        pop_size=4,
        search=Search(restarts=0),
        # Few values, for tracing takes its time.
        space=SearchSpace(optimizers=["adam", "sgd"], activations=["relu", "tanh"]),
        seed=3,
        verbose=0,
        logs=tmp_path / "run",
    ).optimize()
    assert len({segment.genome for segment in result.schedule.segments}) > 2
    result.schedule.save(tmp_path / "schedule.json")
    replayed = replay(
        normalized(),
        *DATA,
        tmp_path / "schedule.json",
        validation_data=validation,
        validation_batch_size=16,
        seed=result.schedule.seed,
        verbose=0,
    )
    assert_same(replayed.model, result.model)
    assert replayed.genome == result.genome
    assert list(replayed.history["epoch"]) == list(range(1, result.schedule.epochs + 1))
    assert replayed.history["val_loss"].iloc[-1] == result.history["val_loss"].iloc[-1]


def test_a_replay_follows_every_gene_and_leaves_the_users_network_alone(followed):
    replayed, lines, model = followed
    assert_same(model, dense())
    for gene in ("optimizer", "learning_rate", "batch_size", "activations"):
        assert getattr(replayed.genome, gene) == getattr(ALL.genome, gene)
    assert isinstance(replayed.model.optimizer, keras.optimizers.SGD)
    activations = [layer.activation.__name__ for layer in replayed.model.layers[1:]]
    assert activations == ["tanh", "relu", "softmax"]
    assert list(replayed.history["segment"]) == [1, 2, 3]
    assert [line.split("]")[0] for line in lines] == ["[1/3", "[2/3", "[3/3"]
    assert lines[2].startswith("[3/3] sgd at 0.05, ")
    assert "batch size 32, dense: tanh, dense_1: relu: loss" in lines[2]


def test_a_seed_that_is_not_given_is_drawn_and_told(followed):
    replayed, _, _ = followed
    again = replay(dense(), *DATA, ALL, seed=replayed.seed, verbose=0)
    assert_same(replayed.model, again.model)


def test_a_replay_has_the_noise_and_the_layers_that_the_run_had():
    flip = [keras.layers.RandomFlip(seed=1)]
    own = ADAM.replace(input_noise=(("x", 0.0),), augmentation=0.0)
    ends = []
    for changes in ({}, {"input_noise": (("x", 0.3),)}, {"augmentation": 0.5}):
        genome = own.replace(**changes)
        schedule = HyperparameterSchedule((Segment(1, own), Segment(1, genome)))
        replayed = replay(dense(), *DATA, schedule, augmentation=flip, seed=3, verbose=0)
        assert replayed.genome == genome
        ends.append(replayed.history["loss"].iloc[-1])
    assert len(set(ends)) == 3


def test_a_replay_without_the_layers_that_the_run_had_is_refused():
    schedule = HyperparameterSchedule((Segment(1, ADAM.replace(augmentation=0.5)),))
    with pytest.raises(ArgumentError, match="augmentation"):
        replay(dense(), *DATA, schedule, verbose=0)


def classifier():
    """Return a network of photographs."""
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture(scope="module")
def augmented(tmp_path_factory):
    """A run that takes its photographs as they are or changed, and its data."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(32, 16, 16, 3)).astype("float32")
    y = rng.integers(3, size=32)
    keras.utils.set_random_seed(1)
    run = MIHA(
        classifier(),
        x,
        y,
        validation_data=(x, y),
        batch_size=16,
        m=1,
        n=1,
        k=1,
        c=2,
        pop_size=2,
        mutations=["augmentation"],
        search=Search(restarts=0, control=False),
        seed=3,
        verbose=0,
        logs=tmp_path_factory.mktemp("augmented") / "run",
    )
    return run.optimize(), (x, y)


def test_a_replay_has_the_usual_augmentation_of_images_as_the_run_had(augmented):
    result, data = augmented
    schedule = result.schedule
    assert schedule.genome.augmentation > 0
    keras.utils.set_random_seed(1)
    replayed = replay(classifier(), *data, schedule, seed=3, verbose=0)
    assert_same(replayed.model, result.model)


def test_a_replay_asks_for_the_layers_that_a_user_gave_the_run(augmented):
    result, data = augmented
    [shift, _] = result.schedule.augmentation
    schedule = replace(result.schedule, augmentation=(shift,))
    with pytest.raises(ArgumentError, match="the run had RandomShift"):
        replay(classifier(), *data, schedule, verbose=0)


class Pairs(keras.utils.PyDataset):
    """The data, in batches of 16."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return tuple(part[16 * index : 16 * (index + 1)] for part in DATA)


def test_a_source_of_batches_is_as_good_as_arrays(rates_replayed):
    from_batches = replay(dense(), Pairs(), None, RATES, shuffle=False, verbose=0)
    assert_same(from_batches.model, rates_replayed.model)


def test_batches_that_cannot_be_made_others_are_refused():
    fixed = SimpleNamespace(rebatches=False, batch_size=16, samples=96)
    with pytest.raises(ArgumentError, match=r"batches of 16, where the schedule has \[16, 32\]"):
        _check_sizes([16, 32, 16], fixed)
    _check_sizes([16, 16], fixed)


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
        replay(dense(), *DATA, HyperparameterSchedule((Segment(1, genome),)), verbose=0)


def test_every_gene_is_known_to_a_replay():
    of_the_optimizer = {"optimizer", "learning_rate", "batch_size", "weight_decay"}
    genes = {field.name for field in fields(Genome)}
    assert genes == of_the_optimizer | {"activations"} | set(_BY_NETWORK)


def test_the_values_of_each_gene_are_in_the_space_of_a_replay():
    genome = RICH.replace(label_smoothing=0.125, input_noise=(("x", 0.375),))
    schedule = replace(ALL, segments=(replace(ALL.segments[0], genome=genome),))
    space = _space(schedule, "sgd")
    assert space.optimizers == ["adamw"] and space.weight_decay == [0.004]
    assert space.activations == ["relu", "tanh"]
    # All that are numbers of the network, but augmentation, whose values are layers.
    for gene in ("dropout", "noise", "label_smoothing", "input_noise"):
        wanted = getattr(genome, gene)
        values = [value for _, value in wanted] if isinstance(wanted, tuple) else [wanted]
        assert sorted(getattr(space, gene)) == sorted(values), gene


def test_the_names_are_public():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("replay", "Replayed", "ReplayCallback", "HyperparameterSchedule", "Segment"):
            assert getattr(miha, name).__name__ == name
