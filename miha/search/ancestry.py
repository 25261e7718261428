"""Where a network comes from: the one walk over ancestors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from miha.records import TrainingRecord
from miha.storage.past import Past


def ancestors(
    records: Sequence[TrainingRecord],
    last: TrainingRecord,
) -> Iterator[TrainingRecord]:
    """Yield the trainings that led to a network's weights, that of the network first.

    The walk goes from parent to parent. It ends at the run's first training, or at the restart
    from which the weights come.

    Args:
        records: The journal's trainings.
        last: The one that made the network.
    """
    past = Past.of(records)
    record: TrainingRecord | None = last
    seen: set[str | None] = set()
    # A journal that others have changed may lead in a circle.
    while record is not None and record.archive not in seen:
        yield record
        seen.add(record.archive)
        # The weights begin here, whatever the parent was.
        if record.change.transition == "restart":
            return
        record = past.find(record.parent)


def main_line(
    records: Sequence[TrainingRecord],
    last: TrainingRecord,
) -> list[TrainingRecord]:
    """Return the trainings that led to a network, the first one first."""
    return [*ancestors(records, last)][::-1]
