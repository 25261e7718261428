"""The PyTorch trainer: the contract, and what is its own. Run by `make test-all`."""

from __future__ import annotations

import contextlib

import keras
import pytest
import torch
from blends import BlendContract
from contract import TrainerContract, make_contract_trainer, rng
from genes import GenesContract
from networks import dense, images

from miha import ArgumentError, MihaWarning


class Loader(torch.utils.data.DataLoader):
    """Draws from a generator of its own."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, generator=torch.Generator(), **options)


class TestTorchTrainer(TrainerContract):
    @contextlib.contextmanager
    def exactly(self):
        # The loader that `fit` makes draws from PyTorch's generator, as a Dropout without a seed
        # does, which then drops others.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.utils.data, "DataLoader", Loader)
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestTorchBlends(BlendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestTorchGenes(GenesContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


def test_noise_decides_what_a_dropout_without_a_seed_drops():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    trainer = make_contract_trainer(model, images())
    start, losses, state = trainer.snapshot(), [], torch.get_rng_state()
    for seed in (1, 1, 2):
        trainer.restore(start)
        losses.append(trainer.train(1, rng(), rng(seed), lambda epoch: None)[0].logs["loss"])
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), state)  # Nobody else's numbers have moved on.


def test_buffers_of_pytorch_are_refused_by_name():
    wrapped = keras.layers.TorchModuleWrapper(torch.nn.BatchNorm1d(64))
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), wrapped]
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ArgumentError, match=r"running_mean.*BatchNormalization"):
        make_contract_trainer(model, images())


def test_that_nothing_is_compiled_is_said_where_it_was_asked_for():
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    with pytest.warns(MihaWarning, match="`jit_compile=True`.* is not followed: on PyTorch"):
        make_contract_trainer(model, images())
