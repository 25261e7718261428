"""A run as those who show it need it: trainings placed on the main line, and compared."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import FakeTrainer, make_loop, run
from runs import crossed, failing, make_run, old_run, rested, spoilt

from miha.records import Change
from miha.results.reader import load_run
from miha.results.trials import RunView, flat, trials
from miha.search.fitness import LevelAndSlope
from miha.storage.journal import Journal
from miha.storage.past import Past


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), m=3, n=2, k=1, c=3, pop_size=4)


@pytest.fixture(scope="module")
def old():
    """A run of version 0.3.0 whose clones went on from other clones."""
    return RunView.of(old_run("joined"))


def epochs_of(views):
    return [epoch for view in views for epoch in range(view.start + 1, view.end + 1)]


def test_the_main_line_has_no_gaps(result):
    view = RunView.of(result)
    assert epochs_of(view.main_line) == list(range(1, 3 + 3 * (2 + 1) + 3 + 1))


def test_all_clones_of_a_cycle_begin_where_the_network_was(result):
    view = RunView.of(result)
    starts = {cycle: {c.start for c in clones} for cycle, clones in view.cycles.items()}
    assert starts == {1: {3}, 2: {6}, 3: {9}}


def test_epochs_of_the_main_line_are_the_ages_of_the_history(result):
    history = result.history
    own = history[history["phase"] != "clone"]["epoch"].tolist()
    assert epochs_of([t for t in RunView.of(result).main_line if not t.is_clone]) == own


def test_a_view_says_what_its_record_says(result):
    view = RunView.of(result)
    for trial, record in zip(view.trials, result.log.trainings, strict=True):
        assert trial.record is record
        assert (trial.phase, trial.cycle, trial.clone) == (record.phase, record.cycle, record.clone)
        assert (trial.gene, trial.change) == (record.change.gene, record.change.text)
        assert (trial.archive, trial.value, trial.fitness) == (
            *(record.archive, record.value, record.fitness),
        )
        assert [log["val_loss"] for log in trial.logs] == trial.curve("val_loss")
        assert trial.seconds == pytest.approx(sum(log["seconds"] for log in trial.logs))
    found = trials(result.log, "min")
    assert [trial.record for trial in found] == result.log.trainings
    assert [clone.reason for clone in view.clones] == result.lineage["reason"].tolist()
    assert not any(trial.reason for trial in view.trials if not trial.is_clone)


def test_a_value_that_is_no_number_is_nan_in_a_curve(result):
    log = result.log.copy()
    first = log.trainings[0]
    vector = replace(first.epochs[0], logs={"loss": [1.0, 2.0], "val_loss": "inf"})
    log.trainings[0] = first.replace(epochs=(vector,))
    trial = next(trials(log, "min"))
    assert math.isnan(trial.curve("loss")[0]) and math.isnan(trial.curve("nothing")[0])
    assert trial.curve("val_loss") == [math.inf]


def test_a_gain_is_by_how_much_a_value_is_better_than_the_controls(result):
    lineage = result.lineage
    for trial in RunView.of(result).clones:
        cycle = lineage[lineage["cycle"] == trial.cycle]
        control = cycle[cycle["gene"] == "none"]["value"].item()
        assert trial.gain == pytest.approx(control - trial.value)


def test_where_large_is_better_a_gain_is_by_how_much_a_value_is_larger(tmp_path):
    view = RunView.of(make_run(tmp_path, monitor="val_accuracy", mode="max"))
    for clones in view.cycles.values():
        control = next(clone for clone in clones if clone.gene == "none")
        for clone in clones:
            assert clone.gain == pytest.approx(clone.value - control.value)


@pytest.mark.parametrize(
    ("fitness", "shown"),
    [(LevelAndSlope(), False), (LevelAndSlope(recovery=True), True), (lambda curve: 1.0, True)],
)
def test_fitness_is_shown_where_it_is_the_users_own(tmp_path, fitness, shown):
    assert RunView.of(make_run(tmp_path, fitness=fitness)).shows_fitness is shown


def test_without_an_unchanged_clone_a_gain_is_that_over_the_mean(tmp_path):
    view = RunView.of(make_run(tmp_path, control=False))
    for clones in view.cycles.values():
        assert sum(clone.gain for clone in clones) == pytest.approx(0, abs=1e-12)


def test_a_clone_that_failed_has_no_gain(tmp_path):
    view = RunView.of(make_run(tmp_path, failing("optimizer"), c=4, pop_size=5))
    failed = [clone for clone in view.clones if clone.failure]
    assert failed
    assert all(clone.gain is None and clone.fitness == -math.inf for clone in failed)
    assert all(clone.gain is not None for clone in view.clones if not clone.failure)


def test_clones_are_settled_when_their_cycle_has_selected(tmp_path):
    run(make_loop(tmp_path))
    Journal(tmp_path / "journal.jsonl").cut(8)  # Cycle 1, and two clones of cycle 2.
    view = RunView.of(load_run(tmp_path))
    assert [clone.is_settled for clone in view.clones] == [True] * 3 + [False] * 2
    assert all(trial.is_settled for trial in view.trials if not trial.is_clone)
    assert view.cycles_done == 1


def test_the_winners_and_the_mutations_are_those_of_the_table(result):
    view, lineage = RunView.of(result), result.lineage
    selected = lineage[lineage["selected"]]
    assert [w.clone for w in view.winners.values()] == selected["clone"].tolist()
    changed = lineage[lineage["gene"] != "none"]
    assert [m.change for m in view.mutations] == changed["change"].tolist()
    assert view.gene_kinds == sorted(changed["gene"].unique())
    assert set(view.varied) <= set(view.gene_names)


def test_the_best_training_is_the_one_with_the_best_value(result):
    view = RunView.of(result)
    assert view.best.record == result.log.best(result.mode)
    assert view.resulting.record.genome == result.genome


def test_genes_within_genes_have_names_of_their_own():
    genome = {"optimizer": "sgd", "activations": {"a/b": "relu"}, "dropout": {"x": {"rate": 0.5}}}
    expected = {"optimizer": "sgd", "activations.a/b": "relu", "dropout.x.rate": 0.5}
    assert flat(genome) == expected
    assert flat({"pairs": [1, 2], "nothing": None}) == {"pairs": "1, 2", "nothing": None}


def test_a_network_may_have_two_parents(tmp_path):
    run(make_loop(tmp_path))
    log = load_run(tmp_path).log
    both = ("population/1_0_model.zip", "population/1_1_model.zip")
    change = Change("crossover", "both", mate=both[1])
    log.trainings[4] = log.trainings[4].replace(parent=both[0], change=change)
    assert [*trials(log, "min")][4].parents == both


def test_a_child_of_two_clones_brings_the_fitter_ones_epochs_to_the_main_line(tmp_path):
    result = crossed(tmp_path)
    view = RunView.of(result)
    assert epochs_of(view.main_line) == list(range(1, 2 + 2 * (2 + 1) + 2 + 1))
    for cycle, child in view.winners.items():
        fitter, mate = view.parents(child)
        assert (child.gene, child.clone) == ("crossover", 3)
        assert (child.start, child.end) == (fitter.end, fitter.end)
        assert (child.logs, child.curve("val_loss"), child.seconds) == ([], [], 0.0)
        control = next(clone for clone in view.cycles[cycle] if clone.gene == "none")
        assert (child.value, child.fitness, child.gain) == (0.0, None, control.value)
        assert child.is_on_main_line and fitter.is_on_main_line and not mate.is_on_main_line
        assert view.cycles[cycle][-1] is child
    assert view.best in view.winners.values()
    assert view.returns == {}


def test_a_child_that_does_not_win_leaves_the_main_line_as_it_is(tmp_path):
    class Worse(FakeTrainer):
        def evaluate(self):
            return {"val_loss": 99.0}

    view = RunView.of(crossed(tmp_path, Worse()))
    children = [clone for clone in view.clones if clone.gene == "crossover"]
    assert len(children) == 2
    assert not any(child.is_on_main_line or child.selected for child in children)
    assert epochs_of(view.main_line) == list(range(1, 2 + 2 * (2 + 1) + 2 + 1))


def test_a_journal_in_which_a_clone_is_its_own_parent_is_read_to_its_end(tmp_path):
    log = make_run(tmp_path).log
    log.trainings = Past(record.replace(parent=record.archive) for record in log.trainings)
    assert len([*trials(log, "min")]) == 10


def test_a_run_that_has_not_begun_is_an_empty_view(tmp_path):
    make_loop(tmp_path)
    view = RunView.of(load_run(tmp_path))
    assert (view.trials, view.clones, view.best, view.varied) == ((), [], None, [])
    assert (view.resulting, view.cycles_done, view.starts) == (None, 0, [])


def test_clones_of_clones_in_an_old_run_are_clones(old):
    later = [clone for clone in old.clones if clone.change.endswith("goes on")]
    assert later and all(clone.is_clone for clone in later)
    for clone in later:
        [base] = old.parents(clone)
        assert base.is_clone and base.cycle == clone.cycle
        assert (clone.start, clone.gene, clone.genes) == (base.end, base.gene, base.genes)


def test_the_main_line_of_an_old_run_goes_through_both_clones(old):
    for trial in old.main_line:
        assert trial.start + 1 == trial.record.first_epoch
    assert epochs_of(old.main_line) == list(range(1, 15 + 1))
    for winner in old.winners.values():
        base = old.parent(winner)
        while base.is_clone:
            assert base.is_on_main_line and not base.selected
            base = old.parent(base)
    assert old.returns == {}


def test_clones_of_an_old_run_that_trained_side_by_side_are_compared(old):
    beginnings = {(clone.cycle, clone.start) for clone in old.clones}
    assert len(beginnings) > len(old.cycles)
    for cycle, start in beginnings:
        group = [c for c in old.cycles[cycle] if c.start == start]
        assert sorted(group, key=lambda c: -c.value) == sorted(group, key=lambda c: c.gain)
        assert all(clone.gain == 0 for clone in group if clone.gene == "none")


def test_a_run_that_went_back_tells_where_and_to_what(tmp_path):
    view = RunView.of(spoilt(tmp_path / "spoilt"))
    [(epoch, base)] = view.returns.items()
    assert (epoch, base.name) == (2 + 2 + 1, view.winners[1].name)
    assert all(view.parent(clone) is base for clone in view.cycles[2])
    assert RunView.of(make_run(tmp_path / "other", c=4)).returns == {}


def test_a_rest_is_a_cycle_without_clones(tmp_path):
    view = RunView.of(rested(tmp_path))
    alone = [trial.cycle for trial in view.rests]
    assert alone and sorted([*alone, *view.cycles]) == list(range(1, 9))
    assert (view.cycles_done, len(view.starts), view.returns) == (8, 8, {})


def test_seconds_before_a_training_are_those_of_all_before_it(result):
    after = 0.0
    for trial in RunView.of(result).trials:
        assert trial.after == pytest.approx(after)
        after += trial.seconds
