"""What cannot be read again and again, or breaks on the way, and the parts that streams are of."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
import tensorflow as tf
from contract import rng
from networks import dense, images
from sources import Listed, Pairs, dataset, mapped

import miha
from miha import ArgumentError, MihaError, MihaWarning
from miha.data.arrays import Data
from miha.data.blocks import cut, shuffled
from miha.data.feed import prefetched
from miha.data.opening import open_data
from miha.results.reader import load_run


def endless():
    while True:
        yield np.zeros((4, 8, 8, 1), "float32"), np.zeros(4)


class WithoutLength:
    def __iter__(self):
        return endless()


class OnceOnly:
    def __len__(self):
        return 3

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


class Endless(Pairs):
    num_batches = None


X, Y = images(40)
BAD = np.where(np.arange(40)[:, None, None, None] == 30, np.float32(np.nan), X)


def ragged():
    spec = (tf.TensorSpec((None, 8, 1)), tf.TensorSpec((), tf.int32))
    return tf.data.Dataset.from_generator(lambda: iter([]), output_signature=spec)


def endless_loader():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return endless()

    return torch.utils.data.DataLoader(Stream(), None)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (endless, {}, "a generator, which can be read once only.*miha.Batches"),
        (lambda: endless, {}, "Received: a function.*miha.Batches"),
        (WithoutLength, {}, "must have a length.*WithoutLength.*__len__"),
        (OnceOnly, {}, "OnceOnly.*can be read once only"),
        (lambda: Endless(X, Y), {}, "must have an end.*num_batches"),
        (lambda: dataset(X, Y).repeat().batch(4), {}, r"infinite dataset.*take\(batches\)"),
        (ragged, {}, "must all have one shape.*padded_batch"),
        (endless_loader, {}, "must have a length.*DataLoader"),
        (lambda: Listed(X[:0], Y[:0]), {}, "at least one batch"),
        (lambda: Listed(BAD[30:], Y[30:]), {}, "must be finite"),
        (lambda: miha.Batches(lambda: [(X, Y, Y, Y)], 1), {}, "tuple of 4 parts"),
        (lambda: miha.Batches(lambda: [(X, Y[:3])], 1), {}, "as many samples"),
        (lambda: Listed(X, Y), {"y": Y}, "`y` must not be given"),
        (lambda: Listed(X, Y), {"sample_weight": Y}, "`sample_weight` must not be given"),
        (lambda: Listed(X, Y), {"validation_split": 0.1}, "`validation_split` must not be given"),
        (lambda: Listed(X, Y), {"class_weight": {0: np.nan}}, "dictionary from class"),
        (
            lambda: miha.Batches(lambda: [(X, Y, np.ones(40))], 1),
            {"class_weight": {0: 2.0}},
            "must not both be given",
        ),
    ],
)
def test_what_cannot_be_read_again_and_again_is_refused_with_a_cure(make, arguments, message):
    with pytest.raises(ArgumentError, match=f"(?s){message}") as refused:
        open_data(dense(), make(), **arguments)
    assert "Received" in str(refused.value)
    if not arguments:
        with pytest.raises(ArgumentError, match="validation_data"):
            open_data(dense(), X, Y, validation_data=make())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((iter([]), 3), "must be a function"),
        ((endless, 0), "integer >= 1"),
        ((endless, 1.5), "1.5"),
    ],
)
def test_batches_need_a_function_and_a_length(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        miha.Batches(*arguments)


@pytest.mark.parametrize("validation_data", [None, (BAD, Y)])
def test_large_arrays_that_are_not_finite_are_refused_before_training(tmp_path, validation_data):
    x, y = mapped(tmp_path, X if validation_data else BAD, Y)
    name = "validation_data" if validation_data else "x"
    with pytest.raises(ArgumentError, match=f"`{name}` and its targets .* must be finite"):
        miha.MIHA(
            dense(),
            x,
            y,
            validation_data=validation_data,
            execution=miha.Execution(data_memory=0),
            logs=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", ["U3", [("a", "f4")]])
def test_large_arrays_of_other_things_than_numbers_are_refused(tmp_path, dtype):
    [x] = mapped(tmp_path, np.zeros(40, dtype))
    with pytest.raises(ArgumentError, match="arrays of numbers"):
        open_data(dense(), x, Y, room=0)


class Breaking(Listed):
    def __iter__(self):
        yield from list(super().__iter__())[:2]
        raise OSError("the disk is gone")


def test_data_that_fails_stops_the_run_and_not_a_clone(tmp_path):
    run = miha.MIHA(dense(), Breaking(X, Y), c=0, m=1, logs=tmp_path / "run", verbose=0)
    with pytest.raises(MihaError, match="`x` raised while it was read.*the disk is gone"):
        run.optimize()


class Spoiling(miha.Callback):
    """Takes the unit from a late label, once a training has ended."""

    def __init__(self, labels):
        self.labels = labels

    def on_training_end(self, network):
        self.labels[35] = 7


def test_a_run_that_met_a_late_label_goes_on_once_it_is_mended(tmp_path):
    def optimize(y, *callbacks):
        arguments = {"m": 1, "n": 1, "k": 1, "c": 1, "pop_size": 2, "seed": 0, "verbose": 0}
        arguments |= {"monitor": "eval_loss", "callbacks": callbacks, "logs": tmp_path / "run"}
        return miha.MIHA(dense(), Listed(X, y), **arguments).optimize()

    labels = Y.copy()
    with pytest.raises(MihaError, match="from 0 to 1: .*2 units.*script goes on"):
        optimize(labels, Spoiling(labels))
    before = len(load_run(tmp_path / "run").log.trainings)
    assert before > 0
    result = optimize(Y)
    assert len(result.log.trainings) > before


def test_samples_that_are_not_finite_later_on_are_told_of():
    training, _ = open_data(dense(), Listed(BAD, Y))
    with pytest.raises(MihaError, match="`x`.*must be finite"):
        list(training.parts(20, rng(), True))


def test_cutting_gives_the_same_samples_in_blocks_of_another_size():
    blocks = [Data(np.arange(start, stop)) for start, stop in ((0, 5), (5, 6), (6, 20), (20, 23))]
    for size in (1, 4, 7, 50):
        found = list(cut(iter(blocks), size))
        assert all(block.samples == size for block in found[:-1])
        np.testing.assert_array_equal(np.concatenate([b.x for b in found]), np.arange(23))


def test_a_buffer_shuffles_all_samples_and_what_comes_late_stays_late():
    blocks = [Data(np.arange(start, start + 10)) for start in range(0, 1000, 10)]
    found = np.concatenate([block.x for block in shuffled(iter(blocks), 100, rng())])
    np.testing.assert_array_equal(np.sort(found), np.arange(1000))
    assert (np.diff(found) != 1).mean() > 0.9
    assert np.flatnonzero(found < 10).min() < 100
    assert np.flatnonzero(found >= 990).min() >= 890
    np.testing.assert_array_equal(blocks[0].x, np.arange(10))  # They are not written to.


def test_reading_ahead_ends_with_what_is_read():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    parts = prefetched(items())
    assert [next(parts), next(parts)] == [0, 1]
    parts.close()
    assert closed
    assert not [t for t in threading.enumerate() if t.name.startswith("miha-data")]
    assert list(prefetched(iter(range(10)))) == list(range(10))


def test_samples_that_are_not_finite_are_taken_where_the_user_says_so(tmp_path):
    for source in ((Listed(BAD[30:], Y[30:]),), mapped(tmp_path, BAD, Y)):
        training, _ = open_data(dense(), *source, room=0, must_be_finite=False)
        training.digest(hashlib.sha256())
        read = [part.data.x for part in training.parts(20, rng(), True)]
        assert np.isnan(np.concatenate(read)).any()
        # The same samples each time, though what is missing equals nothing.
        assert training.repeats


@pytest.mark.parametrize("kind", ["arrays", "large arrays", "batches"])
def test_validation_data_and_split_are_not_given_together_nor_without_targets(tmp_path, kind):
    sources = {"arrays": (X, Y), "large arrays": mapped(tmp_path, X, Y), "batches": (Listed(X, Y),)}
    source = sources[kind]
    with pytest.raises(ArgumentError, match="must not both be given. Received: both"):
        open_data(dense(), *source, validation_data=(X, Y), validation_split=0.2)
    for without_targets in (X, (X,)):
        with pytest.raises(ArgumentError, match=r"must have targets.*validation_data=\(x, y\)"):
            open_data(dense(), *source, validation_data=without_targets)


def test_a_dataset_weighs_the_class_of_each_pixel_as_in_fit():
    y = np.arange(40 * 4).reshape(40, 2, 2, 1) % 3
    training, _ = open_data(dense(), dataset(X, y).batch(20), class_weight={1: 3.0, 2: 5.0})
    weights = np.choose(y[:2, :, :, 0], [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(training.few().sample_weight, weights)
    with pytest.raises(ArgumentError, match="one class for each sample"):
        open_data(dense(), Listed(X, y), class_weight={1: 3.0})


def test_batches_that_are_fewer_than_they_said_are_told_of_once():
    batches = miha.Batches(lambda: iter(Listed(X, Y, 10)), 6)
    training, _ = open_data(dense(), batches)
    with pytest.warns(MihaWarning, match="`x` is a Batches of length 6 that gave 4 batches.*be 4"):
        read = list(training.parts(10, rng(), True))
    assert sum(part.data.samples for part in read) == 40
    list(training.parts(10, rng(), True))
