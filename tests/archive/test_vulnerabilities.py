"""Known holes in Keras' loading: none of them passes through `miha.load`.

Every archive here has right checksums. Each is refused by MIHA's own vetting, whose reason is
asked for, and not by what Keras has learnt since.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from strangers import (
    WEIGHTS,
    archive,
    forged,
    function,
    layer,
    members,
    named,
    packed,
    small_archive,
    write,
)

import miha
from miha.archive import vetting
from miha.errors import ArchiveError
from miha.trainer.network.copies import from_bytes

LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")


@pytest.fixture
def canary(tmp_path):
    """A file that the attack would write."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def with_lambda(canary) -> keras.Model:
    """Return a network that writes a file when it is built or called."""
    code = f"lambda x: open({str(canary)!r}, 'w').close() or x"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(eval(code))])
    model.compile("adam", "mse")
    canary.unlink()
    return model


def refused(path, reason, **how):
    with pytest.raises(ArchiveError, match=reason):
        miha.load(path, **how)


def test_cve_2024_3660_a_lambda_layer_runs_only_if_the_caller_says_so(tmp_path, canary):
    path = forged(tmp_path, data=archive(with_lambda(canary)))
    refused(path, "holds a (Lambda layer|lambda), which can run code")
    assert not canary.exists()
    miha.load(path, safe_mode=False)
    assert canary.exists()  # The attack was a real one.
    canary.unlink()


def test_cve_2024_3660_code_in_place_of_any_other_function(tmp_path, canary):
    code = layer(config_of(with_lambda(canary)))["config"]["function"]

    def change(config):
        layer(config)["config"]["activation"] = code

    refused(forged(tmp_path, change), "holds a lambda, which can run code")


@pytest.mark.parametrize("name", ["system", "popen"])
def test_cve_2025_1550_a_function_of_any_module(tmp_path, canary, name):
    def change(config):
        call = function("os", name)
        node = {"args": [f"touch {canary}"], "kwargs": {}}
        config["config"]["layers"].append({**call, "name": "x", "inbound_nodes": [node]})

    refused(forged(tmp_path, change), f"names 'os'.'{name}', which is neither")


def test_cve_2025_1550_a_module_is_not_even_imported(tmp_path, canary, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(canary)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)

    def change(config):
        config["config"]["layers"].append(named("evil_module", "Layer"))

    refused(forged(tmp_path, change), "names 'evil_module'.'Layer', which is neither")
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.models", "load_model"),
        ("keras.saving", "load_weights"),
        ("keras.utils", "load_img"),
        ("keras.src.utils.python_utils", "func_load"),
        ("keras.src.backend.common.global_state", "set_global_attribute"),
    ],
)
def test_cve_2025_8747_a_function_of_keras_that_reads_or_writes(tmp_path, canary, module, name):
    source = tmp_path / "source"
    source.write_text("payload")

    def change(config):
        arguments = {"origin": source.as_uri(), "cache_dir": str(tmp_path), "fname": canary.name}
        inner = {"function": function(module, name), "arguments": arguments}
        config["config"]["layers"].append(named("keras.layers", "Lambda", inner))

    for safe_mode in (True, False):
        path = forged(tmp_path, change)
        refused(path, "which is neither|holds a Lambda layer", safe_mode=safe_mode)
    assert list(tmp_path.rglob("canary*")) == []


def test_cve_2025_9905_a_legacy_file_ignores_safe_mode(tmp_path, canary):
    path = tmp_path / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with_lambda(canary).save(path)
    refused(path, "BadZipFile")
    refused(write(tmp_path, packed({"model.h5": path.read_bytes()})), "'model.h5' is none that")


def test_cve_2025_9905_a_legacy_file_as_the_weights_is_only_weights(tmp_path, canary):
    path = tmp_path / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with_lambda(canary).save(path)
    refused(forged(tmp_path, weights=path.read_bytes()), "the weights must have attributes of one")


def test_cve_2025_9906_the_configuration_switches_safe_mode_off(tmp_path, canary):
    def change(config):
        switch = function("keras.config", "enable_unsafe_deserialization")
        node = {"args": [], "kwargs": {}}
        config["config"]["layers"].insert(0, {**switch, "name": "x", "inbound_nodes": [node]})

    path = forged(tmp_path, change, archive(with_lambda(canary)))
    refused(path, "'enable_unsafe_deserialization', which is neither|holds a (Lambda|lambda)")
    refused(forged(tmp_path, change), "'enable_unsafe_deserialization', which is neither")
    assert global_state.get_global_attribute("safe_mode_saving") is None


def test_cve_2025_9906_safe_mode_is_on_here_even_where_keras_has_it_off(tmp_path, canary):
    path = forged(tmp_path, data=archive(with_lambda(canary)))
    keras.config.enable_unsafe_deserialization()
    try:
        refused(path, "holds a (Lambda layer|lambda), which can run code")
    finally:
        global_state.set_global_attribute("safe_mode_saving", None)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_cve_2025_49655_a_torch_module_is_a_pickle(tmp_path, canary):
    code = base64.b64encode(pickle.dumps(Payload(canary))).decode()

    def change(config):
        wrapper = named("keras.layers", "TorchModuleWrapper", {"module": code, "name": "torch"})
        config["config"]["layers"].append(wrapper)

    refused(forged(tmp_path, change), "holds a TorchModuleWrapper layer, which can run code")


@pytest.mark.parametrize("name", [*LOOKUPS, "IndexLookup"])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_cve_2025_12058_a_vocabulary_that_is_a_file(tmp_path, monkeypatch, name, is_wrapped):
    secret = tmp_path / "secret"
    secret.write_text("root\npassword\n")
    read = []
    monkeypatch.setattr("tensorflow.io.gfile.exists", lambda path: read.append(path) or True)

    def change(config):
        home = "keras.layers" if name in LOOKUPS else keras.layers.StringLookup.__base__.__module__
        lookup = named(home, name, {"vocabulary": str(secret), "name": "lookup"})
        wrapped = named("keras.layers", "TimeDistributed", {"layer": lookup})
        config["config"]["layers"][1:] = [wrapped if is_wrapped else lookup]

    refused(forged(tmp_path, change), "holds a layer that reads the file '.*secret'")
    assert read == []


def test_cve_2025_12058_the_file_is_read_only_if_the_caller_says_so(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("tensorflow.io.gfile.exists", lambda path: read.append(path))

    def change(config):
        lookup = named("keras.layers", "StringLookup", {"vocabulary": "secret", "name": "lookup"})
        config["config"]["layers"][1:] = [lookup]

    refused(forged(tmp_path, change), "reads the file 'secret'")
    assert read == []
    refused(forged(tmp_path, change), "secret does not exist", safe_mode=False)
    assert read == ["secret"]  # The attack was a real one.


def rewritten(change) -> bytes:
    """Return the weights of a small network, changed."""
    buffer = io.BytesIO(members(small_archive())[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        values = file["layers/dense/vars"]
        shape = values["1"].shape
        del values["1"]
        change(values, shape)
    return buffer.getvalue()


def compressed(values, shape):
    values.create_dataset("1", (2**40,), "f4", chunks=(2**20,), compression="gzip")


def never_written(values, shape):
    values.create_dataset("1", (2**40,), "f4")


def below_what_keras_checks(values, shape):
    values.create_dataset("1", (2**29,), "f4", chunks=(2**20,), compression="gzip")


def elsewhere(values, shape):
    values["1"] = np.zeros(shape, "f4")
    values.file.create_dataset("metrics/vars/0", (2**40,), "f4", chunks=(2**20,))


@pytest.mark.parametrize("bomb", [compressed, never_written])
def test_cve_2026_0897_weights_that_declare_what_they_do_not_hold(tmp_path, bomb):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = forged(tmp_path, weights=rewritten(bomb))
    assert path.stat().st_size < 50_000
    refused(path, "but hold a compressed array|not declare more than it holds")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("bomb", [below_what_keras_checks, elsewhere])
def test_cve_2026_12570_a_shape_bomb_anywhere_in_the_file(tmp_path, bomb):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(
        forged(tmp_path, weights=rewritten(bomb)),
        "hold a compressed array|must be stored as they are",
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_cve_2026_1669_weights_in_another_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"password")

    def outside(values, shape):
        values.create_dataset("1", shape, "f4", external=[(str(secret), 0, 8)])

    weights = rewritten(outside)
    with h5py.File(io.BytesIO(weights)) as file:  # The attack is a real one.
        assert file["layers/dense/vars/1"][()].tobytes() == b"password"
    refused(forged(tmp_path, weights=weights), "but hold an array in other files")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("external", "may link to other files|not link elsewhere"),
        ("soft", "not link elsewhere"),
        ("virtual", "not virtual, chunked or compressed"),
    ],
)
def test_cve_2026_1669_links_to_another_file(tmp_path, kind, reason):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.zeros(2, "f4")

    def link(values, shape):
        if kind == "external":
            values["1"] = h5py.ExternalLink(str(other), "/secret")
        elif kind == "soft":
            values["1"] = h5py.SoftLink("/layers/dense/vars/0")
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(str(other), "secret", shape)
            values.create_virtual_dataset("1", layout)

    refused(forged(tmp_path, weights=rewritten(link)), reason)


def test_cve_2026_1462_a_layer_that_runs_a_saved_model(tmp_path):
    def change(config):
        inner = {"filepath": str(tmp_path / "saved"), "call_endpoint": "serve", "name": "saved"}
        config["config"]["layers"].append(named("keras.layers", "TFSMLayer", inner))

    refused(forged(tmp_path, change), "holds a TFSMLayer layer, which can run code")


@pytest.mark.parametrize("name", ["JaxLayer", "FlaxLayer"])
def test_layers_that_run_functions_of_other_libraries(tmp_path, name):
    def change(config):
        config["config"]["layers"].append(named("keras.layers", name, {"call_fn": None}))

    refused(forged(tmp_path, change), f"holds a {name} layer, which can run code")


@pytest.mark.parametrize("name", ["../canary", "/tmp/canary", "a/../../canary", "..\\canary"])
def test_cve_2026_12479_a_layer_named_like_a_path(tmp_path, canary, name):
    def change(config):
        lookup = named("keras.layers", "StringLookup", {"name": name, "vocabulary": None})
        config["config"]["layers"].append({**lookup, "name": name})

    refused(forged(tmp_path, change), "the name of a layer must not be a path")


def test_cve_2026_12479_an_asset_outside_its_folder(tmp_path, canary):
    contents = members(small_archive()) | {"assets/../../canary": b"stranger"}
    refused(write(tmp_path, packed(contents)), "'assets/../../canary' is none that")


def test_cve_2026_12481_a_lambda_where_safe_mode_is_unset(tmp_path, canary):
    path = forged(tmp_path, data=archive(with_lambda(canary)))
    refused(path, "holds a (Lambda layer|lambda), which can run code", safe_mode=None)


@pytest.mark.parametrize("is_nested", [False, True])
def test_cve_2026_12481_a_legacy_layer_without_a_module(tmp_path, canary, is_nested):
    code = config_of(with_lambda(canary))

    def change(config):
        old = layer(code)
        for key in ("module", "registered_name"):
            del old[key]
        inner = named("keras", "Sequential", {"name": "inner", "layers": [old]})
        config["config"]["layers"].append(inner if is_nested else old)

    refused(forged(tmp_path, change), "holds a lambda|names None.'Lambda', which is neither")


def test_keras_is_told_of_safe_mode_in_so_many_words(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(vetting, "from_bytes", lambda *args: told.append(args[2]))
    for safe_mode in (True, False, None, 0, "no"):
        miha.load(forged(tmp_path), safe_mode=safe_mode)
    assert told == [True, False, True, True, True]


def test_a_class_of_main_is_refused(tmp_path, canary, monkeypatch):
    class Evil(keras.layers.Layer):
        @classmethod
        def from_config(cls, config):
            canary.touch()
            return cls()

    Evil.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "Evil", Evil, raising=False)

    def change(config):
        config["config"]["layers"].append(named("__main__", "Evil", registered_name="Evil"))

    refused(forged(tmp_path, change), "names '__main__'.'Evil', which is neither")
    miha.load(forged(tmp_path, change), {"Evil": Evil})  # The caller vouches for it.
    assert canary.exists()
    canary.unlink()


@pytest.mark.parametrize("name", ["model.pkl", "assets.pkl", "__init__.py"])
def test_a_pickle_or_a_module_is_refused(tmp_path, canary, name):
    contents = members(small_archive()) | {name: pickle.dumps(Payload(canary))}
    refused(write(tmp_path, packed(contents)), f"'{name}' is none that")


def test_a_pickle_instead_of_an_archive_is_refused(tmp_path, canary):
    refused(write(tmp_path, pickle.dumps(Payload(canary))), "BadZipFile")


def test_keras_sees_nothing_before_the_checksums_are_compared(tmp_path, monkeypatch):
    path = forged(tmp_path)
    contents = members(path.read_bytes()) | {"config.json": b"{}"}
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in contents.items():
            changed.writestr(name, content)
    monkeypatch.setattr(vetting, "load_vetted", lambda *_: pytest.fail("Keras saw the archive"))
    refused(path, "must have the checksums")


def test_the_attacks_would_pass_through_keras_alone(tmp_path, canary):
    """What this file is worth: a Lambda runs as soon as nothing vets it."""
    from_bytes(archive(with_lambda(canary)), safe_mode=False)
    assert canary.exists()
    canary.unlink()


def config_of(model):
    return json.loads(members(archive(model))["config.json"])
