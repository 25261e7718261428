"""Vetting: honest networks of every kind still load, and what none needs is refused."""

from __future__ import annotations

import json
import sys
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from keras.src import api_export
from networks import ALL
from strangers import (
    CONFIG,
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
from miha.archive.vetting import Vetting, _find
from miha.errors import ArchiveError


class Scale(layers.Layer):
    def __init__(self, by=2.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, inputs):
        return inputs * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@keras.saving.register_keras_serializable("vetting_tests")
class Registered(Scale):
    pass


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


class OwnMetric(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(keras.ops.abs(y_true - y_pred), sample_weight)


def own_activation(x):
    return keras.ops.tanh(x) * 2


@keras.saving.register_keras_serializable("vetting_tests")
def registered_activation(x):
    return keras.ops.tanh(x) * 3


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


OWN = {part.__name__: part for part in (Scale, OwnLoss, OwnMetric, own_activation, own_loss)}


def sequential(*parts, shape=(4,), dtype="float32", optimizer="adam", loss="mse", metrics=()):
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *parts])
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def custom():
    parts = layers.Dense(3, activation=own_activation), Scale(3.0), layers.Dense(1)
    return sequential(*parts, loss=OwnLoss(), metrics=[OwnMetric(), own_loss])


def registered():
    return sequential(layers.Dense(3, activation=registered_activation), Registered(3.0))


def own_function_loss():
    return sequential(layers.Dense(1), loss=own_loss)


def string_lookup():
    lookup = layers.StringLookup(output_mode="multi_hot")
    lookup.adapt(np.array([["a"], ["b"], ["ä"]]))
    return sequential(lookup, layers.Dense(2), shape=(2,), dtype="string")


def integer_lookup():
    lookup = layers.IntegerLookup(vocabulary=[3, 5, 7], output_mode="one_hot")
    return sequential(lookup, layers.Dense(2), shape=(1,), dtype="int64")


def text():
    vectorize = layers.TextVectorization(output_mode="tf_idf", ngrams=2)
    vectorize.adapt(np.array(["the cat sat", "the dog sat"]))
    return sequential(vectorize, layers.Dense(2), shape=(1,), dtype="string")


def normalization():
    normalize = layers.Normalization()
    normalize.adapt(np.arange(12, dtype="float32").reshape(3, 4))
    return sequential(normalize, layers.Dense(2))


def known_normalization():
    return sequential(layers.Normalization(mean=[1, 2, 3, 4], variance=[1, 1, 1, 1]))


def discretization():
    return sequential(layers.Discretization([0.0, 1.0], output_mode="one_hot"), layers.Dense(2))


def loss_scaling():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    return sequential(layers.Dense(2, dtype="mixed_float16"), optimizer=optimizer)


def bfloat16():
    return sequential(layers.Dense(2, dtype="bfloat16"), layers.Dense(2, dtype="mixed_bfloat16"))


def scheduled():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    return sequential(layers.Dense(2), optimizer=keras.optimizers.AdamW(schedule, use_ema=True))


def operators():
    inputs = keras.Input((4,))
    hidden = keras.ops.tanh(inputs)[:, 1:3] * 2 + 1
    hidden = keras.ops.concatenate([hidden, inputs - np.ones(4, "float32")], axis=-1)
    model = keras.Model(inputs, keras.ops.sum(keras.ops.reshape(hidden, (-1, 3, 2)), axis=2))
    model.compile("sgd", "mse")
    return model


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)], name="inner")
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, inner(inputs), name="middle")
    model = keras.Model(inputs, layers.Dense(1)(middle(inputs)))
    model.compile("adam", "mse")
    return model


def recurrent():
    return sequential(
        layers.Bidirectional(layers.GRU(3, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(2)),
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)]),
        shape=(5, 2),
    )


def stateful():
    model = keras.Sequential([keras.Input((5, 2), batch_size=3), layers.LSTM(2, stateful=True)])
    model.compile("adam", "mse")
    return model


def attention():
    inputs = keras.Input((5, 4))
    hidden = layers.MultiHeadAttention(2, 3)(inputs, inputs, use_causal_mask=True)
    model = keras.Model(inputs, layers.LayerNormalization()(layers.Add()([inputs, hidden])))
    model.compile("adam", "mse")
    return model


def decorated():
    """Everything that a layer may be given: objects, wrappers, seeds, policies."""
    dense = layers.Dense(
        3,
        kernel_initializer=keras.initializers.Orthogonal(seed=keras.random.SeedGenerator(7)),
        bias_initializer=keras.initializers.Constant(np.ones(3, "float32")),
        kernel_regularizer=keras.regularizers.L1L2(0.1, 0.1),
        kernel_constraint=keras.constraints.MaxNorm(2),
        activation=keras.layers.ReLU(max_value=3.0),
    )
    return sequential(
        layers.SpectralNormalization(dense),
        layers.Dropout(0.1, seed=3),
        layers.Dense(2, activation="softmax"),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=[keras.metrics.AUC(), "accuracy", keras.metrics.F1Score(average="macro")],
    )


def augmented():
    parts = layers.RandomFlip(), layers.RandomRotation(0.1), layers.Rescaling(0.5)
    return sequential(*parts, layers.Conv2D(2, 3), layers.Flatten(), shape=(8, 8, 3))


def many():
    return sequential(*(layers.Dense(2, use_bias=False) for _ in range(40)), shape=(2,))


def sparse_names():
    return sequential(layers.Dense(2, name="a.b-c (ü) [0]:1"), layers.Dense(1, name="..."))


HONEST = (
    custom, registered, own_function_loss, string_lookup, integer_lookup, text, normalization,
    known_normalization, discretization, loss_scaling, bfloat16, scheduled, operators, nested,
    recurrent, stateful, attention, decorated, augmented, many, sparse_names,
    *(make for make, _ in ALL.values()),
)  # fmt: skip


@cache
def saved(make):
    return archive(make())


def values(model):
    return [np.asarray(keras.ops.convert_to_numpy(v)) for v in model.weights]


@pytest.mark.parametrize("make", HONEST, ids=lambda make: make.__name__)
def test_an_honest_network_loads_as_it_was(tmp_path, make):
    model = make()
    path = write(tmp_path, packed(members(archive(model))))
    loaded, _ = miha.load(path, OWN)
    for before, after in zip(values(model), values(loaded), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_network_that_is_not_compiled_loads(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    loaded, _ = miha.load(write(tmp_path, packed(members(archive(model)))))
    np.testing.assert_array_equal(values(model)[0], values(loaded)[0])


@pytest.mark.parametrize("make", [custom, own_function_loss])
def test_custom_objects_must_be_passed(tmp_path, make):
    path = write(tmp_path, packed(members(saved(make))))
    with pytest.raises(ArchiveError, match="nor one of `custom_objects`"):
        miha.load(path)


@pytest.mark.parametrize("member", [CONFIG, WEIGHTS])
def test_an_archive_without_a_network_is_refused(tmp_path, member):
    contents = members(small_archive())
    del contents[member]
    with pytest.raises(ArchiveError, match=f"must have the members.*{member}"):
        miha.load(write(tmp_path, packed(contents)))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"[" * 9999, "nested"),
        (b"{", "must be JSON"),
        (b"[]", "holds a list"),
        (b"{}", "Keras can load"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, text, rule):
    contents = members(small_archive()) | {CONFIG: text}
    with pytest.raises(ArchiveError, match=rule):
        miha.load(write(tmp_path, packed(contents)))


@pytest.mark.parametrize(
    "item",
    [
        named("os", "system"),
        named("builtins", "eval"),
        named("subprocess", "Popen"),
        named("__main__", "Scale"),
        named("networks", "Subclassed"),
        named(None, "Dense"),
        named("keras", "layers.Lambda"),
        named("keras.layers.", "Dense"),
        named("keras.layers", "deserialize"),
        named("keras.models", "load_model"),
        named("keras.callbacks", "CSVLogger", {"filename": "x"}),
        named("keras.src.saving.saving_lib", "H5IOStore"),
        named("keras.src.saving.saving_lib", "zipfile"),
        named("keras.src.utils.torch_utils", "torch"),
        named("keras.applications", "ResNet50"),
        named("keras.utils", "PyDataset"),
        named("keras.wrappers", "SKLearnClassifier"),
        named("keras.src.export.export_utils", "tf"),
        named("keras_hub.models", "Backbone"),
        named("tensorflow.keras.layers", "Dense"),
        {"class_name": "Dense", "config": {"units": 2}},
        {"class_name": ["Lambda"], "config": {}},
        {"class_name": None, "config": {}},
        {"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []},
        {**named("os", "Dense"), "registered_name": "os>system"},
        function("os", "system"),
        function("builtins", "eval"),
        function("builtins", "exec"),
        function("builtins", "deserialize"),
        function("keras.activations", "deserialize"),
        function("keras.losses", "get"),
        function("keras.utils", "get_file"),
        function("keras.config", "enable_unsafe_deserialization"),
        function("keras.saving", "load_model"),
        function("keras.ops", "convert_to_numpy"),
        function("keras.activations", "types"),
        function(None, "relu"),
        named("keras.activations", "function", ["relu"]),
    ],
    ids=lambda item: f"{item.get('module')}.{item['class_name']}-{item['config']!s:.30}",
)  # fmt: skip
@pytest.mark.parametrize("place", ["layer", "activation", "wrapped", "metric", "argument", "odd"])
@pytest.mark.parametrize("safe_mode", [True, False])
def test_what_no_network_needs_is_refused_wherever_it_is(item, place, safe_mode):
    config = json.loads(members(small_archive())[CONFIG])
    if place == "layer":
        config["config"]["layers"].append(item)
    elif place == "activation":
        layer(config)["config"]["activation"] = item
    elif place == "wrapped":
        inner = named("keras.layers", "TimeDistributed", {"layer": item})
        config["config"]["layers"].append(named("keras.layers", "Bidirectional", {"layer": inner}))
    elif place == "metric":
        config["compile_config"]["metrics"] = [[{"a": item}]]
    elif place == "argument":
        layer(config)["inbound_nodes"] = [{"args": [tensor()], "kwargs": {"mask": [item]}}]
    else:
        layer(config)["build_config"] = {"anything": [{"at": {"all": [[item]]}}]}
    with pytest.raises(ValueError, match="neither a part of networks|must be named by text"):
        Vetting({}, safe_mode).check(config)


def tensor(dtype="float32"):
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, 4], "dtype": dtype, "keras_history": ["dense", 0, 0]},
    }


def test_nothing_is_imported_by_vetting():
    before = set(sys.modules)
    for module in ("keras.src.backend.torch", "keras.src.nothing", "antigravity"):
        with pytest.raises(ValueError, match="neither a part"):
            Vetting({}, True).check(named(module, "Dense"))
    assert set(sys.modules) == before


def test_names_mean_to_vetting_what_they_mean_to_keras():
    differing = []
    for full, symbol in api_export.REGISTERED_NAMES_TO_OBJS.items():
        module, _, name = full.rpartition(".")
        if _find(module, name) not in (symbol, None):
            differing.append(full)
    assert differing == []


@pytest.mark.parametrize("name", ["../up", "a/b", "/root", "a\\b", "..", ".", "a\0b"])
@pytest.mark.parametrize("place", ["config", "layer", "network"])
def test_a_layer_named_like_a_path_is_refused(tmp_path, name, place):
    def rename(config):
        found = {"config": layer(config)["config"], "layer": layer(config), "network": config}
        found[place]["name"] = name

    with pytest.raises(ArchiveError, match="the name of a layer must not be a path"):
        miha.load(forged(tmp_path, rename))


@pytest.mark.parametrize("dtype", ["S1000000000", "V9", "O", "(99999999,)f8", "f4", None, 4, ["f"]])
@pytest.mark.parametrize("kind", ["__numpy__", "__tensor__", "__keras_tensor__"])
def test_an_array_of_a_type_that_keras_has_not_is_refused(tmp_path, dtype, kind):
    value = {"class_name": kind, "config": {"value": [1], "shape": [1], "dtype": dtype}}

    def change(config):
        layer(config)["config"]["bias_initializer"] = value

    with pytest.raises(ArchiveError, match="type that Keras knows|Invalid dtype"):
        miha.load(forged(tmp_path, change))


@pytest.mark.parametrize(
    "nodes",
    [
        [{"args": [{"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}}]}],
        [{"args": [], "kwargs": {}}],
        [{}],
        [[["input", 0, 0, {}]]],
        {"a": 1},
        "nodes",
    ],
)
def test_a_layer_that_would_be_called_on_values_is_refused(tmp_path, nodes):
    def change(config):
        config["config"]["layers"][1]["inbound_nodes"] = nodes

    with pytest.raises(ArchiveError, match="must be called on other layers' outputs"):
        miha.load(forged(tmp_path, change, saved(nested)))


def test_safe_mode_is_on_for_everything_but_false(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(own_activation)])
    path = write(tmp_path, packed(members(archive(model))))
    for unset in (None, 0, "", True):
        with pytest.raises(ArchiveError, match="holds a Lambda layer"):
            miha.load(path, OWN, safe_mode=unset)
    assert miha.load(path, OWN, safe_mode=False)[0](np.zeros((1, 4))).shape == (1, 4)


@pytest.mark.parametrize("known", ["registered", "passed"])
def test_a_lambda_is_none_the_less_one_under_another_name(tmp_path, known):
    def change(config):
        layer(config).update(named("elsewhere", "Mine", registered_name="Mine"))

    class Mine(layers.Lambda):
        pass

    if known == "registered":
        keras.saving.get_custom_objects()["Mine"] = Mine
    try:
        with pytest.raises(ArchiveError, match="holds a Mine layer"):
            miha.load(forged(tmp_path, change), {"Mine": Mine} if known == "passed" else {})
    finally:
        keras.saving.get_custom_objects().pop("Mine", None)


# What memory a network takes.


def bomb_units(config):
    layer(config)["config"]["units"] = 10**9


def bomb_input(config):
    layer(config, 0)["config"]["batch_shape"] = [None, 10**9]
    layer(config)["build_config"]["input_shape"] = [None, 10**9]


def bomb_build(config):
    layer(config)["build_config"]["input_shape"] = [None, 10**9]


def bomb_thresholds(config):
    auc = named("keras.metrics", "AUC", {"num_thresholds": 10**9})
    config["compile_config"]["metrics"] = [auc]


def bomb_classes(config):
    config["compile_config"]["metrics"] = [
        named("keras.metrics", "MeanIoU", {"num_classes": 10**5})
    ]


def bomb_oov(config):
    inner = {"vocabulary": ["a"], "num_oov_indices": 10**9}
    config["config"]["layers"][1] = named("keras.layers", "StringLookup", inner)


def bomb_ngrams(config):
    inner = {"vocabulary": ["a"], "ngrams": 10**9}
    config["config"]["layers"][1] = named("keras.layers", "TextVectorization", inner)


def bomb_broadcast(config):
    inner = {"axis": -1, "mean": 0.0, "variance": 1.0}
    config["config"]["layers"][1] = named("keras.layers", "Normalization", inner)
    bomb = [None, 10**9]
    config["config"]["layers"][1]["build_config"] = {"input_shape": bomb}
    layer(config, 0)["config"]["batch_shape"] = bomb


def bomb_states(config):
    inner = {"units": 2, "stateful": True}
    shape = {"input_shape": [10**9, 3, 4]}
    config["config"]["layers"][1] = named("keras.layers", "LSTM", inner, build_config=shape)


BOMBS = (
    bomb_units, bomb_input, bomb_build, bomb_thresholds, bomb_classes, bomb_oov, bomb_ngrams,
    bomb_broadcast, bomb_states,
)  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_network_larger_than_its_weights_is_refused_before_it_is_built(tmp_path, bomb):
    with pytest.raises(ArchiveError, match="exceeds the .* bytes|must be at most"):
        miha.load(forged(tmp_path, bomb))


def test_a_network_of_endless_symbolic_tensors_is_refused(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.ops.unstack(inputs, axis=1)[0])

    def bomb(config):
        layer(config)["config"]["num"] = 10**9
        layer(config, 0)["config"]["batch_shape"] = [None, 10**9]

    with pytest.raises(ArchiveError, match="symbolic tensors"):
        miha.load(forged(tmp_path, bomb, archive(model)))
