"""The contract of a trainer: a new one supplies the fixture `make` and gets every test.

``make(model, data, validation=None, batch_size=16, shuffle=True, genes=(), **space)`` returns a
trainer; ``gallery`` is parametrized with a network of each kind and its data.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from kinds import KINDS, LARGE_KINDS
from networks import (
    GALLERY,
    SLOW_GALLERY,
    convolutional,
    custom_step,
    dense,
    images,
    normalized,
)

from miha.archive.archive import pack
from miha.data.arrays import prepare
from miha.data.opening import with_validation
from miha.mutations import MUTATIONS
from miha.records import Epoch, Genome
from miha.space import OPTIMIZERS, SearchSpace
from miha.trainer.factory import make_trainer

SPECIAL = {
    "averaged": lambda: keras.optimizers.Adam(use_ema=True, ema_momentum=0.9),
    "scheduled": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 50), momentum=0.9
    ),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), 8.0),
}


def make_contract_trainer(
    model,
    data,
    validation=None,
    batch_size=16,
    shuffle=True,
    evaluate_training=False,
    genes=(),
    trains_on_all=False,
    **space,
):
    space.setdefault("activations", ("relu", "tanh", "silu", "leaky_relu", "softplus"))
    training, evaluation = prepare(*data, validation_data=validation)
    return make_trainer(
        model,
        training,
        evaluation,
        batch_size=batch_size,
        validation_batch_size=batch_size,
        space=SearchSpace(**space),
        shuffle=shuffle,
        evaluate_training=evaluate_training,
        seed=0,
        genes=genes,
        final=with_validation(training, evaluation, None) if trains_on_all else None,
    )


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def train(trainer, epochs=2, seed=0, noise=True):
    return trainer.train(epochs, rng(seed), rng(seed + 1) if noise else None, lambda epoch: None)


def assert_equal(first, second):
    """Compare two snapshots bit by bit."""
    assert first.optimizer == second.optimizer
    pairs = [(first.variables, second.variables), (first.slots, second.slots)]
    for ours, theirs in pairs:
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable("miha_tests")
def spoilt(y_true, y_pred):
    """A loss that is infinite where the target is negative."""
    error = keras.ops.mean((y_true - y_pred) ** 2, -1)
    return keras.ops.where(y_true[:, 0] < 0, np.inf, error)


def without_seeds(snapshot):
    return tuple(value for value in snapshot.variables if value.dtype.kind == "f")


class TrainerContract:
    programs_for_all_data = 0
    """Programs that are compiled once more where the last training takes all data."""

    def from_fit(self, network):
        """How far a network's values may be from those of `fit`, relative and absolute."""
        return 0.0

    def exactly(self):
        """Within it, the backend computes `fit` and a trainer alike, to the last bit."""
        return contextlib.nullcontext()

    def assert_those_of_fit(self, trainer, model, tolerance):
        snapshot = trainer.snapshot()
        for ours, theirs in (
            (snapshot.variables, model.variables),
            (snapshot.slots, model.optimizer.variables),
        ):
            for a, b in zip(ours, theirs, strict=True):
                b = keras.ops.convert_to_numpy(b)
                np.testing.assert_allclose(a, b, tolerance, tolerance)

    @pytest.fixture(
        scope="class",
        params=[
            *(kind for kind in GALLERY if kind != "gated"),
            # What is traced in a loop over steps takes long for each optimizer class.
            *(pytest.param(kind, marks=pytest.mark.slow) for kind in ["gated", *SLOW_GALLERY]),
        ],
    )
    @classmethod
    def gallery(cls, request):
        network, data = (GALLERY | SLOW_GALLERY)[request.param]
        return network(), data()

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, make, gallery):
        """A trainer of each network, which compiles its programs once for many tests."""
        model, data = gallery
        # Of optimizers there are few, for each of them is compiled.
        trainer = make(model, data, validation=data, optimizers=("adam", "nadam"))
        return trainer, trainer.snapshot(), trainer.genome

    @pytest.fixture
    def trainer(self, shared):
        """That trainer, as it was at first."""
        trainer, start, own = shared
        trainer.restore(start)
        trainer.express(own)
        return trainer

    def test_the_first_genome_is_the_users_own_configuration(self, make):
        trainer = make(dense(keras.optimizers.RMSprop(0.003), "elu"), images(), batch_size=24)
        expected = Genome("rmsprop", 0.003, 24, (("dense", "elu"), ("dense_1", "elu")))
        found = trainer.genome
        slots = tuple((f"slot{i}", a) for i, (_, a) in enumerate(found.activations))
        assert found.replace(activations=()) == expected.replace(activations=())
        assert [a for _, a in slots] == ["elu", "elu"]

    def test_the_users_network_is_not_touched(self, make):
        model = convolutional()
        before = [np.array(v) for v in model.variables]
        config = model.to_json()
        trainer = make(model, images())
        train(trainer)
        assert model.to_json() == config
        for variable, value in zip(model.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)
        assert model.optimizer.iterations == 0

    def test_training_changes_the_weights_and_lowers_the_loss(self, trainer):
        start = trainer.snapshot()
        epochs = train(trainer, 4)
        assert len(epochs) == 4
        assert epochs[-1].logs["loss"] < epochs[0].logs["loss"]
        assert any(
            (a != b).any()
            for a, b in zip(start.variables, trainer.snapshot().variables, strict=True)
        )

    def test_a_restored_snapshot_is_the_network_bit_by_bit(self, trainer):
        train(trainer, 1)
        snapshot = trainer.snapshot()
        train(trainer, 1)
        trainer.restore(snapshot)
        assert_equal(trainer.snapshot(), snapshot)

    def test_training_from_the_same_snapshot_gives_the_same_bits(self, trainer):
        start, results = trainer.snapshot(), []
        for _ in range(2):
            trainer.restore(start)
            results.append((train(trainer), trainer.snapshot()))
        assert [e.logs for e in results[0][0]] == [e.logs for e in results[1][0]]
        assert_equal(results[0][1], results[1][1])

    def test_every_mutation_can_be_expressed_and_trained_and_undone(self, trainer):
        own, start = trainer.genome, trainer.snapshot()
        train(trainer, 1)
        expected = trainer.snapshot()
        for seed, name in enumerate([*MUTATIONS, *MUTATIONS]):
            operator = MUTATIONS[name]()
            genome = operator.mutate(own, trainer.space, rng(seed))
            if genome is None:
                continue
            trainer.restore(start)
            trainer.express(genome, operator.transition)
            assert trainer.genome == genome
            train(trainer, 1)
        trainer.restore(start)
        trainer.express(own)
        train(trainer, 1)
        assert_equal(trainer.snapshot(), expected)

    def test_a_new_optimizer_starts_fresh_and_an_unchanged_one_keeps_its_slots(self, make):
        trainer = make(dense(), images())
        train(trainer)
        snapshot, own = trainer.snapshot(), trainer.genome
        trainer.express(own.replace(learning_rate=0.01))
        slots = trainer.snapshot().slots
        assert sum((a != b).any() for a, b in zip(slots, snapshot.slots, strict=True)) == 1
        trainer.express(trainer.space.with_optimizer(own, "rmsprop"))
        train(trainer)
        used = trainer.snapshot().slots
        trainer.restore(snapshot)
        trainer.express(trainer.space.with_optimizer(own, "rmsprop"))
        fresh = trainer.snapshot().slots
        assert any((a != b).any() for a, b in zip(used, fresh, strict=True))
        assert not np.concatenate([s.ravel() for s in fresh if s.ndim]).any()

    def test_moments_that_mean_the_same_are_carried_over(self, make):
        trainer = make(dense(), images())
        train(trainer)
        before = trainer.snapshot().slots
        trainer.express(trainer.genome.replace(optimizer="adamw"))
        for value, old in zip(trainer.snapshot().slots[2:], before[2:], strict=True):
            np.testing.assert_array_equal(value, old)
        assert trainer.snapshot().slots[0] == before[0] > 0

    def test_a_restart_has_no_moments_of_the_old_values(self, make):
        trainer = make(dense(), images())
        train(trainer)
        trainer.express(trainer.genome.replace(optimizer="adamw"), "restart", rng())
        iterations, _, *moments = trainer.snapshot().slots
        assert iterations == 0 and not any(value.any() for value in moments)

    def test_an_exchanged_activation_can_keep_the_networks_function(self, make):
        x, y = images()
        distances = {}
        for transition in ("inherit", "keep_function"):
            trainer = make(convolutional(), (x, y))
            before = trainer.load(trainer.export(trainer.snapshot(), trainer.genome)).predict(x)
            genome = trainer.genome
            for slot, names in trainer.space.slots.items():
                genome = genome.with_activation(slot, names[2])
            trainer.express(genome, transition)
            assert trainer.genome == genome
            after = trainer.load(trainer.export(trainer.snapshot(), genome)).predict(x)
            distances[transition] = np.abs(after - before).mean()
        assert distances["keep_function"] < 0.5 * distances["inherit"]

    def test_a_network_can_restart_with_fresh_values(self, trainer):
        train(trainer, 1)
        parent, genome, drawn = trainer.snapshot(), trainer.genome, []
        for seed in (1, 1, 2):
            trainer.restore(parent)
            trainer.express(genome, "restart", rng(seed))
            drawn.append(trainer.snapshot())
        assert_equal(drawn[0], drawn[1])
        kernels = [next(v for v in s.variables if v.ndim > 1) for s in (parent, drawn[0], drawn[2])]
        assert all((kernels[i] != kernels[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))
        assert int(drawn[0].slots[0]) == 0
        assert np.isfinite(train(trainer, 1)[0].logs["loss"])

    def test_a_restarted_networks_running_statistics_are_those_of_the_data(self, make):
        x, _ = data = images()
        trainer = make(convolutional(), data)
        train(trainer, 1)
        trainer.express(trainer.genome, "restart", rng(1))
        plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
        convolution, normalized = plain.layers[:2]
        seen = np.array(convolution(x))
        for variable, expected in (
            (normalized.moving_mean, seen.mean((0, 1, 2))),
            (normalized.moving_variance, seen.var((0, 1, 2))),
        ):
            np.testing.assert_allclose(np.array(variable), expected, rtol=1e-4, atol=1e-5)

    def test_the_learning_rate_falls_in_an_annealed_training_and_is_put_back(self, make):
        trainer = make(dense("sgd"), images())
        start, ends = trainer.snapshot(), []
        for rates in ([1.0, 0.0], [1.0]):
            trainer.restore(start)
            trainer.train(len(rates), rng(), rng(1), lambda epoch: None, rates)
            ends.append(trainer.snapshot())
        for ours, theirs in zip(ends[0].variables, ends[1].variables, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert trainer.genome.learning_rate == 0.01

    def test_the_genome_decides_over_the_snapshots_learning_rate(self, make):
        trainer = make(dense(), images())
        snapshot = trainer.snapshot()
        trainer.express(trainer.genome.replace(learning_rate=0.05))
        trainer.restore(snapshot)
        assert trainer.genome.learning_rate == 0.001
        trainer.express(trainer.genome.replace(learning_rate=0.02))
        assert trainer.genome.learning_rate == 0.02

    def test_the_evaluation_is_that_of_plain_keras(self, trainer, gallery):
        _, (x, y) = gallery
        logs = train(trainer, 1)[0].logs
        plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
        expected = plain.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
        for name, value in expected.items():
            assert logs[f"val_{name}"] == pytest.approx(value, rel=1e-5)

    def test_an_exported_network_is_plain_keras_and_trains_on(
        self, trainer, make, gallery, tmp_path
    ):
        _, (x, y) = gallery
        genome = trainer.genome.replace(optimizer="nadam", learning_rate=0.002)
        for slot, names in trainer.space.slots.items():
            genome = genome.with_activation(slot, names[3])
        trainer.express(genome)
        epochs = train(trainer, 2)
        path = tmp_path / "network.keras"
        archive = trainer.export(trainer.snapshot(), genome)
        path.write_bytes(pack(archive, {"genome": genome.to_dict()}))
        plain = keras.saving.load_model(path)
        assert type(plain.optimizer).__name__ == "Nadam"
        assert float(plain.optimizer.learning_rate) == pytest.approx(0.002)
        ours = trainer.snapshot()
        for value, slot in zip(plain.optimizer.variables, ours.slots, strict=True):
            np.testing.assert_array_equal(value, slot)
        # The exported network is the function that was trained: its loss says so.
        trained = plain.evaluate(x, y, verbose=0, return_dict=True)["loss"]
        evaluated = train(make(plain, (x, y), validation=(x, y)), 1, noise=False)[0].logs
        assert trained < epochs[0].logs["loss"]
        assert evaluated["val_loss"] < epochs[0].logs["loss"]

    def test_going_back_to_the_own_activations_exports_the_users_own_layers(self, trainer, gallery):
        model, _ = gallery
        own = trainer.genome
        other = own
        for slot, names in trainer.space.slots.items():
            other = other.with_activation(slot, names[2])
        trainer.export(trainer.snapshot(), other)
        plain = trainer.load(trainer.export(trainer.snapshot(), own))
        assert json.loads(plain.to_json())["config"] == json.loads(model.to_json())["config"]

    def test_training_stops_when_the_loss_is_not_finite(self, make):
        trainer = make(dense("sgd"), images())
        trainer.express(trainer.genome.replace(learning_rate=1e30))
        assert len(train(trainer, 5)) < 5

    @pytest.mark.parametrize("eagerly", [False, True])
    def test_training_stops_at_the_first_step_whose_loss_is_not_finite(self, make, eagerly):
        model = dense()
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eagerly)
        trainer = make(model, images(), batch_size=8)
        start = trainer.snapshot()
        broken = tuple(np.full_like(value, np.nan) for value in start.variables)
        trainer.restore(replace(start, variables=broken))
        [epoch] = train(trainer, 5)
        assert np.isnan(epoch.logs["loss"])
        assert int(trainer.snapshot().slots[0]) == 1

    @pytest.mark.parametrize("eagerly", [False, True])
    def test_an_evaluation_is_one_of_all_samples_whatever_its_loss(self, make, eagerly):
        x, y = images()
        model = dense()
        model.compile("adam", spoilt, metrics=["mae"], run_eagerly=eagerly)
        y = np.eye(2, dtype="float32")[y]
        validation = (x, np.where(np.arange(len(y))[:, None] == 0, np.float32(-1), y))
        trainer = make(model, (x, y), validation=validation, batch_size=16)
        [epoch] = train(trainer, 1)
        plain = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
        found = plain.evaluate(*validation, batch_size=16, verbose=0, return_dict=True)
        assert np.isinf(found["loss"]) and np.isinf(epoch.logs["val_loss"])
        assert np.isfinite(epoch.logs["loss"])
        assert epoch.logs["val_mae"] == pytest.approx(found["mae"])

    @pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "averaged", "scheduled", "scaled"])
    def test_an_archive_gives_back_every_value(self, make, optimizer):
        model = normalized(SPECIAL.get(optimizer, lambda: optimizer)())
        trainer = make(model, images())
        train(trainer, 2)
        ours = trainer.snapshot()
        found = trainer.recall(trainer.export(ours, trainer.genome))
        assert len(found.variables) == len(ours.variables) > len(model.weights)
        assert_equal(*(replace(s, variables=without_seeds(s)) for s in (found, ours)))

    def test_a_recalled_network_trains_on_as_one_that_was_kept(self, trainer):
        train(trainer, 1)
        kept = trainer.snapshot()
        ends = []
        for values in (kept, trainer.recall(trainer.export(kept, trainer.genome))):
            trainer.restore(values)
            train(trainer, 2)
            ends.append(trainer.snapshot())
        assert_equal(*ends)

    def test_each_epoch_is_told(self, make):
        told: list[Epoch] = []
        trained = make(dense(), images()).train(3, rng(), rng(), told.append)
        assert tuple(told) == trained
        assert all(epoch.seconds > 0 for epoch in trained)

    def test_a_training_stops_after_the_epoch_whose_callback_returns_true(self, make):
        data = images()
        trainer = make(dense(), data, validation=data)
        start = trainer.snapshot()
        whole = train(trainer, 2)
        end = trainer.snapshot()
        trainer.restore(start)
        told: list[Epoch] = []

        def stop_at_the_second(epoch: Epoch) -> bool:
            told.append(epoch)
            return len(told) == 2

        stopped = trainer.train(5, rng(), rng(1), stop_at_the_second)
        assert tuple(told) == stopped
        assert [epoch.logs for epoch in stopped] == [epoch.logs for epoch in whole]
        assert_equal(trainer.snapshot(), end)

    def test_a_training_that_is_stopped_has_its_learning_rate_back(self, make):
        trainer = make(dense("sgd"), images())
        trainer.train(3, rng(), rng(1), lambda epoch: True, [1.0, 0.5, 0.1])
        stopped = trainer.genome.learning_rate
        trainer.train(2, rng(), rng(1), lambda epoch: len(epoch.logs) == 0, [0.5, 0.1])
        assert stopped == trainer.genome.learning_rate == 0.01

    def test_an_evaluation_gives_what_the_last_epoch_has_logged(self, trainer):
        logs = train(trainer, 2)[-1].logs
        end = trainer.snapshot()
        expected = {name: value for name, value in logs.items() if name.startswith("val_")}
        assert trainer.evaluate() == expected != {}
        assert_equal(trainer.snapshot(), end)

    def test_there_is_nothing_to_evaluate_without_validation_data(self, make):
        assert make(dense(), images()).evaluate() == {}

    @pytest.mark.parametrize("network", [dense, convolutional, custom_step])
    def test_weights_are_those_of_fit_bit_for_bit(self, make, network):
        model, (x, y) = network(), images()
        trainer = make(model, (x, y), batch_size=20, shuffle=False)
        epochs = train(trainer, 3, noise=False)
        history = model.fit(x, y, batch_size=20, epochs=3, shuffle=False, verbose=0).history
        self.assert_those_of_fit(trainer, model, self.from_fit(network))
        losses = [e.logs["loss"] for e in epochs]
        np.testing.assert_allclose(losses, history["loss"], self.from_fit(network))
        assert set(epochs[0].logs) == set(history) == set(trainer.metrics)

    @pytest.mark.parametrize(
        "kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in LARGE_KINDS)]
    )
    def test_networks_of_every_kind_get_the_values_that_fit_gives_them(self, make, kind):
        network, data = (KINDS | LARGE_KINDS)[kind]
        model, (x, y) = network(), data()
        if not model.built:
            model(keras.tree.map_structure(lambda a: keras.ops.convert_to_tensor(a[:1]), x))
        with self.exactly():
            trainer = make(model, (x, y), batch_size=20, shuffle=False)
            epochs = train(trainer, 2, noise=False)
            trainer.finalize()
            history = model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0).history
        self.assert_those_of_fit(trainer, model, self.from_fit(kind))
        for name, values in history.items():
            found = [epoch.logs[name] for epoch in epochs]
            np.testing.assert_allclose(found, values, self.from_fit(kind))

    def test_shuffled_weights_are_those_of_fit_on_the_same_order(self, make):
        model, (x, y) = convolutional(), images()
        trainer = make(model, (x, y), batch_size=20)
        train(trainer, 2, seed=5, noise=False)
        order = rng(5)
        for _ in range(2):
            permutation = order.permutation(np.arange(len(x)))
            model.fit(x[permutation], y[permutation], batch_size=20, shuffle=False, verbose=0)
        self.assert_those_of_fit(trainer, model, self.from_fit(convolutional))

    @pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 21, dtype="float32")])
    def test_a_training_of_all_data_is_that_of_fit_on_both(self, make, weights):
        model, (x, y), (others, labels) = dense(), images(), images(21, seed=9)
        validation = (others, labels, weights)
        trainer = make(model, (x, y), validation=validation, batch_size=20, trains_on_all=True)
        start = trainer.snapshot()
        before = (train(trainer, 1)[0].logs, trainer.snapshot())
        programs = trainer.traces

        trainer.restore(start)
        trainer.train(2, rng(5), None, lambda epoch: None, data="all")
        if weights is None:
            assert trainer.traces == programs + self.programs_for_all_data
        else:
            weights = np.append(np.ones(len(x), "float32"), weights)
        both = np.concatenate([x, others]), np.concatenate([y, labels]), weights
        order = rng(5)
        for _ in range(2):
            places = order.permutation(len(both[0]))
            x_now, y_now, weights_now = (part if part is None else part[places] for part in both)
            options = {"batch_size": 20, "shuffle": False, "verbose": 0}
            model.fit(x_now, y_now, sample_weight=weights_now, **options)
        self.assert_those_of_fit(trainer, model, self.from_fit(dense))

        # What is trained next has never seen the others.
        trainer.restore(start)
        after = (train(trainer, 1)[0].logs, trainer.snapshot())
        assert after[0] == before[0]
        assert_equal(after[1], before[1])

    def test_taking_few_steps_at_once_or_many_is_the_same(self, trainer, monkeypatch):
        start, ends = trainer.snapshot(), []
        trainer.express(trainer.genome.replace(batch_size=20))
        for steps in (1, 3, 10**6):
            fixed = property(lambda _, n=steps: n, lambda _, value: None)
            monkeypatch.setattr("miha.trainer.programs.Pace.steps", fixed, raising=False)
            trainer.restore(start)
            epochs = train(trainer, 2)
            ends.append((trainer.snapshot(), [epoch.logs for epoch in epochs]))
        for snapshot, logs in ends[1:]:
            assert_equal(snapshot, ends[0][0])
            assert logs == ends[0][1]

    def test_noise_decides_what_dropout_drops(self, make):
        trainer = make(convolutional(), images())
        start, losses = trainer.snapshot(), []
        for seed in (1, 1, 2):
            trainer.restore(start)
            losses.append(trainer.train(1, rng(), rng(seed), lambda epoch: None)[0].logs["loss"])
        assert losses[0] == losses[1] != losses[2]

    @pytest.mark.parametrize("data", ["train", "all"])
    def test_a_training_goes_on_from_its_progress_bit_for_bit(self, make, data):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(6, "relu"),
                keras.layers.Dropout(0.3, seed=3),
                # PyTorch draws for it from a generator of the whole process.
                keras.layers.Dropout(0.2),
                keras.layers.Dense(2, "softmax"),
            ]
        )
        model.compile("nadam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        options = {"genes": ["input_noise"], "trains_on_all": data == "all"}
        trainer = make(model, images(), images(32, 1), **options)
        genome = trainer.genome
        [(name, _)] = genome.input_noise
        genome = genome.replace(input_noise=((name, 0.5),))
        start = trainer.snapshot()
        noted = []

        def trained(progress=None):
            order, epochs = rng(3), []

            def on_epoch(epoch):
                epochs.append(epoch)
                if progress is None and len(epochs) == 2:
                    noted.append(trainer.progress(epochs, order))

            trainer.restore(start)
            trainer.express(genome)
            rates = (1.0, 0.9, 0.5, 0.2)
            found = trainer.train(4, order, rng(4), on_epoch, rates, progress, data)
            return [epoch.logs for epoch in found], trainer.snapshot(), len(epochs)

        logs, end, count = trained()
        # What comes between leaves other states everywhere.
        train(trainer, 1, seed=8)
        same_logs, same_end, rest = trained(noted[0])
        assert (count, rest) == (4, 2)
        assert same_logs == logs
        assert_equal(same_end, end)
        assert trainer.genome.learning_rate == genome.learning_rate
