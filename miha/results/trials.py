"""A training of a run as those who show it need it; hyperparameters by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miha.utils.json_values import numbers

WIDE = 10.0
"""From the ratio of the largest to the smallest on, numbers are best seen as logarithms."""

NO_GENE = "none"
"""The gene of a change that changes nothing: the control clone's."""


@dataclass(frozen=True)
class Trial:
    """One finished training.

    Attributes:
        phase: ``"initial"``, ``"clone"``, ``"winner"`` or ``"final"``.
        cycle: 1 to c; None in the first and the last training.
        clone: Its number in its cycle; None for the network itself.
        archive: Name of its archive; None where it has none.
        parents: Names of the archives that it came from.
        gene: What kind of mutation made it; ``"none"`` where nothing was changed. A clone that
            goes on has that of the one it goes on from.
        change: What was done in words; which clone goes on, where it is one.
        mutation: The mutation alone in words.
        genes: Every hyperparameter by name; those of layers as ``"activations.dense"``.
        stage: 0 for a clone that was made of the network, 1 for one that goes on from such a
            clone or is made of two, and so on.
        goes_on: Whether it is another clone of its cycle that trains on as it is.
        start: Epochs of the main line before it.
        after: Seconds of training in the run before it.
        logs: What was logged after each of its epochs.
        value: The monitored value after the last one.
        fitness: A clone's; minus infinity where it has lost, None where it is no clone.
        gain: By how much a clone was fitter than the unchanged one of its cycle, or, where
            there is none, than the mean of its cycle. Where the unchanged one did not go on, the
            fittest one that did is taken to have kept its gain. None where that cannot be told.
        selected: Whether it is the clone that its cycle selected.
        is_on_main_line: Whether the network itself has gone this way.
        is_settled: Whether its cycle has selected: nothing that is said of it here changes then.
        late: Whether it is a clone that came when its cycle had selected, and did not compete.
        failure: The last line of why it failed, if it did.
    """

    phase: str
    cycle: int | None
    clone: int | None
    archive: str | None
    parents: tuple[str, ...]
    gene: str
    change: str
    mutation: str
    genes: Mapping[str, Any]
    stage: int
    goes_on: bool
    start: int
    after: float
    logs: Sequence[Mapping[str, Any]]
    value: float
    fitness: float | None
    gain: float | None
    selected: bool
    is_on_main_line: bool
    is_settled: bool
    late: bool
    failure: str | None

    @property
    def is_clone(self) -> bool:
        """Whether it is a clone."""
        return self.phase == "clone"

    @property
    def end(self) -> int:
        """Epochs of the main line after it, or as if it were a part of that."""
        return self.start + len(self.logs)

    @property
    def seconds(self) -> float:
        """Wall time of its epochs."""
        return float(sum(log.get("seconds", 0.0) for log in self.logs))

    @property
    def name(self) -> str:
        """What to call it in words."""
        if self.is_clone:
            return f"cycle {self.cycle}, clone {self.clone}"
        return f"{self.phase} training" if self.cycle is None else f"cycle {self.cycle}, winner"

    def curve(self, name: str) -> list[float]:
        """Return a logged value after each epoch; NaN where it is no number."""
        return [as_number(log.get(name)) for log in self.logs]


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
    """Tell whether a hyperparameter's value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value: Any) -> float:
    """Return a logged value as a number; one that is none (a vector, say) is NaN."""
    try:
        return float(numbers(value))
    except (TypeError, ValueError):
        return math.nan
