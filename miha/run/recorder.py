"""What a run leaves on the disk, and what a run that goes on finds there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from miha.archive.archive import pack, read
from miha.records import Network, Snapshot, Task
from miha.storage.folder import RunFolder
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import Logbook, write_tables
from miha.storage.writer import Writer
from miha.trainer.protocol import Trainer


class Recorder:
    """Records trainings in the background, and recalls those that are recorded already.

    Args:
        folder: The run's folder, created already.
        journal: Its journal, opened already.
        past: What the journal held when it was opened.
        trainer: Makes archives and reads them.

    Attributes:
        log: Everything that has happened, what is recalled included.
        written: How many trainings are on the disk.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, past: Logbook, trainer: Trainer
    ) -> None:
        self.folder = folder
        self.past = past
        self.log = Logbook()
        self.written = len(past.trainings)
        self._journal = journal
        self._trainer = trainer
        self._writer = Writer()
        self._read: tuple[str | None, Snapshot] | None = None
        self._recalled = 0

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write what is recorded meanwhile; at the end, all of it is on the disk."""
        with self._writer:
            yield

    def recall(self, task: Task) -> Network | None:
        """Return the network of a training that is done already.

        Raises:
            JournalError: The journal tells of another training in its place.
        """
        self.pass_late()
        entry = self.past.find(self._recalled, task)
        if entry is None:
            return None
        self._recalled += 1
        network = Network.recalled(task, entry)
        self.log.add(network)
        return network

    def recall_next(self, tasks: Sequence[Task]) -> Network | None:
        """Return the clone of a population that came next, where clones are recorded as they come.

        Args:
            tasks: The whole population's.

        Raises:
            JournalError: The journal tells of another training in its place.
        """
        self.pass_late()
        entry = self._next
        if entry is None or entry["phase"] != "clone" or entry["clone"] not in range(len(tasks)):
            return None
        return self.recall(tasks[entry["clone"]])

    def pass_late(self) -> None:
        """Take over the recorded clones that came late and stand next in the journal."""
        while (entry := self._next) is not None and entry.get("late"):
            self._recalled += 1
            self.log.trainings.append(entry)

    @property
    def _next(self) -> Entry | None:
        """The first recorded training that is not recalled yet."""
        there = self._recalled < len(self.past.trainings)
        return self.past.trainings[self._recalled] if there else None

    def values(self, network: Network) -> Snapshot:
        """Return a network's values; those of a recalled one are in its archive.

        Raises:
            ArchiveError: The archive is damaged or gone.
        """
        if network.snapshot is not None:
            return network.snapshot
        if self._read is None or self._read[0] != network.archive:
            data = read(self.folder.path / str(network.archive))[1]
            self._read = (network.archive, self._trainer.recall(data))
        return self._read[1]

    def record(self, network: Network) -> None:
        """Have a network archived and journalled while the next one trains.

        Raises:
            StorageError: The disk has refused what was recorded before.
        """
        entry = self.log.add(network)

        def write() -> None:
            if network.restored is not None:
                better = read(self.folder.path / network.restored)[1]
                self.folder.write_archive(network.task.archive, better)
            elif network.snapshot is not None:
                archive = self._trainer.export(network.snapshot, network.genome)
                self.folder.write_archive(network.task.archive, pack(archive, entry))
            self._journal.append(entry)
            self.written += 1

        self._writer.submit(write)

    def select(self, cycle: int, clone: int | None, late: tuple[int, ...] = ()) -> bool:
        """Have a cycle's winner journalled, None if all clones lost; tell whether that is new.

        Args:
            cycle: 1 to c.
            clone: The winner's number.
            late: The clones that have not come yet.
        """
        entry = self.log.select(cycle, clone, late)
        if cycle in self.past.winners:
            return False
        self._writer.submit(partial(self._journal.append, entry))
        self._writer.submit(partial(write_tables, self.log.copy(), self.folder.path))
        return True

    def stop(self, reason: str) -> None:
        """Have it journalled why no further cycle is begun."""
        entry = self.log.stop(reason)
        if self.past.stopped is None:
            self._writer.submit(partial(self._journal.append, entry))

    def end(self) -> None:
        """Write the tables, and journal that the run has come to its end."""
        write_tables(self.log, self.folder.path)
        self._journal.append(self.log.end())
