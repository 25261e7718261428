"""How many steps to take at once: compiled code hears no Ctrl-C before it returns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

SECONDS = 0.5
"""What steps taken at once shall last at least; at most, twice as long."""


class Pace:
    """Finds how many steps take about a second, by looking at the clock.

    Attributes:
        steps: Steps to take at once. Which they are has no influence on the weights.
    """

    def __init__(self) -> None:
        self.steps = 64

    @contextlib.contextmanager
    def measured(self, steps: float) -> Iterator[None]:
        """Look at the clock while some steps are taken.

        Args:
            steps: How many; fewer than `steps` do not tell how long more would take.
        """
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        if seconds < SECONDS and steps >= self.steps:
            self.steps *= 2
        elif seconds > 2 * SECONDS:
            self.steps = max(self.steps // 2, 1)
