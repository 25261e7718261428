"""Gains on an axis: a few are hundreds of times the others, and all shall be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from miha.visualization.theme import SCALE

REACH = 1e5
"""How many times the unit the axis is long on each side; what is beyond lies at its end."""


@dataclass(frozen=True)
class GainScale:
    """Places of gains: linear about zero, as logarithms beyond, and not without end.

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
        sizes = sorted(abs(gain) for gain in known if gain)
        # Where most gains are next to nothing, the others shall not all lie at the end.
        large = sizes[9 * (len(sizes) - 1) // 10] if sizes else 1.0
        unit = max(sizes[len(sizes) // 2], 10 * large / REACH) if sizes else 1.0
        return cls(unit, min([0.0, *known]), max([0.0, *known]))

    def place(self, gain: float) -> float:
        """Return where a gain lies."""
        return math.asinh(max(-REACH, min(gain / self.unit, REACH)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the smallest and the largest gain lie, with some room."""
        low, high = self.place(self.low), self.place(self.high)
        room = 0.05 * (high - low) or 1.0
        return low - room, high + room

    def ticks(self, gap: float = 0.05) -> tuple[list[float], list[str]]:
        """Return where to write gains on the axis, and what.

        Args:
            gap: How far apart at least, as a share of the axis.
        """
        end = REACH * self.unit
        largest = min(max(abs(self.low), abs(self.high), self.unit), end)
        exponents = range(math.floor(math.log10(self.unit)), math.floor(math.log10(largest)) + 1)
        powers = [10.0**exponent for exponent in exponents][-5:]
        steps = powers if len(powers) > 3 else [f * p for p in powers for f in (1, 3)]
        below = [-v for v in steps if -v >= self.low] + [-end] * (self.low < -end)
        above = [v for v in steps if v <= self.high] + [end] * (self.high > end)
        shown = [*self._apart(below, gap)[::-1], 0.0, *self._apart(above, gap)]
        return [self.place(v) for v in shown], [self._text(v, end) for v in shown]

    def _text(self, gain: float, end: float) -> str:
        sign = {-end: "≤ ", end: "≥ "}.get(gain, "")
        return f"{sign}{float(f'{gain:.2g}'):+g}" if gain else "0"

    def _apart(self, values: Sequence[float], gap: float) -> list[float]:
        """Leave out values that would stand too close to zero or to each other; larger ones win."""
        gap, kept = gap * (self.bounds[1] - self.bounds[0]), list[float]()
        for value in reversed(values):
            place = abs(self.place(value))
            if place >= gap and all(abs(self.place(k)) - place >= gap for k in kept):
                kept.insert(0, value)
        return kept

    def colours(self, gains: Sequence[float]) -> dict[str, object]:
        """Return the part of a marker or line that colours it by gain."""
        places, texts = self.ticks()
        largest = max(map(abs, (self.place(self.low), self.place(self.high)))) or 1.0
        return {
            "color": [self.place(gain) for gain in gains],
            "colorscale": [list(stop) for stop in SCALE],
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
