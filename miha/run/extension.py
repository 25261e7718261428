"""How a run goes on after its end: with more cycles, or a larger budget, than it was begun with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from miha.errors import ArgumentError, JournalError, RunExistsError
from miha.records import Schedule
from miha.search.budgets import choose_schedule
from miha.search.plan import Plan
from miha.search.stopping import stop_reason
from miha.storage.folder import FINAL, RunFolder, earlier_end
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import Logbook
from miha.utils.warn import warn


def schedule_in(
    folder: RunFolder,
    wanted: Schedule,
    epochs: int | None,
    letters: Mapping[str, int | None],
    control: bool,
) -> Schedule:
    """Return the schedule that a total means for the run in a folder: its letters, more cycles.

    A larger total alone would choose another m, too, and so another run.

    Args:
        folder: Where a run may have finished a training.
        wanted: What the user's arguments mean for a new run.
        epochs: The user's total, or None.
        letters: Those that the user gave, None where they gave none.
        control: Whether one clone is the unchanged control.
    """
    found = _recorded(folder)
    if epochs is None or found is None or found == wanted:
        return wanted
    own = {
        "m": found.m,
        "n": found.n,
        "k": found.k,
        "c": None,
        "pop_size": found.pop_size,
    }
    own |= {name: value for name, value in letters.items() if value is not None}
    try:
        return choose_schedule(epochs, **own, control=control)
    except ArgumentError:
        return wanted


def warn_without_room(
    folder: RunFolder,
    wanted: Schedule,
    chosen: Schedule,
    epochs: int | None,
) -> None:
    """Warn where a larger total gives the run in a folder no other cycle.

    Args:
        folder: It has this run.
        wanted: What the user's arguments mean for a new run.
        chosen: What `schedule_in` has made of it.
        epochs: The user's total, or None.
    """
    found = _recorded(folder)
    if epochs is None or found is None or found == wanted:
        return
    if chosen == found and epochs > found.epochs:
        warn(
            f"The run in {str(folder.path)!r} stays as it is: epochs={epochs} has no room for "
            f"another cycle of {found.epochs_of_cycle} epochs. "
            f"The next total is {found.with_cycles(found.c + 1).epochs}."
        )


def _recorded(folder: RunFolder) -> Schedule | None:
    """Return the schedule of the run in a folder; None where there is none that can be read."""
    if not folder.has_training:
        return None
    try:
        return Schedule(**folder.description()["arguments"]["schedule"])
    except (JournalError, LookupError, TypeError):
        # Whoever opens the run says what is wrong with it.
        return None


def numbers_of_cycles(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[int]:
    """Return how many cycles a run was to have, one number after another, the wanted one last.

    A number that is there twice running stands for a larger budget.

    Args:
        found: What `run.json` says.
        wanted: What the user wants, of the same run.
    """
    numbers = [schedule["c"] for schedule in _schedules(found)]
    before, now = found["arguments"], wanted["arguments"]
    c = int(now["schedule"]["c"])
    if c == numbers[-1] and before["budget"] == now["budget"]:
        return numbers
    return [*numbers, c]


def extend(log: Logbook, cycles: Sequence[int]) -> list[Entry]:
    """Note the extensions of a run that its journal does not have; return the entries to append.

    Args:
        log: What the journal says.
        cycles: See `numbers_of_cycles`.
    """
    entries = []
    for before, now in pairwise(cycles[len(log.extensions) :]):
        entry = log.extend_from(before, has_more_cycles=now > before)
        entries.append(entry)
    return entries


def stays_ended(log: Logbook, plan: Plan, cycles: Sequence[int]) -> bool:
    """Return whether more cycles or a larger budget change nothing: the run ends where it did.

    Args:
        log: What the journal says.
        plan: What the run shall do now.
        cycles: See `numbers_of_cycles`; the last one is new.

    Raises:
        RunExistsError: More cycles were asked for, and its budget would end the run before.
    """
    end = log.last
    if end is None or end.phase != "final":
        return False
    before, c = cycles[-2:]
    if c == before and log.stopped is None:
        # It came to its last cycle, and no budget had a part in that.
        return True
    if not log.is_finished:
        return False

    longer = log.copy()
    longer.extend_from(before, has_more_cycles=c > before)
    next_cycle = longer.extensions[-1].first_cycle
    network = log.trainings.find(end.parent) or end
    reason = stop_reason(plan, longer, next_cycle, network)
    if reason is None:
        return False
    if c > before:
        raise RunExistsError(
            "A run can be given more cycles where its budget has room for them. Received: "
            f"c={c}, for a run that would end where it has ended: {reason} Give it a larger "
            "`budget`, too."
        )
    warn(f"The run stays as it is, for its budget ends it where it has ended: {reason}")
    return True


def write_extensions(
    folder: RunFolder,
    journal: Journal,
    description: Mapping[str, Any],
    log: Logbook,
    entries: Sequence[Entry],
) -> None:
    """Write what a run was given: `run.json` first, which tells of what the journal may lack.

    Args:
        folder: The run's.
        journal: Its journal, opened already.
        description: The run's, with the new number of cycles or the new budget.
        log: What has happened.
        entries: What `extend` has returned.
    """
    if not entries:
        return
    found = folder.description()
    if len(numbers_of_cycles(found, description)) > len(_schedules(found)):
        schedules = [*_schedules(found), _schedule_of(description)]
        changed = {"schedules": schedules, "started": found["started"]}
        folder.write_description({**description, **changed})
    aside = {record.archive for record in log.set_aside}
    first = len(log.extensions) - len(entries) + 1
    for number, entry in enumerate(entries, first):
        end = folder.path / FINAL
        name = earlier_end(number)
        # The archive of the new end will have the name of the earlier one.
        if name in aside and end.exists():
            folder.write_archive(name, end.read_bytes())
        journal.append(entry)


def _schedules(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the schedules that a run has had, the present one last."""
    return list(found.get("schedules", [_schedule_of(found)]))


def _schedule_of(description: Mapping[str, Any]) -> dict[str, Any]:
    arguments = description["arguments"]
    return {
        "c": arguments["schedule"]["c"],
        "epochs": description["epochs"],
        "budget": arguments["budget"],
        "since": description["started"],
    }


def in_words(log: Logbook) -> str:
    """Return what was set aside for the extensions of a run; empty where nothing was."""
    epochs = sum(len(record.epochs) for record in log.set_aside)
    if not epochs:
        return ""
    return (
        f"It goes on after its end, from the network of its last cycle: "
        f"{epochs} epochs of the earlier end are not part of the lineage."
    )
