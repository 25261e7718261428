"""The whole method on the backend that Keras runs on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from kinds import KINDS, LARGE_KINDS, OWN
from networks import GALLERY, SLOW_GALLERY, images
from policies import with_policies

import miha
from miha.archive.archive import pack
from miha.records import Genome


def run(folder, network, data, **arguments):
    arguments = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "batch_size": 24} | arguments
    arguments = {"seed": 3, "rest": False, "verbose": 0} | arguments
    x, y = data
    arguments = with_policies(**arguments)
    return miha.MIHA(network, x, y, validation_data=data, logs=folder, **arguments)


EVERY = GALLERY | SLOW_GALLERY | KINDS | LARGE_KINDS
SOON = [*(kind for kind in GALLERY if kind != "gated"), "unbuilt"]
LATER = [pytest.param(kind, marks=pytest.mark.slow) for kind in EVERY if kind not in SOON]


@pytest.mark.parametrize("kind", [*SOON, *LATER])
def test_two_cycles_end_with_a_network_that_plain_keras_opens(kind, tmp_path):
    make, make_data = EVERY[kind]
    network, data = make(), make_data()
    result = run(tmp_path / "run", network, data).optimize()
    assert len(result.lineage) == 6
    assert np.isfinite(result.history["val_loss"]).all()
    archive = tmp_path / "final.keras"
    archive.write_bytes((tmp_path / "run/model/model_final.zip").read_bytes())
    # A Lambda layer is code, which plain Keras loads when told to only.
    plain = keras.saving.load_model(archive, custom_objects=OWN, safe_mode=kind != "residual")
    ours, theirs = (
        keras.tree.flatten(m.predict(data[0], verbose=0)) for m in (result.model, plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    for before, after in zip(frozen(network), frozen(result.model), strict=True):
        np.testing.assert_array_equal(before, after)


def frozen(network):
    """Return the values of a network's frozen layers."""
    layers = [layer for layer in network._flatten_layers() if not layer.trainable]
    return [np.array(keras.ops.convert_to_numpy(w)) for layer in layers for w in layer.weights]


def test_what_is_frozen_is_looked_at():
    assert len(frozen(KINDS["siamese"][0]())) == 6


def test_the_same_seed_gives_the_same_bits_and_an_interrupted_run_goes_on(tmp_path):
    class Stop(miha.Callback):
        def on_cycle_end(self, cycle, clones, winner):
            raise KeyboardInterrupt

    results = []
    for name in ("whole", "interrupted"):
        if name == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                first = run(tmp_path / name, GALLERY["dense"][0](), images(), callbacks=[Stop()])
                first.optimize()
        results.append(run(tmp_path / name, GALLERY["dense"][0](), images()).optimize())
    first, second = results
    left_out = ["seconds"]
    assert first.history.drop(columns=left_out).equals(second.history.drop(columns=left_out))
    for a, b in zip(first.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_opens_an_archive(tmp_path):
    result = run(tmp_path / "run", GALLERY["convolutional"][0](), images(), c=1).optimize()
    model, genome = miha.load(tmp_path / "run/model/model_final.zip")
    assert genome == result.genome
    for a, b in zip(model.variables, result.model.variables, strict=True):
        if keras.backend.is_float_dtype(keras.backend.standardize_dtype(a.dtype)):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
            )


def test_load_refuses_code_in_an_archive_of_miha(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x)])
    network.save(tmp_path / "lambda.keras")
    genome = Genome("adam", 0.001, 32).to_dict()
    path = tmp_path / "lambda.zip"
    path.write_bytes(pack((tmp_path / "lambda.keras").read_bytes(), {"genome": genome}))
    with pytest.raises(miha.ArchiveError, match="Lambda"):
        miha.load(path)


def test_load_opens_a_network_whose_layers_make_arrays_when_they_are_built(tmp_path):
    layers = [keras.Input((8, 8, 1)), keras.layers.Normalization(mean=0.5, variance=1.0)]
    layers += [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    network = keras.Sequential(layers)
    network.compile("adam", "sparse_categorical_crossentropy")
    result = run(tmp_path / "run", network, images(), c=0, mutations=["optimizer"]).optimize()
    model, _ = miha.load(tmp_path / "run/model/model_final.zip")
    x, _ = images()
    np.testing.assert_array_equal(model.predict(x, verbose=0), result.model.predict(x, verbose=0))
