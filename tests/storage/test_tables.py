"""Tables: written whole, and so the more rarely, the longer that takes."""

from __future__ import annotations

import pytest
from fakes import make_record

from miha.storage import tables
from miha.storage.logbook import Logbook
from miha.storage.tables import Tables


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that one can set; writing takes half a second."""
    now = [100.0]

    def write(log, folder):
        now[0] += 0.5

    monkeypatch.setattr(tables.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(tables, "write_tables", write)
    return now


def test_tables_take_at_most_two_percent_of_the_time(tmp_path, clock):
    written = Tables(tmp_path)
    assert written.are_due
    written.write(Logbook())
    begun = clock[0]
    clock[0] = begun + 24.9
    assert not written.are_due
    clock[0] = begun + 25.0
    assert written.are_due


def test_tables_are_written_as_they_are_asked_for(tmp_path):
    log = Logbook()
    log.add(make_record())
    for _ in range(2):
        Tables(tmp_path).write(log)
        assert len((tmp_path / "history.csv").read_text().splitlines()) == len(log.history) + 1
