"""Importance: shares of the variance in gain, repeatable, and not ruled by one clone."""

from __future__ import annotations

import pytest
from drawn import edited, layout, with_genes
from runs import make_run

from miha.errors import MihaError
from miha.results.trials import RunView
from miha.visualization import importance, plot_importance
from miha.visualization.importance import gene_importance


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), c=13, pop_size=5)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(importance, "TREES", 4)


def test_importance_has_every_hyperparameter_though_some_clones_lack_it(many):
    def has_weight_decay(number, record):
        return number % 2 and record.fitness is not None

    def weight_decay(number):
        return 0.5 + 0.1 * (number % 5)

    result = with_genes(
        many,
        lambda n, r: {"weight_decay": weight_decay(n)} if has_weight_decay(n, r) else {},
    )
    result = edited(
        result,
        lambda n, r: {"value": -100.0 - 10 * weight_decay(n)} if has_weight_decay(n, r) else {},
    )
    shares = gene_importance(result).shares
    assert max(shares, key=shares.get) == "weight_decay"
    assert set(shares) == set(RunView.of(result).gene_names)


def test_a_clone_that_diverged_is_not_all_that_importance_explains(many):
    before = gene_importance(many).shares
    clones = [n for n, r in enumerate(many.log.trainings) if r.is_clone]

    def diverge(number, record):
        if number != clones[1]:
            return {}
        genome = record.genome.replace(optimizer="sgd", batch_size=1)
        return {"value": 1e30, "genome": genome}

    after = gene_importance(edited(many, diverge)).shares
    assert max(after.values()) < 0.99 and len(after) == len(before)


def test_importance_sums_to_one_and_repeats(many):
    shares = gene_importance(many).shares
    assert set(shares) <= set(RunView.of(many).gene_names)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == gene_importance(many).shares


def test_the_most_important_hyperparameter_is_on_top(many):
    names = list(gene_importance(many).shares)
    assert layout(plot_importance(many))["yaxis"]["ticktext"] == names[::-1]


def test_importance_is_bounded_and_says_what_it_rests_on(many, monkeypatch):
    monkeypatch.setattr(importance, "MOST", 60)
    found = gene_importance(many)
    assert (found.used, found.clones) == (60, 65)
    assert found.basis == "60 of 65 clones, drawn at random"
    assert gene_importance(many) == found
    assert found.basis in layout(plot_importance(many))["xaxis"]["title"]["text"]


def test_no_further_forest_begins_when_the_time_is_over(many, monkeypatch):
    monkeypatch.setattr(importance, "SECONDS", -1.0)
    assert len(list(importance._forests(importance._filled(_done(many)), 0))) == 1
    monkeypatch.setattr(importance, "SECONDS", 60.0)
    assert len(list(importance._forests(importance._filled(_done(many)), 0))) == 4


def _done(result):
    study = importance.to_optuna(result, target="gain")
    return [trial for trial in study.trials if trial.value is not None]


def test_of_too_few_clones_nothing_is_explained(tmp_path):
    with pytest.raises(MihaError, match="At least 50 clones of different gain.*Received: 48"):
        plot_importance(make_run(tmp_path, c=12, pop_size=4))
