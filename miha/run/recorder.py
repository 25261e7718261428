"""What a run leaves on the disk, and what a run that goes on finds there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping

from miha.archive.archive import pack, read
from miha.records import Network, Snapshot, Task, TrainingRecord
from miha.storage.checkpoint import Checkpoints
from miha.storage.folder import Keep, RunFolder
from miha.storage.journal import Entry, Journal
from miha.storage.logbook import Logbook
from miha.storage.tables import Tables
from miha.storage.writer import Writer
from miha.trainer.protocol import Trainer
from miha.utils.signals import raise_if_asked


class Recorder:
    """Records trainings in the background, and recalls those that are recorded already.

    Args:
        folder: The run's folder, created already.
        journal: Its journal, opened already.
        past: What the journal said when it was opened.
        trainer: Makes archives and reads them.
        checkpoints: Where the training at hand notes how far it has come; None: nowhere.

    Attributes:
        log: Everything that has happened, what is recalled included.
        written: How many trainings are on the disk.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        past: Logbook,
        trainer: Trainer,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.folder = folder
        self.past = past
        self.checkpoints = checkpoints
        # What a run was given later belongs to it from its beginning.
        self.log = past.without_events()
        self.written = len(past.trainings)
        self._journal = journal
        self._trainer = trainer
        self._writer = Writer()
        self._tables = Tables(folder.path)
        self._values: dict[str | None, Snapshot] = {}

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write what is recorded meanwhile; at the end, all of it is on the disk."""
        with self._writer:
            yield

    def recall(self, task: Task) -> TrainingRecord | None:
        """Return the record of a training that is done already.

        Raises:
            JournalError: The journal has another training in its place.
        """
        # A resumed run trains in the same order: the next training has the next place.
        record = self.past.find(len(self.log.trainings), task)
        if record is not None:
            self.log.add(record)
        return record

    def record(self, network: Network) -> None:
        """Archive and journal a network while the next one trains; its values stay in memory.

        Raises:
            StorageError: The disk has refused what was recorded before.
        """
        # What a stop has made of a training is no result of it.
        raise_if_asked()
        record = network.record
        entry = self.log.add(record)
        if network.snapshot is not None:
            self._values[record.archive] = network.snapshot
        self._writer.submit(lambda: self._write(network, entry))

    def delete_all_but(self, archives: Collection[str | None], keep: Keep) -> None:
        """Delete archives when what was recorded before is on the disk.

        Args:
            archives: What the run needs.
            keep: Which others stay.
        """
        # In the writer's turn: the journal must say first what makes an archive needless.
        self._writer.submit(lambda: self.folder.delete_archives(archives, keep))

    def values(self, record: TrainingRecord) -> Snapshot:
        """Return a network's values; those of a recalled one are in its archive.

        Raises:
            ArchiveError: The archive is damaged or gone.
        """
        if record.archive not in self._values:
            data = read(self.folder.path / str(record.archive))[1]
            self._values[record.archive] = self._trainer.recall(data)
        return self._values[record.archive]

    def keep_values(self, records: Iterable[TrainingRecord]) -> None:
        """Free the values of all networks but some: memory does not grow with the population."""
        names = {record.archive for record in records}
        for name in [*self._values]:
            if name not in names:
                del self._values[name]

    def start_with(self, archive: str | None, values: Snapshot) -> None:
        """Take the values of the network that the run begins with."""
        self._values[archive] = values

    def select(
        self,
        cycle: int,
        winner: TrainingRecord | None,
        reasons: Mapping[int, str],
    ) -> bool:
        """Journal a cycle's winner, None if all clones lost; return whether that is new."""
        raise_if_asked()
        is_new = cycle not in self.past.winners
        # What was journalled stays: an earlier version may have known other phrases, or none.
        phrases = reasons if is_new else self.past.reasons.get(cycle, {})
        entry = self.log.select(cycle, None if winner is None else winner.clone, phrases)
        if not is_new:
            return False
        self._writer.submit(lambda: self._journal.append(entry))
        if self._tables.are_due:
            # The writer's thread must not read what this one appends to.
            log = self.log.copy()
            self._writer.submit(lambda: self._tables.write(log))
        return True

    def rest(self, cycle: int, reason: str) -> bool:
        """Journal that the network trains alone for a cycle; return whether that is new."""
        if cycle in self.past.rests:
            self.log.rest(cycle, self.past.rests[cycle])
        is_new = self._is_new and cycle not in self.past.rests
        if is_new:
            entry = self.log.rest(cycle, reason)
            self._writer.submit(lambda: self._journal.append(entry))
        return is_new

    def go_back(
        self,
        cycle: int,
        network: TrainingRecord,
        reason: str,
    ) -> bool:
        """Journal that an older network follows a cycle; return whether that is new."""
        if cycle in self.past.returns:
            self.log.go_back(cycle, network, self.past.returns[cycle])
        is_new = self._is_new and cycle not in self.past.returns
        if is_new:
            entry = self.log.go_back(cycle, network, reason)
            self._writer.submit(lambda: self._journal.append(entry))
        return is_new

    @property
    def _is_new(self) -> bool:
        """Whether what happens now has not happened before: all that was recorded is recalled."""
        # A run that an earlier version began may lack the reason of what it did.
        return len(self.log.trainings) >= len(self.past.trainings)

    def stop(self, reason: str) -> None:
        """Journal why no further cycle begins."""
        entry = self.log.stop(reason)
        if self.past.stopped is None:
            self._writer.submit(lambda: self._journal.append(entry))

    def end(self) -> None:
        """Write the tables, and journal that the run has come to its end."""
        self._tables.write(self.log)
        self._journal.append(self.log.end())

    def _write(self, network: Network, entry: Entry) -> None:
        record = network.record
        if record.restored is not None:
            better = read(self.folder.path / record.restored)[1]
            self.folder.write_archive(str(record.archive), better)
        elif network.snapshot is not None:
            archive = self._trainer.export(network.snapshot, record.genome)
            self.folder.write_archive(str(record.archive), pack(archive, entry))
        self._journal.append(entry)
        if self.checkpoints is not None:
            self.checkpoints.forget(record.archive)
        self.written += 1
