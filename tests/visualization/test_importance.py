"""Importance: shares of the variance in gain, repeatable, and not ruled by one clone."""

from __future__ import annotations

import pytest
from drawn import edited, layout, with_genes
from runs import make_run

from miha.errors import MihaError
from miha.results.trials import RunView
from miha.visualization import plot_importance
from miha.visualization.importance import gene_importance


@pytest.fixture(scope="module")
def eight_cycles(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), c=8, pop_size=5)


def test_importance_has_every_hyperparameter_though_some_clones_lack_it(eight_cycles):
    def has_weight_decay(number, record):
        return number % 2 and record.fitness is not None

    def weight_decay(number):
        return 0.5 + 0.1 * (number % 5)

    result = with_genes(
        eight_cycles,
        lambda n, r: {"weight_decay": weight_decay(n)} if has_weight_decay(n, r) else {},
    )
    result = edited(
        result,
        lambda n, r: {"value": -100.0 - 10 * weight_decay(n)} if has_weight_decay(n, r) else {},
    )
    shares = gene_importance(result)
    assert max(shares, key=shares.get) == "weight_decay"
    assert set(shares) == set(RunView.of(result).gene_names)


def test_a_clone_that_diverged_is_not_all_that_importance_explains(eight_cycles):
    before = gene_importance(eight_cycles)
    clones = [n for n, r in enumerate(eight_cycles.log.trainings) if r.is_clone]

    def diverge(number, record):
        if number != clones[1]:
            return {}
        genome = record.genome.replace(optimizer="sgd", batch_size=1)
        return {"value": 1e30, "genome": genome}

    after = gene_importance(edited(eight_cycles, diverge))
    assert max(after.values()) < 0.99 and len(after) == len(before)


def test_importance_sums_to_one_and_repeats(result):
    shares = gene_importance(result)
    assert set(shares) <= set(RunView.of(result).gene_names)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == gene_importance(result)


def test_the_most_important_hyperparameter_is_on_top(result):
    names = list(gene_importance(result))
    assert layout(plot_importance(result))["yaxis"]["ticktext"] == names[::-1]


def test_of_too_few_clones_nothing_is_explained(tmp_path):
    with pytest.raises(MihaError, match="At least 4 clones of different gain.*Received: 3"):
        plot_importance(make_run(tmp_path, c=1, pop_size=3))
