"""`MIHA` from the outside: what it returns, what it writes, what it refuses."""

from __future__ import annotations

import functools
import json
import shutil
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from networks import SAMPLES, branched, branched_data, dense, images, shallow

import miha
from miha import (
    MIHA,
    ArgumentError,
    Budget,
    Execution,
    MihaWarning,
    RunExistsError,
    Search,
    SearchSpace,
    StorageError,
)
from miha.storage.journal import Journal

SHORT = {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3, "batch_size": 16, "seed": 3, "verbose": 0}
SHORT["search"] = Search(rest=False)  # Two cycles with a population each.
SHORT["space"] = SearchSpace(["adam", "sgd"], ["relu", "tanh"])  # What is compiled is small.
VALIDATION = images(32, seed=9)

# Built once: `MIHA` does not touch what it is given.
plain = functools.cache(shallow)


def run_in(folder, model=None, **changes):
    x, y = images()
    arguments = {**SHORT, "validation_data": VALIDATION, "logs": folder, **changes}
    return MIHA(model or plain(), x, y, **arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; tests only read it."""
    return run_in(tmp_path_factory.mktemp("runs") / "run").optimize()


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of that run which lacks its last training."""
    folder = shutil.copytree(finished.run_dir, tmp_path / "run")
    journal = Journal(folder / "journal.jsonl")
    journal.cut(len(journal.read()) - 2)
    return folder


def test_the_result_is_a_plain_compiled_keras_network(finished):
    logs = finished.model.evaluate(*VALIDATION, batch_size=16, verbose=0, return_dict=True)
    last = finished.history.iloc[-1]
    assert logs["loss"] == pytest.approx(last["val_loss"], rel=1e-5)
    assert logs["accuracy"] == pytest.approx(last["val_accuracy"])
    assert type(finished.model.optimizer).__name__.lower() == finished.genome.optimizer
    assert all(type(layer).__module__.startswith("keras.") for layer in finished.model.layers)


def test_the_best_network_is_the_one_with_the_best_monitored_value(finished):
    ends = finished.history.groupby(["phase", "cycle", "clone"], dropna=False).tail(1)
    assert finished.best_value == ends["val_loss"].min()
    evaluated = finished.best_model.evaluate(*VALIDATION, verbose=0)[0]
    assert evaluated == pytest.approx(finished.best_value, rel=1e-5)


def test_the_tables_have_the_documented_columns(finished):
    assert list(finished.history) == [
        *("phase", "cycle", "clone", "epoch"),
        *("loss", "accuracy", "val_loss", "val_accuracy", "seconds"),
    ]
    assert list(finished.lineage)[:6] == [
        *("cycle", "clone", "change", "fitness", "selected", "archive"),
    ]
    assert len(finished.history) == 2 * 1 + 2 * (3 * 1 + 1)
    assert finished.lineage.groupby("cycle")["selected"].sum().tolist() == [1, 1]


def test_the_folder_holds_what_the_documents_say(finished):
    folder = finished.run_dir
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    clones = {f"population/{cycle}_{clone}_model.zip" for cycle in (1, 2) for clone in range(3)}
    networks = {f"model/model_{name}.zip" for name in ("start", "init", 1, 2, "final")}
    tables = {"run.json", "journal.jsonl", "run.log", "history.csv", "lineage.csv", ".lock"}
    assert files == clones | networks | tables
    record = json.loads((folder / "run.json").read_text())
    assert record["seed"] == 3
    assert record["arguments"]["schedule"] == {"m": 1, "n": 1, "k": 1, "c": 2, "pop_size": 3}
    assert pd.read_csv(folder / "history.csv")["epoch"].tolist() == list(finished.history["epoch"])
    assert "10 epochs" in (folder / "run.log").read_text().splitlines()[0]


def test_every_archive_loads_with_its_genome_and_optimizer(finished):
    for row in finished.lineage.itertuples():
        model, genome = miha.load(finished.run_dir / row.archive)
        assert type(model.optimizer).__name__.lower() == genome.optimizer
        loss = model.evaluate(*VALIDATION, batch_size=16, verbose=0)[0]
        assert loss == pytest.approx(row.value, rel=1e-5)


def test_an_archive_opens_in_plain_keras_when_renamed(finished, tmp_path):
    path = shutil.copy(finished.run_dir / "model/model_final.zip", tmp_path / "network.keras")
    model = keras.saving.load_model(path)
    np.testing.assert_array_equal(model.predict(VALIDATION[0], verbose=0),
                                  finished.model.predict(VALIDATION[0], verbose=0))  # fmt: skip
    for ours, theirs in zip(
        model.optimizer.variables, finished.model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_archive_says_where_its_network_comes_from(finished):
    said = miha.describe(finished.run_dir / "population/2_1_model.zip")
    assert said["parent"] == "model/model_1.zip"
    assert said["genome"]["optimizer"]
    assert said["change"]["text"]
    assert said["fitness"] == finished.lineage.query("cycle == 2 and clone == 1")["fitness"].item()
    assert len(said["epochs"]) == 1


def test_a_damaged_archive_is_refused(finished, tmp_path):
    path = tmp_path / "damaged.zip"
    data = bytearray((finished.run_dir / "model/model_final.zip").read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(miha.ArchiveError):
        miha.load(path)


def test_the_same_seed_gives_the_same_run_bit_for_bit(finished, tmp_path):
    again = run_in(tmp_path / "again").optimize()
    pd.testing.assert_frame_equal(again.lineage, finished.lineage)
    pd.testing.assert_frame_equal(
        again.history.drop(columns="seconds"), finished.history.drop(columns="seconds")
    )
    ours, theirs = again.model, finished.model
    for a, b in zip(
        [*ours.weights, *ours.optimizer.variables],
        [*theirs.weights, *theirs.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_seed_zero_is_a_seed_and_none_is_recorded(tmp_path):
    assert run_in(tmp_path / "a", plain(), seed=0).seed == 0
    run = run_in(tmp_path / "b", plain(), seed=None, c=0)
    run.optimize()
    assert json.loads((tmp_path / "b/run.json").read_text())["seed"] == run.seed


def test_without_mutation_a_run_is_the_training_that_fit_does(tmp_path):
    """Control alone, no shuffling: the m, k and m epochs are one training of `fit`."""
    model = shallow()
    run = run_in(tmp_path / "run", model, c=1, k=2, pop_size=2, shuffle=False,
                 fitness=_prefers_the_control())  # fmt: skip
    result = run.optimize()
    assert result.lineage["selected"].tolist() == [True, False]
    x, y = images()
    model.fit(x, y, batch_size=16, epochs=1 + 1 + 2 + 1, shuffle=False, verbose=0)
    for ours, theirs in zip(result.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _prefers_the_control():
    scores = iter([1.0, 0.0])
    return lambda curve: next(scores)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("model", {f"model/model_{name}.zip" for name in ("start", "init", 1, 2, "final")}),
        ("final", {"model/model_final.zip"}),
        ("none", set()),
    ],
)
def test_keep_says_which_archives_stay_and_the_best_does(unfinished, keep, left):
    result = run_in(unfinished, keep=keep).optimize()
    found = result.run_dir.rglob("*.zip")
    stays = {path.relative_to(result.run_dir).as_posix() for path in found}
    assert stays == (left | {result.archives[1]} if left else set())
    assert (result.run_dir / "journal.jsonl").exists()
    assert result.best_model.evaluate(*VALIDATION, verbose=0)[0] == pytest.approx(
        result.best_value, rel=1e-5
    )


def test_several_inputs_and_outputs_run_and_any_logged_value_is_monitored(tmp_path):
    x, y = branched_data()
    run = MIHA(branched(), x, y, validation_split=0.25, monitor="val_label_accuracy",
               logs=tmp_path / "run", **SHORT)  # fmt: skip
    result = run.optimize()
    ends = result.history.groupby(["phase", "cycle", "clone"], dropna=False).tail(1)
    assert result.best_value == ends["val_label_accuracy"].max()


def test_without_validation_data_the_learning_rate_is_left_alone_unless_asked(tmp_path):
    genes = {}
    for name, mutations, pop_size in (("default", None, 8), ("asked", ["learning_rate"], 3)):
        with pytest.warns(MihaWarning, match="clones are compared by 'eval_loss'.*`validation_spl"):
            run = run_in(
                tmp_path / name,
                plain(),
                validation_data=None,
                mutations=mutations,
                c=1,
                pop_size=pop_size,
                search=Search(restarts=0),
                space=SearchSpace(optimizers=["adam", "sgd"]),
            )
        result = run.optimize()
        genes[name] = set(result.lineage["gene"])
        assert result.monitor == "eval_loss"
    assert "learning_rate" not in genes["default"]
    assert genes["asked"] == {"none", "learning_rate"}


def test_a_learning_rate_schedule_is_kept_with_a_warning(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 100)
    model = shallow(keras.optimizers.Adam(schedule))
    with pytest.warns(MihaWarning, match="learning_rate.*schedule is kept"):
        run = run_in(tmp_path / "run", model, mutations=["optimizer", "learning_rate"])
    result = run.optimize()
    assert result.genome.learning_rate is None
    config = result.model.optimizer.get_config()["learning_rate"]
    assert config["class_name"] == "CosineDecay"
    steps = int(result.model.optimizer.iterations)
    assert steps >= 5 * SAMPLES // 16 or result.genome.batch_size != 16


def test_a_network_without_activations_has_no_activation_mutation(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(MihaWarning, match="no mutation of activation"):
        result = run_in(tmp_path / "run", model).optimize()
    assert "activation" not in set(result.lineage["gene"])


def test_activations_that_an_archive_could_not_hold_do_not_mutate(tmp_path):
    class Silent(keras.Model):
        """Its configuration says nothing about the activation."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.stack = [layers.Flatten(), layers.Dense(4, activation="relu"), layers.Dense(2)]

        def call(self, inputs):
            for layer in self.stack:
                inputs = layer(inputs)
            return inputs

    model = Silent()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model(images()[0][:1])
    with pytest.warns(MihaWarning) as warned:
        result = run_in(tmp_path / "run", model).optimize()
    assert any("do not mutate" in str(w.message) for w in warned)
    loaded, _ = miha.load(result.run_dir / "model/model_final.zip", {"Silent": Silent})
    np.testing.assert_array_equal(
        loaded.predict(VALIDATION[0], verbose=0), result.model.predict(VALIDATION[0], verbose=0)
    )


def test_an_unbuilt_network_is_built_from_the_data_and_decided_by_the_seed(tmp_path):
    results = []
    for name in ("a", "b"):
        model = keras.Sequential([layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(2)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        run = run_in(tmp_path / name, model, c=1, mutations=["batch_size"])
        results.append(run.optimize())
        assert not model.built
    assert results[0].history["loss"].tolist() == results[1].history["loss"].tolist()


def named():
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Dense(4, "elu", name="first")(layers.Flatten()(inputs))
    hidden = layers.Dense(4, "elu", name="second")(hidden)
    model = keras.Model(inputs, layers.Dense(2, "softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_the_search_space_bounds_every_gene(tmp_path):
    space = SearchSpace(
        optimizers=["Adam", "SGD"], activations=["relu", "tanh"], layers=["first"],
        batch_size=(8, 32), learning_rate=(1e-4, 1e-2),
    )  # fmt: skip
    result = run_in(tmp_path / "run", named(), space=space, c=3, pop_size=4).optimize()
    for archive in result.run_dir.rglob("*.zip"):
        genome = miha.describe(archive)["genome"]
        assert genome["optimizer"] in ("adam", "sgd")
        assert 8 <= genome["batch_size"] <= 32
        assert 1e-4 <= genome["learning_rate"] <= 1e-2
        assert genome["activations"].keys() == {"first"}
        assert genome["activations"]["first"] in ("elu", "relu", "tanh")


def test_the_output_layer_mutates_when_it_is_named(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1, "sigmoid", name="out")]
    )
    model.compile("sgd", "mse")
    space = SearchSpace(["sgd"], ["relu", "tanh"], layers=["out"])
    changes = {"space": space, "mutations": ["activation"]}
    search = Search(restarts=0, rest=False)
    result = run_in(tmp_path / "run", model, search=search, **changes).optimize()
    assert result.lineage["change"].str.startswith("out: ").sum() == 4


def test_quiet_means_quiet(unfinished, capfd):
    run_in(unfinished, verbose=0).optimize()
    assert capfd.readouterr() == ("", "")


def test_the_epochs_are_announced_before_the_first(unfinished, capfd):
    class FirstEpoch(miha.Callback):
        def on_epoch_end(self, task, epoch):
            seen.append(capfd.readouterr().out)

    seen = []
    run_in(unfinished, verbose=1, callbacks=[FirstEpoch()]).optimize()
    assert seen[0].startswith("MIHA trains 10 epochs")


UNCOMPILED = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 0}, "`m` must be an integer >= 1. Received: m=0"),
        ({"n": 2.0}, "`n` must be an integer >= 1. Received: n=2.0"),
        ({"k": -1}, "`k` must be an integer >= 0"),
        ({"c": True}, "`c` must be an integer"),
        ({"pop_size": 0}, "`pop_size` must be an integer >= 1"),
        ({"pop_size": 1}, "at least 2 when clone 0 is the unchanged control"),
        ({"batch_size": 97}, "must not exceed the number of samples. Received: batch_size=97"),
        ({"batch_size": 0}, "`batch_size` must be an integer >= 1"),
        ({"validation_batch_size": -1}, "`validation_batch_size` must be"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"keep": "some"}, "`keep` must be one of"),
        ({"mode": "up"}, "`mode` must be one of"),
        ({"verbose": 7}, "`verbose` must be one of"),
        ({"callbacks": [print]}, "`callbacks` must be a list of `miha.Callback`"),
        ({"mutations": []}, "at least one mutation"),
        ({"mutations": ["color"]}, "A mutation must be one of"),
        ({"mutations": ["batch_size"], "space": SearchSpace(batch_size=(16, 16))},
         "must be able to change something"),
        ({"monitor": "val_f1"}, "`monitor` must name a value that is logged"),
        ({"space": SearchSpace(optimizers=["adamm"])}, "name of a class of `keras.optimizers`"),
        ({"space": SearchSpace(activations=["relux"])}, "elementwise function"),
        ({"space": SearchSpace(activations=["softmax"])}, "elementwise function"),
        ({"space": SearchSpace(layers=["nowhere"])}, "`layers` must name layers"),
        ({"mutations": ["batchsize"]}, "Did you mean 'batch_size'?"),
        ({"monitor": "val_acuracy"}, "Did you mean 'val_accuracy'?"),
        ({"space": SearchSpace(optimizers=["adamm"])}, "Did you mean 'adam'?"),
        ({"space": SearchSpace(activations=["relux"])}, "Did you mean 'relu'?"),
        ({"space": SearchSpace(layers=["dens"])}, "Did you mean 'dense"),
        ({"model": branched}, "the function 'branched'. Call it: model=branched()."),
        ({"model": functools.partial(branched)}, "the function"),
        ({"model": lambda: None}, "Call it: model=build(), say."),
        ({"monitor": ["val_loss"]}, "`monitor` must be the name of a logged value"),
        ({"logs": 3}, "`logs` must be the path of a folder. Received: logs=3."),
        ({"validation_data": "mnist"}, "`validation_data` must be (x, y)"),
        ({"validation_data": UNCOMPILED}, "The network comes first"),
        ({"model": keras.Sequential}, "the class 'Sequential'. Call it: model=Sequential()."),
        ({"model": UNCOMPILED}, "`model` must be compiled"),
        ({"model": "network"}, "`model` must be a `keras.Model`"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ArgumentError) as refused:
        run_in(tmp_path / "run", **{"model": plain(), **changes})
    assert message in str(refused.value)
    assert "Received" in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_data_of_another_shape_than_the_networks_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="must accept the data"):
        MIHA(plain(), np.zeros((SAMPLES, 3)), images()[1], logs=tmp_path / "run", **SHORT)


def test_a_network_that_cannot_be_built_from_x_is_refused(tmp_path):
    model = keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])
    model.compile("adam", "mse")
    with pytest.raises(ArgumentError, match="can be built from `x`"):
        MIHA(model, np.zeros((SAMPLES, 3)), images()[1], logs=tmp_path / "run", **SHORT)


def test_a_layer_that_cannot_be_serialised_is_named_with_the_cure(tmp_path):
    class Scaled(layers.Layer):
        def __init__(self, table):
            super().__init__(name="scaled")
            self.table = table

        def call(self, inputs):
            return inputs * self.table["factor"]

    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), Scaled(_Opaque(2))])
    model.compile("adam", "mse")
    with pytest.raises(ArgumentError, match=r"layer 'scaled' \(Scaled\).*get_config"):
        MIHA(model, *images(), logs=tmp_path / "run", **SHORT)


class _Opaque:
    def __init__(self, factor):
        self.factor = factor

    def __getitem__(self, name):
        return self.factor


def test_a_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunExistsError, match="new or empty"):
        run_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_archives_are_zip_files_with_one_member_more_than_keras_writes(finished):
    with zipfile.ZipFile(finished.run_dir / "model/model_final.zip") as archive:
        assert sorted(archive.namelist()) == [
            "config.json",
            "metadata.json",
            "miha.json",
            "model.weights.h5",
        ]


def test_a_custom_fitness_and_mutation_are_used(tmp_path):
    class Halve(miha.Mutation):
        gene = "learning_rate"

        def mutate(self, genome, space, rng):
            return genome.replace(learning_rate=genome.learning_rate / 2)

    result = run_in(
        tmp_path / "run", dense(), mutations=[Halve()], fitness=lambda curve: curve.last,
        pop_size=2, search=Search(control=False, restarts=0),
    ).optimize()  # fmt: skip
    assert result.genome.learning_rate == pytest.approx(0.001 / 4)
    assert result.lineage["fitness"].tolist() == result.lineage["value"].tolist()


def test_a_target_that_is_reached_at_once_ends_the_run_after_its_first_training(tmp_path):
    search = run_in(tmp_path / "run", plain(), budget=Budget(target=1e9), keep="final")
    assert search.epochs == 2 + 2 * (3 * 1 + 1)
    result = search.optimize()
    assert len(result.history) == 1
    assert result.stopped.endswith("has reached target=1e+09.")
    assert [path.name for path in result.run_dir.rglob("*.zip")] == ["model_final.zip"]
    assert result.genome == miha.load(result.run_dir / "model/model_final.zip")[1]
    values = result.model.evaluate(*VALIDATION, verbose=0, return_dict=True)
    assert values["loss"] == pytest.approx(result.best_value, rel=1e-4)


def test_bad_budgets_are_refused_and_good_ones_bound_the_epochs(tmp_path):
    with pytest.raises(ArgumentError, match="`epochs` must be an integer >= 2"):
        run_in(tmp_path / "run", plain(), epochs=1)
    with pytest.raises(ArgumentError, match="`epochs` must be at least 2 m = 4"):
        run_in(tmp_path / "run", plain(), epochs=3, m=2)
    with pytest.raises(ArgumentError, match="`seconds` must be positive"):
        run_in(tmp_path / "run", plain(), budget=Budget(seconds=0))
    bounded = run_in(tmp_path / "run", plain(), epochs=7, budget=Budget(seconds=60))
    assert bounded.epochs == 2 + 4


def test_a_run_of_open_end_is_not_refused_for_the_room_that_it_might_need(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 10**7)
    # A run as long as this would be compiled by XLA.
    arguments = {"c": 10**6, "execution": Execution(compiler="exact")}
    with pytest.raises(StorageError, match="must have room"):
        run_in(tmp_path / "a", plain(), **arguments).optimize()
    with pytest.warns(MihaWarning, match="may need less, but: .* must have room"):
        run_in(tmp_path / "b", plain(), budget=Budget(target=1e9), **arguments).optimize()


@pytest.mark.parametrize("has_validation", [True, False])
def test_the_training_loss_can_be_monitored_whatever_mutates_by_default(tmp_path, has_validation):
    x, y = images(96)
    validation = (x, y) if has_validation else None
    miha_run = miha.MIHA(
        shallow(), x, y, validation_data=validation, monitor="loss", logs=tmp_path, verbose=0
    )
    # By a loss that is smoothed, clones could not be compared.
    assert miha_run.trainer.genome.label_smoothing is None
