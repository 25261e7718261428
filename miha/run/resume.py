"""How a run's folder is opened: the run begins, or goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from miha.archive.archive import read
from miha.errors import ArchiveError, JournalError, RunExistsError
from miha.randomness import draw_seed
from miha.records import Judge
from miha.run.identity import check_same, warn_of_circumstances
from miha.search.best import best_network
from miha.storage.folder import RunFolder
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import PATIENCE, Logbook
from miha.utils.warn import warn
from miha.validation import check_integer


def choose_seed(
    seed: int | None,
    folder: RunFolder,
    overwrite: bool,
) -> int:
    """Return the user's seed, else that of the run that goes on, else a new one.

    Args:
        seed: The user's.
        folder: Where a run may have finished a training.
        overwrite: Whether that run may be replaced.

    Raises:
        ArgumentError: It is no seed.
        JournalError: The folder's run cannot be read.
    """
    if seed is not None:
        return check_integer("seed", seed, 0)
    if not folder.has_training:
        return draw_seed()
    try:
        return int(folder.description()["seed"])
    except JournalError:
        if not overwrite:
            raise
        return draw_seed()


def open_run(
    folder: RunFolder,
    description: Mapping[str, Any],
    overwrite: bool,
    check_space: Callable[[RunFolder, int], None],
) -> tuple[Journal, Logbook]:
    """Begin a run in its folder, or find what has been done.

    Args:
        folder: Created and locked.
        description: The run's, as `describe_run` returns it.
        overwrite: Whether a run that is another one, or damaged, is replaced.
        check_space: Called before anything is written, with the number of finished trainings.

    Returns:
        The journal, ready to append, and what it holds.

    Raises:
        RunExistsError: The folder holds another run.
        JournalError: It holds a damaged run, or one of a later version.
        StorageError: It cannot be written.
    """
    journal = Journal(folder.path / "journal.jsonl")
    folder.sweep()
    # What stopped before its first training had finished is begun again, whatever it was.
    past = None
    if folder.has_training:
        past = _find(folder, journal, description, overwrite)
    if past is None:
        check_space(folder, 0)
        # The journal goes before `run.json` is replaced: no run has another one's journal.
        folder.clear()
        folder.write_description(description)
        return journal, Logbook.of(journal.open())
    if not past.is_finished:
        check_space(folder, len(past.trainings))
    return journal, past


def _find(
    folder: RunFolder,
    journal: Journal,
    description: Mapping[str, Any],
    overwrite: bool,
) -> Logbook | None:
    """Return what has been done of a run; None where the folder's run shall be replaced."""
    try:
        check_same(folder, description)
        entries = _usable(folder, journal, description["arguments"])
        log = Logbook.of(entries)
    except (RunExistsError, JournalError):
        if not overwrite:
            raise
        return None
    warn_of_circumstances(folder, description)
    return log


def _usable(
    folder: RunFolder,
    journal: Journal,
    arguments: Mapping[str, Any],
) -> Sequence[Entry]:
    """Return the entries that a run can go on from: its archives are there and whole."""
    entries = _without_failed_cycles(journal)
    while entries and entries[-1]["event"] != "end":
        needed = {*_last_networks(entries), *_best_networks(entries, arguments)}
        broken = _first_broken(folder, entries, sorted(needed))
        if broken is None:
            break
        warn(
            f"The archive {entries[broken]['archive']!r}, which the run goes on from, is missing "
            "or damaged: that training and what came after it are repeated."
        )
        entries = journal.cut(broken)
    return entries


def _without_failed_cycles(journal: Journal) -> list[Entry]:
    """Return the entries of a journal; a run that has given up tries its last cycles again."""
    entries = journal.open()
    log = Logbook.of(entries)
    last = max(log.winners, default=0)
    if not log.has_given_up(last):
        return entries
    first_failed = last - PATIENCE + 1
    count = 0
    while entries[count].get("cycle") != first_failed:
        count += 1
    return journal.cut(count)


def _last_networks(entries: Sequence[Entry]) -> list[int]:
    """Return where the network's last own training is, and the clones after it."""
    numbers: list[int] = []
    for number, entry in enumerate(entries):
        if entry["event"] == "training":
            # The network's own training replaces all that came before it.
            if entry["phase"] != "clone":
                numbers.clear()
            numbers.append(number)
    return numbers


def _best_networks(
    entries: Sequence[Entry],
    arguments: Mapping[str, Any],
) -> list[int]:
    """Return where the networks are that the run may return to."""
    log = Logbook.of(entries)
    mode = arguments["mode"]
    search = arguments["search"]
    best = []
    if search["restore_best"]:
        best.append(best_network(log.trainings, Judge(**arguments["judge"])))
    if arguments["budget"]["target"] is not None:
        best.append(log.best(mode))
    if search["backtrack"] is not None:
        best.append(log.best_of_main_line(mode))
    archives = [record.archive for record in best if record is not None]
    return [number for number, entry in enumerate(entries) if entry.get("archive") in archives]


def _first_broken(
    folder: RunFolder, entries: Sequence[Entry], numbers: Sequence[int]
) -> int | None:
    """Return the first of some entries whose archive is missing or damaged."""
    for number in numbers:
        archive = entries[number]["archive"]
        # A clone that failed has none.
        if archive is None:
            continue
        try:
            read(folder.path / archive)
        except ArchiveError:
            return number
    return None
