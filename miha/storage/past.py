"""The trainings of a run, found by their cycle and by their archive, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from miha.records import TrainingRecord


class Past(list[TrainingRecord]):
    """A list of trainings that only grows, with an index.

    The rules ask in each cycle for a few trainings: that must not take longer with every cycle.

    Args:
        records: The first ones.

    Attributes:
        own: Those of the network itself, no clones.
    """

    def __init__(self, records: Iterable[TrainingRecord] = ()) -> None:
        super().__init__()
        self._by_archive: dict[str, TrainingRecord] = {}
        self._by_cycle: dict[int | None, list[TrainingRecord]] = {}
        self._clones: dict[tuple[int | None, int | None], TrainingRecord] = {}
        self.own: list[TrainingRecord] = []
        for record in records:
            self.append(record)

    @classmethod
    def of(cls, records: Sequence[TrainingRecord]) -> Past:
        """Return trainings with an index: the very list, where it has one."""
        return records if isinstance(records, Past) else cls(records)

    def append(self, record: TrainingRecord) -> None:
        """Add a training."""
        super().append(record)
        self._by_cycle.setdefault(record.cycle, []).append(record)
        if record.archive is not None:
            self._by_archive[record.archive] = record
        if record.is_clone:
            self._clones[record.cycle, record.clone] = record
        else:
            self.own.append(record)

    def find(self, archive: str | None) -> TrainingRecord | None:
        """Return the training that made an archive, the last one; None where there is none."""
        return None if archive is None else self._by_archive.get(archive)

    def find_clone(self, cycle: int, number: int | None) -> TrainingRecord | None:
        """Return a clone by its cycle and its number; None where there is none."""
        return self._clones.get((cycle, number))

    def of_cycle(self, cycle: int | None) -> list[TrainingRecord]:
        """Return the trainings of a cycle in their order; None: the first and the last one."""
        return [*self._by_cycle.get(cycle, ())]
