"""What is done to inputs in training alone: to which, how much, and by which draws."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from contract import assert_equal, make_contract_trainer, rng, train
from keras import layers
from networks import branched, branched_data, custom_step, dense, images

from miha.data.opening import open_data
from miha.errors import ArgumentError
from miha.space import SearchSpace
from miha.trainer.factory import make_trainer
from miha.trainer.genes.inputs import (
    Augmentation,
    InputChanges,
    StepSeed,
    make_augmentation,
    noisy_inputs,
)

BACKEND = keras.backend.backend()
GENES = ("input_noise", "augmentation")


def table(samples=4000):
    """Columns of other spreads and centres; the last is constant."""
    drawn = rng(3).normal(size=(samples, 4))
    return (drawn * [0.1, 1.0, 20.0, 0.0] + [5.0, 0.0, -7.0, 3.0]).astype("float32")


def series(padding=0.0):
    """Series of 6 steps, the last two of every other one padded."""
    x = (rng(4).normal(size=(64, 6, 3)) * [1.0, 5.0, 0.5] + 2.0).astype("float32")
    x[::2, 4:] = padding
    return x


def changes_of(x, amount=0.0, padding=None, augmentation=(), share=0.0):
    """Return what changes samples, each of its amounts chosen."""
    inputs = noisy_inputs(x, padding)
    noise = {each.name: [0.0, amount] for each in inputs}
    augmented = make_augmentation(augmentation, x)
    changes = InputChanges(inputs, noise, augmented, [0.0, share], None)
    for number in changes.noise.values():
        number.index.assign(1)
    if changes.share is not None:
        changes.share.index.assign(1)
    return changes


def changed(changes, x, step=0, seed=9):
    """Return samples as a training step would see them."""
    changes.seed.plant(seed)
    batch = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, changes(batch, step))


def noise_on(x, amount=0.5, padding=None, **where):
    return changed(changes_of(x, amount, padding), x, **where) - x


@pytest.mark.parametrize("amount", [0.25, 1.0])
def test_the_unit_of_noise_is_the_spread_of_each_feature(amount):
    x = table()
    noise = noise_on(x, amount)
    np.testing.assert_allclose(noise.std(axis=0), amount * x.std(axis=0), rtol=0.05, atol=1e-6)
    np.testing.assert_allclose(noise.mean(axis=0) / [0.1, 1.0, 20.0, 1.0], 0.0, atol=0.06)
    assert not noise[:, 3].any()


def test_the_features_of_images_are_their_channels():
    x = (rng(5).normal(size=(64, 8, 8, 2)) * [1.0, 30.0]).astype("float32")
    [place] = noisy_inputs(x, None)
    np.testing.assert_allclose(place.spread, x.std(axis=(0, 1, 2)), rtol=1e-4)
    measured = noise_on(x).std(axis=(0, 1, 2))
    np.testing.assert_allclose(measured, 0.5 * x.std(axis=(0, 1, 2)), rtol=0.05)


@pytest.mark.parametrize(
    "x",
    [
        np.arange(12).reshape(6, 2),
        np.ones((6, 2), bool),
        (rng().random((6, 2)) < 0.5).astype("float32"),
        np.array([["a"], ["b"]], dtype=object),
        rng().normal(size=6),
    ],
    ids=["integers", "booleans", "a mask", "text", "one number a sample"],
)
def test_what_is_no_measured_feature_gets_no_noise(x):
    assert noisy_inputs(x, None) == []


@pytest.mark.parametrize(("padding", "mask_value"), [(0.0, None), (-9.0, -9.0)])
def test_padded_steps_of_a_series_stay_and_do_not_count(padding, mask_value):
    x = series(padding)
    noise = noise_on(x, padding=mask_value)
    assert not noise[::2, 4:].any()
    assert (noise[::2, :4] != 0).all() and (noise[1::2] != 0).all()
    is_padded = (x == padding).all(axis=-1)
    [place] = noisy_inputs(x, mask_value)
    np.testing.assert_allclose(place.spread, x[~is_padded].std(axis=0), rtol=1e-4)


def test_zeros_are_steps_where_a_masking_layer_has_another_value():
    assert (noise_on(series(0.0), padding=-9.0) != 0).all()


def test_a_step_of_zeros_in_a_table_is_a_sample():
    x = table()[:, :3]
    x[:10] = 0.0
    assert (noise_on(x) != 0).all()


def masked(mask_value):
    keras.utils.set_random_seed(1)
    parts = [
        keras.Input((6, 3)),
        layers.Masking(mask_value),
        layers.SimpleRNN(2, unroll=True),
        layers.Dense(1),
    ]
    model = keras.Sequential(parts)
    model.compile("sgd", "mse")
    return model


def test_the_masking_layer_of_a_network_says_what_a_padded_step_holds():
    x = series(-9.0)
    trainer = make_contract_trainer(masked(-9.0), (x, x[:, 0, :1]), genes=("input_noise",))
    [place] = trainer._inputs._inputs
    assert (place.has_steps, place.padding) == (True, -9.0)
    trainer.express(trainer.genome.with_input_noise("x", 0.5))
    found = changed(trainer._inputs, x)
    assert not (found - x)[::2, 4:].any()
    assert (found - x)[:, :4].all()
    assert np.isfinite(train(trainer, 1)[0].logs["loss"])


PARTS = {"b": table(50), "a": series()[:50], "c": np.arange(50)[:, None]}


@pytest.mark.parametrize(
    ("x", "names"),
    [
        (PARTS, ["a", "b"]),
        (list(PARTS.values()), ["x[0]", "x[1]"]),
        ({"in": (PARTS["b"], PARTS["c"])}, ["in[0]"]),
        ({"a": None, "b": PARTS["b"]}, ["b"]),
    ],
    ids=["dict", "list", "nested", "one left out"],
)
def test_inputs_are_named_by_their_place(x, names):
    assert [each.name for each in noisy_inputs(x, None)] == names


@pytest.mark.parametrize("x", [PARTS, list(PARTS.values())], ids=["dict", "list"])
def test_each_of_several_inputs_gets_its_own_noise(x):
    changes = changes_of(x, 0.5)
    last = list(changes.noise)[-1]
    for name in changes.noise:
        for other, number in changes.noise.items():
            number.index.assign(int(other == name))
        found = changed(changes, x)
        assert type(found) is type(x)
        differs = [
            bool((ours != theirs).any())
            for ours, theirs in zip(keras.tree.flatten(found), keras.tree.flatten(x), strict=True)
        ]
        assert differs.count(True) == 1
        place = [each.place for each in changes._inputs if each.name == name]
        assert [differs.index(True)] == place
    assert last == name


def test_two_inputs_of_a_network_have_a_gene_each():
    trainer = make_contract_trainer(branched(), branched_data(), genes=("input_noise",))
    own, start = trainer.genome, trainer.snapshot()
    assert own.input_noise == (("a", 0.0), ("b", 0.0))
    losses = []
    for genome in (own, own.with_input_noise("a", 1.0), own.with_input_noise("b", 1.0)):
        trainer.restore(start)
        trainer.express(genome)
        assert trainer.genome == genome
        losses.append(train(trainer, 1)[0].logs["loss"])
    assert len(set(losses)) == 3


def test_other_steps_and_trainings_draw_other_noise_and_the_same_ones_the_same():
    x = table(20)[:, :3]
    first = noise_on(x)
    np.testing.assert_array_equal(noise_on(x), first)
    assert (noise_on(x, step=1) != first).all()
    assert (noise_on(x, seed=10) != first).all()


def test_draws_of_one_step_differ():
    seed = StepSeed(keras.Variable(3, dtype="int32", trainable=False), 5)
    first, second = (keras.ops.convert_to_numpy(seed.next()) for _ in range(2))
    assert first.shape == second.shape == (2,)
    assert (first != second).any()


@keras.saving.register_keras_serializable("miha_tests")
class Plus(layers.Layer):
    """Marks what it was applied to."""

    def call(self, inputs, training=False):
        return inputs + 100.0 if training else inputs


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_so_large_a_share_of_the_samples_is_augmented(share):
    x = images(2000)[0]
    is_changed = changed(changes_of(x, augmentation=[Plus()], share=share), x) != x
    whole = is_changed.reshape(len(x), -1)
    # A sample is changed as a whole, or not at all.
    np.testing.assert_array_equal(whole.all(axis=1), whole.any(axis=1))
    assert whole.any(axis=1).mean() == pytest.approx(share, abs=0.05)


def test_an_image_is_augmented_before_noise_is_added():
    x = images(32)[0]
    both = changed(changes_of(x, 0.5, augmentation=[Plus()], share=1.0), x)
    assert abs((both - x).mean() - 100.0) < 0.1
    assert (both - x).std() == pytest.approx(0.5 * x.std(), rel=0.1)


NESTED = {
    "alone": lambda: [layers.RandomTranslation(0.4, 0.4, seed=1)],
    "sequential": lambda: [
        keras.Sequential([layers.RandomFlip(seed=1), layers.RandomTranslation(0.4, 0.4, seed=2)])
    ],
    "pipeline": lambda: [
        layers.Pipeline([layers.RandomFlip(seed=1), layers.RandomTranslation(0.4, 0.4, seed=2)])
    ],
    "dropout": lambda: [layers.Dropout(0.5, seed=1)],
}


@pytest.mark.parametrize("kind", NESTED)
def test_layers_at_any_depth_draw_from_the_seed_of_the_step(kind):
    x, parts = images(16)[0], NESTED[kind]()
    changes = changes_of(x, augmentation=parts, share=1.0)
    states = [keras.ops.convert_to_numpy(v) for layer in parts for v in layer.variables]
    first = changed(changes, x)
    np.testing.assert_array_equal(changed(changes, x), first)
    assert (changed(changes, x, step=1) != first).any()
    assert (changed(changes, x, seed=10) != first).any()
    # The user's own layers draw what they would have drawn.
    after = [keras.ops.convert_to_numpy(v) for layer in parts for v in layer.variables]
    for one, other in zip(states, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_integer_images_stay_integers():
    x = rng().integers(256, size=(8, 8, 8, 3)).astype("uint8")
    found = changed(changes_of(x, augmentation=[layers.RandomFlip(seed=1)], share=1.0), x)
    assert found.dtype == np.uint8 and (found != x).any()
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(x, axis=None))


def test_without_layers_there_is_no_augmentation():
    assert make_augmentation([], branched_data()[0]) is None


class Broken(layers.Layer):
    def call(self, inputs):
        raise ValueError("cannot see")


@pytest.mark.parametrize(
    ("parts", "x", "message"),
    [
        ([layers.RandomFlip()], branched_data(4)[0], "Received: a network of 2 inputs"),
        ([Broken()], images(4)[0], r"shape \(4, 8, 8, 1\), on which they fail: .*cannot see"),
        ([abs], images(4)[0], "on which they fail"),
        ([layers.Flatten()], images(4)[0], r"layers that make \(4, 64\) of \(4, 8, 8, 1\)"),
        ([layers.MaxPooling2D(8)], images(4)[0], r"layers that make \(4, 1, 1, 1\) of"),
    ],
    ids=["two inputs", "fails", "no layer", "another shape", "a shape that spreads"],
)
def test_layers_that_cannot_augment_the_inputs_are_refused(parts, x, message):
    with pytest.raises(ArgumentError, match=message):
        make_augmentation(parts, x)


def test_layers_are_refused_before_anything_is_trained_and_only_where_they_are_asked_for():
    with pytest.raises(ArgumentError, match="must keep the shape"):
        make_contract_trainer(
            dense(), images(), genes=("augmentation",), augmentation=[layers.Flatten()]
        )
    trainer = make_contract_trainer(dense(), images(), augmentation=[layers.Flatten()])
    assert (trainer.genome.augmentation, trainer.genome.input_noise) == (None, ())


@pytest.fixture(scope="module")
def trainer():
    """A trainer of images with both genes; each test restores its start."""
    flip = [layers.RandomFlip("horizontal", seed=1)]
    return make_contract_trainer(
        dense("sgd"), images(), validation=images(48, seed=9), genes=GENES, augmentation=flip,
        activations=("relu",), optimizers=["sgd"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def start(trainer):
    return trainer.genome, trainer.snapshot()


def begin(trainer, start, **changes):
    own, values = start
    trainer.restore(values)
    trainer.express(own.replace(**changes))
    return trainer


BOTH = {"input_noise": (("x", 1.0),), "augmentation": 1.0}


def test_an_evaluation_and_predictions_are_untouched(trainer, start):
    begin(trainer, start)
    found = trainer.evaluate()
    x = images()[0]
    predicted = trainer._network.predict(x, verbose=0)
    begin(trainer, start, **BOTH)
    assert trainer.evaluate() == found != {}
    np.testing.assert_array_equal(trainer._network.predict(x, verbose=0), predicted)


def test_a_genome_that_leaves_the_augmentation_open_has_none(trainer, start):
    begin(trainer, start, augmentation=1.0)
    trainer.express(start[0].replace(augmentation=None))
    assert trainer.genome == start[0]


def test_the_noise_of_a_training_decides_what_is_drawn(trainer, start):
    for changes in BOTH:
        losses = []
        for seed in (1, 1, 2):
            begin(trainer, start, **{changes: BOTH[changes]})
            logs = trainer.train(1, rng(), rng(seed), lambda epoch: None)[0].logs
            losses.append(logs["loss"])
        assert losses[0] == losses[1] != losses[2]


def test_each_epoch_draws_anew(trainer, start):
    # Of a network that stays, losses differ by what is drawn alone.
    begin(trainer, start, input_noise=(("x", 1.0),))
    epochs = trainer.train(2, rng(), rng(1), lambda epoch: None, [0.0, 0.0])
    assert epochs[0].logs["loss"] != pytest.approx(epochs[1].logs["loss"], rel=1e-6)
    begin(trainer, start)
    epochs = trainer.train(2, rng(), rng(1), lambda epoch: None, [0.0, 0.0])
    assert epochs[0].logs["loss"] == pytest.approx(epochs[1].logs["loss"], rel=1e-5)


def test_layers_that_draw_are_given_the_same_with_it_and_without():
    def trained(genes):
        keras.utils.set_random_seed(1)
        parts = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dropout(0.5, seed=2)]
        model = keras.Sequential([*parts, layers.Dense(2, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        prepared = make_contract_trainer(model, images(), genes=genes, activations=("relu",))
        train(prepared, 1)
        return prepared.snapshot()

    assert_equal(trained(("input_noise",)), trained(()))


def test_a_step_of_the_users_own_gets_changed_inputs():
    flip = [layers.RandomFlip(seed=1)]
    trainer = make_contract_trainer(
        custom_step(), images(), genes=GENES, augmentation=flip, activations=("tanh",)
    )
    own, values = trainer.genome, trainer.snapshot()
    losses = []
    for changes in ({}, *({gene: BOTH[gene]} for gene in BOTH)):
        begin(trainer, (own, values), **changes)
        losses.append(train(trainer, 1)[0].logs["loss"])
    assert np.isfinite(losses).all() and len(set(losses)) == 3


def pixels(first, dtype="float32"):
    """Return a network of images of bytes, read by one layer before all others."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8), dtype=dtype)
    hidden = layers.Dense(8, "relu")(layers.Flatten()(first(inputs)))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def bytes_of_images(samples=64):
    drawn = rng(5)
    return drawn.integers(0, 256, (samples, 8, 8)).astype("uint8"), drawn.integers(0, 3, samples)


@pytest.mark.parametrize(
    ("first", "dtype", "expected"),
    [
        (layers.Rescaling(1 / 255), "float32", True),
        (layers.Rescaling(1 / 255), "uint8", False),
        (layers.Embedding(256, 2), "float32", False),
        (layers.Reshape((64,)), "float32", False),
    ],
    ids=["scaled", "made bytes again", "words", "anything else"],
)
def test_whole_numbers_get_noise_where_the_network_scales_them(first, dtype, expected):
    trainer = make_contract_trainer(pixels(first, dtype), bytes_of_images(), genes=GENES)
    assert bool(trainer.genome.input_noise) is expected


def test_bytes_without_noise_train_as_in_fit_and_otherwise_with_it():
    x, y = bytes_of_images()
    model = pixels(layers.Rescaling(1 / 255))
    trainer = make_contract_trainer(model, (x, y), batch_size=16, shuffle=False, genes=GENES)
    own, values = trainer.genome, trainer.snapshot()
    train(trainer, 2)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    found = trainer.snapshot().variables
    for one, other in zip(found[: len(model.weights)], model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)

    begin(trainer, (own, values), input_noise=(("x", 1.0),))
    train(trainer, 2)
    assert not np.array_equal(trainer.snapshot().variables[0], found[0])


def test_a_network_of_mixed_precision_trains_on_changed_inputs():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        flip = [layers.RandomFlip(seed=1)]
        trainer = make_contract_trainer(
            dense("sgd"), images(), genes=(*GENES, "label_smoothing"), augmentation=flip,
            activations=("relu",),
        )  # fmt: skip
        own, values = trainer.genome, trainer.snapshot()
        losses = []
        for changes in ({}, BOTH, {"label_smoothing": 0.2}):
            begin(trainer, (own, values), **changes)
            losses.append(train(trainer, 1)[0].logs["loss"])
    finally:
        keras.config.set_dtype_policy(policy)
    assert np.isfinite(losses).all() and len(set(losses)) == 3


class Batches(keras.utils.PyDataset):
    """The images, in batches of 16."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return tuple(part[16 * index : 16 * (index + 1)] for part in images())


def test_streamed_data_gets_the_noise_of_arrays():
    ends, spreads = [], []
    for data in (images(), (Batches(),)):
        model = dense("sgd")
        training, _ = open_data(model, *data, validation_data=None)
        prepared = make_trainer(
            model, training, None, batch_size=16, validation_batch_size=16,
            space=SearchSpace(activations=("relu",), input_noise=(0.5,)), shuffle=False,
            evaluate_training=False, seed=0, genes=("input_noise",),
        )  # fmt: skip
        prepared.express(prepared.genome.with_input_noise("x", 0.5))
        spreads.append(prepared._inputs._inputs[0].spread)
        train(prepared, 2)
        ends.append(prepared.snapshot())
    np.testing.assert_array_equal(*spreads)
    for ours, theirs in zip(ends[0].variables, ends[1].variables, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="asks TensorFlow")
def test_layers_that_xla_does_not_know_are_compiled_without_it():
    found = {}
    for layer in (layers.RandomFlip(seed=1), layers.RandomTranslation(0.2, 0.2, seed=1)):
        model = dense("sgd")
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
        trainer = make_contract_trainer(
            model, images(), genes=("augmentation",), augmentation=[keras.Sequential([layer])]
        )
        trainer.express(trainer.genome.replace(augmentation=0.5))
        train(trainer, 1)
        found[type(layer).__name__] = (trainer.compiler, trainer.obstacle("xla") is None)
    assert found["RandomFlip"][0] == "xla"
    assert found["RandomTranslation"] == ("graph", False)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="asks TensorFlow")
def test_batches_shared_out_by_a_strategy_are_changed_as_well():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = dense("sgd")
    trainer = make_contract_trainer(
        model, images(), genes=GENES, augmentation=[layers.RandomFlip(seed=1)],
        activations=("relu",),
    )  # fmt: skip
    own, values = trainer.genome, trainer.snapshot()
    losses = []
    for changes in ({}, *({gene: BOTH[gene]} for gene in BOTH)):
        begin(trainer, (own, values), **changes)
        losses.append(train(trainer, 1)[0].logs["loss"])
    assert len(set(losses)) == 3


def test_an_augmentation_keeps_the_attributes_of_the_users_layers():
    layer = layers.RandomFlip(seed=1)
    before = layer.generator
    Augmentation((layer,)).apply(keras.ops.convert_to_tensor(images(4)[0]), 1.0, StepSeed(0, 0))
    assert layer.generator is before
