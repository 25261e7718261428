"""Fingerprints: the same network and data are known again, and others are told apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import GALLERY, convolutional, dense, images

from miha.trainer import data
from miha.trainer.copies import from_bytes, to_bytes
from miha.trainer.custom import custom_objects
from miha.trainer.fingerprint import fingerprint


def prepared(x, y):
    return data.prepare(x, y, None, None, None, 0.25)


def differing(first, second):
    return [name for name in first if first[name] != second[name]]


@pytest.mark.parametrize("name", GALLERY)
def test_a_network_built_again_is_known_again(name):
    build, make_data = GALLERY[name]
    arrays = prepared(*make_data())
    assert differing(fingerprint(build(), *arrays), fingerprint(build(), *arrays)) == []


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("trained", [False, True])
def test_a_network_saved_and_loaded_is_known_again(name, trained):
    build, make_data = GALLERY[name]
    model, arrays = build(), prepared(*make_data())
    if trained:
        model.fit(*make_data(), verbose=0)
    else:
        model.optimizer.build(model.trainable_variables)
    loaded = from_bytes(to_bytes(model), custom_objects(model))
    assert differing(fingerprint(model, *arrays), fingerprint(loaded, *arrays)) == []


def test_another_process_finds_the_same():
    code = (
        "from networks import convolutional, images; from test_fingerprint import *\n"
        "print(fingerprint(convolutional(), *prepared(*images())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )
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
