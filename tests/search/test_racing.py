from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import make_loop, make_network, run

from miha.racing import Race, finalists, race
from miha.records import Schedule
from miha.search.fitness import LOSES, fittest


@pytest.mark.parametrize(
    ("n", "pop_size", "expected"),
    [
        (2, 4, Race(5, 1, 2, 1)),
        (3, 5, Race(7, 1, 3, 2)),
        (4, 6, Race(8, 2, 4, 2)),
        (2, 2, Race(2, 1, 2, 1)),
    ],
)
def test_a_race_has_the_most_candidates_within_the_epochs(n, pop_size, expected):
    found = race(Schedule(1, n, 1, 1, pop_size))
    assert found == expected
    assert found.epochs <= n * pop_size
    more = replace(
        found, candidates=found.candidates + 1, finalists=max((found.candidates + 1) // 2, 2)
    )
    assert more.epochs > n * pop_size


def clones(*scores):
    return [make_network(clone=i, fitness=score) for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "control", "expected"),
    [
        ((1.0, 3.0, 2.0, 0.0), True, [1, 0]),
        ((1.0, 3.0, 2.0, 0.0), False, [1, 2]),
        ((3.0, 1.0, 2.0, 0.0), True, [0, 2]),
        ((LOSES, 1.0, 2.0, 0.0), True, [2, 1]),
        ((LOSES, LOSES), True, []),
    ],
)
def test_the_fittest_train_on_and_the_control_among_them(scores, control, expected):
    begun = clones(*scores)
    found = finalists(fittest(begun, 2), begun[:1] if control else [], 2)
    assert [clone.task.clone for clone in found] == expected


def test_a_run_that_races_trains_no_more_epochs_than_announced(tmp_path):
    loop = make_loop(tmp_path, n=3, pop_size=5, c=2, racing=True)
    run(loop)
    assert loop.trainer.epochs == len(loop.log.history) <= loop.schedule.epochs
    for cycle in (1, 2):
        entries = [e for e in loop.log.trainings if e["phase"] == "clone" and e["cycle"] == cycle]
        assert [len(e["epochs"]) for e in entries] == [1] * 7 + [2] * 3


def test_a_finalist_goes_on_from_what_it_was_and_is_judged_by_the_networks_value(tmp_path):
    loop = make_loop(tmp_path, n=4, pop_size=5, c=1, racing=True)
    run(loop)
    entries = [e for e in loop.log.trainings if e["phase"] == "clone"]
    by_archive = {e["archive"]: e for e in entries}
    final = [e for e in entries if e["parent"] in by_archive]
    assert len(final) == 3 and loop.log.winners[1] in [e["clone"] for e in final]
    for entry in final:
        heat = by_archive[entry["parent"]]
        assert entry["genome"] == heat["genome"]
        assert entry["first_epoch"] == heat["first_epoch"] + 2
        assert entry["start"] == heat["start"] == loop.log.trainings[0]["value"]
    places = {e["archive"]: i for i, e in enumerate(loop.log.trainings)}
    for entry in final:
        ours, before = (loop.trainer.trainings[places[entry[n]]] for n in ("archive", "parent"))
        assert ours.start == before.end
