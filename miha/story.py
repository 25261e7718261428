"""A run as those who show it need it: its clones, its main line, what varied, what was best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from miha.records import Mode
from miha.trials import NO_GENE, Trial, trials

if TYPE_CHECKING:
    from miha.result import Result


@dataclass(frozen=True)
class Story:
    """A run.

    Attributes:
        monitor: Name of the monitored value.
        mode: Whether it is better small or large.
        trials: Every finished training, in order.
    """

    monitor: str
    mode: Mode
    trials: Sequence[Trial]

    @classmethod
    def of(cls, result: Result) -> Story:
        """Return the story of a run, whatever it is doing."""
        return cls(result.monitor, result._mode, tuple(trials(result._log)))

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
