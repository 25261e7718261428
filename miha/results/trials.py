"""The trainings of a run as those who show them need it: placed on the main line, and compared."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from miha.errors import MihaError
from miha.records import Genome, Mode, TrainingRecord, gain, is_better
from miha.storage.logbook import Logbook, last_line
from miha.utils.json_values import numbers

WIDE = 10.0
"""From the ratio of the largest to the smallest on, numbers are best seen as logarithms."""

NO_GENE = "none"
"""The gene of a change that changes nothing: the control's."""

Records = Sequence[TrainingRecord]
Bases = Sequence[int | None]
Genes = dict[str, Any]


@dataclass(frozen=True)
class TrainingView:
    """One finished training, and its place in the run.

    Attributes:
        record: What the journal says of it.
        gene: What kind of mutation made it; ``"none"`` where nothing was changed.
        start: Epochs of the main line before it.
        after: Seconds of training in the run before it.
        gain: By how much a clone's monitored value was better than that of its cycle's control
            after as many epochs, or, where there is none, than the mean of its cycle. None where
            it has failed.
        selected: Whether it is the clone that its cycle selected.
        reason: Why it was selected or not, a phrase; empty where nobody has noted it.
        is_on_main_line: Whether the network itself has gone this way.
        is_settled: Whether its cycle has selected: nothing that is said of it here changes then.
    """

    record: TrainingRecord
    gene: str
    start: int
    after: float
    gain: float | None
    selected: bool
    reason: str
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
    def change(self) -> str:
        """What was changed, in words."""
        return self.record.change.text

    @cached_property
    def genes(self) -> Genes:
        """Every hyperparameter by name; those of layers as ``"activations.dense"``."""
        return _genes_of(self.record.genome)

    @cached_property
    def logs(
        self,
    ) -> list[dict[str, Any]]:
        """What was logged after each of its epochs, seconds among it."""
        epochs = self.record.epochs
        return [{**epoch.logs, "seconds": epoch.seconds} for epoch in epochs]

    @property
    def value(self) -> float:
        """The monitored value after the last epoch."""
        return as_number(self.record.value)

    @property
    def value_in_words(self) -> str:
        """The monitored value, and whether it is one of data that was trained on."""
        seen = " on data it has seen" if self.record.has_seen_validation else ""
        return f"{self.value:.4g}{seen}"

    @property
    def fitness(self) -> float | None:
        """A clone's; minus infinity where it has failed, None where it was not trained."""
        return self.record.fitness

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

    @cached_property
    def seconds(self) -> float:
        """Wall time of its epochs."""
        return float(sum([epoch.seconds for epoch in self.record.epochs]))

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
        values = [epoch.logs.get(name) for epoch in self.record.epochs]
        return [as_number(value) for value in values]


def trials(log: Logbook, mode: Mode) -> Iterator[TrainingView]:
    """Yield every training of a run, placed on the main line.

    Args:
        log: What has happened.
        mode: Whether the monitored value is better small or large.
    """
    records = log.trainings
    bases = _bases(records)
    genes = _genes(records, bases)
    gains = _gains(records, bases, genes, mode)
    selected = _selected_with_bases(log, bases)

    ends: list[int] = []
    starts: dict[int | None, int] = {}
    main_line_end = 0
    seconds = 0.0
    for number, record in enumerate(records):
        base = bases[number]
        if base is not None:
            start = ends[base]
        elif record.is_clone:
            start = starts.setdefault(record.cycle, main_line_end)
        else:
            start = main_line_end

        view = TrainingView(
            record=record,
            gene=genes[number],
            start=start,
            after=seconds,
            gain=gains.get(number),
            selected=log.is_selected(record),
            reason=log.reason(record) if record.is_clone else "",
            is_on_main_line=not record.is_clone or number in selected,
            is_settled=not record.is_clone or record.cycle in log.winners,
        )
        yield view

        seconds += view.seconds
        ends.append(view.end)
        if view.selected or not record.is_clone:
            main_line_end = max(main_line_end, view.end)


def _bases(records: Records) -> list[int | None]:
    """Return the place of the clone whose epochs each clone continues.

    A child of two clones continues the fitter one; in runs of version 0.3.0, others did too.
    """
    bases: list[int | None] = []
    places: dict[str | None, int] = {}
    for number, record in enumerate(records):
        base = None
        if record.is_clone:
            base = places.get(record.parent)
        # The network that a cycle begins with may be an older clone, after backtracking.
        if base is not None and records[base].cycle != record.cycle:
            base = None
        bases.append(base)
        if record.is_clone and record.archive is not None:
            places[record.archive] = number
    return bases


def _genes(
    records: Records,
    bases: Bases,
) -> list[str]:
    """Return what kind of mutation made each training."""
    genes: list[str] = []
    for record, base in zip(records, bases, strict=True):
        gene = record.change.gene
        # In 0.3.0 a clone that continued a mutated one was recorded as unchanged.
        if base is not None and record.change.is_control:
            gene = genes[base]
        genes.append(gene)
    return genes


def _selected_with_bases(
    log: Logbook,
    bases: Bases,
) -> set[int]:
    """Return the places of the selected clones, and of those that they continue."""
    found: set[int] = set()
    for number, record in enumerate(log.trainings):
        place = number if log.is_selected(record) else None
        while place is not None:
            found.add(place)
            place = bases[place]
    return found


def _gains(
    records: Records,
    bases: Bases,
    genes: Sequence[str],
    mode: Mode,
) -> dict[int, float]:
    """Return by how much each clone was better than the control that trained beside it."""
    gains: dict[int, float] = {}
    for members in _beside(records, bases):
        controls = [number for number in members if genes[number] == NO_GENE]
        compared = controls or members
        values = [as_number(records[number].value) for number in compared]
        level = sum(values) / len(values)
        for number in members:
            gains[number] = gain(as_number(records[number].value), level, mode)
    return gains


def _beside(
    records: Records,
    bases: Bases,
) -> list[list[int]]:
    """Return the places of the clones that trained beside each other and have not failed."""
    depths: list[int] = []
    groups: dict[tuple[int | None, int], list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        base = bases[number]
        # A child that was evaluated, not trained, is as old as its parents.
        depth = depths[base] + 1 if base is not None and record.epochs else 0
        depths.append(depth)
        if _is_compared(record):
            groups[record.cycle, depth].append(number)
    return list(groups.values())


def _is_compared(record: TrainingRecord) -> bool:
    """Return whether a training is a clone that has not failed."""
    if not record.is_clone or not math.isfinite(as_number(record.value)):
        return False
    # A child of two clones has no fitness.
    return record.failure is None and record.fitness != -math.inf


@dataclass(frozen=True)
class RunView:
    """A run as those who show it need it: its clones, its main line, what varied, what was best.

    Attributes:
        monitor: Name of the monitored value.
        mode: Whether it is better small or large.
        trials: Every finished training, in order.
        resulting: The training whose network the run has now: the network's last one, or the
            best one of the run, where that was restored.
        best_network: The training that left the best network; None where there is none.
        shows_fitness: Whether fitness says something to the reader: it is the user's own.
        rest_reasons: Why the network trained alone, for each cycle in which it did.
        return_reasons: Why the run went back, for each cycle after which it did.
    """

    monitor: str
    mode: Mode
    trials: Sequence[TrainingView]
    resulting: TrainingView | None = None
    best_network: TrainingView | None = None
    shows_fitness: bool = False
    rest_reasons: Mapping[int, str] = field(default_factory=dict)
    return_reasons: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Any) -> RunView:
        """Return the view of a `miha.Result`, whatever its run is doing."""
        log = result.log
        views = tuple(trials(log, result.mode))
        # By identity: two records may be equal.
        placed = {id(view.record): view for view in views}
        return cls(
            monitor=result.monitor,
            mode=result.mode,
            trials=views,
            resulting=placed.get(id(log.resulting)),
            best_network=placed.get(id(_best_record(result))),
            shows_fitness=result.has_own_fitness,
            rest_reasons=log.rests,
            return_reasons=log.returns,
        )

    def final_values(self, clone: TrainingView) -> dict[str, float | None]:
        """Return how a clone ended, as other tools show it: by name, beside what its epochs logged.

        Args:
            clone: One of the run.

        Returns:
            Its gain, and its fitness where that is the user's own. A child of two clones has no
            epoch that would log its monitored value, which is here too.
        """
        values = {"gain": clone.gain}
        if self.shows_fitness:
            values["fitness"] = clone.fitness
        if not clone.logs:
            values[self.monitor] = clone.value
        return values

    @cached_property
    def clones(self) -> list[TrainingView]:
        """The clones, in order."""
        return [trial for trial in self.trials if trial.is_clone]

    @cached_property
    def main_line(self) -> list[TrainingView]:
        """The trainings that led to the last network, selected clones included."""
        return [trial for trial in self.trials if trial.is_on_main_line]

    @cached_property
    def cycles(
        self,
    ) -> dict[int, list[TrainingView]]:
        """The clones of each cycle."""
        cycles: dict[int, list[TrainingView]] = {}
        for clone in self.clones:
            cycles.setdefault(clone.cycle or 0, []).append(clone)
        return cycles

    @cached_property
    def winners(self) -> dict[int | None, TrainingView]:
        """The selected clone of each cycle that has one."""
        return {clone.cycle: clone for clone in self.clones if clone.selected}

    @cached_property
    def rests(self) -> list[TrainingView]:
        """The trainings of the cycles in which the network trained alone."""
        own = [trial for trial in self.trials if trial.phase == "winner"]
        # Elsewhere, it is a clone of the cycle that trains on.
        return [trial for trial in own if trial.cycle not in self.cycles]

    @cached_property
    def cycles_done(self) -> int:
        """Cycles that have selected, or rested."""
        settled = [trial.cycle or 0 for trial in self.trials if trial.is_settled]
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
            # What it went on from lies before the end of the main line.
            if base is not None and base.end < trial.start:
                found.setdefault(trial.start, base)
        return found

    def parent(self, trial: TrainingView) -> TrainingView | None:
        """Return the training that one went on from; None of the first, and where unknown."""
        return self._named.get(trial.record.parent or "")

    def parents(self, trial: TrainingView) -> list[TrainingView]:
        """Return the trainings that one came from, as far as they are known: two of a child."""
        known = [self._named.get(name) for name in trial.parents]
        return [parent for parent in known if parent is not None]

    @cached_property
    def _named(self) -> dict[str, TrainingView]:
        archived = [trial for trial in self.trials if trial.archive is not None]
        return {trial.archive or "": trial for trial in archived}

    @cached_property
    def metrics(self) -> list[str]:
        """What was logged after an epoch, the monitored value first, values on new data next."""
        names: dict[str, None] = {self.monitor: None} if self.trials else {}
        for trial in self.trials:
            if trial.record.epochs:
                names |= dict.fromkeys(trial.record.epochs[-1].logs)
        ranked = sorted(names, key=lambda name: not name.startswith("val_"))
        ranked.sort(key=lambda name: name != self.monitor)
        return ranked

    @cached_property
    def mutations(self) -> list[TrainingView]:
        """The clones that were changed."""
        return [clone for clone in self.clones if clone.gene != NO_GENE]

    @cached_property
    def gene_kinds(self) -> list[str]:
        """The kinds of mutation that were tried, in alphabetic order."""
        kinds = {clone.gene for clone in self.mutations}
        return sorted(kinds)

    @cached_property
    def gene_names(self) -> list[str]:
        """The hyperparameters, in the order of the genome."""
        names: Genes = {}
        # Many trainings share a genome, which is looked at once.
        for genes in {id(trial.genes): trial.genes for trial in self.trials}.values():
            names |= genes
        return list(names)

    @cached_property
    def varied(self) -> list[str]:
        """The hyperparameters that were not the same in all clones."""
        return [name for name in self.gene_names if self._is_varied(name)]

    def _is_varied(self, name: str) -> bool:
        different = {id(clone.genes): clone.genes for clone in self.clones}
        values = [genes.get(name) for genes in different.values()]
        if not values:
            return False
        # With its type: 1 and True are equal. As text: a list is what it was in another genome.
        first = (type(values[0]), str(values[0]))
        return any((type(value), str(value)) != first for value in values)

    @property
    def best(self) -> TrainingView | None:
        """The training with the best monitored value, the first of equals.

        One that was trained on the validation data, too, is none.
        """
        best: TrainingView | None = None
        best_value = math.nan
        for trial in self.trials:
            if trial.record.has_seen_validation:
                continue
            if is_better(trial.value, best_value, self.mode):
                best = trial
                best_value = trial.value
        return best


def _best_record(result: Any) -> TrainingRecord | None:
    try:
        best: TrainingRecord = result.best
    # There is no training yet, or the folder has been moved or deleted since.
    except MihaError:
        return None
    return best


@lru_cache(maxsize=20_000)
def _genes_of(genome: Genome) -> Genes:
    """Return a genome's hyperparameters by name; a run that is watched is asked often."""
    return flat(genome.to_dict())


def flat(
    genome: Mapping[str, Any],
    prefix: str = "",
) -> Genes:
    """Return the hyperparameters of a genome by name, those within others as ``"outer.inner"``."""
    genes: Genes = {}
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
