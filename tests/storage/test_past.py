"""Past: the index tells what a walk through the list would."""

from __future__ import annotations

import pytest
from fakes import make_record

from miha.storage.past import Past


def records():
    return [
        make_record(phase="initial", cycle=None, clone=None, archive="a.zip"),
        make_record(phase="clone", cycle=1, clone=0, archive="b.zip"),
        make_record(phase="clone", cycle=1, clone=1, archive=None),
        make_record(phase="winner", cycle=1, clone=None, archive="c.zip"),
        make_record(phase="clone", cycle=2, clone=0, archive="b.zip", value=0.25),
    ]


def test_trainings_are_found_by_archive_the_last_of_a_name():
    past = Past(records())
    assert past.find("a.zip") is past[0]
    assert past.find("b.zip") is past[4]
    assert past.find(None) is None and past.find("other.zip") is None


def test_trainings_are_found_by_cycle_in_their_order():
    past = Past(records())
    assert past.of_cycle(1) == past[1:4]
    assert past.of_cycle(None) == [past[0]]
    assert past.of_cycle(9) == []
    past.of_cycle(1).clear()
    assert len(past.of_cycle(1)) == 3


def test_a_list_with_an_index_is_taken_as_it_is_and_grows():
    past = Past()
    assert Past.of(past) is past
    for record in records():
        past.append(record)
    assert past == records() and past.of_cycle(2) == [past[4]]
    assert Past.of(records()).of_cycle(1) == past.of_cycle(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda past: past.__setitem__(1, make_record(phase="winner", cycle=3, archive="new.zip")),
        lambda past: past.insert(0, make_record(phase="clone", cycle=3, clone=0, archive="n.zip")),
        lambda past: past.pop(1),
        lambda past: past.__delitem__(slice(1, 3)),
        lambda past: past.extend(records()),
    ],
)
def test_what_changes_in_the_middle_changes_the_index(change):
    past = Past(records())
    assert len(past.own) == 2
    change(past)
    fresh = Past([*past])
    assert past.own == fresh.own
    for cycle in (None, 1, 2, 3):
        assert past.of_cycle(cycle) == fresh.of_cycle(cycle)
        assert past.find_clone(cycle, 0) == fresh.find_clone(cycle, 0)
    for name in ("a.zip", "b.zip", "c.zip", "new.zip", "n.zip"):
        assert past.find(name) == fresh.find(name)
