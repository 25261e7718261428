"""`MIHA` on a folder that holds a run: with Keras, from the outside."""

from __future__ import annotations

import functools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from child import story
from keras import layers
from networks import convolutional, dense, images, shallow

import miha
from miha import (
    MIHA,
    Budget,
    Callback,
    MihaError,
    MihaWarning,
    RunExistsError,
    Search,
    StorageError,
)
from miha.storage.folder import earlier_end
from miha.storage.journal import Journal

SHORT = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 3, "verbose": 0}
SHORT["search"] = Search(rest=False)  # Two cycles with a population each.
SHORT["space"] = miha.SearchSpace(["adam", "sgd"], ["relu", "tanh"])
SMALL = {"c": 1, "mutations": ["batch_size"]}
"""For runs of which only the way they go is looked at: each optimizer is compiled by itself."""


# Built once: `MIHA` does not touch what it is given.
plain = functools.cache(shallow)


def start(folder, model=None, **changes):
    arguments = {**SHORT, "validation_data": images(32, seed=9), "logs": folder, **changes}
    x, y = arguments.pop("data", None) or images()
    return MIHA(model or plain(), x, y, **arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a finished run, of which tests take copies."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    start(folder).optimize()
    return folder


@pytest.fixture
def finished(tmp_path, whole):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def interrupted(finished):
    Journal(finished / "journal.jsonl").cut(4)
    return finished


@pytest.fixture
def unfinished(finished):
    """A run that lacks its last training."""
    journal = Journal(finished / "journal.jsonl")
    journal.cut(len(journal.read()) - 2)
    return finished


class Watching(Callback):
    def __init__(self):
        self.trained, self.recalled = [], []

    def on_resume(self, trainings):
        self.recalled += [training.archive for training in trainings]

    def on_training_begin(self, task):
        self.trained.append(task.archive)


def weights(model):
    return [np.array(v) for v in (*model.weights, *model.optimizer.variables)]


def assert_same(first, second):
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_goes_on_as(folder, fresh):
    """Assert that an extended run is one that was as long from the start."""
    (folder / earlier_end(1)).unlink()
    assert story(folder) == story(fresh)


def test_a_finished_run_returns_its_result_without_training(finished, whole):
    watching = Watching()
    result = start(finished, callbacks=[watching]).optimize()
    assert watching.trained == []
    assert len(watching.recalled) == 10
    expected = miha.load_run(whole)
    assert_same(result.model, expected.model)
    assert_same(result.best_model, expected.best_model)
    assert story(finished) == story(whole)


def test_a_run_that_a_target_has_ended_goes_on_without_it(tmp_path, whole):
    start(tmp_path / "run", budget=Budget(target=1e6)).optimize()
    watching = Watching()
    result = start(tmp_path / "run", callbacks=[watching]).optimize()
    # The first training is there already, and a target leaves out the last one.
    assert (watching.recalled, len(watching.trained)) == (["model/model_init.zip"], 9)
    assert_goes_on_as(tmp_path / "run", whole)
    assert_same(result.model, miha.load_run(whole).model)


def test_a_run_that_patience_has_ended_goes_on_with_more_of_it(tmp_path):
    # With the mode of a value that shall grow, a loss that falls is never better.
    numbers = {**SMALL, "c": 3, "monitor": "val_loss", "mode": "max", "model": dense()}
    first = start(tmp_path / "run", budget=Budget(patience=1), **numbers).optimize()
    assert "patience=1" in first.stopped
    watching = Watching()
    budget = Budget(patience=2)
    second = start(tmp_path / "run", callbacks=[watching], budget=budget, **numbers).optimize()
    fresh = start(tmp_path / "fresh", budget=budget, **numbers).optimize()
    assert "patience=2" in second.stopped
    assert watching.trained == [
        *(f"population/2_{clone}_model.zip" for clone in range(3)),
        "model/model_2.zip",
        "model/model_final.zip",
    ]
    assert_goes_on_as(tmp_path / "run", tmp_path / "fresh")
    assert_same(second.model, fresh.model)


def test_one_object_can_be_asked_twice(tmp_path):
    run = start(tmp_path / "run", c=0)
    first, second = run.optimize(), run.optimize()
    assert_same(first.model, second.model)
    assert first.history.equals(second.history)


def test_an_interrupted_run_goes_on_where_it_was(interrupted, whole):
    watching = Watching()
    result = start(interrupted, callbacks=[watching]).optimize()
    assert watching.recalled == [
        "model/model_init.zip",
        *(f"population/1_{clone}_model.zip" for clone in range(3)),
    ]
    assert watching.trained[0] == "model/model_1.zip"
    assert story(interrupted) == story(whole)
    assert_same(result.model, miha.load_run(whole).model)


class Once(Callback):
    """Interrupts a run once, in one of its trainings."""

    def __init__(self, archive):
        self.archive = archive

    def on_epoch_end(self, task, epoch):
        if task.archive == self.archive:
            self.archive = None
            raise KeyboardInterrupt


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_object_that_was_interrupted_in_a_mutant_goes_on_itself(tmp_path, whole, overwrite):
    watching = Watching()
    once = [Once(f"population/2_{clone}_model.zip") for clone in (1, 2)]
    run = start(tmp_path / "run", callbacks=[*once, watching], overwrite=overwrite)
    for _ in once:
        with pytest.raises(KeyboardInterrupt, match="Run the same script again"):
            run.optimize()
    run.optimize()
    assert story(tmp_path / "run") == story(whole)
    assert watching.trained.count("model/model_init.zip") == 1
    run.optimize()  # It is finished, and the live network is no longer the user's.


def test_a_run_without_a_named_folder_goes_on_in_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = start(None, **SMALL, callbacks=[Once("population/1_1_model.zip")])
    with pytest.raises(KeyboardInterrupt, match=r"in '.*/logs/\d+-\d+'.*with these `logs`"):
        run.optimize()
    result = run.optimize()
    assert [result.run_dir] == list((tmp_path / "logs").iterdir())


def test_a_callback_may_go_elsewhere(tmp_path, monkeypatch):
    class Wandering(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            monkeypatch.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    result = start("run", **SMALL, callbacks=[Wandering()]).optimize()
    assert result.run_dir == tmp_path / "run"


def test_a_finished_run_whose_best_network_is_gone_still_returns_its_last(tmp_path):
    arguments = {"monitor": "loss", "mode": "max", "c": 0}  # The less trained, the better.
    arguments["search"] = Search(restore_best=False)
    first = start(tmp_path / "run", **arguments).optimize()
    assert first.archives[0] != first.archives[1]
    (tmp_path / "run" / first.archives[1]).unlink()
    with pytest.warns(MihaWarning, match="best network is not there"):
        again = start(tmp_path / "run", **arguments).optimize()
    assert_same(first.model, again.model)


def test_without_a_seed_the_runs_own_is_taken(tmp_path):
    first = start(tmp_path / "run", **SMALL, seed=None)
    first.optimize()
    Journal(tmp_path / "run/journal.jsonl").cut(3)
    again = start(tmp_path / "run", **SMALL, seed=None)
    assert again.seed == first.seed
    again.optimize()


def other_layers():
    model = shallow()
    model.layers[1].kernel_regularizer = keras.regularizers.L2(0.1)
    return model


def other_weights():
    model = shallow()
    model.layers[1].bias.assign(model.layers[1].bias + 1)
    return model


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": other_layers}, "where the network has other layers. Choose"),
        (
            {"model": other_weights},
            r"where the weights differ. Weights .* call keras.utils.set_random_seed",
        ),
        ({"model": convolutional}, "where the network has other layers; .*arguments.mutations"),
        ({"model": lambda: shallow("sgd")}, "genome.optimizer is 'adam' and not 'sgd'"),
        ({"data": images(seed=1)}, "where the data differ, in values, types or order. Choose"),
        (
            {"validation_data": images(32, seed=8)},
            "where the data differ, in values, types or order. Choose",
        ),
        ({"batch_size": 8}, "data.batch_size is 16 and not 8"),
        ({"space": miha.SearchSpace(["adam"], ["relu", "tanh"])}, r"space\.optimizers\.sgd"),
    ],
)
def test_a_run_of_another_network_or_data_is_refused_before_it_begins(interrupted, changes, told):
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    changes = {"model": plain, **changes}
    with pytest.raises(RunExistsError, match=told):
        start(interrupted, changes.pop("model")(), **changes)
    assert {p: p.read_bytes() for p in interrupted.rglob("*") if p.is_file()} == before


def test_a_total_without_room_is_said_of_the_same_run_alone(interrupted):
    letters = dict.fromkeys(("m", "n", "k", "c", "pop_size"))
    with pytest.raises(RunExistsError, match="other layers"):
        start(interrupted, other_layers(), epochs=12, **letters)
    with pytest.warns(MihaWarning, match="epochs=12 has no room for another cycle"):
        start(interrupted, epochs=12, **letters)


def test_another_run_replaces_it_where_that_is_asked_for(interrupted):
    result = start(interrupted, **SMALL, overwrite=True).optimize()
    assert len(result.lineage) == 3


def test_a_network_of_random_weights_goes_on_with_those_the_run_began_with(unfinished, whole):
    keras.utils.set_random_seed(99)
    drawn = keras.models.clone_model(plain())
    drawn.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(RunExistsError, match=r"set_random_seed.*model_start\.zip"):
        start(unfinished, drawn)
    model, _ = miha.load(unfinished / "model/model_start.zip")
    start(unfinished, model).optimize()
    assert story(unfinished) == story(whole)


def test_a_network_that_is_not_built_goes_on_with_the_runs_seed(tmp_path):
    def unbuilt():
        hidden = layers.Dense(4, activation="relu")
        outputs = layers.Dense(2, activation="softmax")
        model = keras.Sequential([layers.Flatten(), hidden, outputs])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    start(tmp_path / "run", unbuilt(), **SMALL, seed=None).optimize()
    expected = story(tmp_path / "run")
    Journal(tmp_path / "run/journal.jsonl").cut(5)
    start(tmp_path / "run", unbuilt(), **SMALL, seed=None).optimize()
    assert story(tmp_path / "run") == expected


@pytest.mark.parametrize("keep", ["model", "final"])
def test_a_finished_run_whose_networks_were_kept_in_part_returns_them(unfinished, keep):
    first = start(unfinished, keep=keep).optimize()
    again = start(unfinished, keep=keep).optimize()
    assert_same(first.model, again.model)
    assert_same(first.best_model, again.best_model)


def test_a_finished_run_whose_networks_were_not_kept_says_so(tmp_path):
    start(tmp_path / "run", c=0, keep="none").optimize()
    with pytest.raises(RunExistsError, match="where they were kept"):
        start(tmp_path / "run", c=0, keep="none").optimize()


class Raising(Callback):
    def on_epoch_end(self, task, epoch):
        if task.cycle == 2:
            raise ZeroDivisionError("by the callback")


class Wild(miha.Mutation):
    gene = "batch_size"

    def __init__(self, calls):
        super().__init__()
        self._calls = calls  # Not told apart: what a run is does not depend on it.

    def describe(self):
        return {"class": "Wild"}

    def mutate(self, genome, space, rng):
        self._calls.append(genome)
        if len(self._calls) == 4:
            raise IndexError("by the mutation")
        return genome.replace(batch_size=int(rng.integers(8, 64)))


class Choosy:
    def __init__(self):
        self.calls = 0

    def __repr__(self):
        return "Choosy()"

    def __call__(self, curve):
        self.calls += 1
        if self.calls == 5:
            raise KeyError("by the fitness")
        return -curve.last


@pytest.mark.parametrize(
    ("part", "culprit"),
    [
        (lambda: {"callbacks": [Raising()]}, r"callback Raising\.on_epoch_end.*by the callback"),
        (lambda: {"mutations": [Wild([])]}, "mutation Wild raised .*by the mutation"),
        (lambda: {"fitness": Choosy()}, "fitness function Choosy raised .*by the fitness"),
    ],
)
def test_what_a_users_own_part_raises_names_it_and_leaves_a_run_that_goes_on(
    tmp_path, part, culprit
):
    arguments = {"search": Search(restarts=0, rest=False), "mutations": ["batch_size"]}
    with pytest.raises(MihaError, match=culprit):
        start(tmp_path / "run", **arguments | part()).optimize()
    assert miha.load_run(tmp_path / "run").state == "interrupted"
    mended = {"mutations": [Wild([None] * 9)]} if "mutations" in part() else part()
    mended |= {"callbacks": []}
    start(tmp_path / "run", **arguments | mended).optimize()
    assert miha.load_run(tmp_path / "run").state == "finished"


def test_a_clone_that_has_no_room_on_the_device_loses(tmp_path, monkeypatch):
    from miha.trainer.tensorflow.trainer import TensorFlowTrainer

    train = TensorFlowTrainer.train

    def short_of_memory(self, epochs, *arguments):
        if self.genome.optimizer != "adam":
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return train(self, epochs, *arguments)

    monkeypatch.setattr(TensorFlowTrainer, "train", short_of_memory)
    with pytest.warns(MihaWarning, match="ResourceExhaustedError: OOM when allocating tensor"):
        result = start(
            tmp_path / "run", mutations=[miha.OptimizerMutation()], c=2, pop_size=3
        ).optimize()
    assert result.genome.optimizer == "adam"
    failed = result.lineage[result.lineage["gene"] == "optimizer"]
    assert failed["failure"].str.contains("OOM").all()
    assert failed["archive"].isna().all()
    record = miha.load_run(tmp_path / "run").log.trainings[2]
    assert "Traceback (most recent call last)" in record.failure


def test_a_run_without_room_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 100_000)
    watching = Watching()
    with pytest.raises(StorageError, match=r"about 0\.\d MB for 10 archives.*with 0\.1 MB free"):
        start(tmp_path / "run", callbacks=[watching]).optimize()
    assert watching.trained == []
    monkeypatch.undo()
    start(tmp_path / "run", c=0).optimize()  # Another schedule, as the message advises.


def test_the_room_asked_for_is_about_what_is_taken(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "miha.storage.folder.RunFolder.check_space",
        lambda self, need, count: asked.append((need, count)),
    )
    result = start(tmp_path / "run").optimize()
    taken = sum(file.stat().st_size for file in result.run_dir.glob("*/*.zip"))
    [(need, count)] = asked
    assert count == 10
    assert 0.8 * taken < need < 1.6 * taken
