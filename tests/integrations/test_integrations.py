"""Runs in Optuna, TensorBoard and MLflow, read back by their own readers."""

from __future__ import annotations

import datetime
import math
import sys
from pathlib import Path

import pytest
from fakes import make_loop, run
from miha.results.story import Story
from runs import SCRIPT, failing, hostile, make_run

from miha.callbacks import Callback, notify
from miha.errors import MihaError
from miha.results.reader import load_run
from miha.storage.folder import RunFolder
from miha.storage.journal import Journal

# MLflow's own, of the SQLAlchemy that it uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(
        tmp_path_factory.mktemp("run") / "mnist", failing("batch_size"), c=4, pop_size=5
    )


def at(result, lines):
    """Return the run as it was when its journal had so many lines."""
    path = result.run_dir / "journal.jsonl"
    whole = path.read_bytes()
    Journal(path).cut(lines)
    early = load_run(result.run_dir)
    path.write_bytes(whole)
    return early


def slowed(result):
    """Return a run whose epochs took two seconds each, and when it began."""
    for number, entry in enumerate(result._log.trainings):
        epochs = [{**epoch, "seconds": 2.0} for epoch in entry["epochs"]]
        result._log.trainings[number] = {**entry, "epochs": epochs}
    started = RunFolder(result.run_dir).description()["started"]
    return result, datetime.datetime.fromisoformat(started).timestamp()


# Optuna


def test_a_study_has_a_trial_for_each_clone(result):
    optuna = pytest.importorskip("optuna")
    study = result.to_optuna()
    clones = Story.of(result).clones
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert len(study.trials) == len(clones)
    for trial, clone in zip(study.trials, clones, strict=True):
        failed = clone.failure is not None
        assert trial.state == optuna.trial.TrialState[("COMPLETE", "FAIL")[failed]]
        assert trial.params == clone.genes
        assert trial.value == (None if failed else clone.value)
        assert trial.user_attrs["change"] == clone.change
        assert trial.user_attrs["selected"] == clone.selected
        values = [v for v in clone.curve("val_loss") if not math.isnan(v)]
        assert list(trial.intermediate_values.values()) == values
    best = min(clone.value for clone in clones if clone.failure is None)
    assert study.best_value == best


def test_a_study_in_a_file_is_read_back_and_grows_with_the_run(result, tmp_path):
    optuna = pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path}/study.db"
    early = at(result, 10).to_optuna(url)
    assert len(early.trials) == 5  # Cycle 2 has clones, but has not selected yet.
    for _ in range(2):
        assert len(result.to_optuna(url).trials) == 20
    loaded = optuna.load_study(study_name="mnist", storage=url)
    assert [t.params for t in loaded.trials] == [t.params for t in result.to_optuna().trials]
    assert loaded.user_attrs["monitor"] == "val_loss"


def test_a_trial_has_the_time_at_which_its_clone_trained(tmp_path):
    pytest.importorskip("optuna")
    result, began = slowed(make_run(tmp_path))
    clones = Story.of(result).clones
    for trial, clone in zip(result.to_optuna().trials, clones, strict=True):
        assert trial.datetime_start.timestamp() == pytest.approx(began + clone.after)
        assert trial.duration.total_seconds() == 4.0
    assert [clone.after for clone in clones] == [4, 8, 12, 18, 22, 26]


def test_a_study_of_another_run_or_target_is_refused(result, tmp_path):
    pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path}/study.db"
    result.to_optuna(url, "study")
    with pytest.raises(MihaError, match="Give another `study_name`"):
        make_run(tmp_path / "other").to_optuna(url, "study")
    with pytest.raises(MihaError, match="`target` must be"):
        result.to_optuna(target="speed")


def test_trials_of_somebody_elses_are_never_deleted(result, tmp_path):
    optuna = pytest.importorskip("optuna")
    url = f"sqlite:///{tmp_path}/study.db"
    study = at(result, 10).to_optuna(url)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(MihaError, match="which has other trials"):
        result.to_optuna(url)
    assert len(study.trials) == 6


@pytest.mark.parametrize("target", ["fitness", "gain"])
def test_a_study_may_be_of_fitness_or_gain(result, target):
    optuna = pytest.importorskip("optuna")
    study = result.to_optuna(target=target)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    done = [clone for clone in Story.of(result).clones if clone.failure is None]
    assert study.best_value == max(getattr(clone, target) for clone in done)


def test_optunas_own_figures_show_the_run(result):
    pytest.importorskip("optuna")
    pytest.importorskip("plotly")
    from optuna import visualization

    study = result.to_optuna()
    for plot in (
        visualization.plot_optimization_history,
        visualization.plot_parallel_coordinate,
        visualization.plot_slice,
        visualization.plot_intermediate_values,
    ):
        assert plot(study).data


def test_without_optuna_the_message_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[optuna\]'"):
        result.to_optuna()


# TensorBoard


def scalars(folder):
    """Read every scalar as TensorBoard does: run, tag, step, value."""
    event_file_loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader"
    )
    found = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    name = path.parent.relative_to(folder).as_posix()
                    found.setdefault((name, value.tag), {})[event.step] = value.simple_value
    return found


def test_tensorboard_reads_the_main_line_and_every_clone(result, tmp_path):
    pytest.importorskip("tensorboard")
    folder = result.to_tensorboard(tmp_path / "board")
    found, story = scalars(folder), Story.of(result)
    line = {e: v for t in story.main_line for e, v in enumerate(t.curve("val_loss"), t.start + 1)}
    assert found["main_line", "val_loss"] == pytest.approx(line, nan_ok=True)
    assert found["main_line", "genome/batch_size"][1] == 4
    for clone in story.clones:
        name = f"cycle_{clone.cycle:03d}/clone_{clone.clone}"
        told = dict(enumerate(clone.curve("loss"), clone.start + 1))
        assert found[name, "loss"] == pytest.approx(told, nan_ok=True)
        assert ((name, "gain") in found) == (clone.gain is not None)


def test_tensorboard_reads_the_hyperparameters_of_every_clone(result, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    from tensorboard.plugins.hparams import metadata

    folder = result.to_tensorboard(tmp_path / "board")
    for clone in Story.of(result).clones:
        [path] = (folder / f"cycle_{clone.cycle:03d}/clone_{clone.clone}").iterdir()
        told = {
            value.tag: value.metadata.plugin_data.content
            for event in loader.LegacyEventFileLoader(str(path)).Load()
            for value in event.summary.value
            if value.tag.startswith("_hparams_")
        }
        start = metadata.parse_session_start_info_plugin_data(told[metadata.SESSION_START_INFO_TAG])
        genes = {n: v.string_value or v.number_value for n, v in start.hparams.items()}
        assert genes == clone.genes
        end = metadata.parse_session_end_info_plugin_data(told[metadata.SESSION_END_INFO_TAG])
        assert end.status == (2 if clone.failure else 1)


def test_tensorboard_finds_hyperparameters_that_come_with_an_optimizer(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import backend_context

    result = make_run(tmp_path / "run")
    folder = tmp_path / "board"
    at(result, 6).to_tensorboard(folder)  # While the run goes on, with what there is so far.
    for number, entry in enumerate(result._log.trainings):
        if entry["cycle"] == 2:
            genome = {**entry["genome"], "momentum": 0.9}
            result._log.trainings[number] = {**entry, "genome": genome}
    result.to_tensorboard(folder)
    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(folder))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(folder))
    reader = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = context.RequestContext()
    runs = reader.hparams_metadata(asked, "")
    found = reader.experiment_from_metadata(asked, "", True, runs, None)
    names = {info.name for info in found.hparam_infos}
    assert names == {*Story.of(result).gene_names} and "momentum" in names
    assert {"val_loss", "fitness", "gain"} <= {i.name.tag for i in found.metric_infos}


def test_a_callback_writes_for_tensorboard_while_the_run_goes_on(tmp_path, result):
    pytest.importorskip("tensorboard")
    from miha.integrations.tensorboard import TensorBoard

    board, seen = TensorBoard(), []

    class Looking(Callback):
        def on_cycle_end(self, cycle, clones):
            seen.append(len(list((tmp_path / "run/tensorboard").rglob("*tfevents*"))))

    loop = make_loop(tmp_path / "run", callbacks=[board, Looking()])
    notify([board], Callback.on_run_begin, loop.schedule, str(tmp_path / "run"))
    run(loop)
    notify([board], Callback.on_run_end, load_run(tmp_path / "run"))
    assert seen == sorted(seen) and seen[-1] > 1
    complete = load_run(tmp_path / "run").to_tensorboard(tmp_path / "again")
    assert scalars(tmp_path / "run/tensorboard") == scalars(complete)
    make_loop(tmp_path / "run", overwrite=True, seed=9)
    assert not list((tmp_path / "run").rglob("*tfevents*"))


def test_without_tensorboard_the_message_says_what_to_install(result, monkeypatch, tmp_path):
    for name in ("tensorboard", "tensorboard.compat.proto.event_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams.plugin_data_pb2", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[tensorboard\]'"):
        result.to_tensorboard(tmp_path)


# MLflow


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A database of MLflow: making it takes seconds."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    for name in ("miha", "resumed", "hostile"):
        client.create_experiment(name, artifact_location=(folder / "artifacts").as_uri())
    return client


def logged(client, name="miha"):
    """Return the run of MLflow's that a run is, and its clones' in order."""
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    [parent] = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    clones = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {r.data.tags["mlflow.runName"]: r for r in clones}


def test_mlflow_reads_the_run_and_its_clones(client, tmp_path):
    from miha.integrations.mlflow import to_mlflow

    result, began = slowed(make_run(tmp_path / "mnist", failing("batch_size")))
    for early in (slowed(at(result, 6))[0], result, result):  # Called again, it adds what is new.
        to_mlflow(early, client.tracking_uri)
    parent, clones = logged(client)
    story = Story.of(result)
    assert sorted(clones) == sorted(clone.name for clone in story.clones)
    for clone in story.clones:
        found = clones[clone.name]
        assert found.data.params == {name: str(value) for name, value in clone.genes.items()}
        assert found.data.tags["miha.change"] == clone.change
        assert found.info.status == ("FAILED" if clone.failure else "FINISHED")
        assert found.data.metrics.get("gain") == clone.gain
        assert found.info.start_time == 1000 * (began + clone.after)
        assert found.info.end_time - found.info.start_time == 1000 * clone.seconds
    history = client.get_metric_history(parent.info.run_id, "val_loss")
    line = [v for trial in story.main_line for v in trial.curve("val_loss")]
    assert [m.value for m in sorted(history, key=lambda m: m.step)] == line
    assert parent.data.params["seed"] == "0"
    assert parent.data.params["start.optimizer"] == "sgd"
    names = {item.path for item in client.list_artifacts(parent.info.run_id, "networks")}
    assert names == {f"networks/{Path(archive).name}" for archive in result.archives}


def test_a_callback_logs_to_mlflow_and_goes_on_where_it_was(client, tmp_path):
    from miha.integrations.mlflow import MLflow

    class Failing(Callback):
        def on_training_begin(self, task):
            if task.archive == "population/2_1_model.zip":
                raise ValueError("enough")

    def go(*more):
        callback = MLflow(client.tracking_uri, "resumed")
        loop = make_loop(tmp_path / "run", callbacks=[callback, *more])
        notify([callback], Callback.on_run_begin, loop.schedule, str(tmp_path / "run"))
        run(loop)
        notify([callback], Callback.on_run_end, load_run(tmp_path / "run"))

    with pytest.raises(MihaError, match="enough"):
        go(Failing())
    go()
    parent, clones = logged(client, "resumed")
    assert len(clones) == 6
    assert parent.info.status == "FINISHED"


def test_an_address_that_mlflow_does_not_take_ends_a_run_before_it_trains(client, tmp_path):
    from miha.integrations.mlflow import MLflow

    callback = MLflow("nowhere://mlflow")
    with pytest.raises(MihaError, match=r"`tracking_uri` must be an address.*sqlite:///mlflow\.db"):
        notify([callback], Callback.on_run_begin, None, str(tmp_path / "run"))


def test_names_that_mlflow_does_not_take_are_spelled_otherwise(client, tmp_path):
    from miha.integrations.mlflow import to_mlflow

    result = make_run(tmp_path / "run", hostile(), pop_size=4)
    to_mlflow(result, client.tracking_uri, "hostile", artifacts=False)
    parent, clones = logged(client, "hostile")
    assert len(clones) == 8
    assert SCRIPT not in str(parent.data.params)


def test_without_mlflow_the_message_says_what_to_install(monkeypatch):
    from miha.integrations.mlflow import MLflow

    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[mlflow\]'"):
        MLflow()
