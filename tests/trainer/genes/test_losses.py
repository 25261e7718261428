"""The loss: when its label smoothing may mutate, and what is kept then."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from contract import make_contract_trainer, rng, spoilt, train
from genes import ON_REQUEST, one_hot, regression
from keras import layers
from networks import branched, branched_data, dense, images

from miha.trainer.genes.losses import CLASSES, SPARSE, find_loss

LOSSES = keras.losses


def classifier(loss):
    model = dense()
    model.compile("sgd", loss)
    return model


def slot_of(loss):
    model = regression(loss)
    x, y = one_hot(4)
    model.test_on_batch(x, y.argmax(-1) if is_sparse(loss) else y)
    return find_loss(model)


def is_sparse(loss):
    return loss == SPARSE or isinstance(loss, LOSSES.SparseCategoricalCrossentropy)


def assert_no_smoothing(trainer):
    assert (trainer.genome.label_smoothing, trainer.space.label_smoothing) == (None, ())


def test_a_network_with_several_losses_keeps_them():
    trainer = make_contract_trainer(branched(), branched_data(), genes=ON_REQUEST)
    assert_no_smoothing(trainer)
    train(trainer, 1)


@pytest.mark.parametrize(
    "loss",
    [
        "hinge",
        "mse",
        spoilt,
        LOSSES.SparseCategoricalCrossentropy(ignore_class=1),
        LOSSES.CategoricalCrossentropy(axis=1),
    ],
    ids=["hinge", "mse", "own", "ignored class", "axis"],
)
def test_a_loss_without_label_smoothing_is_kept(loss):
    model = classifier(loss)
    data = images() if is_sparse(loss) else one_hot()
    assert_no_smoothing(make_contract_trainer(model, data, genes=ON_REQUEST))


@pytest.mark.parametrize(
    "kind",
    [
        LOSSES.SparseCategoricalCrossentropy,
        LOSSES.CategoricalCrossentropy,
        LOSSES.CategoricalFocalCrossentropy,
    ],
)
def test_classes_along_another_axis_are_not_smoothed(kind):
    assert slot_of(kind()) is not None
    assert slot_of(kind(axis=1)) is None


def test_the_axis_of_a_binary_loss_is_that_of_a_mean():
    assert slot_of(LOSSES.BinaryCrossentropy(axis=1)) is not None


def test_a_loss_stays_where_nobody_asks_for_another_smoothing():
    for loss, data in (("categorical_crossentropy", one_hot()), (SPARSE, images())):
        assert_no_smoothing(make_contract_trainer(classifier(loss), data))


def test_a_genome_that_leaves_the_smoothing_open_has_the_users_own():
    model = classifier(keras.losses.CategoricalCrossentropy(label_smoothing=0.2))
    trainer = make_contract_trainer(model, one_hot(), genes=ON_REQUEST)
    own = trainer.genome
    trainer.express(own.replace(label_smoothing=0.1))
    trainer.express(own.replace(label_smoothing=None))
    assert trainer.genome == own
    assert own.label_smoothing == 0.2


@pytest.mark.parametrize("name", [*CLASSES, SPARSE])
def test_a_loss_that_was_given_by_its_name_has_no_smoothing_at_first(name):
    slot = slot_of(name)
    assert (slot.name, slot.label_smoothing) == (name, 0.0)
    assert isinstance(slot.plain, CLASSES.get(name, LOSSES.CategoricalCrossentropy))


SETTINGS = [
    ("categorical_crossentropy", {"from_logits": True, "axis": -1}),
    ("categorical_crossentropy", {}),
    ("categorical_focal_crossentropy", {"alpha": 0.4, "gamma": 1.5}),
    ("binary_crossentropy", {"from_logits": True}),
    ("binary_focal_crossentropy", {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_what_the_user_set_is_kept_without_the_smoothing(name, settings):
    own = CLASSES[name](**settings, label_smoothing=0.2, reduction="sum")
    slot = slot_of(own)
    assert slot.own is own
    assert slot.label_smoothing == 0.2
    assert slot.plain.get_config() == own.get_config() | {"label_smoothing": 0.0}


def smoothed(slot, y, predicted, smoothing, weights=None):
    """Return the value of the installed loss with a label smoothing."""
    switch = slot.install([slot.label_smoothing, smoothing], None)
    switch.choose(smoothing)
    assert switch.chosen == smoothing
    return float(switch(y, keras.ops.convert_to_tensor(predicted), weights))


def drawn(shape=(12,), classes=3, seed=0):
    """Return labels, and what a network might say of them: logits and probabilities."""
    y = rng(seed).integers(classes, size=shape)
    logits = rng(seed + 1).normal(size=(*shape, classes)).astype("float32")
    return y, logits, np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
@pytest.mark.parametrize(("own", "smoothing"), [(0.0, 0.1), (0.2, 0.1), (0.2, 0.0)])
def test_the_value_is_that_of_keras_own_smoothing(name, settings, own, smoothing):
    y, logits, probabilities = drawn()
    y = np.eye(3, dtype="float32")[y]
    predicted = logits if settings.get("from_logits") else probabilities
    kind = CLASSES[name]
    found = smoothed(slot_of(kind(**settings, label_smoothing=own)), y, predicted, smoothing)
    expected = kind(**settings, label_smoothing=smoothing)(y, predicted)
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("shape", [(12,), (12, 1)], ids=str)
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_smoothed_sparse_labels_are_smoothed_one_hot_labels(shape, from_logits, reduction):
    y, logits, probabilities = drawn()
    predicted = logits if from_logits else probabilities
    settings = {"from_logits": from_logits, "reduction": reduction}
    weights = np.linspace(0.1, 2.0, len(y), dtype="float32")
    own = LOSSES.SparseCategoricalCrossentropy(**settings)
    found = smoothed(slot_of(own), y.reshape(shape), predicted, 0.2, weights)
    keras_own = LOSSES.CategoricalCrossentropy(**settings, label_smoothing=0.2)
    expected = float(keras_own(np.eye(3, dtype="float32")[y], predicted, weights))
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx(float(own(y, predicted, weights)), rel=1e-3)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 5, 1)], ids=str)
def test_sparse_labels_of_pixels_are_smoothed(shape):
    y, _, predicted = drawn((2, 4, 5))
    found = smoothed(slot_of(SPARSE), y.reshape(shape), predicted, 0.1)
    keras_own = LOSSES.CategoricalCrossentropy(label_smoothing=0.1)
    expected = float(keras_own(np.eye(3, dtype="float32")[y], predicted))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["int64", "uint8", "float32"])
def test_sparse_labels_of_any_type_are_smoothed(kind):
    y, _, predicted = drawn()
    expected = smoothed(slot_of(SPARSE), y.astype("int32"), predicted, 0.1)
    assert smoothed(slot_of(SPARSE), y.astype(kind), predicted, 0.1) == expected


@pytest.mark.parametrize("kind", ["bool", "int32"])
def test_binary_labels_of_any_type_are_smoothed(kind):
    y = rng().integers(2, size=(12, 1))
    predicted = rng(1).random((12, 1)).astype("float32")
    found = smoothed(slot_of("binary_crossentropy"), y.astype(kind), predicted, 0.1)
    expected = LOSSES.BinaryCrossentropy(label_smoothing=0.1)(y.astype("float32"), predicted)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_labels_are_smoothed_in_whole_precision_whatever_a_network_computes_in():
    y, _, probabilities = drawn((400,))
    half = keras.ops.cast(probabilities, "bfloat16")
    found = smoothed(slot_of(SPARSE), y, half, 0.1)
    keras_own = LOSSES.CategoricalCrossentropy(label_smoothing=0.1)
    expected = float(keras_own(np.eye(3, dtype="float32")[y], keras.ops.cast(half, "float32")))
    assert found == pytest.approx(expected, rel=1e-5)


def test_without_a_smoothing_the_value_is_the_users_own():
    y, _, predicted = drawn()
    slot = slot_of(SPARSE)
    switch = slot.install([0.0, 0.1], None)
    assert float(switch(y, predicted)) == float(slot.own(y, predicted))
    switch.choose(0.1)
    with switch.own():
        assert float(switch(y, predicted)) == float(slot.own(y, predicted))
    assert switch.chosen == 0.1


def pixels():
    """A network that names the class of each pixel, and its data."""
    keras.utils.set_random_seed(2)
    parts = [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same", activation="softmax")]
    model = keras.Sequential(parts)
    x = images(48)[0]
    return model, x, np.digitize(x[..., 0], [0.0, 1.0])


def whole():
    x, y = images(48)
    return dense(), x, y


@pytest.mark.parametrize("make", [whole, pixels])
@pytest.mark.parametrize("has_column", [False, True])
def test_a_training_on_smoothed_sparse_labels_is_one_on_smoothed_one_hot_labels(make, has_column):
    model, x, y = make()
    classes = model.output_shape[-1]
    model.compile("sgd", SPARSE)
    trainer = make_contract_trainer(
        model, (x, y[..., None] if has_column else y), shuffle=False, genes=("label_smoothing",),
        activations=("relu",), optimizers=["sgd"], label_smoothing=(0.2,),
    )  # fmt: skip
    assert trainer.space.label_smoothing == (0.0, 0.2)
    trainer.express(trainer.genome.replace(label_smoothing=0.2))
    train(trainer, 2, noise=False)

    model.compile("sgd", LOSSES.CategoricalCrossentropy(label_smoothing=0.2))
    one = np.eye(classes, dtype="float32")[y]
    model.fit(x, one, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.snapshot().variables, model.variables, strict=True):
        np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(theirs), 1e-5, 1e-6)
