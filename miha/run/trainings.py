"""The trainings of a run, one after another: each is trained once, recorded, and recalled after."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from miha.callbacks import Callback, notify
from miha.errors import MihaError
from miha.executors.protocol import PopulationExecutor
from miha.executors.training import Training
from miha.records import (
    UNCHANGED,
    Change,
    Genome,
    Network,
    Phase,
    Task,
    TrainingRecord,
)
from miha.run.recorder import Recorder
from miha.run.retention import archives_to_keep
from miha.search import reasons
from miha.search.best import best_network
from miha.search.crossover import mean
from miha.search.plan import Plan
from miha.search.selection import Selection, network_to_go_on_from
from miha.search.stopping import has_reached_target
from miha.storage.folder import START, Keep, archive_name
from miha.storage.logbook import FAILED_CYCLES, Logbook, best_of
from miha.storage.text_log import describe_training, say
from miha.utils import free_memory
from miha.utils.warn import warn


@dataclass(frozen=True)
class Trainings:
    """Trains the networks of a run, as far as they are not trained already, and records them.

    Attributes:
        plan: What the run does.
        training: Trains one network.
        recorder: Remembers what is done, by this process or by one before it.
        callbacks: Who watches.
        keep: Which archives stay, needed or not.
    """

    plan: Plan
    training: Training
    recorder: Recorder
    callbacks: Sequence[Callback] = ()
    keep: Keep = "all"

    @property
    def log(self) -> Logbook:
        """What has happened so far."""
        return self.recorder.log

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Write what is recorded meanwhile; at the end, all of it is on the disk."""
        with self.recorder.writing():
            yield

    def train(self, task: Task, parent: TrainingRecord) -> TrainingRecord:
        """Train a network on from its parent's values, unless that is done already."""
        done = self.recorder.recall(task)
        if done is not None:
            return done
        began = time.perf_counter()
        values = self.recorder.values(parent)
        return self._record(self.training.run(task, parent, values), began)

    def train_winner(
        self,
        winner: TrainingRecord,
        cycle: int,
        epochs: int,
        rates: tuple[float, ...] = (),
    ) -> TrainingRecord:
        """Train the winner of a cycle on, or the network alone."""
        task = make_task(self.plan, "winner", winner.genome, cycle)
        return self.train(replace(task, epochs=epochs, rates=rates), winner)

    def train_clones(
        self, executor: PopulationExecutor, tasks: Sequence[Task], parent: TrainingRecord
    ) -> Iterator[TrainingRecord]:
        """Yield the clones of a cycle: first those that are recorded, then trained ones."""
        # A population is recorded in the order of its numbers: what is missing is at its end.
        done = 0
        for task in tasks:
            record = self.recorder.recall(task)
            if record is None:
                break
            done += 1
            yield record
        if done == len(tasks):
            return
        began = time.perf_counter()
        values = self.recorder.values(parent)
        for network in executor.train(tasks, done, parent, values):
            yield self._record(network, began)
            began = time.perf_counter()

    def clone_tasks(
        self,
        drawn: Sequence[tuple[Genome, Change]],
        cycle: int,
    ) -> list[Task]:
        """Return the trainings of a population."""
        return [
            make_task(self.plan, "clone", genome, cycle, number, change)
            for number, (genome, change) in enumerate(drawn)
        ]

    def evaluate(
        self,
        drawn: tuple[Genome, Change],
        parents: Sequence[TrainingRecord],
        cycle: int,
    ) -> TrainingRecord:
        """Evaluate the child of two clones, which has the mean of their weights."""
        genome, change = drawn
        number = self.plan.schedule.pop_size
        task = make_task(self.plan, "clone", genome, cycle, number, change)
        task = replace(task, epochs=0)
        done = self.recorder.recall(task)
        if done is not None:
            return done
        began = time.perf_counter()
        fitter, other = parents
        values = mean(self.recorder.values(fitter), self.recorder.values(other))
        return self._record(self.training.evaluate(task, fitter, values), began)

    def select(self, cycle: int, selection: Selection) -> None:
        """Record which clone of a cycle was selected, None if all have lost, and why."""
        winner = selection.winner
        is_new = self.recorder.select(cycle, winner, selection.reasons)
        if not is_new:
            return
        free_memory.release()
        self._tell(reasons.selection_line(cycle, winner, selection.reason, self.plan.monitor))
        clones = self.log.clones(cycle)
        notify(self.callbacks, Callback.on_cycle_end, cycle, clones, winner)
        if winner is None:
            self._warn_or_give_up(cycle)

    def rest(self, cycle: int, rests: range) -> None:
        """Record that the network trains alone for a cycle, one of several in a row, and why."""
        if self.recorder.rest(cycle, reasons.NOT_WORTH_IT):
            epochs = self.plan.schedule.epochs_of_cycle
            self._tell(reasons.rest_line(cycle, rests, epochs))

    def go_on_from(
        self,
        network: TrainingRecord,
        best: TrainingRecord,
        cycle: int,
    ) -> TrainingRecord:
        """Return the network that follows a cycle; record where that is an older one, and why."""
        chosen = network_to_go_on_from(network, best, self.plan)
        if chosen is network:
            return network
        share = self.plan.search.backtrack
        reason = reasons.of_return(network, best, self.plan.monitor, share)
        if self.recorder.go_back(cycle, best, reason):
            self._tell(reasons.return_line(cycle, best, reason))
        return best

    def stop(self, reason: str) -> None:
        """Record why no further cycle begins."""
        say(f"Stops: {reason}")
        self.recorder.stop(reason)

    def _tell(self, text: str) -> None:
        """Write a decision into the run's log, and show it to those who watch."""
        say(text)
        notify(self.callbacks, Callback.on_decision, text)

    def _record(self, network: Network, began: float) -> TrainingRecord:
        record = network.record
        seconds = time.perf_counter() - began
        if not record.is_clone:
            # An earlier process may have trained some of its epochs.
            seconds = max(seconds, sum(epoch.seconds for epoch in record.epochs))
        record = record.replace(seconds=seconds)
        if record.phase == "final":
            record = record.replace(restored=self._restored(record))
        network = replace(network, record=record)
        describe_training(record, self.plan.monitor, self.plan.has_own_fitness)
        self.recorder.record(network)
        # Until the network itself has trained on, the run may need every clone.
        if self.keep != "all" and not record.is_clone:
            self.recorder.delete_all_but(archives_to_keep(self.log, self.plan), self.keep)
        notify(self.callbacks, Callback.on_training_end, network)
        return record

    def _restored(self, last: TrainingRecord) -> str | None:
        """Return the archive of the network that the run ends with instead of its last one."""
        best = self._best_and(last)
        if best is None or best is last or not math.isfinite(best.value):
            return None
        say(f"Ends with the best network, {best.value:.5g}: {best.archive}")
        return best.archive

    def _best_and(self, last: TrainingRecord) -> TrainingRecord | None:
        """Return the network that the run ends with, of its last one and those before."""
        records = [*self.log.trainings, last]
        if has_reached_target(self.plan, self.log):
            return best_of(records, self.plan.mode)
        if self.plan.search.restore_best:
            return best_network(records, self.plan.judge_of_best)
        return last

    def _warn_or_give_up(self, cycle: int) -> None:
        if self.log.has_given_up(cycle):
            first = cycle - FAILED_CYCLES + 1
            raise MihaError(
                f"A clone in three cycles must succeed. Received: cycles {first} to {cycle}, in "
                "which every clone failed; the journal says why. Where memory was short, free "
                "some: the same script then tries these cycles again. Else lower the learning "
                "rate or narrow `space`, and start again with overwrite=True."
            )
        warn(
            f"Every clone of cycle {cycle} has failed; the network goes on unchanged. "
            "Narrow the search space or lower the learning rate."
        )


def make_task(
    plan: Plan,
    phase: Phase,
    genome: Genome,
    cycle: int | None = None,
    clone: int | None = None,
    change: Change = UNCHANGED,
) -> Task:
    """Return a training of the run, with the epochs that its phase has."""
    epochs = plan.schedule.epochs_of(phase)
    return Task(phase, cycle, clone, epochs, genome, change, archive_name(phase, cycle, clone))


def first_task(plan: Plan, genome: Genome) -> Task:
    """Return the run's first training."""
    return make_task(plan, "initial", genome)


def last_task(
    plan: Plan,
    genome: Genome,
    rates: tuple[float, ...],
    has_reached_target: bool,
) -> Task:
    """Return the run's last training: m epochs, or none where the target is reached."""
    task = make_task(plan, "final", genome)
    if has_reached_target:
        return replace(task, epochs=0)
    return replace(task, rates=rates, data=plan.search.final_data)


def untrained(genome: Genome) -> TrainingRecord:
    """Return what stands for the user's own network, before any training."""
    return TrainingRecord(
        phase="initial",
        cycle=None,
        clone=None,
        archive=START,
        parent=None,
        change=UNCHANGED,
        genome=genome,
        first_epoch=1,
        epochs=(),
        value=math.nan,
    )
