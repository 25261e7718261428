"""The method: one network is trained, and its hyperparameters mutate while it learns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from miha import memory
from miha.archive import pack
from miha.callbacks import Callback, notify
from miha.errors import MihaError, MihaWarning
from miha.fitness import LOSES, Fitness, fittest, score
from miha.journal import RunFolder, archive_name
from miha.logbook import Logbook, write_tables
from miha.mutations import Mutation, distinct_mutants
from miha.randomness import generator
from miha.records import (
    UNCHANGED,
    Change,
    Curve,
    Epoch,
    Genome,
    Mode,
    Network,
    Phase,
    Schedule,
    Snapshot,
    Task,
)
from miha.runlog import describe_training
from miha.trainer.protocol import Trainer
from miha.writer import Writer


@dataclass
class Loop:
    """One run of the method.

    Attributes:
        trainer: The live network.
        start: The user's network: the values that the run begins with.
        schedule: How long what is trained.
        mutations: The operators that clones are made by.
        fitness: What the clones are compared by.
        monitor: Name of the logged value that the fitness reads.
        mode: Whether it is better small or large.
        control: Whether clone 0 of every population stays unchanged.
        seed: Decides every random draw.
        folder: The run's folder, created already.
        callbacks: Who watches.
        log: Everything that has happened.
        best: The network with the best monitored value so far.
    """

    trainer: Trainer
    start: Snapshot
    schedule: Schedule
    mutations: Sequence[Mutation]
    fitness: Fitness
    monitor: str
    mode: Mode
    control: bool
    seed: int
    folder: RunFolder
    callbacks: Sequence[Callback] = ()
    log: Logbook = field(default_factory=Logbook)
    best: Network | None = None

    def run(self, genome: Genome) -> Network:
        """Train m epochs, c cycles and m epochs; return the last network."""
        with Writer() as self._writer:
            network = self._untrained(genome)
            network = self._train(self._task("initial", self.schedule.m, network.genome), network)
            for cycle in range(1, self.schedule.c + 1):
                winner = self._winner(network, cycle)
                network = self._train(
                    self._task("winner", self.schedule.k, winner.genome, cycle), winner
                )
            return self._train(self._task("final", self.schedule.m, network.genome), network)

    def _winner(self, parent: Network, cycle: int) -> Network:
        """Train a population of clones and return the fittest; the parent if all have lost."""
        winner, scores = parent, list[float]()
        for task in self._population(parent, cycle):
            clone = self._train(task, parent)
            scores.append(LOSES if clone.fitness is None else clone.fitness)
            # Only the fittest so far keeps its values: memory does not grow with pop_size.
            winner = clone if fittest(scores) == clone.task.clone else winner
        self._select(cycle, winner)
        return winner

    def _population(self, parent: Network, cycle: int) -> Iterator[Task]:
        """Yield the training of each clone, the control first."""
        size, first = self.schedule.pop_size, int(self.control)
        places = [generator(self.seed, "clone", cycle, i, "mutation") for i in range(first, size)]
        mutants = distinct_mutants(parent.genome, self.mutations, self.trainer.space, places)
        for clone, mutant in enumerate([(parent.genome, UNCHANGED)] * first + mutants):
            yield self._task("clone", self.schedule.n, mutant[0], cycle, clone, mutant[1])

    def _train(self, task: Task, parent: Network) -> Network:
        """Train a network on from its parent's values, with the genome of the task."""
        notify(self.callbacks, Callback.on_training_begin, task)
        self.trainer.restore(parent.snapshot)
        self.trainer.express(task.genome)
        epochs = self._train_epochs(task)
        if task.phase == "final":
            last = replace(epochs[-1], logs={**epochs[-1].logs, **self.trainer.finalize()})
            epochs = (*epochs[:-1], last)
        network = self._trained(task, parent, epochs)
        self._record(network)
        notify(self.callbacks, Callback.on_training_end, network)
        return network

    def _train_epochs(self, task: Task) -> tuple[Epoch, ...]:
        # All clones of a cycle see the same samples in the same order, and the same noise.
        place = (self.seed, task.phase, task.cycle or 0, 0)
        return self.trainer.train(
            task.epochs,
            generator(*place, "order"),
            generator(*place, "noise"),
            partial(self._end_epoch, task),
        )

    def _end_epoch(self, task: Task, epoch: Epoch) -> None:
        self._value(epoch)  # A value that is not logged shall cost one epoch, not m.
        notify(self.callbacks, Callback.on_epoch_end, task, epoch)

    def _trained(self, task: Task, parent: Network, epochs: tuple[Epoch, ...]) -> Network:
        values = tuple(self._value(epoch) for epoch in epochs)
        value = values[-1] if values else parent.value
        network = Network(
            task=task,
            snapshot=self.trainer.snapshot(),
            epochs=epochs,
            age=parent.age + len(epochs),
            value=value,
            parent=parent.task.archive or None,
        )
        if task.phase == "clone":
            return replace(network, fitness=score(self.fitness, self._curve(parent, values)))
        return network if math.isfinite(value) or not epochs else self._back(network, parent)

    def _back(self, network: Network, parent: Network) -> Network:
        """Return to the last good values after the network itself has diverged."""
        warnings.warn(
            f"The network diverged in its {network.task.phase} training ({network.genome}): "
            f"{self.monitor} is not finite. The run goes on from the values before it.",
            MihaWarning,
            stacklevel=2,
        )
        return replace(network, snapshot=parent.snapshot, value=parent.value)

    def _value(self, epoch: Epoch) -> float:
        """Read the monitored value; an epoch whose loss is not finite has none."""
        if self.monitor not in epoch.logs:
            raise MihaError(
                f"`monitor` must name a value that is logged: {list(epoch.logs)}. "
                f"Received: monitor={self.monitor!r}. Let `train_step` return it."
            )
        loss = epoch.logs.get("loss", 0.0)
        return float(epoch.logs[self.monitor]) if math.isfinite(loss) else math.nan

    def _curve(self, parent: Network, values: tuple[float, ...]) -> Curve:
        return Curve(parent.value, values, self.mode)

    def _select(self, cycle: int, winner: Network) -> None:
        clone = winner.task.clone if winner.task.cycle == cycle else None
        if clone is None:
            warnings.warn(
                f"Every clone of cycle {cycle} has diverged; the network goes on unchanged. "
                "Narrow the search space or lower the learning rate.",
                MihaWarning,
                stacklevel=2,
            )
        entry = self.log.select(cycle, clone)
        self._writer.submit(lambda: self.folder.append(entry))
        self._writer.submit(partial(write_tables, self.log.copy(), self.folder.path))
        memory.release()
        notify(self.callbacks, Callback.on_cycle_end, cycle, self.log.clones(cycle))

    def _record(self, network: Network) -> None:
        """Have the network archived and journalled while the next one trains."""
        if self._is_better(network):
            self.best = network
        entry = self.log.add(network)
        describe_training(network, self.monitor)

        def write() -> None:
            archive = self.trainer.export(network.snapshot, network.genome)
            self.folder.write_archive(network.task.archive, pack(archive, entry))
            self.folder.append(entry)

        self._writer.submit(write)

    def _is_better(self, network: Network) -> bool:
        if self.best is None or not math.isfinite(network.value):
            return self.best is None
        if not math.isfinite(self.best.value):
            return True
        sign = 1 if self.mode == "min" else -1
        return sign * network.value < sign * self.best.value

    def _untrained(self, genome: Genome) -> Network:
        task = Task("initial", None, None, 0, genome, UNCHANGED, "")
        return Network(task, self.start, (), 0, math.nan)

    def _task(
        self,
        phase: Phase,
        epochs: int,
        genome: Genome,
        cycle: int | None = None,
        clone: int | None = None,
        change: Change = UNCHANGED,
    ) -> Task:
        archive = archive_name(phase, cycle, clone)
        return Task(phase, cycle, clone, epochs, genome, change, archive)
