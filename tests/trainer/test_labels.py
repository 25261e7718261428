"""Labels without a place in the output layer are refused before anything is trained."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from sources import Listed, Pairs, dataset, loader

from miha.data.arrays import Data
from miha.data.opening import open_data
from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.trainer.labels import check_labels

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = np.arange(40) % 3


def network(units=3, loss="sparse_categorical_crossentropy", outputs=1):
    """A network that has taken a step; of several outputs, all but the first are numbers."""
    inputs = keras.Input((6,))
    ends = [layers.Dense(units, "softmax" if units > 1 else "sigmoid", name="classes")(inputs)]
    ends += [layers.Dense(1, name=f"number_{place}")(inputs) for place in range(1, outputs)]
    model = keras.Model(inputs, ends if outputs > 1 else ends[0])
    losses = [loss] + ["mse"] * (outputs - 1)
    model.compile("sgd", losses if outputs > 1 else loss)
    ones = [np.zeros(2, "int32")] + [np.zeros((2, 1), "float32")] * (outputs - 1)
    model.test_on_batch(X[:2], ones if outputs > 1 else ones[0])
    return model


def check(model, y, y_val=None):
    validation = None if y_val is None else Data(X, y_val)
    check_labels(model, Data(X, y), validation, X[:2])


def changed(label, place=35):
    y = Y.copy()
    y[place] = label
    return y


@pytest.mark.parametrize("y", [Y, Y[:, None], Y.astype("float32"), Y.astype("uint8")])
def test_labels_that_have_their_units_are_taken(y):
    check(network(), y, y)


@pytest.mark.parametrize(
    ("units", "y", "y_val", "words"),
    [
        (3, changed(7), None, "from 0 to 2: .*3 units.*from 0 to 7 in the training data.*8 units"),
        (3, Y, changed(3), "from 0 to 3 in the validation data"),
        (3, changed(-1), None, "from -1 to 2 in the training data. Number the classes from 0"),
        (2, Y, Y, "2 units.*from 0 to 2 in the training data.*give the output layer 3 units"),
        (1, Y % 2, None, "1 unit, .*from 0 to 1.*binary_crossentropy"),
        (3, Y * np.float32("nan"), None, "from nan to nan"),
    ],
)
def test_a_label_without_a_unit_is_refused_however_late_it_comes(units, y, y_val, words):
    with pytest.raises(ArgumentError, match=words):
        check(network(units), y, y_val)


def test_a_label_that_does_not_count_needs_no_unit():
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    check(network(loss=loss), changed(255))
    check(network(loss=loss), np.full(40, 255))
    with pytest.raises(ArgumentError, match="from 0 to 7"):
        check(network(loss=loss), np.concatenate([changed(255)[1:], [7]]))


def test_of_several_outputs_each_is_looked_at():
    model = network(outputs=2)
    far = np.full((40, 1), 1e6, "float32")
    check(model, (Y, far))
    check(model, {"classes": Y, "number_1": far})
    for y in ((changed(9), far), {"classes": changed(9), "number_1": far}):
        with pytest.raises(ArgumentError, match="from 0 to 9"):
            check(model, y)


def test_labels_of_large_arrays_are_read_in_blocks_and_those_of_batches_at_first(monkeypatch):
    model = network()
    monkeypatch.setattr("miha.data.indexed.READ_BYTES", 64)
    large, _ = open_data(model, X, changed(7), room=0)
    assert len(list(large.blocks("y"))) > 1
    with pytest.raises(ArgumentError, match="from 0 to 7"):
        check_labels(model, large, None, X[:2])
    batches, _ = open_data(model, Batched())
    with pytest.raises(ArgumentError, match="from 0 to 7"):
        check_labels(model, batches, None, X[:2])


class Batched:
    def __len__(self):
        return 2

    def __iter__(self):
        return iter([(X[:20], changed(7, 3)[:20]), (X[20:], Y[20:])])


def test_a_binary_loss_of_other_numbers_is_warned_of_since_fit_takes_it():
    model = network(1, "binary_crossentropy")
    check(model, (Y > 0).astype("float32"))
    with pytest.warns(MihaWarning, match="from 0 to 1. Received: from -1 to 1 in the training"):
        check(model, np.where(Y > 0, 1.0, -1.0))


def batched(x, y):
    return dataset(x, y).batch(10)


@pytest.mark.parametrize("kind", [batched, loader, Listed, Pairs])
def test_a_late_label_of_batches_is_refused_before_the_step_that_takes_it(kind):
    x, y = np.tile(X, (3, 1)), np.tile(Y, 3)
    y[110] = 7
    training, _ = open_data(network(), kind(x, y))
    validation, _ = open_data(network(), kind(x, y))
    check_labels(network(), training, validation, X[:2])
    for source, name in ((training, "training"), (validation, "validation")):
        with pytest.raises(MihaError, match=f"to 7 in the {name} data.*8 units.*script goes on"):
            list(source.parts(source.batch_size, None, False))


def test_other_losses_say_nothing_of_labels():
    check(network(1, "mse"), changed(99), changed(-99))


@pytest.mark.parametrize("named", [False, True])
def test_a_word_that_an_embedding_has_no_vector_for_is_refused(named):
    words, numbers = keras.Input((4,), name="words"), keras.Input((6,), name="numbers")
    summed = layers.GlobalAveragePooling1D()(layers.Embedding(10, 3, name="table")(words))
    joined = layers.Concatenate()([numbers, summed])
    model = keras.Model([numbers, words], layers.Dense(1)(joined))
    few = np.arange(160).reshape(40, 4) % 10
    many = np.where(few == 9, 12, few)
    for rows, is_wrong in ((few, False), (many, True), (few - 1, True)):
        given = {"words": rows, "numbers": X} if named else (X, rows)
        if not is_wrong:
            check_labels(model, Data(given, Y), None, given)
            continue
        with pytest.raises(ArgumentError, match="'table'.*from 0 to 9.*input_dim is 10.*training"):
            check_labels(model, Data(given, Y), Data(given, Y), given)


def test_a_late_word_is_refused_before_the_step_that_takes_it():
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(10, 3), layers.Flatten()])
    model.add(layers.Dense(1))
    model.compile("sgd", "mse")
    x = np.arange(480).reshape(120, 4) % 10
    x[110, 2] = 12
    training, _ = open_data(model, Listed(x, np.zeros((120, 1), "float32")))
    check_labels(model, training, None, x[:2])
    with pytest.raises(MihaError, match="from 0 to 12 in the training data.*script goes on"):
        list(training.parts(13, None, False))
