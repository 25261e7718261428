"""Folds: each validates in turn, and no network is judged on what it was trained on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from networks import images
from runs import make_run

import miha
from miha.compare import Folds, cross_validate
from miha.compare.folds import split
from miha.errors import ArgumentError

SHORT = {"m": 1, "c": 0, "seed": 3, "verbose": 0, "mutations": ["batch_size"]}


def small():
    keras.utils.set_random_seed(1)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_sample_validates_once(shuffle):
    folds = split(4, 10, shuffle, seed=0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(10))
    assert [len(fold) for fold in folds] == [3, 3, 2, 2]
    is_in_order = np.concatenate(folds).tolist() == list(range(10))
    assert is_in_order is not shuffle
    again = split(np.int64(4), 10, shuffle, seed=0)
    assert [fold.tolist() for fold in again] == [fold.tolist() for fold in folds]


def test_folds_of_ones_own_are_taken_as_they_are():
    folds = split([[5, 1], np.array([2])], 6, True, seed=0)
    assert [fold.tolist() for fold in folds] == [[1, 5], [2]]


@pytest.mark.parametrize("wanted", [1, 0, True, 11, [[0, 1]], [[0], [10]], [[0], [-1]], [[0], []],
                                    [[0], list(range(10))], [[0], [0.5, "a"]]])  # fmt: skip
def test_what_are_no_folds_is_refused(wanted):
    with pytest.raises((ArgumentError, ValueError)):
        split(wanted, 10, True, seed=0)


def test_a_network_that_trains_on_its_fold_is_refused():
    search = miha.Search(final_data="all", restore_best=False)
    with pytest.raises(ArgumentError, match="must not be 'all' with folds"):
        cross_validate(small(), *images(), search=search, **SHORT)


def test_a_run_for_each_fold_validates_on_it_and_trains_on_the_others(tmp_path):
    x, y = images()
    halves = [range(10, 50), range(50, len(x))]
    options = {**SHORT, "validation_folds": halves, "logs": tmp_path}
    folds = cross_validate(small(), x, y, **options)
    [fold, rest] = np.arange(10, 50), np.r_[0:10, 50 : len(x)]
    alone = miha.MIHA(
        small(), x[rest], y[rest], validation_data=(x[fold], y[fold]), logs=tmp_path / "a", **SHORT
    ).optimize()
    first, second = folds.results
    columns = {"columns": "seconds"}
    assert first.history.drop(**columns).equals(alone.history.drop(**columns))
    assert second.run_dir == tmp_path / "fold_2"

    values = [result.best.epochs[-1].logs["val_loss"] for result in folds.results]
    assert folds.table["val_loss"].tolist() == values
    row = folds.summary.loc["val_loss"]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["std"] == pytest.approx(np.std(values, ddof=1))
    # Once more: nothing is trained.
    again = cross_validate(small(), x, y, **options)
    assert again.results[1].history.equals(second.history)


def test_genes_are_counted_over_the_folds(tmp_path):
    results = [make_run(tmp_path / f"{seed}", seed=seed) for seed in (0, 1, 2)]
    sizes = [result.best.genome.batch_size for result in results]
    agreement = Folds(results).agreement.set_index("gene")
    row = agreement.loc["batch_size"]
    assert (row["folds"], row["of"]) == (sizes.count(row["value"]), 3)
    assert row["folds"] == max(map(sizes.count, sizes))
    assert "activations.hidden" in agreement.index


def test_validation_data_beside_folds_is_refused(tmp_path):
    x, y = images()
    with pytest.raises(ArgumentError, match="`validation_split` must not be given with folds"):
        cross_validate(small(), x, y, logs=tmp_path, validation_split=0.2)
