"""Where a network comes from: the one walk over ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from miha.records import TrainingRecord


def ancestors(
    records: Iterable[TrainingRecord],
    last: TrainingRecord,
) -> Iterator[TrainingRecord]:
    """Yield the trainings that led to a network's weights, that of the network first.

    The walk goes from parent to parent. It ends at the run's first training, or at the restart
    from which the weights come.

    Args:
        records: The journal's trainings.
        last: The one that made the network.
    """
    by_archive: dict[str | None, TrainingRecord] = {
        record.archive: record for record in records if record.archive is not None
    }
    record: TrainingRecord | None = last
    while record is not None:
        yield record
        # The weights begin here, whatever the parent was.
        if record.change.transition == "restart":
            return
        record = by_archive.get(record.parent)


def main_line(
    records: Iterable[TrainingRecord],
    last: TrainingRecord,
) -> list[TrainingRecord]:
    """Return the trainings that led to a network, the first one first."""
    return [*ancestors(records, last)][::-1]
