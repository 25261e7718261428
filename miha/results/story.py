"""A run as those who show it need it: its clones, its main line, what varied, what was best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from miha.records import Mode
from miha.results.placing import trials
from miha.results.trials import NO_GENE, Trial

if TYPE_CHECKING:
    from miha.results.result import Result


@dataclass(frozen=True)
class Story:
    """A run.

    Attributes:
        monitor: Name of the monitored value.
        mode: Whether it is better small or large.
        trials: Every finished training, in order.
        held: The training whose network the run has now: the network's own last one, or the best
            one of the run, where that was restored.
    """

    monitor: str
    mode: Mode
    trials: Sequence[Trial]
    held: Trial | None = None

    @classmethod
    def of(cls, result: Result) -> Story:
        """Return the story of a run, whatever it is doing."""
        found, held = tuple(trials(result._log)), result._log.held
        own = [t for t in found if held is not None and t.archive == held["archive"]]
        return cls(result.monitor, result._mode, found, own[-1] if own else None)

    @cached_property
    def clones(self) -> list[Trial]:
        """The clones, in order."""
        return [trial for trial in self.trials if trial.is_clone]

    @cached_property
    def main_line(self) -> list[Trial]:
        """The trainings that led to the last network, selected clones included."""
        return [trial for trial in self.trials if trial.is_on_main_line]

    @cached_property
    def cycles(self) -> dict[int, list[Trial]]:
        """The clones of each cycle."""
        cycles: dict[int, list[Trial]] = defaultdict(list)
        for clone in self.clones:
            cycles[clone.cycle or 0].append(clone)
        return dict(cycles)

    @cached_property
    def won(self) -> dict[int | None, Trial]:
        """The selected clone of each cycle that has one."""
        return {clone.cycle: clone for clone in self.clones if clone.selected}

    @cached_property
    def rests(self) -> list[Trial]:
        """The trainings of the cycles in which the network trained alone."""
        return [t for t in self.trials if t.phase == "winner" and t.cycle not in self.cycles]

    @cached_property
    def done(self) -> int:
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
    def returns(self) -> dict[int, Trial]:
        """The older training that the run went back to, by the epochs of the main line before."""
        found: dict[int, Trial] = {}
        for trial in self.trials:
            base = self.parent(trial)
            if base is not None and base.end < trial.start and not trial.stage:
                found.setdefault(trial.start, base)
        return found

    def parent(self, trial: Trial) -> Trial | None:
        """Return the training that one went on from; None of the first, and where it is unknown."""
        return self._named.get(trial.parents[0]) if trial.parents else None

    def parents(self, trial: Trial) -> list[Trial]:
        """Return the trainings that one came from, as far as they are known: two of a soup."""
        return [self._named[name] for name in trial.parents if name in self._named]

    @cached_property
    def _named(self) -> dict[str, Trial]:
        return {trial.archive: trial for trial in self.trials if trial.archive is not None}

    @cached_property
    def mutations(self) -> list[Trial]:
        """The last training of each mutation: one that goes on is one still."""
        found: list[Trial] = []
        places: dict[str | None, int] = {}
        for clone in self.clones:
            place = places.get(clone.parents[0], len(found)) if clone.goes_on else len(found)
            if place < len(found):
                clone = replace(clone, parents=found[place].parents)
            found[place : place + 1] = [clone]
            places |= {clone.archive: place} if clone.archive else {}
        return [clone for clone in found if clone.gene != NO_GENE]

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
        return [
            name
            for name in self.gene_names
            if len({_key(clone.genes.get(name)) for clone in self.clones}) > 1
        ]

    @property
    def best(self) -> Trial | None:
        """The training with the best monitored value, the first of equals."""
        sign = 1 if self.mode == "min" else -1
        finite = [trial for trial in self.trials if math.isfinite(trial.value)]
        return min(finite, key=lambda trial: sign * trial.value, default=None)


def _key(value: Any) -> tuple[str, str]:
    return type(value).__name__, str(value)
