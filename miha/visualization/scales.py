"""Hyperparameters as places on an axis: numbers as they are or as logarithms, words in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from miha.results.trials import WIDE, is_number
from miha.visualization.theme import cut, log_ticks


@dataclass(frozen=True)
class Scale:
    """How the values of one hyperparameter lie on an axis.

    Attributes:
        values: The different values, in order.
        is_numeric: Whether they are numbers.
        is_log: Whether their logarithms are shown.
    """

    values: tuple[Any, ...]
    is_numeric: bool
    is_log: bool

    @classmethod
    def of(cls, values: Sequence[Any]) -> Scale:
        """Return a scale that has a place for all of some values."""
        present = [value for value in values if value is not None]
        is_numeric = bool(present) and all(map(is_number, present))
        if not is_numeric:
            return cls(tuple(sorted({word(value) for value in values})), False, False)
        found = sorted(set(present))
        return cls(tuple(found), True, found[0] > 0 and found[-1] / found[0] >= WIDE)

    def place(self, value: Any) -> float | None:
        """Return where a value lies; None where a number is missing."""
        if not self.is_numeric:
            return float(self.values.index(word(value)))
        if value is None:
            return None
        return math.log10(value) if self.is_log else float(value)

    @property
    def below(self) -> float:
        """A place below all numbers, for one that is missing."""
        low, high = (self.place(self.values[end]) or 0.0 for end in (0, -1))
        return low - 0.15 * ((high - low) or 1.0)

    def filled(self, values: Sequence[Any]) -> list[float]:
        """Return the places of values; a number that is missing lies below all others."""
        places = map(self.place, values)
        return [self.below if place is None else place for place in places]

    def ticks(self, most: int = 8, longest: int = 24) -> tuple[list[float], list[str]]:
        """Return where to write values on the axis, and what: text that is not escaped yet.

        Args:
            most: How many numbers at most.
            longest: Characters of a word.
        """
        if not self.is_numeric:
            return [float(i) for i in range(len(self.values))], [
                cut(v, longest) for v in self.values
            ]
        shown = self.values if len(self.values) <= most else self._between(most)
        places = [math.log10(v) if self.is_log else float(v) for v in shown]
        return places, [f"{value:.3g}" for value in shown]

    def _between(self, count: int) -> list[float]:
        low, high = float(self.values[0]), float(self.values[-1])
        if self.is_log:
            return log_ticks(low, high, count)
        return [low + (high - low) * i / (count - 1) for i in range(count)]


def word(value: Any) -> str:
    """Return a value that is no number as text."""
    return "–" if value is None else str(value)
