"""The trainings of a run, found by their cycle and by their archive, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from miha.records import TrainingRecord


class Past(list[TrainingRecord]):
    """A list of trainings with an index, which grows with it.

    The rules ask in each cycle for a few trainings: that must not take longer with every cycle.

    Args:
        records: The first ones.
    """

    def __init__(self, records: Iterable[TrainingRecord] = ()) -> None:
        super().__init__(records)
        self._forget_index()

    @classmethod
    def of(cls, records: Sequence[TrainingRecord]) -> Past:
        """Return trainings with an index: the very list, where it has one."""
        return records if isinstance(records, Past) else cls(records)

    @property
    def own(self) -> list[TrainingRecord]:
        """The trainings of the network itself, no clones."""
        self._index()
        return self._own

    def find(self, archive: str | None) -> TrainingRecord | None:
        """Return the training that made an archive, the last one; None where there is none."""
        self._index()
        return None if archive is None else self._by_archive.get(archive)

    def find_clone(self, cycle: int, number: int | None) -> TrainingRecord | None:
        """Return a clone by its cycle and its number; None where there is none."""
        self._index()
        return self._clones.get((cycle, number))

    def of_cycle(self, cycle: int | None) -> list[TrainingRecord]:
        """Return the trainings of a cycle in their order; None: the first and the last one."""
        self._index()
        return [*self._by_cycle.get(cycle, ())]

    def __setitem__(self, place: Any, record: Any) -> None:
        super().__setitem__(place, record)
        self._forget_index()

    def __delitem__(self, place: Any) -> None:
        super().__delitem__(place)
        self._forget_index()

    def insert(self, place: Any, record: TrainingRecord) -> None:
        """Put a training in a place."""
        super().insert(place, record)
        self._forget_index()

    def pop(self, place: Any = -1) -> TrainingRecord:
        """Take a training out of its place."""
        self._forget_index()
        return super().pop(place)

    def _forget_index(self) -> None:
        self._indexed = 0
        self._by_archive: dict[str, TrainingRecord] = {}
        self._by_cycle: dict[int | None, list[TrainingRecord]] = {}
        self._clones: dict[tuple[int | None, int | None], TrainingRecord] = {}
        self._own: list[TrainingRecord] = []

    def _index(self) -> None:
        """Bring the index up to the end of the list."""
        for record in self[self._indexed :]:
            self._by_cycle.setdefault(record.cycle, []).append(record)
            if record.archive is not None:
                self._by_archive[record.archive] = record
            if record.is_clone:
                self._clones[record.cycle, record.clone] = record
            else:
                self._own.append(record)
        self._indexed = len(self)
