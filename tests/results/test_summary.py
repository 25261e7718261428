"""The summary: a run in sentences."""

from __future__ import annotations

import pytest
from fakes import FakeTrainer
from miha.results.story import Story
from runs import failing, make_run, rested, spoilt

from miha.results.summary import last_genes, summarize
from miha.search.budgets import Budgets


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "mnist", c=3)


def test_the_summary_says_start_end_best_and_what_changed(result):
    words = " ".join(summarize(result))
    story = Story.of(result)
    assert "The run is finished: 3 of 3 cycles and 14 trainings, 25 epochs" in words
    assert "It started from optimizer sgd" in words or "started from" in words
    assert f"The best val_loss was {result.best_value:.4g}" in words
    won = [c for c in story.clones if c.selected and c.gene != "none"]
    assert won and all(f"{c.change} in cycle {c.cycle} (gain " in words for c in won)
    assert f"In {3 - len(won)} of 3 cycles the control won." in words


def test_the_summary_counts_what_failed_and_where_nothing_helped(tmp_path):
    result = make_run(tmp_path, failing("batch_size"), c=4, pop_size=6)
    failed = sum(clone.failure is not None for clone in Story.of(result).clones)
    assert failed and f"{failed} of 24 clones failed." in summarize(result)[-1]


def test_the_summary_counts_rests_and_returns(tmp_path):
    result = rested(tmp_path / "rested")
    words, rests = " ".join(summarize(result)), len(Story.of(result).rests)
    times = {1: "Once", 2: "Twice"}.get(rests, f"{rests} times")
    assert "8 of 8 cycles" in words and f"{times} the network trained alone" in words
    assert "went back" not in words
    words = " ".join(summarize(spoilt(tmp_path / "spoilt")))
    assert "Once the run went back to its best network." in words and "alone" not in words


def test_the_summary_says_why_a_run_ended_early_and_which_network_it_has(tmp_path):
    budgets = Budgets(max_epochs=15)
    script = {4: {"val_loss": 0.001}, 5: {"val_loss": 9.0}}
    result = make_run(tmp_path, FakeTrainer(script=script), c=9, budgets=budgets, restore_best=True)
    words = " ".join(summarize(result))
    assert result.stopped and f"Why it ended before its last cycle: {result.stopped}" in words
    held = Story.of(result).held
    assert held.phase != "final" and f"ended with its best network, that of {held.name}: " in words
    assert f"({result.monitor} {held.value:.4g})" in words
    assert last_genes(Story.of(result)) == held.genes


def test_many_layers_are_not_all_named_in_a_sentence(tmp_path):
    result = make_run(tmp_path)
    slots = {f"layer_{i}": "relu" for i in range(100)}
    for number, entry in enumerate(result._log.trainings):
        genome = {**entry["genome"], "activations": slots}
        result._log.trainings[number] = {**entry, "genome": genome}
    assert "more" in summarize(result)[1]
    assert len(summarize(result)[1]) < 1000
