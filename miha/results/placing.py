"""The trainings of a run, each placed on the run's way, and measured by those beside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from miha.results.trials import NO_GENE, Trial, as_number, flat
from miha.storage.journal import Entry
from miha.storage.logbook import Logbook


def trials(log: Logbook) -> Iterator[Trial]:
    """Yield every training of a run, placed on the main line."""
    here, ahead = 0, 0  # Where the main line is, and where it will be with the selected clone.
    ways, cycle, seconds = _ways(log), dict[str | None, Trial](), 0.0
    placed: list[Trial] = []
    begins: dict[int, int] = {}  # Of each cycle's population; a late clone comes after the winner.
    for entry in log.trainings:
        is_clone = entry["phase"] == "clone"
        here = here if is_clone else max(here, ahead)
        # A clone may go on from another one of its cycle.
        base = cycle.get(_parents(entry)[0]) if is_clone else None
        start = begins.setdefault(entry["cycle"], here) if is_clone else here
        trial = replace(
            _trial(entry, start if base is None else base.end),
            after=seconds,
            selected=is_clone and log.winners.get(entry["cycle"]) == entry["clone"],
            is_on_main_line=not is_clone or id(entry) in ways,
            is_settled=not is_clone or entry["cycle"] in log.winners,
        )
        trial = trial if base is None else _later(trial, base)
        placed.append(trial)
        seconds += trial.seconds
        if is_clone:
            cycle |= {trial.archive: trial} if trial.archive else {}
            ahead = trial.end if trial.selected else ahead
        else:
            here, cycle = trial.end, {}
    named = list(_named(placed))
    gains = _gains(named)
    yield from (replace(trial, gain=gains.get(id(trial))) for trial in named)


def _later(trial: Trial, base: Trial) -> Trial:
    """Return a clone that goes on from one of its cycle, or was made of two, as what it is."""
    goes_on = len(trial.parents) == 1
    gene = base.gene if goes_on else trial.gene
    return replace(trial, stage=base.stage + 1, goes_on=goes_on, gene=gene)


def _named(placed: Sequence[Trial]) -> Iterator[Trial]:
    """Yield trainings, with clones that go on called by their own mutation alone.

    The journal names such a clone with all that it went on from.
    """
    before: dict[str, tuple[str, str]] = {}  # Of each archive: how the journal calls it, and we.
    for trial in placed:
        parents = [before[name] for name in trial.parents if name in before] if trial.stage else []
        told = trial.change
        for long, short in parents:
            told = told.replace(long, short)
        own = parents[0][1] if trial.goes_on else told
        if trial.is_clone and trial.archive:
            before[trial.archive] = (trial.change, own)
        yield replace(trial, change=told, mutation=own)


def _ways(log: Logbook) -> set[int]:
    """Return the selected clones, and those that they have gone on from, by identity."""
    entries = [entry for entry in log.trainings if entry["phase"] == "clone"]
    clones = {entry["archive"]: entry for entry in entries if entry["archive"] is not None}
    found: set[int] = set()
    for entry in entries:
        if log.winners.get(entry["cycle"]) == entry["clone"]:
            way: Entry | None = entry
            while way is not None and way["cycle"] == entry["cycle"] and id(way) not in found:
                found.add(id(way))
                way = clones.get(_parents(way)[0])
    return found


def _parents(entry: Entry) -> list[Any]:
    """Return the archives that a training came from, the first the one whose epochs it has."""
    parent = entry["parent"]
    return [*(parent if isinstance(parent, list) else [parent]), entry["change"].get("mate")]


def _trial(entry: Entry, start: int) -> Trial:
    failure = entry["failure"]
    return Trial(
        phase=entry["phase"],
        cycle=entry["cycle"],
        clone=entry["clone"],
        archive=entry["archive"],
        parents=tuple(str(name) for name in _parents(entry) if name is not None),
        gene=str(entry["change"]["gene"]),
        change=str(entry["change"]["text"]),
        mutation=str(entry["change"]["text"]),
        genes=flat(entry["genome"]),
        stage=0,
        goes_on=False,
        start=start,
        after=0.0,
        logs=entry["epochs"],
        value=as_number(entry["value"]),
        fitness=None if entry["fitness"] is None else float(entry["fitness"]),
        gain=None,
        selected=False,
        is_on_main_line=False,
        is_settled=False,
        late=bool(entry.get("late")),
        failure=failure.strip().splitlines()[-1] if failure and failure.strip() else failure,
    )


def _gains(placed: Sequence[Trial]) -> dict[int, float]:
    """Return how much fitter each clone was than the unchanged one, by identity.

    Those are compared that have trained side by side.
    """
    groups: dict[tuple[int | None, int], list[tuple[Trial, float]]] = defaultdict(list)
    for trial in placed:
        if trial.is_clone and trial.fitness is not None and math.isfinite(trial.fitness):
            groups[trial.cycle, trial.stage].append((trial, trial.fitness))
    gains: dict[int, float] = {}
    known: dict[str | None, float] = {}
    for clones in groups.values():
        base = _base(clones, known)
        gains |= {id(trial): fitness - base for trial, fitness in clones}
        known |= {trial.archive: fitness - base for trial, fitness in clones}
    return gains


def _base(clones: Sequence[tuple[Trial, float]], known: Mapping[str | None, float]) -> float:
    """Return the fitness that clones are measured by.

    Args:
        clones: Those that have trained side by side, each with its fitness.
        known: Gains of the clones that they go on from, by archive.
    """
    clones = [(trial, fitness) for trial, fitness in clones if not trial.late] or clones
    unchanged = [fitness for trial, fitness in clones if trial.gene == NO_GENE]
    kept = [f - known[t.parents[0]] for t, f in clones if t.goes_on and t.parents[0] in known]
    return _mean(unchanged or kept[:1] or [fitness for _, fitness in clones])


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
