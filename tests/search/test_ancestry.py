"""Ancestors: the one walk from a network to where its weights began."""

from __future__ import annotations

from fakes import FakeTrainer, make_loop, make_record, run

from miha.records import Change
from miha.search.ancestry import ancestors, main_line
from miha.storage.folder import START

RESTART = Change("restart", "fresh weights", "restart")
FIRST = make_record("initial", None, None, parent=START)
WON = make_record(clone=1, parent=FIRST.archive)
WINNER = make_record("winner", 1, None, parent=WON.archive)
FRESH = make_record(cycle=2, clone=2, parent=WINNER.archive, change=RESTART)
SECOND = make_record("winner", 2, None, parent=FRESH.archive)
RECORDS = [
    FIRST,
    make_record(clone=0, parent=FIRST.archive),
    WON,
    make_record(clone=2, archive=None, parent=FIRST.archive),
    WINNER,
    make_record(cycle=2, clone=0, parent=WINNER.archive),
    FRESH,
    SECOND,
]


def test_a_network_comes_from_its_parents():
    assert [*ancestors(RECORDS, WINNER)] == [WINNER, WON, FIRST]
    assert main_line(RECORDS, WINNER) == [FIRST, WON, WINNER]


def test_a_network_that_is_not_recorded_yet_comes_from_its_recorded_parent():
    coming = make_record("final", None, None, parent=WINNER.archive)
    assert main_line(RECORDS, coming) == [FIRST, WON, WINNER, coming]


def test_the_walk_ends_at_the_restart_from_which_the_weights_come():
    assert main_line(RECORDS, SECOND) == [FRESH, SECOND]
    assert main_line(RECORDS, FRESH) == [FRESH]


def test_the_first_training_comes_from_no_other():
    assert main_line(RECORDS, FIRST) == [FIRST]


def test_a_failed_clone_which_has_no_archive_is_nobodys_parent():
    orphan = make_record("winner", 3, None, parent=None)
    assert main_line(RECORDS, orphan) == [orphan]


def test_a_child_of_two_clones_comes_from_the_fitter_one():
    child = make_record(
        cycle=1,
        clone=3,
        parent=WON.archive,
        change=Change("crossover", "the mean", "inherit", RECORDS[1].archive),
    )
    assert main_line([*RECORDS, child], child) == [FIRST, WON, child]


def test_the_values_of_a_network_begin_with_its_restart(tmp_path):
    # The restart of cycle 1 is promising, and that of cycle 2 wins.
    values = {0: 5.0, 1: 0.9, 2: 9.0, 3: 1.0, 7: 0.0}
    script = {number: {"val_loss": value, "loss": value} for number, value in values.items()}
    loop = make_loop(tmp_path, FakeTrainer(script=script), m=3, c=3, restarts=2)
    run(loop)
    records = loop.log.trainings
    assert loop.log.winners[2] == 2 and records[7].change.is_restart

    lines = {}
    for network in records:
        if network.phase == "winner":
            lines[network.cycle] = main_line(records, network)
    assert [line[0].archive for line in lines.values()] == [
        "model/model_init.zip",
        "population/2_2_model.zip",
        "population/2_2_model.zip",
    ]
    assert loop.plan.values(lines[1])[:3] == records[0].values("val_loss")
    assert loop.plan.values(lines[2]) == [0.0, 0.0, records[8].value]
    assert [len(line) for line in lines.values()] == [3, 2, 4]


def test_a_circle_of_parents_ends():
    one = FIRST.replace(archive="one.zip", parent="two.zip")
    two = FIRST.replace(archive="two.zip", parent="one.zip")
    assert main_line([one, two], one) == [two, one]
