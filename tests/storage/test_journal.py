"""The journal: damage is cut off where a crash can make it, and refused everywhere else."""

from __future__ import annotations

import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miha.errors import JournalError, StorageError
from miha.storage.journal import GrowingJournal, Journal

ENTRIES = [
    {"event": "training", "value": 0.5, "genome": {"optimizer": "adam"}},
    {"event": "selection", "cycle": 1, "clone": None},
    {"event": "training", "value": math.nan, "failure": 'diverged: "loss"\nis nan', "é": "ü"},
    {"event": "end"},
]
PLAIN = [*ENTRIES[:2], {**ENTRIES[2], "value": "nan"}, ENTRIES[3]]


def written(path, entries=ENTRIES) -> Journal:
    journal = Journal(path)
    journal.open()
    for entry in entries:
        journal.append(entry)
    return journal


def valid(entries=ENTRIES) -> bytes:
    """Return the bytes of a journal, made without `Journal`: the format is what it is."""
    data, crc = b"", 0
    for entry in entries:
        rest = json.dumps({**entry, "value": "nan"} if "failure" in entry else entry)[1:] + "\n"
        crc = zlib.crc32(rest.encode(), crc)
        data += b'{"crc32": "%08x", ' % crc + rest.encode()
    return data


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("journal") / "journal.jsonl"


def test_what_is_appended_is_read(tmp_path):
    journal = written(tmp_path / "journal.jsonl")
    assert journal.read() == Journal(tmp_path / "journal.jsonl").read() == PLAIN


def test_the_format_is_one_json_object_a_line_with_a_checksum(tmp_path):
    written(tmp_path / "journal.jsonl")
    assert (tmp_path / "journal.jsonl").read_bytes() == valid()
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["event"] for line in lines] == [
        entry["event"] for entry in ENTRIES
    ]


def test_a_journal_that_is_not_there_is_empty(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.read() == journal.open() == []
    assert not (tmp_path / "journal.jsonl").exists()


def test_numbers_of_numpy_can_be_journalled(tmp_path):
    entry = {"event": "x", "m": np.int64(10), "loss": np.float32(0.5), "last": np.float32("nan")}
    journal = written(tmp_path / "journal.jsonl", [entry])
    assert journal.read() == [{"event": "x", "m": 10, "loss": 0.5, "last": "nan"}]


def test_reading_changes_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(valid()[:-3])
    assert Journal(path).read() == PLAIN[:3]
    assert path.read_bytes() == valid()[:-3]


def test_a_journal_can_be_cut_and_goes_on_there(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = written(path)
    assert journal.cut(2) == PLAIN[:2]
    journal.append({"event": "end"})
    assert Journal(path).read() == [*PLAIN[:2], {"event": "end"}]


@pytest.mark.parametrize("number", range(1, 4))
def test_damage_in_the_middle_is_refused_with_the_number_of_the_line(tmp_path, number):
    path = tmp_path / "journal.jsonl"
    lines = valid().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"event", b"evemt")
    path.write_bytes(b"".join(lines))
    for act in (Journal(path).read, Journal(path).open):
        with pytest.raises(JournalError, match=rf"journal\.jsonl', line {number}, "):
            act()
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1] + lines[2:],
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], *lines],
    ],
    ids=["lost", "lost first", "swapped", "doubled"],
)
def test_a_line_that_is_lost_moved_or_doubled_is_noticed(tmp_path, change):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(change(valid().splitlines(keepends=True))))
    with pytest.raises(JournalError, match="line"):
        Journal(path).read()


@given(length=st.integers(0, len(valid())))
def test_any_prefix_is_opened_and_appended_to(path, length):
    path.write_bytes(valid()[:length])
    whole = valid()[:length].count(b"\n")
    journal = Journal(path)
    assert journal.open() == PLAIN[:whole]
    for entry in ENTRIES[whole:]:
        journal.append(entry)
    assert path.read_bytes() == valid()


@given(length=st.integers(0, len(valid())), rubbish=st.binary(max_size=80))
def test_a_torn_tail_of_rubbish_never_spoils_what_is_appended(path, length, rubbish):
    path.write_bytes(valid()[:length] + rubbish.replace(b"\n", b"\0"))
    journal = Journal(path)
    found = journal.open()
    assert found == PLAIN[: len(found)]
    journal.append({"event": "end"})
    assert Journal(path).read() == [*found, {"event": "end"}]


@given(st.integers(0, len(valid()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_recovered_or_refused_and_never_read(path, place, mask):
    data = bytearray(valid())
    data[place] ^= mask
    path.write_bytes(bytes(data))
    try:
        found = Journal(path).open()
    except JournalError:
        assert path.read_bytes() == bytes(data)
    else:
        assert found == PLAIN[: len(found)]
        assert len(found) < len(PLAIN)


def check_changed_bits(path, bits):
    """Check that a changed bit is noticed, whichever of the bytes it is in."""
    original = valid()
    for place in range(len(original)):
        for bit in bits(place):
            data = bytearray(original)
            data[place] ^= 1 << bit
            path.write_bytes(bytes(data))
            try:
                found = Journal(path).read()
            except JournalError:
                continue
            assert found == PLAIN[: len(found)]
            assert len(found) < len(PLAIN)


def test_every_byte_changed_in_one_bit_is_noticed(path):
    check_changed_bits(path, lambda place: [place % 8])


@pytest.mark.slow
def test_every_byte_changed_in_every_bit_is_noticed(path):
    check_changed_bits(path, lambda place: range(8))


@given(st.lists(st.tuples(st.integers(0, len(valid()) - 1), st.integers(0, 255)), min_size=2))
def test_several_changed_bytes_are_recovered_or_refused(path, changes):
    data = bytearray(valid())
    for place, value in changes:
        data[place] = value
    path.write_bytes(bytes(data))
    try:
        found = Journal(path).open()
    except JournalError:
        return
    assert found == PLAIN[: len(found)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=5), max_size=5))
def test_whatever_json_can_hold_is_read_as_it_was(path, entries):
    path.unlink(missing_ok=True)
    finite = [
        {"event": "training"} | {k: v for k, v in entry.items() if "inf" not in repr(v)}
        for entry in entries
    ]
    written(path, finite)
    assert Journal(path).read() == finite


def test_a_folder_that_has_vanished_is_named(tmp_path):
    journal = Journal(tmp_path / "gone" / "journal.jsonl")
    assert journal.open() == []
    with pytest.raises(StorageError, match=r"gone/journal\.jsonl.*No such file"):
        journal.append({"event": "end"})


def grown(path, texts):
    journal = Journal(path)
    journal.open()
    for text in texts:
        journal.append({"event": text})


def events(journal):
    return [entry["event"] for entry in journal.read()]


def test_a_growing_journal_is_read_on_from_where_it_was(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    growing = GrowingJournal(path)
    assert events(growing) == []
    grown(path, "abc")
    assert events(growing) == ["a", "b", "c"]
    first = growing.read()[0]
    grown(path, "de")
    assert events(growing) == ["a", "b", "c", "d", "e"]
    assert growing.read()[0] is first  # It was not read again.


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "journal.jsonl"
    grown(path, "abc")
    whole = path.read_bytes()
    growing = GrowingJournal(path)
    ends = [end for end in range(len(whole) + 1) if end == 0 or whole[end - 1 : end] == b"\n"]
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        assert len(events(growing)) == sum(0 < end <= length for end in ends)
    path.write_bytes(whole)
    assert events(growing) == ["a", "b", "c"]


@pytest.mark.parametrize("texts", ["xyz", "x", "vwxyz"])
def test_a_journal_that_another_run_has_begun_is_read_anew(tmp_path, texts):
    path = tmp_path / "journal.jsonl"
    grown(path, "abc")
    growing = GrowingJournal(path)
    growing.read()
    grown(tmp_path / "other", texts)
    path.write_bytes((tmp_path / "other").read_bytes())  # The same file, with other lines.
    if len(texts) != 3:
        assert events(growing) == [*texts]
    (tmp_path / "other").replace(path)  # Another file.
    assert events(growing) == [*texts]


def test_a_growing_journal_that_is_damaged_is_an_error(tmp_path):
    path = tmp_path / "journal.jsonl"
    grown(path, "abc")
    growing = GrowingJournal(path)
    growing.read()
    with open(path, "ab") as file:
        file.write(b"garbage\nand more\n")
    with pytest.raises(JournalError, match="line 4"):
        growing.read()
