"""Past: the index tells what a walk through the list would."""

from __future__ import annotations

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
