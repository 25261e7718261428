"""`Search(final_data="all")` from the outside, with Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from networks import dense, images
from schedules import assert_same

import miha
from miha import ArgumentError, Budget, Execution, Search
from miha.data.arrays import Data, weigh_classes
from miha.data.opening import with_validation
from miha.randomness import generator

VALIDATION = images(32, seed=9)
ALL = Search(final_data="all", restore_best=False, anneal=False, restarts=0)


def make(folder, search=ALL, **changes):
    arguments = {
        **{"m": 2, "n": 1, "k": 1, "c": 1, "pop_size": 2, "batch_size": 16},
        **{"seed": 3, "verbose": 0, "logs": folder, "search": search},
        **{"validation_data": VALIDATION, "mutations": ["learning_rate"]},
        **changes,
    }
    return miha.MIHA(dense(), *images(), **arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs") / "run").optimize()


def test_the_last_epochs_are_those_of_fit_on_all_data(finished):
    model, _ = miha.load(finished.run_dir / "model/model_1.zip")
    x, y = (np.concatenate(parts) for parts in zip(images(), VALIDATION, strict=True))
    order = generator(3, "final", 0, 0, "order")
    size = finished.genome.batch_size
    for _ in range(2):
        places = order.permutation(len(x))
        model.fit(x[places], y[places], batch_size=size, shuffle=False, verbose=0)
    assert_same(model, finished.model)


def test_all_trainings_before_are_those_of_a_run_without_it(finished, tmp_path):
    without = make(tmp_path / "run", Search(restore_best=False, anneal=False, restarts=0))
    one, other = (
        result.history.drop(columns="seconds")[:-2] for result in (finished, without.optimize())
    )
    assert one.equals(other)


def test_a_replay_takes_the_validation_data_where_the_run_did(finished):
    arguments = {"seed": finished.schedule.seed, "verbose": 0}
    options = {"validation_data": VALIDATION, "validation_batch_size": 16}
    replayed = miha.replay(dense(), *images(), finished.schedule, **options, **arguments)
    assert_same(replayed.model, finished.model)
    with pytest.raises(ArgumentError, match="no validation data to train on"):
        miha.replay(dense(), *images(), finished.schedule, **arguments)
    callback = miha.ReplayCallback(finished.schedule, strict=True)
    with pytest.raises(ArgumentError, match="its last epochs train on the validation data, too"):
        dense().fit(*images(), epochs=callback.epochs, verbose=0, callbacks=[callback])


class Pairs(keras.utils.PyDataset):
    """The validation data, in batches of 16."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return tuple(part[16 * index : 16 * (index + 1)] for part in VALIDATION)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": Budget(target=0.1)}, "a target ends a run.*target=0.1. Leave"),
        ({"validation_data": None}, "no validation data.*neither validation_data nor.*Give"),
        ({"validation_data": Pairs(workers=1)}, "read in parts.*`validation_data`.*Give arrays"),
        ({"execution": Execution(data_memory=9000)}, "read in parts.*`x`.*data_memory"),
        ({"validation_data": (VALIDATION[0][:, :4], VALIDATION[1])}, "of shape .* Make them alike"),
    ],
)
def test_what_cannot_be_trained_on_at_the_end_is_refused_before_anything(tmp_path, changes, told):
    with pytest.raises(ArgumentError, match=told):
        make(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


# The samples.


X, Y = np.arange(3.0, dtype="float32")[:, None], np.array([0, 1, 1])
OTHERS = Data(X[:2] + 9, np.array([1, 0], "uint8"))


def test_classes_weigh_the_validation_data_as_they_do_the_training_data():
    weights = {0: 1.0, 1: 5.0}
    found = with_validation(weigh_classes(Data(X, Y), weights), OTHERS, weights)
    assert found.x[:, 0].tolist() == [0, 1, 2, 9, 10]
    assert (found.y.tolist(), found.y.dtype) == ([0, 1, 1, 1, 0], Y.dtype)
    assert found.sample_weight.tolist() == [1, 5, 5, 5, 1]


def test_samples_without_a_weight_weigh_one():
    half = np.full(3, 0.5, "float32")
    found = with_validation(Data(X, Y, half), OTHERS, None)
    assert found.sample_weight.tolist() == [0.5, 0.5, 0.5, 1, 1]
    both = Data({"a": X}, (Y, Y), (half, half))
    others = Data({"a": OTHERS.x}, (OTHERS.y, OTHERS.y))
    joined = with_validation(both, others, None)
    assert [len(array) for array in joined.arrays] == [5] * 5
    texts = with_validation(Data(np.array(["a", "b"])), Data(np.array(["long"])), None)
    assert texts.x.tolist() == ["a", "b", "long"]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (Data(OTHERS.x, np.array([0.5, 0.5], "float32")), "float32 values that int64 cannot hold"),
        (Data({"a": OTHERS.x}, OTHERS.y), "structure"),
        (Data(OTHERS.x), "an array that one of them lacks"),
        (Data(np.zeros((2, 4), "float32"), OTHERS.y), r"shape \(1,\) and of \(4,\)"),
    ],
)
def test_samples_of_another_kind_are_refused(others, told):
    with pytest.raises(ArgumentError, match=f"(?s)Received: .*{told}.*Make them alike"):
        with_validation(Data(X, Y), others, None)
