"""Runs in MLflow, read back by its own client."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fakes import make_loop, run
from runs import SCRIPT, at, crossed, failing, hostile, make_run, slowed

from miha.callbacks import Callback, notify
from miha.errors import MihaError
from miha.results.reader import load_run
from miha.results.trials import RunView

# MLflow's own, of the SQLAlchemy that it uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A database of MLflow: making it takes seconds."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    for name in ("miha", "resumed", "extended", "hostile", "crossed"):
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
    view = RunView.of(result)
    assert sorted(clones) == sorted(clone.name for clone in view.clones)
    for clone in view.clones:
        found = clones[clone.name]
        assert found.data.params == {name: str(value) for name, value in clone.genes.items()}
        assert found.data.tags["miha.change"] == clone.change
        assert found.info.status == ("FAILED" if clone.failure else "FINISHED")
        assert found.data.metrics.get("gain") == clone.gain
        assert "fitness" not in found.data.metrics
        assert found.info.start_time == 1000 * (began + clone.after)
        assert found.info.end_time - found.info.start_time == 1000 * clone.seconds
    history = client.get_metric_history(parent.info.run_id, "val_loss")
    line = [v for trial in view.main_line for v in trial.curve("val_loss")]
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


def test_a_run_that_goes_on_after_its_end_is_logged_whole(client, tmp_path):
    from miha.integrations.mlflow import to_mlflow

    for cycles in (1, 3):
        # The control wins: it is where the earlier end was.
        result = make_run(tmp_path / "run", c=cycles, margin=1e6)
        to_mlflow(result, client.tracking_uri, "extended")
    parent, clones = logged(client, "extended")
    assert len(clones) == 9
    history = client.get_metric_history(parent.info.run_id, "val_loss")
    told = {(metric.step, metric.value) for metric in history}
    view = RunView.of(result)
    for trial in view.main_line:
        assert {*enumerate(trial.curve("val_loss"), trial.start + 1)} <= told


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


def test_a_child_is_a_run_that_finished(client, tmp_path):
    from miha.integrations.mlflow import to_mlflow

    result = crossed(tmp_path / "run", c=1, pop_size=4, fitness=lambda curve: -curve.last)
    to_mlflow(result, client.tracking_uri, "crossed", artifacts=False)
    _, clones = logged(client, "crossed")
    view = RunView.of(result)
    assert view.winners[1].clone == 4
    for clone in view.clones:
        found = clones[clone.name]
        assert found.info.status == "FINISHED"
        assert found.data.metrics["val_loss"] == clone.value
        assert found.data.metrics.get("fitness") == clone.fitness
