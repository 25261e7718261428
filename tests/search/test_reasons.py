"""Reasons: each clone of a cycle has a phrase, made of what decided."""

from __future__ import annotations

import math

import pytest
from fakes import FakeTrainer, make_loop, make_plan, make_record, run
from runs import crossed, make_run, rested, spoilt

from miha.records import Change
from miha.results.reader import load_run
from miha.search import reasons
from miha.search.selection import WINDOW, Selection, noise, select
from miha.storage.journal import Journal

MUTANT = Change("batch_size", "batch size 4 -> 8")
RESTART = Change("restart", "fresh weights", "restart")
PAST = [2.0, 2.2, 1.8, 2.1, 1.9, 2.2, 1.8, 2.0]
"""A network that goes up and down."""
LIFE = [2.0, 1.8, 1.6, 1.4, 1.2, 1.1]
"""A network that learns."""


def control(value=1.0, fitness=0.0, **changes):
    return make_record(clone=0, values=(value, value), fitness=fitness, **changes)


def mutant(number, value, fitness, **changes):
    values = (value, value)
    return make_record(clone=number, values=values, fitness=fitness, change=MUTANT, **changes)


def restart(value, fitness, number=9):
    values = (value, value)
    return make_record(clone=number, values=values, fitness=fitness, change=RESTART)


def phrases(clones, gap=0.1, past=PAST, **changes):
    """Return the reasons where a mutant must be better by ``gap``."""
    values = [*past, *clones[0].values("val_loss")]
    changes["margin"] = gap / noise(values[-WINDOW:]) if gap else 0.0
    return select(clones, make_plan(**changes), past, 1).reasons


def selection(clones, past=PAST, **changes) -> Selection:
    return select(clones, make_plan(**changes), past, 1)


def test_a_mutant_wins_by_its_lead_over_the_control():
    found = phrases([control(), mutant(1, 0.88, 2.0), mutant(2, 0.95, 1.0)])
    assert found[1].startswith("fittest, ahead of the control by 0.12, more than ")
    assert found[0] == "behind clone 1 by 0.12"
    assert found[2] == "behind clone 1 by 0.07"


def test_a_control_is_kept_where_the_fittest_is_within_noise():
    clones = [control(), mutant(1, 0.99, 2.0), mutant(2, 0.5, 1.0)]
    kept = selection(clones, margin=1.0)
    spread = reasons.short(noise([*PAST, 1.0, 1.0][-WINDOW:]))
    assert kept.winner is clones[0]
    assert kept.reason == f"the fittest, clone 1, is within noise {spread} of it"
    assert kept.reasons[1] == f"within noise {spread} of the control"
    assert kept.reasons[2] == "less fit than clone 1, though better by 0.49"


@pytest.mark.parametrize(
    ("value", "of_control", "of_mutant"),
    [
        (1.2, "the fittest, clone 1, is behind it by 0.2", "behind the control by 0.2"),
        (1.0, "the fittest, clone 1, is no better", "no better than the control"),
    ],
)
def test_a_fitter_clone_may_have_no_better_value(value, of_control, of_mutant):
    found = phrases([control(), mutant(1, value, 2.0)])
    assert found == {0: of_control, 1: of_mutant}


def test_a_margin_of_several_times_the_noise_says_so():
    found = selection([control(), mutant(1, 0.99, 2.0)], margin=2.0).reasons
    assert found[1].startswith("within 2 x noise ")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.52), {0: "fittest by 0.02", 1: "behind clone 0 by 0.02"}),
        (
            (0.5, 0.4),
            {
                0: "fittest, though behind clone 1 by 0.1",
                1: "less fit than clone 0, though better by 0.1",
            },
        ),
        ((0.5, 0.5), {0: "fittest", 1: "less fit than clone 0"}),
    ],
)
def test_without_a_control_the_fittest_wins_by_its_lead(values, expected):
    clones = [mutant(number, value, 2.0 - number) for number, value in enumerate(values)]
    assert selection(clones, control=False).reasons == expected


def test_without_a_margin_a_winner_may_be_behind_the_control():
    found = phrases([control(), mutant(1, 1.2, 2.0)], gap=0)
    assert found[1] == "fittest, though behind the control by 0.2"
    assert phrases([control(), mutant(1, 1.0, 2.0)], gap=0)[1] == (
        "fittest, as good as the control"
    )


def test_of_equally_fit_clones_the_first_wins():
    found = phrases([control(fitness=1.0), mutant(1, 0.5, 1.0)])
    assert found == {
        0: "fittest, though behind clone 1 by 0.5",
        1: "as fit as the control, which comes first",
    }


def test_a_clone_that_has_lost_says_how():
    clones = [
        control(fitness=1.0),
        mutant(1, math.nan, -math.inf, failure="diverged: val_loss is nan"),
        mutant(2, 0.5, -math.inf),
    ]
    assert phrases(clones) == {
        0: "no other clone competes with it",
        1: "failed",
        2: "without a finite fitness",
    }


def test_where_all_have_lost_each_says_how_and_the_cycle_has_no_winner():
    lost = control(math.nan, -math.inf, failure="diverged")
    none = selection([lost])
    assert none.winner is None and none.reasons == {0: "failed"}
    line = reasons.selection_line(2, none.winner, none.reason, "val_loss")
    assert line == "Cycle 2: every clone has failed; the network goes on unchanged"


def test_a_control_that_failed_keeps_nobody_back():
    lost = control(math.nan, -math.inf, failure="diverged")
    found = phrases([lost, mutant(1, 1.2, 2.0)], gap=0)
    assert found == {0: "failed", 1: "fittest; the control has failed"}


def test_a_restart_wins_at_equal_age():
    clones = [control(1.0, 9.0), mutant(1, 0.9, 3.0), restart(1.11, -3.0)]
    found = selection(clones, LIFE, c=50).reasons
    assert found == {
        0: "clone 9 will overtake",
        1: "clone 9 will overtake",
        9: "ahead at equal age: 1.11 against 1.8 after 2 epochs",
    }


def test_a_restart_wins_that_is_better_than_the_network_ever_was():
    clones = [control(1.0, 9.0), restart(0.5, -3.0)]
    found = selection(clones, LIFE).reasons
    assert found[9] == "better than the network ever was: 0.5 against 1"


def test_a_restart_that_stays_behind_says_so():
    clones = [control(1.0, 0.0), mutant(1, 0.9, 3.0), restart(1.7, 9.0)]
    found = selection(clones, LIFE, margin=1.0, c=1).reasons
    assert found[9] == "will not overtake in the 3 epochs left"
    assert reasons.of_no_overtaking(0) == "no epochs are left to overtake in"


def test_where_large_is_better_leads_are_those_of_large_values():
    found = phrases([control(), mutant(1, 1.2, 2.0)], mode="max")
    assert found[1].startswith("fittest, ahead of the control by 0.2, more than ")


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0512, "0.051"), (123.4, "120"), (2.0, "2"), (1.26e-7, "1.3e-07")]
)
def test_differences_have_two_digits_that_count(difference, text):
    assert reasons.short(difference) == text


def test_the_line_of_a_cycle_names_winner_value_and_reason():
    winner = make_record(change=MUTANT, values=(0.5, 0.25))
    line = reasons.selection_line(2, winner, "fittest by 0.1", "val_loss")
    assert line == "Cycle 2: batch size 4 -> 8 wins (val_loss 0.25): fittest by 0.1"
    line = reasons.selection_line(2, make_record(), "fittest", "val_loss")
    assert line == "Cycle 2: the control wins (val_loss 0.25): fittest"


# In whole runs.


def test_every_clone_of_a_run_has_a_reason_and_the_journal_and_tables_have_it(tmp_path):
    result = make_run(tmp_path, c=3, pop_size=4, margin=1.0, restarts=2)
    assert (result.lineage["reason"] != "").all()
    entries = Journal(tmp_path / "journal.jsonl").read()
    journalled = [e["reasons"] for e in entries if e["event"] == "selection"]
    told = [phrase for cycle in journalled for phrase in cycle.values()]
    assert told == result.lineage["reason"].tolist()
    log = (tmp_path / "run.log").read_text()
    for row in result.lineage[result.lineage["selected"]].itertuples():
        assert f"Cycle {row.cycle}: " in log and row.reason in log
    assert all(phrase.split(",")[0] in (tmp_path / "lineage.csv").read_text() for phrase in told)


def test_a_run_that_goes_on_gives_the_same_reasons(tmp_path):
    changes = {"c": 3, "pop_size": 4, "margin": 1.0, "restarts": 1, "rest": True, "backtrack": 0.0}
    whole = make_run(tmp_path / "whole", **changes).log
    lines = len(Journal(tmp_path / "whole/journal.jsonl").read())
    for count in range(1, lines, 3):
        run(make_loop(tmp_path / "again", overwrite=True, **changes))
        Journal(tmp_path / "again/journal.jsonl").cut(count)
        run(make_loop(tmp_path / "again", **changes))
        again = load_run(tmp_path / "again").log
        told = (again.reasons, again.rests, again.returns)
        assert told == (whole.reasons, whole.rests, whole.returns)


def test_a_child_that_wins_says_by_how_much(tmp_path):
    result = crossed(tmp_path, c=1)
    child = result.lineage.iloc[-1]
    assert child["selected"] and child["reason"].startswith("ahead of clone ")
    assert result.lineage["reason"].str.startswith("behind its child, clone 3, by ").sum() == 1


def test_a_child_that_loses_says_so(tmp_path):
    class Worse(FakeTrainer):
        def evaluate(self):
            return {"val_loss": 99.0}

    class Broken(FakeTrainer):
        def evaluate(self):
            return {"val_loss": math.nan}

    worse = crossed(tmp_path / "worse", Worse(), c=1).lineage.iloc[-1]
    assert not worse["selected"] and worse["reason"].startswith("behind clone ")
    broken = crossed(tmp_path / "broken", Broken(), c=1).lineage.iloc[-1]
    assert broken["reason"] == "failed"


def test_rests_are_announced_once_each(tmp_path):
    log = rested(tmp_path).log
    text = (tmp_path / "run.log").read_text()
    assert log.rests and set(log.rests.values()) == {"no mutation was worth its epochs"}
    for cycle in log.rests:
        line = f"Cycle {cycle}: no mutation was worth its epochs, 7 epochs of the network alone"
        assert text.count(line) == 1
    assert "(rest 2 of 3)" in text


def test_a_run_that_goes_back_says_why(tmp_path):
    log = spoilt(tmp_path).log
    [(cycle, reason)] = log.returns.items()
    assert cycle == 1 and reason.startswith("val_loss 100 is by more than 5 % worse than ")
    text = (tmp_path / "run.log").read_text()
    assert f"After cycle 1: back to the best network, population/1_{log.winners[1]}" in text


def test_a_network_that_diverged_is_gone_back_from():
    broken = make_record("winner", 3, None, values=(math.nan,))
    best = make_record("winner", 1, None, values=(0.25,))
    reason = reasons.of_return(broken, best, "val_loss", 1.0)
    assert reason == "the network has diverged; val_loss was 0.25"
