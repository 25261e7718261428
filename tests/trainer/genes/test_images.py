"""Which samples are images that may be shifted and mirrored, and what a shift does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from contract import make_contract_trainer, rng
from keras import layers

from miha.trainer.genes.images import RandomShift, usual_augmentation
from miha.trainer.genes.inputs import StepSeed, make_augmentation

GENES = ("augmentation",)
SHIFT, MIRROR = "RandomShift", "RandomFlip"


def names(x):
    return [type(layer).__name__ for layer in usual_augmentation(x)]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((2, 32, 32, 3), "float32", [SHIFT, MIRROR]),
        ((2, 32, 16, 1), "float32", [SHIFT]),
        ((2, 28, 28), "uint8", [SHIFT]),
        ((2, 28, 28), "float32", []),
        ((2, 100, 3), "uint8", []),
        ((2, 8, 8, 1), "float32", []),
        ((2, 32, 32, 16), "float32", []),
        ((2, 784), "uint8", []),
    ],
    ids=[
        "photographs", "gray images", "bytes without channels", "a series", "a series of bytes",
        "small images", "many channels", "a table",
    ],
)  # fmt: skip
def test_images_are_told_by_their_shape(shape, dtype, expected):
    assert names(np.zeros(shape, dtype)) == expected


def test_of_several_inputs_none_is_augmented():
    image = np.zeros((2, 32, 32, 3), "float32")
    assert names({"left": image, "right": image}) == []


@pytest.mark.parametrize("shape", [(64, 20, 30), (64, 20, 30, 3)])
def test_each_image_is_shifted_by_a_tenth_at_most_and_its_border_repeated(shape):
    x = rng(1).integers(256, size=shape).astype("uint8")
    augmentation = make_augmentation([RandomShift()], x)
    moved = keras.ops.convert_to_numpy(
        augmentation.change(keras.ops.convert_to_tensor(x), StepSeed(3, 4))
    )
    assert moved.dtype == x.dtype
    found = set()
    for before, after in zip(x, moved, strict=True):
        fitting = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if (shifted(before, down, right) == after).all()
        ]
        assert len(fitting) == 1
        found.update(fitting)
    # Both directions, and the largest shifts, are drawn.
    assert {down for down, _ in found} == set(range(-2, 3))
    assert {right for _, right in found} == set(range(-3, 4))


def shifted(image, down, right):
    """Return an image whose pixels come from so many rows and columns further on."""
    rows = np.clip(np.arange(image.shape[0]) + down, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) + right, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def test_an_image_stays_where_it_is_outside_of_training():
    x = rng(1).normal(size=(4, 20, 20, 1)).astype("float32")
    np.testing.assert_array_equal(RandomShift()(x), x)


def photographs(y):
    return rng(2).normal(size=(16, 16, 16, 3)).astype("float32"), y


def network(loss, units, activation):
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(units, activation)]
    )
    model.compile("sgd", loss)
    return model


def test_classes_of_images_have_the_gene_without_a_word():
    classes = photographs(rng(3).integers(3, size=16))
    model = network("sparse_categorical_crossentropy", 3, "softmax")
    trainer = make_contract_trainer(model, classes, genes=GENES)
    assert trainer.genome.augmentation == 0.0
    described = [config["class_name"] for config in trainer.settings["augmentation"]]
    assert described == [SHIFT, MIRROR]
    assert make_contract_trainer(model, classes).genome.augmentation is None
    named = make_contract_trainer(model, classes, genes=GENES, augmentation=())
    assert named.genome.augmentation is None


def test_a_place_in_an_image_is_no_class():
    places = photographs(rng(3).normal(size=(16, 2)).astype("float32"))
    model = network("mse", 2, None)
    assert make_contract_trainer(model, places, genes=GENES).genome.augmentation is None


def test_classes_of_pixels_stay_where_they_are():
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 1, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    pixels = photographs(rng(3).integers(4, size=(16, 16, 16)))
    assert make_contract_trainer(model, pixels, genes=GENES).genome.augmentation is None
