"""The compiled programs of one network, and how many steps of each to take at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from miha.trainer.pace import Pace

MOST_PROGRAMS = 64
"""Programs that are kept: batch sizes that mutate freely would else fill the memory."""


class Programs:
    """Programs by what they were made for; those least recently used are let go of.

    Args:
        count: Tells how many times a program has been compiled.
    """

    def __init__(self, count: Callable[[Any], int]) -> None:
        self._count = count
        self._programs: OrderedDict[Hashable, Any] = OrderedDict()
        self._paces: dict[Hashable, Pace] = {}
        self._forgotten = 0

    @property
    def compiled(self) -> int:
        """How many have been compiled, those let go of included."""
        return self._forgotten + sum(map(self._count, self._programs.values()))

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return a program, made when it is not at hand."""
        if key not in self._programs:
            self._programs[key] = make()
            while len(self._programs) > MOST_PROGRAMS:
                self._forgotten += self._count(self._programs.popitem(last=False)[1])
        self._programs.move_to_end(key)
        return self._programs[key]

    def forget(self, is_meant: Callable[[Any], bool]) -> None:
        """Let go of some programs, by what they were made for."""
        for key in [key for key in self._programs if is_meant(key)]:
            self._forgotten += self._count(self._programs.pop(key))

    def pace(self, key: Hashable) -> Pace:
        """Return how many steps of a program to take at once."""
        return self._paces.setdefault(key, Pace())
