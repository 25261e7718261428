"""How a run's folder is opened: the run begins, or goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from miha.archive.archive import read
from miha.errors import ArchiveError, JournalError, RunExistsError
from miha.randomness import draw_seed
from miha.run.extension import extend, numbers_of_cycles, stays_ended, write_extensions
from miha.run.identity import check_same, warn_of_circumstances
from miha.run.retention import latest_networks, networks_to_return_to
from miha.search.plan import Plan
from miha.storage.folder import CHECKPOINT, RunFolder
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import FAILED_CYCLES, Logbook
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
    if not (folder.has_training or folder.has_checkpoint):
        return draw_seed()
    try:
        return int(folder.description()["seed"])
    except JournalError:
        if not overwrite:
            raise
        return draw_seed()


def open_run(
    folder: RunFolder,
    plan: Plan,
    description: Mapping[str, Any],
    overwrite: bool,
    check_space: Callable[[RunFolder, int], None],
) -> tuple[Journal, Logbook]:
    """Begin a run in its folder, or find what has been done.

    Args:
        folder: Created and locked.
        plan: What the run shall do.
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
    found = None
    if folder.has_training:
        found = _find(folder, journal, plan, description, overwrite)
    if found is None:
        check_space(folder, 0)
        # The journal goes before `run.json` is replaced: no run has another one's journal.
        folder.clear(kept=CHECKPOINT if _is_noted(folder, description) else "")
        folder.write_description(description)
        past = Logbook.of(journal.open())
        past.mode = plan.mode
        return journal, past
    past, extensions = found
    past.mode = plan.mode
    if not past.is_finished:
        check_space(folder, len(past.trainings))
    write_extensions(folder, journal, description, past, extensions)
    return journal, past


def _is_noted(folder: RunFolder, description: Mapping[str, Any]) -> bool:
    """Return whether the run in a folder has noted how far its first training has come."""
    if folder.has_training or not folder.has_checkpoint:
        return False
    try:
        check_same(folder, description)
    except (RunExistsError, JournalError):
        return False
    return True


def _find(
    folder: RunFolder,
    journal: Journal,
    plan: Plan,
    description: Mapping[str, Any],
    overwrite: bool,
) -> tuple[Logbook, list[Entry]] | None:
    """Return what has been done of a run, and what its journal lacks of its extensions.

    None where the folder's run shall be replaced.
    """
    try:
        check_same(folder, description)
        before = folder.description()
        cycles = numbers_of_cycles(before, description)
        is_longer = cycles != numbers_of_cycles(before, before)
        found = _usable(folder, journal, plan, cycles, is_longer)
    except (RunExistsError, JournalError):
        if not overwrite:
            raise
        return None
    warn_of_circumstances(folder, description)
    return found


def _usable(
    folder: RunFolder,
    journal: Journal,
    plan: Plan,
    cycles: Sequence[int],
    is_longer: bool,
) -> tuple[Logbook, list[Entry]]:
    """Return what a run can go on from: the archives of it are there and whole.

    Also return what the journal lacks of the run's extensions.
    """
    entries = _without_failed_cycles(journal)
    while True:
        log = Logbook.of(entries)
        if is_longer and stays_ended(log, plan, cycles):
            cycles, is_longer = cycles[:-1], False
        extensions = extend(log, cycles)
        if log.is_finished:
            return log, extensions
        broken = _first_broken(folder, entries, _needed(log, plan))
        if broken is None:
            return log, extensions
        archive = entries[broken]["archive"]
        if is_longer:
            raise RunExistsError(
                "A run goes on after its end where its networks are there; `keep='all'` keeps "
                f"them. Received: logs={str(folder.path)!r}, where {archive!r} is missing or "
                "damaged. Choose another folder, or begin again with overwrite=True."
            )
        warn(
            f"The archive {archive!r}, which the run goes on from, is missing "
            "or damaged: that training and what came after it are repeated."
        )
        # An extension that is cut off, too, is noted again.
        entries = journal.cut(broken)


def _without_failed_cycles(journal: Journal) -> list[Entry]:
    """Return the entries of a journal; a run that has given up tries its last cycles again."""
    entries = journal.open()
    log = Logbook.of(entries)
    last = max(log.winners, default=0)
    if not log.has_given_up(last):
        return entries
    first_failed = last - FAILED_CYCLES + 1
    # From behind: an earlier end may have had cycles of the same numbers.
    count = len(entries)
    while (entries[count - 1].get("cycle") or 0) >= first_failed:
        count -= 1
    return journal.cut(count)


def _needed(log: Logbook, plan: Plan) -> set[str | None]:
    """Return the archives that a run goes on from, or may return to."""
    to_return_to = networks_to_return_to(log, plan)
    return {record.archive for record in (*latest_networks(log), *to_return_to)}


def _first_broken(
    folder: RunFolder,
    entries: Sequence[Entry],
    archives: Collection[str | None],
) -> int | None:
    """Return the first entry of some archives that is missing or damaged."""
    # The last entry of an archive: what an earlier end had by that name is set aside.
    places = {entry.get("archive"): number for number, entry in enumerate(entries)}
    # A clone that failed has no archive.
    for number in sorted(places[name] for name in archives if name is not None):
        try:
            read(folder.path / str(entries[number]["archive"]))
        except ArchiveError:
            return number
    return None
