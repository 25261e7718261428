"""Scales: where hyperparameters and gains lie on an axis, and what is written there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from miha.results.trials import WIDE, is_number
from miha.visualization.theme import SCALE, Trace, cut, log_ticks

Ticks = tuple[list[float], list[str]]
"""The places to write values at, and the text, which is not escaped yet."""

MOST_NUMBERS = 8
"""Numbers that are written on an axis, at most."""

CLOSEST = 0.08
"""The share of an axis that two of its numbers must be apart to be written both."""

REACH = 1e5
"""How many units long the axis of gains is on each side; larger gains lie at its end."""


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
            words = {_word(value) for value in values}
            return cls(tuple(sorted(words)), False, False)
        found = sorted(set(present))
        low = found[0]
        high = found[-1]
        is_log = low > 0 and high / low >= WIDE
        return cls(tuple(found), True, is_log)

    def place(self, value: Any) -> float | None:
        """Return where a value lies; None where a number is missing."""
        if not self.is_numeric:
            return float(self.values.index(_word(value)))
        if value is None:
            return None
        return math.log10(value) if self.is_log else float(value)

    @property
    def below(self) -> float:
        """A place below all numbers, for one that is missing."""
        # Scales of words have no use for this: all their values have a place.
        low = self.place(self.values[0]) or 0.0
        high = self.place(self.values[-1]) or 0.0
        width = (high - low) or 1.0
        return low - 0.15 * width

    def filled(self, values: Sequence[Any]) -> list[float]:
        """Return the places of values; a missing number lies below all others."""
        places = map(self.place, values)
        return [self.below if place is None else place for place in places]

    def ticks(self, longest: int = 24) -> Ticks:
        """Return where to write values, and the text of each.

        Args:
            longest: Characters of a word.
        """
        places: list[float] = []
        texts: list[str] = []
        if not self.is_numeric:
            for row, word in enumerate(self.values):
                places.append(float(row))
                texts.append(cut(word, longest))
            return places, texts
        numbers = self._numbers()
        spots = [math.log10(number) if self.is_log else float(number) for number in numbers]
        first = spots[0]
        last = spots[-1]
        least = CLOSEST * (last - first)
        for place, number in zip(spots, numbers, strict=True):
            # On a telephone, a text would stand on that before it, or on the last one.
            is_end = place in (first, last)
            if is_end or min(place - places[-1], last - place) >= least:
                places.append(place)
                texts.append(f"{number:.3g}")
        return places, texts

    def _numbers(self) -> Sequence[float]:
        """Return the numbers to write: the values themselves, unless there are too many."""
        if len(self.values) <= MOST_NUMBERS:
            return self.values
        low = float(self.values[0])
        high = float(self.values[-1])
        if self.is_log:
            return log_ticks(low, high, MOST_NUMBERS)
        steps = MOST_NUMBERS - 1
        width = high - low
        return [low + width * step / steps for step in range(MOST_NUMBERS)]


def _word(value: Any) -> str:
    return "–" if value is None else str(value)


@dataclass(frozen=True)
class GainScale:
    """Places of gains: linear about zero, logarithmic beyond, and cut at an end.

    A few gains are hundreds of times the others, and all must be seen.

    Attributes:
        unit: Up to where it is linear, positive: the median of the gains' absolute values.
        low: The smallest gain, at most 0.
        high: The largest gain, at least 0.
    """

    unit: float
    low: float
    high: float

    @classmethod
    def of(cls, gains: Iterable[float | None]) -> GainScale:
        """Return a scale with a place for all of some gains."""
        known = [gain for gain in gains if gain is not None]
        low = min([0.0, *known])
        high = max([0.0, *known])
        sizes = sorted(abs(gain) for gain in known if gain)
        if not sizes:
            return cls(1.0, low, high)
        median = sizes[len(sizes) // 2]
        # Where most gains are next to nothing, a unit of their size would cut all others.
        last = len(sizes) - 1
        large = sizes[9 * last // 10]
        unit = max(median, 10 * large / REACH)
        return cls(unit, low, high)

    def place(self, gain: float) -> float:
        """Return where a gain lies."""
        units = min(gain / self.unit, REACH)
        return math.asinh(max(-REACH, units))

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the smallest and the largest gain lie, with a margin."""
        low = self.place(self.low)
        high = self.place(self.high)
        margin = 0.05 * (high - low) or 1.0
        return low - margin, high + margin

    def ticks(self, gap: float = 0.05) -> Ticks:
        """Return where to write gains, and the text of each.

        Args:
            gap: How far apart at least, as a share of the axis.
        """
        end = REACH * self.unit
        steps = self._steps(end)
        below = [-step for step in steps if -step >= self.low]
        if self.low < -end:
            below.append(-end)
        above = [step for step in steps if step <= self.high]
        if self.high > end:
            above.append(end)

        shown = self._apart(below, gap)[::-1]
        shown.append(0.0)
        shown += self._apart(above, gap)
        places = [self.place(gain) for gain in shown]
        return places, [_gain_text(gain, end) for gain in shown]

    def _steps(self, end: float) -> list[float]:
        """Return up to five powers of ten; few of them are joined by their triples."""
        largest = max(-self.low, self.high, self.unit)
        largest = min(largest, end)
        first = math.floor(math.log10(self.unit))
        last = math.floor(math.log10(largest))
        first = max(first, last - 4)
        has_triples = last - first < 3
        steps: list[float] = []
        for exponent in range(first, last + 1):
            power = 10.0**exponent
            steps.append(power)
            if has_triples:
                steps.append(3 * power)
        return steps

    def _apart(self, gains: list[float], gap: float) -> list[float]:
        """Leave out gains whose text would cover that of zero or of a larger gain."""
        low, high = self.bounds
        least = gap * (high - low)
        kept: list[float] = []
        # The place of the next larger gain that is kept.
        outer = math.inf
        for gain in reversed(gains):
            place = abs(self.place(gain))
            if place >= least and outer - place >= least:
                kept.insert(0, gain)
                outer = place
        return kept

    def colours(self, gains: list[float]) -> Trace:
        """Return the part of a marker or line that colours it by gain."""
        places, texts = self.ticks()
        low = self.place(self.low)
        high = self.place(self.high)
        largest = max(-low, high) or 1.0
        return {
            "color": [self.place(gain) for gain in gains],
            "colorscale": SCALE,
            "cmin": -largest,
            "cmax": largest,
            "showscale": True,
            "colorbar": {
                "title": {"text": "gain"},
                "thickness": 14,
                "outlinewidth": 0,
                "tickvals": places,
                "ticktext": texts,
            },
        }


def _gain_text(gain: float, end: float) -> str:
    if not gain:
        return "0"
    sign = {-end: "≤ ", end: "≥ "}.get(gain, "")
    rounded = float(f"{gain:.2g}")
    return f"{sign}{rounded:+g}"
