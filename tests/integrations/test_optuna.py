"""Runs as studies of Optuna."""

from __future__ import annotations

import math
import sys

import pytest
from runs import at, crossed, failing, make_run, old_run, slowed

from miha.errors import MihaError
from miha.results.trials import RunView


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "mnist"
    return make_run(path, failing("batch_size"), c=4, pop_size=5)


def test_a_study_has_a_trial_for_each_clone(result):
    optuna = pytest.importorskip("optuna")
    study = result.to_optuna()
    clones = RunView.of(result).clones
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
    clones = RunView.of(result).clones
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
    done = [clone for clone in RunView.of(result).clones if clone.failure is None]
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


@pytest.mark.parametrize(("target", "trials"), [("value", 8), ("fitness", 6), ("gain", 6)])
def test_a_child_of_two_clones_has_a_value_and_no_fitness(tmp_path, target, trials):
    optuna = pytest.importorskip("optuna")
    result = crossed(tmp_path)
    url = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        study = result.to_optuna(url, target=target)
        assert len(study.trials) == trials
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    children = [t for t in study.trials if t.user_attrs["gene"] == "crossover"]
    assert all(child.value == 0.0 and child.intermediate_values == {} for child in children)
    assert len(children) == (2 if target == "value" else 0)


def test_clones_of_clones_in_an_old_run_are_trials():
    pytest.importorskip("optuna")
    result = old_run("joined")
    study = result.to_optuna()
    assert len(study.trials) == len(RunView.of(result).clones) == 24
