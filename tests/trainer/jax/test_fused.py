"""Clones that train together on JAX are those that train alone, but for rounding."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import weakref

import jax
import keras
import numpy as np
import pytest
from contract import make_contract_trainer, rng
from keras import layers
from networks import convolutional, custom_step, dense, images, recurrent
from paths import ROOT
from policies import with_policies

import miha
from miha.errors import ArgumentError
from miha.storage.journal import Journal
from miha.trainer.jax.fused import padded
from miha.trainer.jax.loops import switch_elementwise
from miha.trainer.programs import MOST_PROGRAMS, Programs


def normalized():
    """A convolution without the bias that BatchNormalization takes away again.

    Its gradient is nothing but rounding, of which Adam makes whole steps.
    """
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Dropout(0.3, seed=3),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def alone(trainer, genomes, start, epochs):
    trained = []
    for genome in genomes:
        trainer.restore(start)
        trainer.express(genome)
        curve = trainer.train(epochs, rng(0), rng(1), lambda epoch: None)
        trained.append((curve, trainer.snapshot()))
    return trained


def together(trainer, genomes, start, epochs):
    trained = trainer.train_population(
        genomes, start, epochs, rng(0), rng(1), lambda place, epoch: None
    )
    return [(clone.epochs, clone.snapshot()) for clone in trained]


def genomes_of(trainer, **changes):
    own = trainer.genome.replace(**changes)
    faster = own.replace(learning_rate=0.003)
    if not own.activations:
        return [own, faster]
    slot, last = own.activations[0][0], own.activations[-1][0]
    return [
        own,
        faster,
        own.with_activation(slot, "silu"),
        own.replace(learning_rate=0.0004),
        own.with_activation(last, "softplus"),
    ]


@pytest.mark.parametrize("network", [dense, normalized, recurrent])
def test_together_and_alone_agree_in_every_curve_and_in_the_ranking(network):
    trainer = make_contract_trainer(
        network(), images(), validation=images(48, seed=9), batch_size=24
    )
    start, genomes = trainer.snapshot(), genomes_of(trainer)
    ones, many = (way(trainer, genomes, start, 3) for way in (alone, together))
    for (curve, snapshot), (other, values) in zip(ones, many, strict=True):
        assert len(curve) == len(other) == 3
        for mine, theirs in zip(curve, other, strict=True):
            assert mine.logs == pytest.approx(theirs.logs, rel=1e-4)
        assert snapshot.optimizer == values.optimizer
        pairs = [(snapshot.variables, values.variables), (snapshot.slots, values.slots)]
        for a, b in [pair for group in pairs for pair in zip(*group, strict=True)]:
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, 1e-3, 1e-4)
    ends = [[curve[-1].logs["val_loss"] for curve, _ in way] for way in (ones, many)]
    assert len(set(ends[0])) == len(genomes)
    assert np.argsort(ends[0]).tolist() == np.argsort(ends[1]).tolist()


def test_clones_of_other_noise_smoothing_and_augmentation_agree_with_those_alone():
    trainer = make_contract_trainer(
        dense(), images(), validation=images(48, seed=9), batch_size=24,
        genes=("input_noise", "augmentation", "label_smoothing"),
        augmentation=[layers.RandomTranslation(0.2, 0.2, seed=1)],
    )  # fmt: skip
    start, own = trainer.snapshot(), trainer.genome
    genomes = [
        own,
        own.with_input_noise("x", 0.5),
        own.replace(augmentation=0.5),
        own.replace(label_smoothing=0.1),
        own.with_input_noise("x", 1.0).replace(augmentation=1.0, label_smoothing=0.2),
    ]
    ones, many = (way(trainer, genomes, start, 2) for way in (alone, together))
    for (curve, snapshot), (other, values) in zip(ones, many, strict=True):
        for mine, theirs in zip(curve, other, strict=True):
            assert mine.logs == pytest.approx(theirs.logs, rel=1e-4)
        for a, b in zip(snapshot.variables, values.variables, strict=True):
            np.testing.assert_allclose(a, b, 1e-3, 1e-4)
    ends = [[curve[-1].logs["loss"] for curve, _ in way] for way in (ones, many)]
    assert len(set(ends[0])) == len(set(ends[1])) == len(genomes)


def test_a_new_optimizer_starts_fresh_in_every_clone():
    trainer = make_contract_trainer(dense(), images(), batch_size=24)
    trainer.train(1, rng(0), rng(1), lambda epoch: None)
    start = trainer.snapshot()
    genomes = genomes_of(trainer, optimizer="adagrad")[:2]
    for (mine, _), (theirs, values) in zip(
        alone(trainer, genomes, start, 1), together(trainer, genomes, start, 1), strict=True
    ):
        assert mine[0].logs == pytest.approx(theirs[0].logs, rel=1e-5)
        assert (values.optimizer, int(values.slots[0])) == ("adagrad", 4)


def test_what_a_step_of_the_users_own_logs_is_told_of_each_clone():
    trainer = make_contract_trainer(custom_step(), images(), batch_size=24, activations=["relu"])
    genomes, start = genomes_of(trainer)[:2], trainer.snapshot()
    ones, many = (way(trainer, genomes, start, 1) for way in (alone, together))
    for (mine, _), (theirs, _) in zip(ones, many, strict=True):
        found, expected = (keras.tree.flatten(epochs[0].logs) for epochs in (theirs, mine))
        assert np.allclose(found, expected, 1e-5)
        assert mine[0].logs.keys() == theirs[0].logs.keys()


def test_a_clone_that_diverges_stops_as_it_would_alone_and_touches_no_other():
    trainer = make_contract_trainer(dense("sgd"), images(), validation=images(48), batch_size=20)
    start, own = trainer.snapshot(), trainer.genome
    genomes = [own, own.replace(learning_rate=1e30), own.replace(learning_rate=0.02)]
    ones, many = (way(trainer, genomes, start, 3) for way in (alone, together))
    assert [len(curve) for curve, _ in many] == [3, 1, 3]
    for (curve, snapshot), (other, values) in zip(ones, many, strict=True):
        for mine, theirs in zip(curve, other, strict=True):
            assert mine.logs == pytest.approx(theirs.logs, rel=1e-4, nan_ok=True)
        assert int(snapshot.slots[0]) == int(values.slots[0])
    [same] = together(trainer, genomes[2:], start, 3)
    assert same[0][-1].logs == pytest.approx(many[2][0][-1].logs, rel=1e-5)


def test_when_all_clones_have_diverged_no_epoch_follows():
    trainer = make_contract_trainer(dense("sgd"), images(), batch_size=20)
    bad = trainer.genome.replace(learning_rate=1e30)
    many = together(trainer, [bad, bad], trainer.snapshot(), 5)
    assert [len(curve) for curve, _ in many] == [1, 1]


def test_groups_of_nearly_the_same_size_share_their_programs():
    trainer = make_contract_trainer(dense(), images(), validation=images(), batch_size=24)
    start, genomes, found = trainer.snapshot(), genomes_of(trainer), []
    for number in (3, 4, 5, 3, 5):
        together(trainer, genomes[:number], start, 1)
        found.append(trainer.traces)
    assert found == [2, 2, 4, 4, 4]
    assert [padded(number) for number in (1, 2, 3, 4, 5, 16, 17)] == [1, 2, 4, 4, 8, 16, 32]


def test_a_clone_is_the_same_bits_with_the_same_others():
    trainer = make_contract_trainer(convolutional(), images(), batch_size=20)
    start, genomes = trainer.snapshot(), genomes_of(trainer)[:3]
    first, second = (together(trainer, genomes, start, 2) for _ in range(2))
    for (curve, snapshot), (other, values) in zip(first, second, strict=True):
        assert [epoch.logs for epoch in curve] == [epoch.logs for epoch in other]
        for a, b in zip(snapshot.variables, values.variables, strict=True):
            np.testing.assert_array_equal(a, b)


def test_only_the_chosen_activation_counts_in_the_derivative():
    def steep(x):  # Its derivative is infinite at 100.
        return keras.ops.exp(x * x)

    def loss(indices, x):
        functions = [keras.ops.relu, steep]
        choice = jax.vmap(lambda index, value: switch_elementwise(index, functions, value))
        return choice(indices, x).sum()

    x = np.array([[100.0, -1.0], [1.0, 0.0]], "float32")
    found = jax.grad(loss, 1)(np.array([0, 1]), x)
    np.testing.assert_allclose(found, [[1, 0], [2 * np.e, 0]], 1e-6)


def test_programs_that_are_not_used_are_let_go_of_and_still_counted():
    held, alive = Programs(lambda program: program._cache_size()), weakref.WeakSet()

    def make():
        def loop(x):
            return x + 1

        alive.add(loop)
        return jax.jit(loop)

    for size in range(MOST_PROGRAMS + 3):
        held.get(size, make)(1)
        held.get(0, make)(1)  # The one that is used most.
    gc.collect()
    assert held.compiled == MOST_PROGRAMS + 3
    assert len(alive) == MOST_PROGRAMS
    held.get(0, make)
    held.get(1, make)(1)
    assert held.compiled == MOST_PROGRAMS + 4


def test_the_memory_of_a_clone_grows_with_weights_and_batch():
    def clone_bytes(units, batch_size):
        model = keras.Sequential(
            [keras.Input((64,)), layers.Dense(units, "relu"), layers.Dense(2, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        x, y = images(256)
        return make_contract_trainer(
            model, (x.reshape(-1, 64), y), batch_size=batch_size
        )._clone_bytes

    small, wide, large = clone_bytes(32, 8), clone_bytes(320, 8), clone_bytes(32, 64)
    weights = 4 * (65 * 32 + 33 * 2)
    assert 4 * weights < small < 12 * weights  # Weights, gradients, two slots, a step's values.
    assert 8 * small < wide < 10.5 * small
    assert small < large


def test_as_many_clones_train_at_once_as_there_is_memory_for(monkeypatch):
    trainer = make_contract_trainer(dense(), images(), batch_size=24)
    for clones, expected in ((1.9, 1), (2.1, 2), (7.9, 4), (1000, 8)):
        free = clones * trainer._clone_bytes / 0.8
        monkeypatch.setattr("miha.trainer.jax.memory.free_bytes", lambda free=free: free)
        assert trainer.clones_at_once(5) == expected


def test_both_ways_are_measured_without_their_compilation():
    trainer = make_contract_trainer(dense(), images(), batch_size=24)
    seconds = trainer.measure(3)
    assert set(seconds) == {"alone", "together"}
    assert all(0 < value < 1 for value in seconds.values())


SHORT = {"m": 1, "n": 2, "k": 1, "c": 2, "pop_size": 4, "batch_size": 24, "seed": 3, "verbose": 0}
SHORT |= {"rest": False}  # Every cycle has clones.


def search(folder, model=None, **changes):
    data = images(48, seed=9)
    arguments = {**SHORT, "validation_data": data, "logs": folder, **changes}
    space = miha.SearchSpace(
        optimizers=["adam"], batch_size=(24, 24), activations=["relu", "tanh", "silu"]
    )
    return miha.MIHA(model or dense(), *images(), space=space, **with_policies(**arguments))


def story(folder):
    result = miha.load_run(folder)
    values = [np.array(v) for v in (*result.model.weights, *result.model.optimizer.variables)]
    history = result.history.drop(columns="seconds").to_dict("split")
    tables = (result.state, history, result.lineage.to_dict("split"))
    return repr((tables, [value.tobytes() for value in values]))


def test_a_fused_run_that_goes_on_in_the_middle_of_a_population_equals_one_never_interrupted(
    tmp_path,
):
    class Stop(miha.Callback):
        def on_epoch_end(self, task, epoch):
            if task.cycle == 2 and task.phase == "clone":
                raise KeyboardInterrupt

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    search(whole, population="fused").optimize()
    with pytest.raises(KeyboardInterrupt):
        search(killed, population="fused", callbacks=[Stop()]).optimize()
    search(killed).optimize()  # It keeps its choice.
    assert story(killed) == story(whole)
    cut = shutil.copytree(whole, tmp_path / "cut")
    Journal(cut / "journal.jsonl").cut(9)  # Two clones of the second cycle are recorded.
    search(cut, population="fused").optimize()
    assert story(cut) == story(whole)
    with pytest.raises(miha.RunExistsError, match="choices.population is 'fused' and not"):
        search(cut, population="sequential")


def test_on_a_cpu_clones_train_one_after_another_unless_told(tmp_path):
    result = search(tmp_path / "run", c=0).optimize()
    text = (result.run_dir / "run.json").read_text()
    assert '"population": "sequential"' in text.replace('":"', '": "')


def test_a_network_that_is_not_compiled_cannot_train_fused(tmp_path):
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    with pytest.raises(ArgumentError, match="is not compiled"):
        search(tmp_path / "run", model, population="fused")
    assert not (tmp_path / "run").exists()


def test_a_layer_that_cannot_be_batched_is_refused_by_name(tmp_path):
    class Called(layers.Layer):
        def call(self, x):
            shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
            return jax.pure_callback(np.array, shape, jax.lax.stop_gradient(x)) + x

    keras.saving.register_keras_serializable("miha_tests")(Called)
    parts = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2), Called()]
    model = keras.Sequential(parts, name="calls")
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ArgumentError, match="a step of 'calls' cannot be taken for several"):
        search(tmp_path / "run", model, population="fused", mutations=["learning_rate"])


def test_the_benchmark_runs_where_tensorflow_is_not_installed(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('as if it were not installed')")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    script = ROOT / "benchmarks" / "population.py"
    options = "--networks dense --sizes 2 --objects 60 --epochs 1 --repeat 1 --out found"
    done = subprocess.run(
        [sys.executable, script, *options.split()],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    [row] = found["population"]
    assert row["clones"] == 2
    assert all(row[way]["seconds"] > 0 for way in ("alone", "sequential", "fused"))
    assert {"miha", "fit"} <= set(found["schedule_seconds"])
