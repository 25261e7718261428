"""What happened in a run, as the journal has it, and the two tables made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import JournalError
from miha.records import Mode, Task, TrainingRecord, as_loss, gain
from miha.storage.disk import write_whole
from miha.storage.folder import earlier_end
from miha.storage.journal import Entry
from miha.storage.past import Past

if TYPE_CHECKING:
    import pandas as pd

FAILED_CYCLES = 3
"""Cycles in a row in which every clone fails, after which a run gives up."""


@dataclass(frozen=True)
class Extension:
    """More cycles or a larger budget for a run that was begun with less.

    Attributes:
        first_cycle: The first cycle that is decided with the new number in mind.
        before: How many cycles the run had until then.
        kept: How many trainings stay in the lineage, from the first on.
        removed: How many that came after those do not.
    """

    first_cycle: int
    before: int
    kept: int
    removed: int


@dataclass
class Logbook:
    """What the journal says of a run.

    Attributes:
        trainings: The finished trainings, in order.
        winners: The selected clone of each cycle; None if all had lost.
        reasons: For each cycle, why each of its clones was selected or not.
        rests: Why the network trained alone, for each cycle in which it did.
        returns: Why the run went back to an older network, for each cycle after which it did.
        stopped: Why the run went to its end before its last cycle, if it did.
        is_finished: Whether the run has come to its end.
        extensions: When the run was given more cycles or a larger budget, and how many cycles it
            had before.
        set_aside: Trainings of earlier ends, which an extended run does not go on from.
        mode: Whether the monitored value is better small or large.
    """

    trainings: Past = field(default_factory=Past)
    winners: dict[int, int | None] = field(default_factory=dict)
    is_finished: bool = False
    stopped: str | None = None
    reasons: dict[int, dict[int, str]] = field(default_factory=dict)
    rests: dict[int, str] = field(default_factory=dict)
    returns: dict[int, str] = field(default_factory=dict)
    extensions: list[Extension] = field(default_factory=list)
    set_aside: list[TrainingRecord] = field(default_factory=list)
    mode: Mode = "min"

    def __post_init__(self) -> None:
        self.trainings = Past.of(self.trainings)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Logbook:
        """Return the logbook of a journal's entries; events of other kinds are passed over."""
        log = cls()
        log.extend(entries)
        return log

    def extend(self, entries: Iterable[Entry]) -> None:
        """Note what a journal says further."""
        for entry in entries:
            self._read(entry)

    def _read(self, entry: Entry) -> None:
        event = entry["event"]
        if event == "training":
            self.trainings.append(TrainingRecord.from_json(entry))
        elif event == "selection":
            self.winners[entry["cycle"]] = entry["clone"]
            # Earlier versions gave no reasons.
            reasons = entry.get("reasons", {})
            self.reasons[entry["cycle"]] = {int(clone): text for clone, text in reasons.items()}
        elif event == "rest":
            self.rests[entry["cycle"]] = entry["reason"]
        elif event == "return":
            self.returns[entry["cycle"]] = entry["reason"]
        elif event == "stop":
            self.stopped = entry["reason"]
        elif event == "end":
            self.is_finished = True
        elif event == "extension":
            self._extend(entry["first_cycle"], entry["before"], entry["trainings"])

    def _extend(
        self,
        first: int,
        before: int,
        kept: int,
    ) -> None:
        """Note an extension; set all trainings aside but the first ones."""
        removed = len(self.trainings) - kept
        for record in self.trainings[kept:]:
            if record.phase == "final":
                # Its archive makes room for that of the new end.
                record = record.replace(archive=earlier_end(len(self.extensions) + 1))
            self.set_aside.append(record)
        self.trainings = Past(self.trainings[:kept])
        self.extensions.append(Extension(first, before, kept, removed))
        # New dictionaries: copies of the logbook share the old ones.
        self.rests = {cycle: text for cycle, text in self.rests.items() if cycle < first}
        self.returns = {cycle: text for cycle, text in self.returns.items() if cycle < first}
        self.stopped = None
        self.is_finished = False

    def extend_from(self, before: int, has_more_cycles: bool) -> Entry:
        """Note that the run may go on for longer from now on; return the journal's entry.

        Its cycles stay. What was trained for the earlier end is set aside.

        Args:
            before: How many cycles it had.
            has_more_cycles: Whether it has more now, so that the rate falls later; else it has a
                larger budget.
        """
        kept = 0
        for record in self.trainings:
            if record.phase == "final" or (has_more_cycles and _has_falling_rate(record)):
                break
            kept += 1
        first = max([*self.winners, *self.rests], default=0) + 1
        for record in self.trainings[kept:]:
            # A rest at a rate that fell is decided again.
            first = min(first, record.cycle or first)
        self._extend(first, before, kept)
        return {
            "event": "extension",
            "first_cycle": first,
            "before": before,
            "trainings": kept,
        }

    def without_events(self) -> Logbook:
        """Return a logbook of the same run in which nothing has happened yet."""
        return Logbook(
            extensions=[*self.extensions],
            set_aside=[*self.set_aside],
            mode=self.mode,
        )

    def place(self, number: int) -> int:
        """Return which training of the journal one of the lineage is, both counted from 0."""
        removed = 0
        for extension in self.extensions:
            if number >= extension.kept:
                removed += extension.removed
        return number + removed

    def set_aside_before(self, cycle: int) -> list[TrainingRecord]:
        """Return the trainings of earlier ends that had been trained before a cycle was."""
        count = 0
        for extension in self.extensions:
            if extension.first_cycle <= cycle:
                count += extension.removed
        return self.set_aside[:count]

    def planned_cycles(self, cycle: int, now: int) -> int:
        """Return how many cycles the run was to have when a cycle was decided.

        Args:
            cycle: The cycle, from 1.
            now: How many it is to have now.
        """
        for extension in self.extensions:
            if cycle < extension.first_cycle:
                return extension.before
        return now

    def add(self, record: TrainingRecord) -> Entry:
        """Note a finished training; return the journal's entry."""
        self.trainings.append(record)
        return {"event": "training", **record.to_json()}

    def select(
        self,
        cycle: int,
        clone: int | None,
        reasons: Mapping[int, str],
    ) -> Entry:
        """Note which clone of a cycle was selected, None if all lost; return the entry.

        Args:
            cycle: 1 to c.
            clone: Its number.
            reasons: Why each clone was selected or not, by its number.
        """
        self.winners[cycle] = clone
        self.reasons[cycle] = dict(reasons)
        phrases = {str(number): text for number, text in reasons.items()}
        return {"event": "selection", "cycle": cycle, "clone": clone, "reasons": phrases}

    def rest(self, cycle: int, reason: str) -> Entry:
        """Note that the network trains alone for a cycle; return the journal's entry."""
        self.rests[cycle] = reason
        return {"event": "rest", "cycle": cycle, "reason": reason}

    def go_back(
        self,
        cycle: int,
        network: TrainingRecord,
        reason: str,
    ) -> Entry:
        """Note that an older network follows a cycle; return the journal's entry."""
        self.returns[cycle] = reason
        return {"event": "return", "cycle": cycle, "to": network.archive, "reason": reason}

    def reason(self, record: TrainingRecord) -> str:
        """Return why a clone was selected or not; empty where nobody has noted it."""
        return self.reasons.get(record.cycle or 0, {}).get(record.clone or 0, "")

    def stop(self, reason: str) -> Entry:
        """Note why no further cycle begins; return the journal's entry."""
        self.stopped = reason
        return {"event": "stop", "reason": reason}

    def end(self) -> Entry:
        """Note that the run has come to its end; return the journal's entry."""
        self.is_finished = True
        return {"event": "end"}

    def find(
        self,
        number: int,
        task: Task,
    ) -> TrainingRecord | None:
        """Return the record of a training, if it is finished.

        Args:
            number: How many trainings the run has finished before it.
            task: The training.

        Raises:
            JournalError: The journal has another training in that place.
        """
        if number >= len(self.trainings):
            return None
        record = self.trainings[number]
        if not _is_of(task, record):
            raise JournalError(
                f"The journal must tell of this run. Received: training {number + 1} with "
                f"{record.genome}, where this run has {task.genome}. "
                "A mutation must draw from its `rng` alone; else the run was begun with another "
                "version of MIHA: start again with overwrite=True."
            )
        return record

    def copy(self) -> Logbook:
        """Return a copy that does not grow."""
        return replace(
            self,
            trainings=Past(self.trainings),
            winners={**self.winners},
            reasons={**self.reasons},
            extensions=[*self.extensions],
            set_aside=[*self.set_aside],
        )

    def clones(self, cycle: int) -> list[TrainingRecord]:
        """Return the clones of one cycle, in the order of their numbers."""
        return [record for record in self._clones() if record.cycle == cycle]

    def is_selected(self, record: TrainingRecord) -> bool:
        """Return whether a training is the clone that its cycle selected."""
        return record.is_clone and self.winners.get(record.cycle or 0) == record.clone

    def has_given_up(self, cycle: int) -> bool:
        """Return whether every clone has failed in each of the last cycles."""
        last_cycles = range(cycle - FAILED_CYCLES + 1, cycle + 1)
        return all(self.winners.get(number, 0) is None for number in last_cycles)

    @property
    def failed_since(self) -> int | None:
        """The first of the latest cycles, in all of which every clone failed; None: no such one."""
        first = None
        cycle = max(self.winners, default=0)
        while cycle in self.winners and self.winners[cycle] is None:
            first = cycle
            cycle -= 1
        return first

    def before(self, cycle: int) -> Logbook:
        """Return what had happened before a cycle."""
        trainings = Past()
        for record in self.trainings:
            if record.phase != "final" and (record.cycle or 0) < cycle:
                trainings.append(record)
        winners = {number: clone for number, clone in self.winners.items() if number < cycle}
        return replace(self, trainings=trainings, winners=winners)

    @property
    def last(self) -> TrainingRecord | None:
        """The last training of the network itself, no clone."""
        for record in reversed(self.trainings):
            if not record.is_clone:
                return record
        return None

    @property
    def resulting(self) -> TrainingRecord | None:
        """The training whose network the last archive contains: the last, or a restored one."""
        last = self.last
        if last is None or last.restored is None:
            return last
        return self.trainings.find(last.restored) or last

    def best(self, mode: Mode) -> TrainingRecord | None:
        """Return the training with the best value, the first of equals."""
        return best_of(self.trainings, mode)

    def best_of_main_line(self, mode: Mode) -> TrainingRecord | None:
        """Return the best of the network's own trainings and of the selected clones."""
        return best_of(self._main_line(), mode)

    def _main_line(self) -> Iterator[TrainingRecord]:
        """Yield the network's own trainings, and each selected clone before what followed it."""
        done = 0
        for record in [*self.trainings.own, None]:
            for cycle in range(done + 1, self._last_cycle_before(record) + 1):
                clone = self.trainings.find_clone(cycle, self.winners.get(cycle))
                if clone is not None:
                    yield clone
                done = cycle
            if record is not None:
                yield record

    def _last_cycle_before(self, record: TrainingRecord | None) -> int:
        """Return the last cycle that may have selected a clone before a training of its own."""
        if record is None or record.phase == "final":
            return max(self.winners, default=0)
        return record.cycle or 0

    @property
    def history(self) -> pd.DataFrame:
        """One row for each trained epoch: phase, cycle, clone, epoch, values, seconds."""
        import pandas as pd

        rows = [row for record in self.trainings for row in _epoch_rows(record)]
        frame = pd.DataFrame(rows, columns=None if rows else [*_PLACE, "seconds"])
        values = [name for name in frame.columns if name not in (*_PLACE, "seconds")]
        return _typed(frame[[*_PLACE, *values, "seconds"]])

    @property
    def lineage(self) -> pd.DataFrame:
        """One row for each clone: what changed, how fit it was, whether it was selected."""
        import pandas as pd

        clones = self._clones()
        controls = {clone.cycle: clone.value for clone in clones if clone.change.is_control}
        bases = [controls.get(clone.cycle, nan) for clone in clones]
        pairs = zip(clones, bases, strict=True)
        # A list for each column: a run without clones has the columns all the same.
        columns = {
            "cycle": [clone.cycle for clone in clones],
            "clone": [clone.clone for clone in clones],
            "change": [clone.change.text for clone in clones],
            "fitness": [clone.fitness for clone in clones],
            "selected": [self.is_selected(clone) for clone in clones],
            "archive": [clone.archive for clone in clones],
            "gene": [clone.change.gene for clone in clones],
            "value": [clone.value for clone in clones],
            "gain": [gain(clone.value, base, self.mode) for clone, base in pairs],
            "parent": [clone.parent for clone in clones],
            "mate": [clone.change.mate for clone in clones],
            "failure": [last_line(clone.failure) for clone in clones],
            "reason": [self.reason(clone) for clone in clones],
        }
        return _typed(pd.DataFrame(columns))

    def _clones(self) -> list[TrainingRecord]:
        clones = [record for record in self.trainings if record.is_clone]
        # Journals of version 0.3.0 may have them in the order in which they came.
        return sorted(clones, key=lambda clone: (clone.cycle or 0, clone.clone or 0))


def best_of(
    records: Iterable[TrainingRecord],
    mode: Mode,
) -> TrainingRecord | None:
    """Return the record with the best value, the first of equals; the first if none is finite."""
    records = list(records)
    finite = [record for record in records if isfinite(record.value)]
    best = min(finite, key=lambda record: as_loss(record.value, mode), default=None)
    return best or next(iter(records), None)


def _has_falling_rate(record: TrainingRecord) -> bool:
    """Return whether the learning rate fell in a training, as it does towards a run's end."""
    return any(rate != 1 for rate in record.rates)


def last_line(failure: str | None) -> str | None:
    """Return the last line of a traceback, which says what went wrong."""
    if failure is None or not failure.strip():
        return failure
    return failure.strip().splitlines()[-1]


def write_tables(log: Logbook, folder: Path) -> None:
    """Write `history.csv` and `lineage.csv` into a folder."""
    for name in ("history", "lineage"):
        table: pd.DataFrame = getattr(log, name)
        write_whole(folder / f"{name}.csv", table.to_csv(index=False).encode())


_PLACE = ("phase", "cycle", "clone", "epoch")


def _is_of(task: Task, record: TrainingRecord) -> bool:
    wanted = (task.phase, task.cycle, task.clone, task.genome)
    return wanted == (record.phase, record.cycle, record.clone, record.genome)


def _epoch_rows(
    record: TrainingRecord,
) -> Iterator[dict[str, Any]]:
    place = {"phase": record.phase, "cycle": record.cycle, "clone": record.clone}
    for number, epoch in enumerate(record.epochs, record.first_epoch):
        yield {**place, "epoch": number, **epoch.logs, "seconds": epoch.seconds}


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: "Int64" for name in ("cycle", "clone")})
