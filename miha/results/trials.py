"""The trainings of a run as those who show them need it: placed on the main line, and compared."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from miha.records import Mode, TrainingRecord, is_better
from miha.storage.logbook import Logbook, last_line
from miha.utils.json_values import numbers

WIDE = 10.0
"""From the ratio of the largest to the smallest on, numbers are best seen as logarithms."""

NO_GENE = "none"
"""The gene of a change that changes nothing: the control's."""


@dataclass(frozen=True)
class TrainingView:
    """One finished training, and its place in the run.

    Attributes:
        record: What the journal says of it.
        start: Epochs of the main line before it.
        after: Seconds of training in the run before it.
        gain: By how much a clone was fitter than the control of its cycle, or, where there is
            none, than the mean of its cycle. None where that is unknown.
        selected: Whether it is the clone that its cycle selected.
        is_on_main_line: Whether the network itself has gone this way.
        is_settled: Whether its cycle has selected: nothing that is said of it here changes then.
    """

    record: TrainingRecord
    start: int
    after: float
    gain: float | None
    selected: bool
    is_on_main_line: bool
    is_settled: bool

    @property
    def phase(self) -> str:
        """``"initial"``, ``"clone"``, ``"winner"`` or ``"final"``."""
        return self.record.phase

    @property
    def cycle(self) -> int | None:
        """1 to c; None in the first and the last training."""
        return self.record.cycle

    @property
    def clone(self) -> int | None:
        """Its number in its cycle; None for the network itself."""
        return self.record.clone

    @property
    def archive(self) -> str | None:
        """Name of its archive; None where it has none."""
        return self.record.archive

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the archives that it came from."""
        names = (self.record.parent, self.record.change.mate)
        return tuple(name for name in names if name is not None)

    @property
    def gene(self) -> str:
        """What kind of mutation made it; ``"none"`` where nothing was changed."""
        return self.record.change.gene

    @property
    def change(self) -> str:
        """What was changed, in words."""
        return self.record.change.text

    @cached_property
    def genes(self) -> dict[str, Any]:
        """Every hyperparameter by name; those of layers as ``"activations.dense"``."""
        return flat(self.record.genome.to_dict())

    @cached_property
    def logs(self) -> list[dict[str, Any]]:
        """What was logged after each of its epochs, seconds among it."""
        return [{**epoch.logs, "seconds": epoch.seconds} for epoch in self.record.epochs]

    @property
    def value(self) -> float:
        """The monitored value after the last epoch."""
        return as_number(self.record.value)

    @property
    def fitness(self) -> float | None:
        """A clone's; minus infinity where it has failed, None where it has none."""
        return self.record.fitness

    @property
    def pruned(self) -> bool:
        """Whether it stopped early because it was behind the control."""
        return self.record.pruned

    @property
    def failure(self) -> str | None:
        """The last line of why it failed, if it did."""
        return last_line(self.record.failure)

    @property
    def is_clone(self) -> bool:
        """Whether it is a clone."""
        return self.record.is_clone

    @property
    def end(self) -> int:
        """Epochs of the main line after it, or as if it were a part of that."""
        return self.start + len(self.record.epochs)

    @property
    def seconds(self) -> float:
        """Wall time of its epochs."""
        return float(sum(epoch.seconds for epoch in self.record.epochs))

    @property
    def name(self) -> str:
        """What to call it in words."""
        if self.is_clone:
            return f"cycle {self.cycle}, clone {self.clone}"
        if self.cycle is None:
            return f"{self.phase} training"
        return f"cycle {self.cycle}, winner"

    def curve(self, name: str) -> list[float]:
        """Return a logged value after each epoch; NaN where it is no number."""
        return [as_number(epoch.logs.get(name)) for epoch in self.record.epochs]


def trials(log: Logbook) -> Iterator[TrainingView]:
    """Yield every training of a run, placed on the main line."""
    depths = _depths(log.trainings)
    gains = _gains(log.trainings, depths)
    selected = _selected_with_ancestors(log)
    ends: dict[str | None, int] = {}
    starts: dict[int | None, int] = {}
    main_line_end = 0
    seconds = 0.0
    for number, record in enumerate(log.trainings):
        is_own = not record.is_clone
        begin = starts.setdefault(record.cycle, main_line_end) if not is_own else main_line_end
        # A child of two clones, and in old runs others, goes on from a clone of its cycle.
        start = ends[record.parent] if depths[number] else begin
        view = TrainingView(
            record=record,
            start=start,
            after=seconds,
            gain=gains.get(number),
            selected=log.is_selected(record),
            is_on_main_line=is_own or number in selected,
            is_settled=is_own or record.cycle in log.winners,
        )
        yield view
        seconds += view.seconds
        ends[record.archive] = view.end
        if is_own or view.selected:
            main_line_end = max(main_line_end, view.end)


def _depths(records: Sequence[TrainingRecord]) -> list[int]:
    """Return how many clones of its cycle each clone has gone on from: none, mostly."""
    depths: list[int] = []
    of_archive: dict[str, tuple[int | None, int]] = {}
    for record in records:
        cycle, depth = of_archive.get(record.parent or "", (None, -1))
        is_of_clone = record.is_clone and depth >= 0 and cycle == record.cycle
        depths.append(depth + 1 if is_of_clone else 0)
        if record.is_clone and record.archive is not None:
            of_archive[record.archive] = (record.cycle, depths[-1])
    return depths


def _selected_with_ancestors(log: Logbook) -> set[int]:
    """Return the places of the selected clones, and of the clones that they have gone on from."""
    places: dict[str | None, int] = {}
    for number, record in enumerate(log.trainings):
        if record.is_clone and record.archive is not None:
            places[record.archive] = number
    found: set[int] = set()
    for number, record in enumerate(log.trainings):
        here: int | None = number if log.is_selected(record) else None
        while here is not None and here not in found:
            found.add(here)
            parent = places.get(log.trainings[here].parent)
            is_of_cycle = parent is not None and log.trainings[parent].cycle == record.cycle
            here = parent if is_of_cycle else None
    return found


def _gains(records: Sequence[TrainingRecord], depths: Sequence[int]) -> dict[int, float]:
    """Return by how much each clone was fitter than the control that trained beside it."""
    groups: dict[tuple[int | None, int], list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        is_fit = record.fitness is not None and math.isfinite(record.fitness)
        if record.is_clone and is_fit:
            groups[record.cycle, depths[number]].append(number)

    gains: dict[int, float] = {}
    for members in groups.values():
        fitness = {number: float(records[number].fitness or 0.0) for number in members}
        controls = [fitness[n] for n in members if records[n].change.is_control]
        compared = controls or list(fitness.values())
        base = sum(compared) / len(compared)
        gains |= {number: value - base for number, value in fitness.items()}
    return gains


@dataclass(frozen=True)
class RunView:
    """A run as those who show it need it: its clones, its main line, what varied, what was best.

    Attributes:
        monitor: Name of the monitored value.
        mode: Whether it is better small or large.
        trials: Every finished training, in order.
        resulting: The training whose network the run has now: the network's last one, or the
            best one of the run, where that was restored.
    """

    monitor: str
    mode: Mode
    trials: Sequence[TrainingView]
    resulting: TrainingView | None = None

    @classmethod
    def of(cls, result: Any) -> RunView:
        """Return the view of a `miha.Result`, whatever its run is doing."""
        views = tuple(trials(result.log))
        wanted = result.log.resulting
        resulting = next((view for view in views if view.record is wanted), None)
        return cls(result.monitor, result.mode, views, resulting)

    @cached_property
    def clones(self) -> list[TrainingView]:
        """The clones, in order."""
        return [trial for trial in self.trials if trial.is_clone]

    @cached_property
    def main_line(self) -> list[TrainingView]:
        """The trainings that led to the last network, selected clones included."""
        return [trial for trial in self.trials if trial.is_on_main_line]

    @cached_property
    def cycles(self) -> dict[int, list[TrainingView]]:
        """The clones of each cycle."""
        cycles: dict[int, list[TrainingView]] = defaultdict(list)
        for clone in self.clones:
            cycles[clone.cycle or 0].append(clone)
        return dict(cycles)

    @cached_property
    def winners(self) -> dict[int | None, TrainingView]:
        """The selected clone of each cycle that has one."""
        return {clone.cycle: clone for clone in self.clones if clone.selected}

    @cached_property
    def rests(self) -> list[TrainingView]:
        """The trainings of the cycles in which the network trained alone."""
        own = [trial for trial in self.trials if trial.phase == "winner"]
        return [trial for trial in own if trial.cycle not in self.cycles]

    @cached_property
    def cycles_done(self) -> int:
        """Cycles that have selected, or rested."""
        settled = [t.cycle or 0 for t in self.trials if t.cycle is not None and t.is_settled]
        return max(settled, default=0)

    @cached_property
    def starts(self) -> list[int]:
        """The epochs of the main line before each cycle, rests included."""
        first: dict[int, int] = {}
        for trial in self.trials:
            if trial.cycle is not None:
                first.setdefault(trial.cycle, trial.start)
        return sorted(set(first.values()))

    @cached_property
    def returns(self) -> dict[int, TrainingView]:
        """The older training that the run went back to, by the epochs of the main line before."""
        found: dict[int, TrainingView] = {}
        for trial in self.trials:
            base = self.parent(trial)
            if base is not None and base.end < trial.start:
                found.setdefault(trial.start, base)
        return found

    def parent(self, trial: TrainingView) -> TrainingView | None:
        """Return the training that one went on from; None of the first, and where unknown."""
        return self._named.get(trial.record.parent or "")

    def parents(self, trial: TrainingView) -> list[TrainingView]:
        """Return the trainings that one came from, as far as they are known: two of a child."""
        return [self._named[name] for name in trial.parents if name in self._named]

    @cached_property
    def _named(self) -> dict[str, TrainingView]:
        return {trial.archive: trial for trial in self.trials if trial.archive is not None}

    @cached_property
    def mutations(self) -> list[TrainingView]:
        """The clones that were changed."""
        return [clone for clone in self.clones if not clone.record.change.is_control]

    @cached_property
    def gene_kinds(self) -> list[str]:
        """The kinds of mutation that were tried, in alphabetic order."""
        return sorted({clone.gene for clone in self.clones} - {NO_GENE})

    @cached_property
    def gene_names(self) -> list[str]:
        """The hyperparameters, in the order of the genome."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.genes))

    @cached_property
    def varied(self) -> list[str]:
        """The hyperparameters that were not the same in all clones."""
        return [name for name in self.gene_names if len(self._values(name)) > 1]

    def _values(self, name: str) -> set[tuple[str, str]]:
        values = [clone.genes.get(name) for clone in self.clones]
        return {(type(value).__name__, str(value)) for value in values}

    @property
    def best(self) -> TrainingView | None:
        """The training with the best monitored value, the first of equals."""
        best: TrainingView | None = None
        for trial in self.trials:
            if is_better(trial.value, math.nan if best is None else best.value, self.mode):
                best = trial
        return best


def flat(genome: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the hyperparameters of a genome by name, those within others as ``"outer.inner"``."""
    genes: dict[str, Any] = {}
    for name, value in genome.items():
        if isinstance(value, Mapping):
            genes |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            genes[prefix + name] = ", ".join(map(str, value))
        else:
            genes[prefix + name] = value
    return genes


def is_number(value: Any) -> bool:
    """Return whether a hyperparameter's value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value: Any) -> float:
    """Return a logged value as a number; one that is none (a vector, say) is NaN."""
    try:
        return float(numbers(value))
    except (TypeError, ValueError):
        return math.nan
