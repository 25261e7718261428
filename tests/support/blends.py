"""The contract of blending: a new trainer supplies the fixture `make` and gets every test."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from contract import assert_equal, train
from keras import layers
from networks import dense, images

SHARES = [1 / 8, 2 / 8, 3 / 8, 5 / 8, 6 / 8, 7 / 8, *[1] * 6]
"""Of the new activation in each of six steps of the first epoch, and of the second."""


def skipping(activation="relu", **compiling):
    """A network whose activations are added: no weights can make up for another one."""
    keras.utils.set_random_seed(9)
    inputs = keras.Input((8, 8, 1))
    first = layers.Dense(8, activation=activation, name="first")(layers.Flatten()(inputs))
    second = layers.Dense(8, activation=activation, name="second")(first)
    outputs = layers.Dense(2, activation="softmax")(layers.Add()([first, second]))
    model = keras.Model(inputs, outputs)
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(sgd, "sparse_categorical_crossentropy", **compiling)
    return model


def exchanged(trainer, activation):
    genome = trainer.genome
    for slot in trainer.space.slots:
        genome = genome.with_activation(slot, activation)
    return genome


class BlendContract:
    def test_an_activation_that_no_weights_make_up_for_is_blended_over_an_epoch(self, make):
        share = [0.0]

        def mixed(z):
            return (1 - share[0]) * keras.ops.relu(z) + share[0] * keras.ops.tanh(z)

        x, y = images()
        expected = skipping(mixed, run_eagerly=True)
        for step, share[0] in enumerate(SHARES):
            part = slice(step % 6 * 16, step % 6 * 16 + 16)
            expected.train_on_batch(x[part], y[part])
        trainer = make(skipping(), (x, y), shuffle=False)
        trainer.express(exchanged(trainer, "tanh"), "keep_function")
        train(trainer, 2)
        for ours, theirs in zip(trainer.snapshot().variables, expected.variables, strict=True):
            theirs = keras.ops.convert_to_numpy(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    def test_it_is_evaluated_with_the_new_activation_alone(self, make):
        trainer = make(skipping(), images(), validation=images(32, 1))
        trainer.express(exchanged(trainer, "tanh"), "keep_function")
        [epoch] = train(trainer, 1)
        plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
        assert plain.get_layer("first").activation is keras.activations.tanh
        expected = plain.evaluate(*images(32, 1), batch_size=16, verbose=0)
        assert epoch.logs["val_loss"] == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("rate", [0.1, 1e38])  # With the second one it diverges at once.
    def test_whoever_trains_next_does_not_blend(self, make, rate):
        ends = []
        for blends_before in (True, False):
            trainer = make(skipping(), images())
            start, genome = trainer.snapshot(), exchanged(trainer, "tanh")
            if blends_before:
                trainer.express(genome.replace(learning_rate=rate), "keep_function")
                train(trainer, 1)
            trainer.restore(start)
            trainer.express(genome)
            ends.append((train(trainer, 1)[0].logs, trainer.snapshot()))
        assert ends[0][0] == ends[1][0]
        assert_equal(ends[0][1], ends[1][1])

    def test_a_blend_that_was_not_trained_is_forgotten(self, make):
        ends = []
        for is_asked in (True, False):
            trainer = make(skipping(), images())
            if is_asked:
                trainer.express(exchanged(trainer, "tanh"), "keep_function")
                trainer.express(exchanged(trainer, "relu"))
            train(trainer, 1)
            ends.append(trainer.snapshot())
        assert_equal(*ends)

    @pytest.mark.parametrize(("network", "more"), [(skipping, 1), (dense, 0)])
    def test_one_more_program_serves_every_blend_and_none_what_is_folded(self, make, network, more):
        trainer = make(network(), images())
        train(trainer, 1)
        before, counts = trainer.traces, []
        for activation in ("tanh", "silu", "softplus"):
            trainer.express(exchanged(trainer, activation), "keep_function")
            train(trainer, 2)
            counts.append(trainer.traces - before)
        assert counts == [0 if trainer.compiler == "eager" else more] * 3
