"""The compiled programs of one network, and how many steps of each to take at once."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

MOST_PROGRAMS = 64
"""Programs that are kept: batch sizes that mutate freely would else fill the memory."""

SECONDS = 0.5
"""How long steps taken at once last at least; at most, twice as long."""


class Pace:
    """Finds how many steps take about a second.

    Attributes:
        steps: Steps to take at once. The number has no influence on the weights.
    """

    def __init__(self) -> None:
        self.steps = 64

    @contextlib.contextmanager
    def measure(self, steps: float) -> Iterator[None]:
        """Measure the time that ``steps`` steps take, and adapt `Pace.steps` to it."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start

        # Compiled code hears no Ctrl-C before it returns: it must return often.
        if seconds > 2 * SECONDS:
            self.steps = max(self.steps // 2, 1)

        # A short call does not show how long more steps would take.
        elif seconds < SECONDS and steps >= self.steps:
            self.steps *= 2


class Programs:
    """Keep programs by a key; forget those that are least recently used.

    Args:
        count: Returns how many times a program has been compiled.
    """

    def __init__(
        self,
        count: Callable[[Any], int],
    ) -> None:
        self._count = count
        self._programs: OrderedDict[Hashable, Any] = OrderedDict()
        self._paces: dict[Hashable, Pace] = {}
        self._forgotten = 0

    @property
    def compiled(self) -> int:
        """The number of compilations, those of forgotten programs included."""
        kept = map(self._count, self._programs.values())
        return self._forgotten + sum(kept)

    def get(
        self,
        key: Hashable,
        make: Callable[[], Any],
    ) -> Any:
        """Return the program of a key; make it when there is none."""
        if key not in self._programs:
            self._programs[key] = make()
            if len(self._programs) > MOST_PROGRAMS:
                oldest = next(iter(self._programs))
                self._forget(oldest)
        self._programs.move_to_end(key)
        return self._programs[key]

    def forget(
        self,
        is_outdated: Callable[[Any], bool],
    ) -> None:
        """Forget the programs whose key is outdated."""
        for key in list(self._programs):
            if is_outdated(key):
                self._forget(key)

    def _forget(self, key: Hashable) -> None:
        program = self._programs.pop(key)
        self._forgotten += self._count(program)

    def pace(self, key: Hashable) -> Pace:
        """Return the pace of a program."""
        return self._paces.setdefault(key, Pace())
