"""The TensorFlow trainer: the contract, and what is its own."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from blends import BlendContract
from contract import TrainerContract, make_contract_trainer, train
from genes import GenesContract
from networks import convolutional, dense, images, shallow

from miha.data.arrays import prepare
from miha.space import OPTIMIZERS, SearchSpace
from miha.trainer.factory import make_trainer


class TestTensorFlowTrainer(TrainerContract):
    @contextlib.contextmanager
    def exactly(self):
        # TensorFlow's graph optimizer rewrites attention and masked layers in `fit` otherwise.
        options = tf.config.optimizer.set_experimental_options
        options({"disable_meta_optimizer": True})
        try:
            yield
        finally:
            options({"disable_meta_optimizer": False})

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestTensorFlowBlends(BlendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestTensorFlowGenes(GenesContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


def test_traces_grow_only_when_an_optimizer_class_is_new():
    trainer = make_contract_trainer(convolutional(), images(), validation=images(32, 1))
    start, own = trainer.snapshot(), trainer.genome
    train(trainer, 1)
    assert trainer.traces == 2  # One epoch, one evaluation.
    for size in (8, 13, 96):
        for slot, names in trainer.space.slots.items():
            trainer.restore(start)
            trainer.express(own.with_activation(slot, names[-1]).replace(batch_size=size))
            train(trainer, 1)
    assert trainer.traces == 2
    for _ in range(2):
        trainer.restore(start)
        trainer.express(own.replace(optimizer="lion"))
        train(trainer, 1)
    assert trainer.traces == 3


@pytest.fixture(scope="module")
def unlike():
    """A trainer whose own optimizer is none that the others are exchanged for, and its start."""
    trainer = make_contract_trainer(shallow("ftrl"), images(), shuffle=False)
    return trainer, trainer.snapshot(), trainer.genome


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_as_its_keras_class_does(unlike, name):
    trainer, start, own = unlike
    trainer.restore(start)
    trainer.express(own)
    rate = trainer.space.optimizers[name]
    trainer.express(trainer.genome.replace(optimizer=name, learning_rate=rate))
    train(trainer, 2)
    model = shallow(keras.optimizers.get(name))
    if name == "sgd":
        model = shallow(keras.optimizers.SGD(momentum=0.9))
    model.optimizer.learning_rate = rate
    model.fit(*images(), batch_size=16, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.snapshot().variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_eager_networks_are_run_eagerly():
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    seen = []

    class Eager(keras.Sequential):
        def train_step(self, data):
            seen.append(int(data[1][0]))  # Only an eager tensor has a value.
            return super().train_step(data)

    eager = Eager(model.layers)
    eager.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    trainer = make_contract_trainer(eager, images(), batch_size=48)
    # A step of its own is tried once, on a copy.
    seen.clear()
    epochs = train(trainer, 2)
    assert len(seen) == 4
    assert epochs[1].logs["loss"] < epochs[0].logs["loss"]


def test_without_validation_the_training_data_is_the_ruler():
    x, y = images()
    trainer = make_contract_trainer(convolutional(), (x, y), evaluate_training=True)
    logs = train(trainer, 1)[0].logs
    plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
    assert logs["eval_loss"] == pytest.approx(plain.evaluate(x, y, verbose=0)[0], rel=1e-5)
    assert logs["eval_loss"] != logs["loss"]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_the_batch_size_does_not_bend_the_ruler(reduction):
    model = dense()
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
    model.compile(keras.optimizers.SGD(1e-30), loss)
    trainer = make_contract_trainer(model, images(), evaluate_training=True)
    losses = []
    for size in (8, 32, 96):
        trainer.express(trainer.genome.replace(batch_size=size))
        losses.append(train(trainer, 1)[0].logs["eval_loss"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_sample_weights_weigh_as_in_fit():
    x, y = images()
    weights = np.linspace(0, 2, len(x)).astype("float32")
    training, _ = prepare(x, y, sample_weight=weights)
    model = dense()
    trainer = make_trainer(
        model, training, None, batch_size=16, validation_batch_size=16, space=SearchSpace(),
        shuffle=False, evaluate_training=False, seed=0,
    )  # fmt: skip
    train(trainer, 2)
    model.fit(x, y, 16, 2, verbose=0, shuffle=False, sample_weight=weights)
    for ours, theirs in zip(trainer.snapshot().variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_averaged_weights_are_put_in_place_at_the_end_as_fit_does():
    x, y = images()
    model = dense(keras.optimizers.Adam(use_ema=True, ema_momentum=0.5))
    trainer = make_contract_trainer(model, (x, y), shuffle=False)
    train(trainer, 2)
    trainer.finalize()
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.snapshot().variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_mixed_precision_keeps_its_loss_scaling_when_the_optimizer_changes():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dense()
    finally:
        keras.config.set_dtype_policy(policy)
    trainer = make_contract_trainer(model, images())
    assert trainer.genome.optimizer == "adam"
    trainer.express(trainer.genome.replace(optimizer="sgd", learning_rate=0.01))
    epochs = train(trainer, 3)
    plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
    assert type(plain.optimizer).__name__ == "LossScaleOptimizer"
    assert type(plain.optimizer.inner_optimizer).__name__ == "SGD"
    assert epochs[-1].logs["loss"] < epochs[0].logs["loss"]
