"""A run as those who show it need it: trainings placed on the main line."""

from __future__ import annotations

import math

import pytest
from fakes import make_loop, run
from miha.results.story import Story
from runs import failing, make_run, raced, rested, spoilt

from miha.results.reader import load_run
from miha.results.trials import flat
from miha.storage.journal import Journal


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), m=3, n=2, k=1, c=3, pop_size=4)


def test_the_main_line_has_no_gaps(result):
    story = Story.of(result)
    places = [epoch for t in story.main_line for epoch in range(t.start + 1, t.end + 1)]
    assert places == list(range(1, 3 + 3 * (2 + 1) + 3 + 1))


def test_all_clones_of_a_cycle_begin_where_the_network_was(result):
    story = Story.of(result)
    starts = {cycle: {c.start for c in clones} for cycle, clones in story.cycles.items()}
    assert starts == {1: {3}, 2: {6}, 3: {9}}


def test_epochs_of_the_main_line_are_the_ages_of_the_history(result):
    history = result.history
    own = history[history["phase"] != "clone"]["epoch"].tolist()
    story = [t for t in Story.of(result).main_line if not t.is_clone]
    assert [e for t in story for e in range(t.start + 1, t.end + 1)] == own


def test_a_gain_is_the_fitness_less_that_of_the_unchanged_clone(result):
    lineage = result.lineage
    for trial in Story.of(result).clones:
        cycle = lineage[lineage["cycle"] == trial.cycle]
        control = cycle[cycle["gene"] == "none"]["fitness"].item()
        assert trial.gain == pytest.approx(trial.fitness - control)


def test_without_an_unchanged_clone_a_gain_is_the_fitness_less_the_mean(tmp_path):
    story = Story.of(make_run(tmp_path, control=False))
    for clones in story.cycles.values():
        assert sum(clone.gain for clone in clones) == pytest.approx(0, abs=1e-12)


def test_a_clone_that_failed_has_no_gain(tmp_path):
    story = Story.of(make_run(tmp_path, failing("optimizer"), c=4, pop_size=5))
    failed = [clone for clone in story.clones if clone.failure]
    assert failed
    assert all(clone.gain is None and clone.fitness == -math.inf for clone in failed)
    assert all(clone.gain is not None for clone in story.clones if not clone.failure)


def test_clones_are_settled_when_their_cycle_has_selected(tmp_path):
    run(make_loop(tmp_path))
    Journal(tmp_path / "journal.jsonl").cut(8)  # Cycle 1, and two clones of cycle 2.
    story = Story.of(load_run(tmp_path))
    assert [clone.is_settled for clone in story.clones] == [True] * 3 + [False] * 2
    assert all(trial.is_settled for trial in story.trials if not trial.is_clone)


def test_genes_within_genes_have_names_of_their_own():
    genome = {"optimizer": "sgd", "activations": {"a/b": "relu"}, "dropout": {"x": {"rate": 0.5}}}
    expected = {"optimizer": "sgd", "activations.a/b": "relu", "dropout.x.rate": 0.5}
    assert flat(genome) == expected
    assert flat({"pairs": [1, 2], "nothing": None}) == {"pairs": "1, 2", "nothing": None}


def test_a_network_may_have_two_parents(tmp_path):
    run(make_loop(tmp_path))
    result = load_run(tmp_path)
    both = ["population/1_0_model.zip", "population/1_1_model.zip"]
    [entry, change] = [result._log.trainings[4], result._log.trainings[4]["change"]]
    result._log.trainings[4] = {**entry, "parent": both}
    assert Story.of(result).trials[4].parents == tuple(both)
    result._log.trainings[4] = {**entry, "parent": both[0], "change": {**change, "mate": both[1]}}
    assert Story.of(result).trials[4].parents == tuple(both)


def test_a_clone_that_goes_on_from_another_brings_its_epochs_to_the_main_line(tmp_path):
    run(make_loop(tmp_path, c=1, pop_size=3))
    result = load_run(tmp_path)
    entries, winners = result._log.trainings, result._log.winners
    finalists = [
        {**entries[i], "clone": number, "archive": f"population/1_{number}_model.zip"}
        | {"parent": entries[i]["archive"], "fitness": entries[i]["fitness"] + number}
        for number, i in ((3, 1), (4, 2))
    ]
    entries[4:4] = finalists  # The control and clone 1 go on; clone 1 is selected.
    winners[1] = 4
    story = Story.of(result)
    assert [t.name for t in story.main_line if t.is_clone] == [
        "cycle 1, clone 1",
        "cycle 1, clone 4",
    ]
    assert [(c.start, c.end) for c in story.clones] == [(2, 4)] * 3 + [(4, 6)] * 2
    places = [e for t in story.main_line for e in range(t.start + 1, t.end + 1)]
    assert places == list(range(1, len(places) + 1))
    control, other = story.clones[3:]
    assert control.gain == 0 and other.gain == pytest.approx(other.fitness - control.fitness)


def test_a_journal_in_which_a_clone_is_its_own_parent_is_read_to_its_end(tmp_path):
    result = make_run(tmp_path)
    for number, entry in enumerate(result._log.trainings):
        result._log.trainings[number] = {**entry, "parent": entry["archive"]}
    assert len(Story.of(result).trials) == 10


def test_a_run_that_has_not_begun_is_an_empty_story(tmp_path):
    make_loop(tmp_path)
    story = Story.of(load_run(tmp_path))
    assert (story.trials, story.clones, story.best, story.varied) == ((), [], None, [])


def test_a_clone_that_goes_on_is_the_mutation_that_it_was(tmp_path):
    story = Story.of(raced(tmp_path))
    named = {clone.archive: clone for clone in story.clones}
    later = [clone for clone in story.clones if clone.goes_on]
    assert {clone.stage for clone in later} == {1, 2}
    for clone in later:
        base = named[clone.parents[0]]
        assert (clone.gene, clone.genes, clone.stage) == (base.gene, base.genes, base.stage + 1)
        assert (clone.start, clone.mutation) == (base.end, base.mutation)
        assert clone.change == f"clone {base.clone} ({base.mutation}) goes on"


def test_a_clone_that_is_made_of_two_names_each_mutation_once(tmp_path):
    story = Story.of(raced(tmp_path, c=6))
    named = {clone.archive: clone for clone in story.clones}
    joined = [clone for clone in story.clones if len(clone.parents) == 2]
    assert {"soup"} <= {clone.gene for clone in joined} <= {"soup", "crossover"}
    for clone in joined:
        fitter, other = (named[name] for name in clone.parents)
        assert f"clone {fitter.clone} ({fitter.mutation})" in clone.change
        assert f"clone {other.clone}" in clone.change and "goes on" not in clone.change
        assert not clone.goes_on and clone.stage == fitter.stage + 1


def test_a_mutation_is_counted_once_however_often_it_goes_on(tmp_path):
    story = Story.of(raced(tmp_path))
    first = [c for c in story.clones if not c.goes_on and c.gene != "none"]
    assert len(story.mutations) == len(first)
    assert [m.mutation for m in story.mutations] == [c.mutation for c in first]
    won = [clone for clone in story.won.values() if clone.gene != "none"]
    assert won and [m.name for m in story.mutations if m.selected] == [c.name for c in won]
    assert all(m.parents[0].startswith("model/") for m in story.mutations if len(m.parents) == 1)


def test_clones_that_trained_side_by_side_are_compared(tmp_path):
    story = Story.of(raced(tmp_path, c=6))
    stages = {(clone.cycle, clone.stage) for clone in story.clones}
    for cycle, stage in stages:
        group = [c for c in story.cycles[cycle] if c.stage == stage]
        ranked = sorted(group, key=lambda c: c.fitness)
        assert ranked == sorted(group, key=lambda c: c.gain)
        unchanged = [clone for clone in group if clone.gene == "none"]
        assert all(clone.gain == 0 for clone in unchanged)
        if not unchanged:  # The control is behind: those that go on keep what they had gained.
            kept = [c for c in group if c.goes_on]
            before = {c.archive: c.gain for c in story.clones}
            assert any(c.gain == pytest.approx(before[c.parents[0]]) for c in kept)


def test_a_run_that_went_back_tells_where_and_to_what(tmp_path):
    story = Story.of(spoilt(tmp_path))
    [(epoch, base)] = story.returns.items()
    assert (epoch, base.name) == (2 + 2 + 1, story.won[1].name)
    assert all(story.parent(clone) is base for clone in story.cycles[2])
    assert Story.of(make_run(tmp_path / "other", c=4)).returns == {}


def test_a_rest_is_a_cycle_without_clones(tmp_path):
    story = Story.of(rested(tmp_path))
    alone = [trial.cycle for trial in story.rests]
    assert alone and sorted([*alone, *story.cycles]) == list(range(1, 9))
    assert (story.done, len(story.starts), story.returns) == (8, 8, {})


def test_seconds_before_a_training_are_those_of_all_before_it(result):
    story = Story.of(result)
    after = 0.0
    for trial in story.trials:
        assert trial.after == pytest.approx(after)
        after += trial.seconds
