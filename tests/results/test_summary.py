"""A run in a few sentences."""

from __future__ import annotations

import json
import re

import pytest
from fakes import FakeTrainer, make_loop
from runs import at, crossed, failing, make_run, old_run, rested, spoilt

from miha.results.reader import load_run
from miha.results.summary import duration, last_genes, short, starting_genes, summarize
from miha.results.trials import RunView
from miha.search import best
from miha.storage.folder import RunFolder


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "mnist", c=3)


def words_of(result):
    return " ".join(summarize(result))


def test_the_summary_says_start_end_and_what_changed(result):
    words = words_of(result)
    won = [clone for clone in RunView.of(result).winners.values() if clone.gene != "none"]
    assert "The run is finished: 3 of 3 cycles and 14 trainings, 25 epochs" in words
    assert "It started from optimizer sgd" in words or "started from" in words
    assert won and all(f"{c.change} in cycle {c.cycle} (gain " in words for c in won)
    assert f"In {3 - len(won)} of 3 cycles the control won." in words
    assert "failed" not in words


def test_a_cycle_without_a_winner_yet_is_not_counted(result):
    lines = (result.run_dir / "journal.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    # The first clone of the second cycle has finished, no other.
    [first] = [n for n, e in enumerate(entries) if (e.get("cycle"), e.get("clone")) == (2, 0)][:1]
    words = words_of(at(result, first + 1))
    assert re.search(r"In [01] of 1 cycles? the control won", words)


def test_the_genes_before_and_after_are_those_of_the_run(result):
    view = RunView.of(result)
    description = RunFolder(result.run_dir).description()
    assert starting_genes(view, description) == view.trials[0].genes
    assert starting_genes(view, {}) == view.trials[0].genes
    assert last_genes(view) == view.trials[-1].genes


def test_the_summary_counts_what_failed_and_where_nothing_helped(tmp_path):
    result = make_run(tmp_path, failing("batch_size"), c=4, pop_size=6)
    failed = sum(clone.failure is not None for clone in RunView.of(result).clones)
    assert failed and f"{failed} of 24 clones failed." in summarize(result)[-1]


def test_the_summary_names_the_child_of_two_clones(tmp_path):
    words = words_of(crossed(tmp_path))
    assert "the mean of clones" in words and "(gain +" in words
    assert "In 0 of 2 cycles the control won." in words


def test_the_summary_of_an_old_run_names_the_mutation_of_a_clone_of_a_clone():
    words = words_of(old_run("joined"))
    assert "fresh weights: adam" in words
    assert "In 1 of 3 cycles the control won." in words


def test_the_summary_counts_rests_and_returns(tmp_path):
    result = rested(tmp_path / "rested")
    words, rests = words_of(result), len(RunView.of(result).rests)
    times = {1: "Once", 2: "Twice"}.get(rests, f"{rests} times")
    assert "8 of 8 cycles" in words and f"{times} the network trained alone" in words
    assert "went back" not in words
    words = words_of(spoilt(tmp_path / "spoilt"))
    assert "Once the run went back to its best network." in words and "alone" not in words


def test_the_summary_says_why_a_run_ended_early_and_which_network_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(best, "NOISES", 0.0)
    script = {4: {"val_loss": 0.001}, 5: {"val_loss": 9.0}}
    changes = {"c": 9, "patience": 1, "restore_best": True}
    result = make_run(tmp_path, FakeTrainer(script=script), **changes)
    words = words_of(result)
    resulting = RunView.of(result).resulting
    assert result.stopped and f"Why it ended before its last cycle: {result.stopped}" in words
    assert resulting.phase != "final"
    assert f"ended with its best network, that of {resulting.name}: " in words
    assert f"({result.monitor} {resulting.value:.4g})" in words


def test_a_run_that_has_not_trained_yet_has_a_summary(tmp_path):
    make_loop(tmp_path)
    [only] = summarize(load_run(tmp_path))
    assert only.startswith("The run is interrupted: 0 of 2 cycles and 0 trainings")


def test_a_run_with_one_training_has_no_end(tmp_path):
    result = make_run(tmp_path)
    del result.log.trainings[1:]
    result.log.winners.clear()
    words = words_of(result)
    assert "after its first 2 epochs." in words and "ended with" not in words


def test_the_summary_says_why_fresh_weights_won(tmp_path):
    trainer = FakeTrainer(script={3: {"val_loss": 0.001}})
    words = words_of(make_run(tmp_path, trainer, c=1, restarts=1))
    assert "in cycle 1 (better than the network ever was: 0.001 against " in words


def test_a_run_that_diverged_from_the_first_has_no_best_value(tmp_path):
    words = words_of(make_run(tmp_path, FakeTrainer(diverges=lambda genome: True), c=1))
    assert "The best" not in words and "It started from" in words and "3 of 3 clones" in words


def test_many_layers_are_not_all_named_in_a_sentence(tmp_path):
    result = make_run(tmp_path)
    slots = tuple((f"layer_{i}", "relu") for i in range(100))
    for number, record in enumerate(result.log.trainings):
        genome = record.genome.replace(activations=slots)
        result.log.trainings[number] = record.replace(genome=genome)
    assert "more" in summarize(result)[1]
    assert len(summarize(result)[1]) < 1000


def test_values_and_times_are_short():
    assert (short(None), short(0.001), short("relu"), short(64)) == ("–", "0.001", "relu", "64")
    assert [duration(s) for s in (1.5, 119, 120, 7199, 7200)] == [
        *("1.5 seconds", "119 seconds", "2 minutes", "120 minutes", "2.0 hours"),
    ]
