"""How a run's folder is opened: the run begins, or goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from miha.archive.archive import read
from miha.errors import ArchiveError, JournalError, RunExistsError
from miha.randomness import draw_seed
from miha.run.checks import check_integer
from miha.run.identity import check_same, warn_of_circumstances
from miha.storage.folder import RunFolder
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import Logbook
from miha.utils.warn import warn


def choose_seed(seed: int | None, folder: RunFolder, overwrite: bool) -> int:
    """Return the user's seed, else that of the run that goes on, else a new one.

    Args:
        seed: The user's.
        folder: Where a run may have been begun.
        overwrite: Whether that run may be replaced.

    Raises:
        ArgumentError: It is no seed.
        JournalError: The folder's run cannot be read.
    """
    if seed is not None:
        return check_integer("seed", seed, 0)
    try:
        return int(folder.description()["seed"]) if folder.has_run else draw_seed()
    except JournalError:
        if not overwrite:
            raise
        return draw_seed()


def open_run(
    folder: RunFolder,
    description: Mapping[str, Any],
    overwrite: bool,
    check_room: Callable[[RunFolder, int], None],
) -> tuple[Journal, Logbook]:
    """Begin a run in its folder, or find what has been done of it.

    Args:
        folder: Created and locked.
        description: The run's, as `describe_run` returns it.
        overwrite: Whether a run that is another one, or damaged, is replaced.
        check_room: Called before anything is written, with the number of finished trainings.

    Returns:
        The journal, ready to append, and what it holds.

    Raises:
        RunExistsError: The folder holds another run.
        JournalError: It holds a damaged run, or one of a later version.
        StorageError: It cannot be written.
    """
    journal = Journal(folder.path / "journal.jsonl")
    folder.sweep()
    past = _find(folder, journal, description, overwrite) if folder.has_run else None
    if past is None or not past.is_finished:
        check_room(folder, len(past.trainings) if past else 0)
    if past is None:
        folder.clear()
        folder.write_description(description)
        past = Logbook.of(journal.open())
    return journal, past


def _find(
    folder: RunFolder, journal: Journal, description: Mapping[str, Any], overwrite: bool
) -> Logbook | None:
    """Return what has been done of a run; None where the folder's run shall be replaced."""
    try:
        check_same(folder, description)
        entries = _usable(folder, journal, _resumed(journal), description["arguments"])
        log = Logbook.of(entries)
    except (RunExistsError, JournalError):
        if not overwrite:
            raise
        return None
    warn_of_circumstances(folder, description)
    return log


def _resumed(journal: Journal) -> list[Entry]:
    """Return what stands of a journal; a run that has given up tries its last cycles again."""
    entries = journal.open()
    log = Logbook.of(entries)
    last = max(log.winners, default=0)
    if not log.has_given_up(last):
        return entries
    failed = range(last - 2, last + 1)
    return journal.cut(next(i for i, e in enumerate(entries) if e.get("cycle") in failed))


def _usable(
    folder: RunFolder, journal: Journal, entries: Sequence[Entry], arguments: Mapping[str, Any]
) -> Sequence[Entry]:
    """Return the entries that a run can go on from: its archives are there and whole."""
    while entries and entries[-1]["event"] != "end":
        needed = sorted({*_last_networks(entries), *_best_networks(entries, arguments)})
        broken = next((i for i in needed if _is_broken(folder, entries[i])), None)
        if broken is None:
            break
        warn(
            f"The archive {entries[broken]['archive']!r}, which the run goes on from, is missing "
            "or damaged: that training and what came after it are repeated."
        )
        entries = journal.cut(broken)
    return entries


def _last_networks(entries: Sequence[Entry]) -> list[int]:
    """Return where the network's last own training is, and the clones after it."""
    trainings = [i for i, entry in enumerate(entries) if entry["event"] == "training"]
    own = [i for i in trainings if entries[i]["phase"] != "clone"]
    return [
        i for i in trainings if i >= max(own, default=0) and not entries[i].get("late")
    ] + _parents_of_late(entries)


def _parents_of_late(entries: Sequence[Entry]) -> list[int]:
    """Return where the networks are that clones go on from which were late and have not come."""
    log = Logbook.of(entries)
    there = {(entry["cycle"], entry["clone"]) for entry in log.trainings}
    waiting = {c for c, late in log.late.items() if not there.issuperset((c, i) for i in late)}
    clones = [entry for entry in log.trainings if entry["phase"] == "clone"]
    names = {entry["parent"] for entry in clones if entry["cycle"] in waiting}
    return [i for i, entry in enumerate(entries) if entry.get("archive") in names]


def _best_networks(entries: Sequence[Entry], arguments: Mapping[str, Any]) -> list[int]:
    """Return where the networks are that the run may return to."""
    log, mode = Logbook.of(entries), arguments["mode"]
    may_end_with = arguments["restore_best"] or arguments["budgets"]["target"] is not None
    best = [log.best(mode)] if may_end_with else []
    best += [log.best(mode, of_network=True)] if arguments["backtrack"] is not None else []
    names = [entry["archive"] for entry in best if entry is not None]
    return [i for i, entry in enumerate(entries) if entry.get("archive") in names]


def _is_broken(folder: RunFolder, entry: Entry) -> bool:
    if entry["archive"] is None:
        return False
    try:
        read(folder.path / entry["archive"])
    except ArchiveError:
        return True
    return False
