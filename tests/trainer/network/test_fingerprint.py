"""Fingerprints: the same network and data are known again, and others are told apart."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from forked import run_script
from networks import ALL, convolutional, dense, images

from miha.data import arrays as data
from miha.trainer.network.copies import from_bytes, to_bytes
from miha.trainer.network.custom_layers import custom_objects
from miha.trainer.network.fingerprint import fingerprint


def prepared(x, y):
    return data.prepare(x, y, None, None, None, 0.25)


def differing(first, second):
    return [name for name in first if first[name] != second[name]]


@pytest.mark.parametrize("name", ALL)
def test_a_network_built_again_is_known_again(name):
    build, make_data = ALL[name]
    arrays = prepared(*make_data())
    assert differing(fingerprint(build(), *arrays), fingerprint(build(), *arrays)) == []


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("trained", [False, True])
def test_a_network_saved_and_loaded_is_known_again(name, trained):
    build, make_data = ALL[name]
    model, arrays = build(), prepared(*make_data())
    model.optimizer.build(model.trainable_variables)
    if trained:
        # One step, whatever its gradients are.
        model.optimizer.apply([keras.ops.ones_like(v) for v in model.trainable_variables])
    loaded = from_bytes(to_bytes(model), custom_objects(model))
    assert differing(fingerprint(model, *arrays), fingerprint(loaded, *arrays)) == []


ELSEWHERE = """
from networks import convolutional, images
from miha.data.arrays import prepare
from miha.trainer.network.fingerprint import fingerprint
print(fingerprint(convolutional(), *prepare(*images(), None, None, None, 0.25)))
"""


def test_another_process_finds_the_same(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ELSEWHERE)
    done = run_script(script)
    assert done.stdout.strip() == str(fingerprint(convolutional(), *prepared(*images())))


def otherwise(**changes):
    model = convolutional()
    for name, value in changes.items():
        setattr(model.layers[4], name, value)
    return model


def scaled():
    model = convolutional()
    model.set_weights([weight + 1e-7 for weight in model.get_weights()])
    return model


def slower():
    return convolutional(keras.optimizers.Adam(0.002))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: otherwise(rate=0.4), ["layers"]),
        (scaled, ["weights"]),
        (slower, ["compiled"]),
        (dense, ["layers", "compiled", "weights"]),
    ],
)
def test_another_network_is_told_apart_and_so_is_what_differs(change, told):
    arrays = prepared(*images())
    found = differing(fingerprint(convolutional(), *arrays), fingerprint(change(), *arrays))
    assert set(found) <= set(told)
    assert told[0] in found


def test_other_data_is_told_apart():
    x, y = images()
    changed = x.copy()
    changed[-1, 0, 0] = np.nextafter(changed[-1, 0, 0], np.float32(9), dtype="float32")
    model = dense()
    first, second = (fingerprint(model, *prepared(each, y)) for each in (x, changed))
    assert differing(first, second) == ["data"]


class Scaled(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return 2.0 * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)


def with_metrics():
    model = dense()
    model.compile("adam", Scaled(), metrics=[keras.metrics.SparseCategoricalAccuracy()])
    return model


def with_operations():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    outputs = keras.layers.Dense(2, "softmax")(keras.ops.relu(hidden) + hidden)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("make", ["with_metrics", "with_operations", "with_custom_layer"])
def test_whatever_keras_numbers_a_network_built_again_is_known_again(make):
    arrays, build = prepared(*images()), globals()[make]
    assert differing(fingerprint(build(), *arrays), fingerprint(build(), *arrays)) == []


def with_lambda(factor, path):
    """Return a network with a Lambda layer that is written in some file."""
    space = {}
    exec(compile(f"\n# comment\nfunction = lambda x: x * {factor}", path, "exec"), space)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Lambda(space["function"]),
            keras.layers.Flatten(),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_lambda_layer_is_known_by_what_it_does_and_not_by_where_it_is_written():
    arrays = prepared(*images())
    found = [
        fingerprint(with_lambda(*arguments), *arrays)
        for arguments in ((2, "a.py"), (2, "elsewhere/b.py"), (3, "a.py"))
    ]
    assert differing(found[0], found[1]) == []
    assert differing(found[0], found[2]) == ["code"]


def named_like(activation):
    """Return a network whose last layer is called as its activation."""
    keras.utils.set_random_seed(0)
    outputs = keras.layers.Dense(2, activation, name=activation)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), outputs])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_name_is_no_excuse_for_what_is_called_alike():
    arrays = prepared(*images())
    found = [fingerprint(named_like(name), *arrays) for name in ("softmax", "sigmoid")]
    assert differing(*found) == ["layers"]


class Building(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, inputs):
        return self.scale * inputs


def with_custom_layer():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    hidden = Building()(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_the_code_of_a_custom_class_is_a_part_of_the_network():
    model = with_metrics()
    arrays = prepared(*images())
    before = fingerprint(model, *arrays)
    call = Scaled.call
    Scaled.call = lambda self, y_true, y_pred: 3.0 * y_pred
    try:
        assert differing(before, fingerprint(model, *arrays)) == ["code"]
    finally:
        Scaled.call = call


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_a_loss_that_is_a_lambda_is_known_by_what_it_does():
    arrays, found = prepared(*images()), []
    for loss in (
        lambda y, p: keras.ops.mean((y - p) ** 2),
        lambda y, p: keras.ops.mean((y - p) ** 2),
        lambda y, p: keras.ops.mean(keras.ops.abs(y - p)),
    ):
        model = dense()
        model.compile("adam", loss)
        found.append(fingerprint(model, *arrays))
    assert differing(found[0], found[1]) == []
    assert differing(found[0], found[2]) == ["code"]
