"""The JAX trainer: the contract, and what is its own. Run by `make test-all`."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest
from blends import BlendContract
from contract import TrainerContract, make_contract_trainer, train
from genes import GenesContract
from kinds import LARGE_KINDS
from networks import convolutional, dense, images
from paths import SUPPORT

from miha import ArgumentError

NORMALIZED = (convolutional, "residual", "unbuilt", "mixed_bfloat16", "mixed_float16", *LARGE_KINDS)
"""Convolutions before a BatchNormalization."""


class TestJaxTrainer(TrainerContract):
    # For another number of samples: full batches, and a last one.
    programs_for_all_data = 2

    def from_fit(self, network):
        # XLA compiles a step within a loop otherwise than alone, and rounds a convolution
        # otherwise; Adam makes much of it where a gradient is only rounding, as before a
        # BatchNormalization.
        return 1e-3 if network in NORMALIZED else 1e-6

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestJaxBlends(BlendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


class TestJaxGenes(GenesContract):
    tolerance = 1e-6

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return make_contract_trainer


def test_there_is_a_program_for_each_optimizer_class_and_batch_size():
    trainer = make_contract_trainer(dense(), images(), validation=images(), batch_size=16)
    start, found = trainer.snapshot(), []
    for optimizer, size in 2 * [("adam", 16), ("adam", 32), ("sgd", 32), ("sgd", 16)]:
        trainer.restore(start)
        trainer.express(trainer.genome.replace(optimizer=optimizer, batch_size=size))
        train(trainer, 2)
        found.append(trainer.traces)
    assert found == [2, 3, 4, 5, 5, 5, 5, 5]


def test_a_smaller_last_batch_has_a_program_of_its_own():
    trainer = make_contract_trainer(dense(), images(), batch_size=20)
    train(trainer, 2)
    assert trainer.traces == 2


@pytest.mark.parametrize(("compiled", "calls"), [(False, 12), (True, 2)])
def test_a_network_that_shall_not_be_compiled_takes_each_step_in_python(
    compiled, calls, monkeypatch
):
    step, taken = keras.Sequential.train_step, []
    monkeypatch.setattr(
        keras.Sequential, "train_step", lambda *values: taken.append(1) or step(*values)
    )
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=compiled)
    trainer = make_contract_trainer(model, images(), batch_size=16)
    # A step of its own is tried once, on a copy.
    taken.clear()
    train(trainer, 2)
    assert len(taken) == calls  # Compiled: once for its shapes, once for the loop.


def test_text_is_refused_by_name():
    x, y = images()
    with pytest.raises(ArgumentError, match="Only TensorFlow.*<U3.*backend 'jax'"):
        make_contract_trainer(dense(), (x.astype("<U3"), y))


def test_activations_are_chosen_without_another_program():
    trainer = make_contract_trainer(dense(), images(), batch_size=16)
    start, own, ends = trainer.snapshot(), trainer.genome, []
    for activation in ("relu", "tanh", "relu"):
        trainer.restore(start)
        trainer.express(own.with_activation(own.activations[0][0], activation))
        ends.append(train(trainer)[-1].logs["loss"])
    assert ends[0] == ends[2] != ends[1]
    assert trainer.traces == 1


def test_the_whole_method_runs_where_tensorflow_is_not_installed(tmp_path):
    code = f"""
import sys
sys.modules["tensorflow"] = None  # As if it were not installed.
import miha
from networks import dense, images
x, y = images()
arguments = dict(m=1, n=1, k=1, c=1, pop_size=2, seed=0, verbose=0, logs={str(tmp_path / "run")!r})
result = miha.MIHA(dense(), x, y, validation_data=(x, y), **arguments).optimize()
miha.load({str(tmp_path / "run" / "model" / "model_final.zip")!r})
print(len(result.history))
"""
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 5
