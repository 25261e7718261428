"""The contract of the genes: a new trainer supplies the fixture `make` and gets every test."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from contract import assert_equal, rng, train
from keras import layers
from networks import images

from miha.mutations import MUTATIONS

ON_REQUEST = ("label_smoothing", "input_noise", "augmentation")
"""The genes that are prepared only where a trainer is told of them: they act in training alone."""


def one_hot(samples: int = 96):
    x, y = images(samples)
    return x, np.eye(2, dtype="float32")[y]


def noisy(optimizer="adamw", loss="categorical_crossentropy"):
    """A network with a layer of each kind that adds noise."""
    keras.utils.set_random_seed(8)
    stack = [
        keras.Input((8, 8, 1)),
        layers.GaussianNoise(0.1, seed=1),
        layers.SpatialDropout2D(0.1, seed=2),
        layers.Flatten(),
        layers.Dense(8, activation="selu"),
        layers.AlphaDropout(0.2, seed=3),
        layers.Dense(8, activation="relu"),
        layers.GaussianDropout(0.1, seed=4),
        layers.Dense(8, activation="relu"),  # TensorFlow would merge the constants of two in a row.
        layers.Dropout(0.3, seed=5),
        layers.Dense(2, activation="softmax"),
    ]
    model = keras.Sequential(stack)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def regression(loss, optimizer="sgd"):
    keras.utils.set_random_seed(9)
    stack = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, "tanh"), layers.Dense(2)]
    model = keras.Sequential(stack)
    model.compile(optimizer, loss)
    return model


FEW = {
    "activations": ("relu",),
    "weight_decay": (0.1,),
    "dropout": (0.5,),
    "noise": (0.3,),
    "label_smoothing": (0.1,),
    "input_noise": (0.5,),
    "augmentation": [layers.RandomTranslation(0.2, 0.2, seed=6)],
    "genes": ON_REQUEST,
}
"""What each gene may become: few values, for tracing takes its time."""

CHANGES = {
    "weight_decay": {"weight_decay": 0.1},
    "label_smoothing": {"label_smoothing": 0.1},
    "input_noise": {"input_noise": (("x", 0.5),)},
    "augmentation": {"augmentation": 0.5},
    "dropout": {
        "dropout": (
            *(("spatial_dropout2d", 0.5), ("alpha_dropout", 0.5)),
            *(("gaussian_dropout", 0.5), ("dropout", 0.5)),
        ),
        "noise": (("gaussian_noise", 0.3),),
    },
}
"""A change of each gene of `noisy`."""


class GenesContract:
    """What every trainer must do with the genes beside optimizer, activation and batch size."""

    tolerance = 0.0
    """How far a network's values may be from those of `fit`."""

    def assert_fits(self, trainer, model, data, rounding=0.0):
        """Assert that the trainer goes on as `fit` does on a plain network of the same values."""
        tolerance = max(self.tolerance, rounding)
        for variable, value in zip(model.variables, trainer.snapshot().variables, strict=True):
            variable.assign(value)
        train(trainer, 2, noise=False)
        model.fit(*data, batch_size=16, epochs=2, shuffle=False, verbose=0)
        snapshot = trainer.snapshot()
        pairs = (snapshot.variables, model.variables), (snapshot.slots, model.optimizer.variables)
        for ours, theirs in pairs:
            for a, b in zip(ours, theirs, strict=True):
                b = keras.ops.convert_to_numpy(b)
                np.testing.assert_allclose(a, b, tolerance, tolerance)

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, make):
        """A trainer of `noisy`, which compiles its programs once for many tests."""
        trainer = make(noisy(), one_hot(), validation=one_hot(), shuffle=False, **FEW)
        return trainer, trainer.snapshot(), trainer.genome

    @pytest.fixture
    def trainer(self, shared):
        """That trainer, as it was at first."""
        trainer, start, own = shared
        trainer.restore(start)
        trainer.express(own)
        return trainer

    def test_the_genome_is_the_networks_own(self, make):
        genome = make(noisy(), one_hot(), genes=ON_REQUEST).genome
        assert (genome.optimizer, genome.weight_decay) == ("adamw", 0.004)
        assert [rate for _, rate in genome.dropout] == [0.1, 0.2, 0.1, 0.3]
        assert genome.noise == (("gaussian_noise", 0.1),)
        assert genome.label_smoothing == 0.0
        assert genome.input_noise == (("x", 0.0),)
        assert genome.augmentation is None
        augmented = make(noisy(), one_hot(), **FEW)
        assert (augmented.genome.augmentation, augmented.space.augmentation[0]) == (0.0, 0.0)

    @pytest.mark.parametrize("optimizer", ["adamw", "nadam"])
    def test_before_a_mutation_weights_are_those_of_fit(self, make, optimizer):
        model = noisy(optimizer)
        self.assert_fits(make(model, one_hot(), shuffle=False, **FEW), model, one_hot())

    @pytest.mark.parametrize("change", [name for name in CHANGES if name not in ON_REQUEST])
    def test_an_exported_network_has_the_value_and_goes_on_as_the_trainer_does(
        self, trainer, make, change
    ):
        own = trainer.genome
        train(trainer, 1)
        genome = own.replace(**CHANGES[change])
        trainer.express(genome)
        assert trainer.genome == genome != own
        plain = trainer.load(trainer.export(trainer.snapshot(), genome))
        assert make(plain, one_hot(), **FEW).genome == genome
        self.assert_fits(trainer, plain, one_hot())

    def test_what_acts_in_training_alone_is_in_no_archive(self, trainer, make):
        own = trainer.genome
        genome = own.replace(**{gene: CHANGES[gene][gene] for gene in ON_REQUEST})
        trainer.express(genome)
        train(trainer, 1)
        assert trainer.genome == genome
        snapshot = trainer.snapshot()
        plain, users = (trainer.load(trainer.export(snapshot, each)) for each in (genome, own))
        assert plain.loss == users.loss == "categorical_crossentropy"
        assert plain.to_json() == users.to_json()
        x, y = one_hot()
        found, expected = (model.predict(x, verbose=0) for model in (plain, users))
        np.testing.assert_array_equal(found, expected)
        assert make(plain, (x, y), **FEW).genome == own
        for ours, theirs in zip(snapshot.variables, plain.variables, strict=True):
            if ours.dtype.kind == "f":
                np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs))

    def test_an_exchanged_optimizer_is_exported_with_its_settings(self, make):
        trainer = make(regression("mse", "adam"), one_hot(), shuffle=False, **FEW)
        train(trainer, 1)
        genome = trainer.space.with_optimizer(trainer.genome, "sgd")
        trainer.express(genome)
        plain = trainer.load(trainer.export(trainer.snapshot(), genome))
        assert plain.optimizer.get_config()["momentum"] == 0.9
        self.assert_fits(trainer, plain, one_hot())

    def test_each_gene_makes_a_difference_and_none_makes_a_program(self, trainer):
        start, own = trainer.snapshot(), trainer.genome
        ends = {"own": train(trainer, 1)[0].logs["loss"]}
        traces = trainer.traces
        for name, change in CHANGES.items():
            trainer.restore(start)
            trainer.express(own.replace(**change))
            ends[name] = train(trainer, 1)[0].logs["loss"]
        assert len(set(ends.values())) == len(ends)
        trainer.restore(start)
        trainer.express(own)
        assert train(trainer, 1)[0].logs["loss"] == ends["own"]
        assert trainer.traces == traces

    def test_every_mutation_can_change_this_network(self, make):
        flip = [layers.RandomFlip(seed=1)]
        trainer = make(noisy(), one_hot(), genes=ON_REQUEST, augmentation=flip)
        for seed, name in enumerate(MUTATIONS):
            child = MUTATIONS[name]().mutate(trainer.genome, trainer.space, rng(seed))
            assert child is not None and child != trainer.genome, name

    def test_noise_can_be_switched_off_and_on_again(self, make):
        trainer = make(noisy(), one_hot(), activations=("relu",), dropout=(0.0,), noise=(0.0,))
        own = trainer.genome
        off = own.replace(
            dropout=tuple((layer, 0.0) for layer, _ in own.dropout),
            noise=(("gaussian_noise", 0.0),),
        )
        trainer.express(off)
        train(trainer, 1)
        archive = trainer.export(trainer.snapshot(), off)
        plain = trainer.load(archive)
        noises = [layer for layer in plain.layers if hasattr(layer, "rate")]
        assert [layer.rate for layer in noises] == [0.0] * 4
        ends = []
        for values in (trainer.snapshot(), trainer.recall(archive)):
            trainer.restore(values)
            trainer.express(own)
            train(trainer, 1)
            ends.append(trainer.snapshot())
        assert_equal(*ends)

    def test_a_layer_without_noise_may_get_some(self, make):
        keras.utils.set_random_seed(8)
        stack = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dropout(0.0), layers.Dense(2)]
        model = keras.Sequential(stack)
        model.compile("sgd", "mse")
        trainer = make(model, one_hot())
        start, losses = trainer.snapshot(), []
        for rate in (0.0, 0.5):
            trainer.restore(start)
            trainer.express(trainer.genome.with_dropout("dropout", rate))
            losses.append(train(trainer, 1)[0].logs["loss"])
        assert losses[0] != losses[1]

    def test_the_evaluation_is_by_the_own_loss_whatever_is_trained(self, trainer):
        own = trainer.genome
        smoothed = own.replace(**CHANGES["label_smoothing"])
        trainer.express(smoothed)
        logs = train(trainer, 1)[0].logs
        plain = trainer.load(trainer.export(trainer.snapshot(), own))
        assert logs["val_loss"] == pytest.approx(plain.evaluate(*one_hot(), verbose=0)[0], 1e-5)
        assert trainer.genome == smoothed

    @pytest.mark.parametrize(
        ("loss", "settings"),
        [
            (
                keras.losses.CategoricalFocalCrossentropy,
                {"alpha": 0.4, "gamma": 1.5, "from_logits": True},
            ),
            (keras.losses.BinaryCrossentropy, {"from_logits": True, "reduction": "sum"}),
        ],
        ids=["focal", "binary"],
    )
    def test_the_label_smoothing_of_each_loss_trains_as_keras_own_does(self, make, loss, settings):
        trainer = make(regression(loss(**settings)), one_hot(), shuffle=False, **FEW)
        trainer.express(trainer.genome.replace(label_smoothing=0.1))
        model = regression(loss(**settings, label_smoothing=0.1))
        self.assert_fits(trainer, model, one_hot(), rounding=1e-6)

    def test_a_new_optimizer_begins_with_its_own_numbers(self, make):
        trainer = make(noisy(keras.optimizers.Adam(beta_1=0.8)), one_hot())
        genome = trainer.genome
        assert genome.weight_decay is None
        space = trainer.space
        found = {name: space.with_optimizer(genome, name) for name in space.optimizers}
        assert found["adamw"].weight_decay == 0.004
        changed = found["adamw"].replace(weight_decay=0.1)
        assert space.with_optimizer(changed, "adam").weight_decay is None
        for name in ("adamw", "sgd", "adagrad", "adam"):
            trainer.express(found[name])
            assert trainer.genome == found[name]

    def test_a_weight_decay_that_the_user_gave_is_every_optimizers(self, make):
        space = make(noisy(keras.optimizers.SGD(weight_decay=0.02)), one_hot()).space
        assert {values[0] for values in space.weight_decay.values()} == {0.02}
        assert set(space.weight_decay) == set(space.optimizers)
