"""XLA on TensorFlow: it gives the same weights but for rounding, by few programs."""

from __future__ import annotations

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import make_contract_trainer, train
from networks import convolutional, images, normalized, shallow
from policies import with_policies

import miha
from miha.errors import ArgumentError, MihaWarning


def trainer_of(network, **changes):
    changes.setdefault("activations", ("relu", "tanh"))  # Few: they are what takes long to compile.
    return make_contract_trainer(network, images(), validation=images(40), **changes)


@pytest.fixture(scope="module")
def shared():
    """Two trainers, whose programs serve many tests, and how both begin."""
    pair = [trainer_of(shallow(), batch_size=20) for _ in range(2)]
    return pair, pair[0].snapshot(), pair[0].genome


@pytest.fixture
def pair(shared):
    """Those trainers as they were at first; XLA compiles what the second one trains."""
    (graph, xla), start, own = shared
    for trainer in (graph, xla):
        trainer.restore(start)
        trainer.express(own)
    xla.use_xla("all")
    return graph, xla


@pytest.fixture
def xla(pair):
    """The trainer whose programs XLA compiles."""
    return pair[1]


def values(trainer):
    snapshot = trainer.snapshot()
    return (*snapshot.variables, *snapshot.slots)


def test_xla_gives_the_same_weights_but_for_rounding(pair):
    graph, xla = pair  # The last batch is not full.
    mine, theirs = (train(trainer, 3) for trainer in (graph, xla))
    for a, b in zip(mine, theirs, strict=True):
        assert a.logs == pytest.approx(b.logs, rel=1e-4)
    for a, b in zip(values(graph), values(xla), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)


def one_layer():
    keras.utils.set_random_seed(2)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_a_program_of_xla_takes_the_samples_of_its_training():
    networks = (one_layer(), one_layer())
    graph, xla = (trainer_of(each, batch_size=24, trains_on_all=True) for each in networks)
    xla.use_xla("all")
    for trainer in (graph, xla):
        for data in ("train", "all"):
            trainer.train(1, np.random.default_rng(0), None, lambda epoch: None, data=data)
    for a, b in zip(values(graph), values(xla), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)


def some_genomes(trainer, optimizer, batch_size):
    """Return genomes that differ in numbers, and in what needs a program of its own.

    Each test names an optimizer and a batch size that have no program yet: trainers are shared.
    """
    own = trainer.genome
    slot = own.activations[0][0]
    numbers = (own.replace(learning_rate=0.01), own.with_activation(slot, "tanh"))
    programs = (own.replace(optimizer=optimizer), own.replace(batch_size=batch_size))
    return own, numbers, programs


def ends_and_traces(trainer, genomes):
    """Return the size of all values after each training, and how many programs there were."""
    start, own = trainer.snapshot(), trainer.genome
    found = []
    for genome in genomes:
        trainer.restore(start)
        trainer.express(own)
        trainer.express(genome)
        train(trainer, 2)
        end = sum(np.abs(value).sum(dtype="float64") for value in values(trainer))
        found.append((end, trainer.traces))
    return zip(*found, strict=True)


def test_only_another_optimizer_or_batch_size_needs_another_program(xla):
    own, numbers, programs = some_genomes(xla, "rmsprop", 12)
    train(xla, 1)
    before = xla.traces
    ends, traces = ends_and_traces(xla, [own, *numbers, own, *programs, own])
    assert ends[0] == ends[3] == ends[6] and len(set(ends)) == 5
    # A program, and the graph of a last batch that is not full.
    assert [count - before for count in traces] == [0, 0, 0, 0, 2, 3, 3]


def test_a_clone_that_needs_another_program_is_trained_as_fit_would_until_it_is_the_network(pair):
    plain, trainer = pair
    trainer.use_xla("network")
    own, numbers, programs = some_genomes(trainer, "sgd", 16)
    ours, _ = ends_and_traces(trainer, [own, *numbers, *programs])
    exact, _ = ends_and_traces(plain, [own, *numbers, *programs])
    assert ours[:3] != exact[:3] and ours[3:] == exact[3:]
    assert ours == pytest.approx(exact, rel=1e-3)
    # The clone has won.
    before = trainer.traces
    trainer.express(trainer.genome)
    train(trainer, 1)
    assert trainer.traces == before + 1


def test_a_program_is_compiled_without_training(xla):
    xla.express(xla.genome.replace(batch_size=32))
    before, start = xla.traces, values(xla)
    xla.compile_xla()
    assert xla.traces == before + 1
    for a, b in zip(values(xla), start, strict=True):
        np.testing.assert_array_equal(a, b)


class Penalized(keras.Model):
    """Punishes the slope of its output, by a gradient of a gradient."""

    def train_step(self, batch):
        x, y = batch
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                predicted = self(x, training=True)
            slope = inner.gradient(predicted, x)
            loss = self.compute_loss(x, y, predicted) + tf.reduce_mean(slope**2)
        gradients = outer.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def test_a_step_of_ones_own_that_takes_second_derivatives_gets_them():
    def penalized():
        keras.utils.set_random_seed(2)
        x = keras.Input((8, 8, 1))
        hidden = keras.layers.Dense(6, activation="tanh")(keras.layers.Flatten()(x))
        model = Penalized(x, keras.layers.Dense(2, activation="softmax")(hidden))
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    graph, xla = (trainer_of(penalized(), batch_size=20) for _ in range(2))
    xla.use_xla("all")
    for trainer in (graph, xla):
        train(trainer, 2)
    for a, b in zip(values(graph), values(xla), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)


def test_a_training_by_xla_stops_when_the_loss_is_not_finite(xla):
    xla.express(xla.genome.replace(learning_rate=1e30))
    assert len(train(xla, 5)) < 5
    assert int(xla.snapshot().slots[0]) < 4


def asking_for_xla(network=shallow, optimizer="adam"):
    model = network()
    model.compile(optimizer, model.loss, metrics=["accuracy"], jit_compile=True)
    return model


def test_a_network_that_asks_for_xla_gets_the_values_that_fit_gives_it_bit_for_bit():
    # What XLA compiles for it is small, and it has moments.
    sgd = functools.partial(keras.optimizers.SGD, 0.1, momentum=0.9)
    (x, y), model = images(), asking_for_xla(normalized, sgd())
    trainer = trainer_of(model, batch_size=20, shuffle=False)
    epochs = train(trainer, 2, noise=False)
    evaluated = {"validation_data": images(40), "validation_batch_size": 20}
    history = model.fit(x, y, 20, 2, shuffle=False, verbose=0, **evaluated).history
    variables = (*model.variables, *model.optimizer.variables)
    for ours, theirs in zip(values(trainer), variables, strict=True):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs))
    for name, logged in history.items():
        assert [epoch.logs[name] for epoch in epochs] == logged
    graph = trainer_of(normalized(sgd()), batch_size=20, shuffle=False)
    train(graph, 2, noise=False)
    pairs = zip(values(graph), values(trainer), strict=True)
    assert any((a != b).any() for a, b in pairs)  # It has been another program.


def test_a_network_that_asks_for_xla_has_a_program_for_each_genome_and_keeps_it():
    trainer = trainer_of(asking_for_xla(optimizer="sgd"), batch_size=24)
    start, own, ends = trainer.snapshot(), trainer.genome, []
    slot = own.activations[0][0]
    for genome in (own, own.with_activation(slot, "tanh"), own.replace(learning_rate=0.1), own):
        trainer.restore(start)
        trainer.express(genome)
        ends.append((train(trainer, 1)[-1].logs["loss"], trainer.traces))
    losses, traces = zip(*ends, strict=True)
    assert losses[0] == losses[3] and len(set(losses)) == 3
    assert traces == (2, 4, 4, 4)  # Training and evaluation.


def test_a_network_that_asks_for_xla_is_compiled_step_by_step_where_exact_and_else_whole(tmp_path):
    def linear():
        return asking_for_xla(one_layer, "sgd")

    arguments = {"m": 1, "c": 0, "mutations": ["learning_rate"]}
    found = {}
    for compiler in ("exact", "xla"):
        folder = tmp_path / compiler
        result = search(folder, linear(), compiler=compiler, **arguments).optimize()
        choices = json.loads((folder / "run.json").read_text())["choices"]
        found[compiler] = (choices["compiler"], choices["xla"])
        assert result.model.jit_compile
    assert found == {"exact": ("xla", None), "xla": ("xla", "all")}


def test_convolutions_are_not_compiled_by_xla_on_a_cpu_and_a_warning_says_so():
    with pytest.warns(MihaWarning, match="`jit_compile=True`.* not followed: it takes minutes"):
        trainer = trainer_of(asking_for_xla(convolutional))
    assert trainer.compiler == "graph"


# Each optimizer has a program of its own.
FEW = miha.SearchSpace(["adam", "sgd"], ["relu", "tanh"], input_noise=[0.0])
SHORT = {"m": 3, "n": 1, "k": 1, "c": 1, "pop_size": 3, "batch_size": 24, "seed": 3, "verbose": 0}


def search(folder, model, **changes):
    changes.setdefault("space", FEW)
    return miha.MIHA(
        model,
        *images(),
        validation_data=images(40),
        logs=folder,
        **with_policies(**{**SHORT, **changes}),
    )


def story(folder):
    result = miha.load_run(folder)
    history = result.history.drop(columns="seconds").to_dict("split")
    return repr((history, [np.array(v).tobytes() for v in result.model.weights]))


def test_a_long_run_is_compiled_by_xla_goes_on_so_and_is_the_same_each_time(tmp_path, monkeypatch):
    class Stop(miha.Callback):
        def on_cycle_end(self, cycle, clones, winner):
            raise KeyboardInterrupt

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr("miha.run.ways.LONG", 1)
        result = search(whole, shallow("sgd"), restarts=0).optimize()
        with pytest.raises(KeyboardInterrupt):
            search(killed, shallow("sgd"), restarts=0, callbacks=[Stop()]).optimize()
    search(killed, shallow("sgd"), restarts=0).optimize()
    assert story(killed) == story(whole)
    search(tmp_path / "exact", shallow("sgd"), restarts=0, compiler="exact").optimize()
    assert story(tmp_path / "exact") != story(whole)
    check_replay(result)


def check_replay(result):
    schedule = result.schedule
    assert schedule.xla == "network"
    shown = {"validation_data": images(40), "seed": schedule.seed, "verbose": 0}
    replayed = miha.replay(shallow("sgd"), *images(), schedule, **shown)
    for ours, runs in zip(replayed.model.weights, result.model.weights, strict=True):
        np.testing.assert_array_equal(ours, runs)


@pytest.mark.parametrize(
    ("network", "reason"),
    [(convolutional, "takes minutes to compile a convolution"), (shallow, "is not compiled")],
)
def test_xla_is_refused_where_it_does_not_pay_or_cannot_be(tmp_path, network, reason):
    model = network()
    if network is shallow:
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    with pytest.raises(ArgumentError, match=f"compiler='xla', but .*{reason}"):
        search(tmp_path / "run", model, compiler="xla")
    assert search(tmp_path / "run", model, compiler="auto") is not None
    assert not (tmp_path / "run").exists()


def test_a_fused_population_needs_jax(tmp_path):
    with pytest.raises(ArgumentError, match="population='fused', but the backend 'tensorflow'"):
        search(tmp_path / "run", shallow(), population="fused")
    assert keras.backend.backend() == "tensorflow"


def test_xla_is_left_alone_where_a_run_goes_on_with_its_data_streamed(tmp_path):
    x, y = images(100)
    arguments = {"validation_data": images(40), "batch_size": 24, "c": 1, "m": 2, "seed": 1}
    arguments |= {"n": 1, "k": 1, "pop_size": 2, "verbose": 0, "compiler": "xla"}
    arguments |= {"mutations": ["learning_rate"], "restarts": 0, "logs": tmp_path / "run"}

    class Stops(miha.Callback):
        def on_training_end(self, network):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        miha.MIHA(one_layer(), x, y, callbacks=[Stops()], **with_policies(**arguments)).optimize()
    arguments["compiler"] = "auto"
    again = miha.MIHA(one_layer(), x, y, **with_policies(data_memory=0, **arguments))
    with pytest.warns(MihaWarning, match="XLA is not used as before: the data is streamed"):
        again.optimize()
    arguments |= {"logs": tmp_path / "whole", "compiler": "exact"}
    whole = miha.MIHA(one_layer(), x, y, **with_policies(**arguments)).optimize()
    assert again.optimize().history["val_loss"].tolist() == pytest.approx(
        whole.history["val_loss"].tolist(), rel=1e-3
    )
