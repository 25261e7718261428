"""The method: one network is trained, and its hyperparameters mutate while it learns."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from miha import memory
from miha.callbacks import Callback, notify
from miha.errors import MihaError, MihaWarning
from miha.fitness import LOSES, fittest
from miha.folder import START, archive_name
from miha.plan import Plan
from miha.population import population
from miha.recorder import Recorder
from miha.records import UNCHANGED, Change, Genome, Network, Phase, Snapshot, Task
from miha.runlog import describe_training, say
from miha.stopping import is_at_target, stop_reason
from miha.trainer.protocol import Trainer
from miha.training import Training


@dataclass(frozen=True)
class Loop:
    """One run of the method.

    Attributes:
        plan: What it shall do.
        trainer: The live network.
        start: The user's network: the values that the run begins with.
        recorder: Remembers what is done, by this process or by one before it.
        callbacks: Who watches.
    """

    plan: Plan
    trainer: Trainer
    start: Snapshot
    recorder: Recorder
    callbacks: Sequence[Callback] = ()

    @property
    def _training(self) -> Training:
        return Training(self.plan, self.trainer, self.callbacks)

    def run(self, genome: Genome) -> Network:
        """Train m epochs, c cycles and m epochs; return the last network."""
        with self.recorder.writing():
            network = self._train(self._task("initial", genome), self._untrained(genome))
            best = network
            for cycle in itertools.count(1):
                if self._is_over(cycle, network):
                    break
                winner = self._winner(network, cycle)
                network = self._train(self._task("winner", winner.genome, cycle), winner)
                best = self._better(self._better(best, winner), network)
                network = self._backtracked(network, best)
            return self._train(self._last_task(network.genome), network)

    def _is_over(self, cycle: int, network: Network) -> bool:
        """Tell whether there is no further cycle: all are done, or a budget says so."""
        reason = stop_reason(self.plan, self.recorder.log, cycle, network)
        if reason is not None:
            say(f"Stops: {reason}")
            self.recorder.stop(reason)
        return reason is not None or cycle > self.plan.schedule.c

    def _last_task(self, genome: Genome) -> Task:
        """Return the last training: m epochs, or none where the target is reached."""
        task = self._task("final", genome)
        return replace(task, epochs=0) if is_at_target(self.plan, self.recorder.log) else task

    def _better(self, first: Network, second: Network) -> Network:
        """Return the network with the better value, the second of equals."""
        return first if self._gap(second.value, first.value) > 0 else second

    def _gap(self, value: float, best: float) -> float:
        """Return by how much a value is worse than another one; what is not finite is worst."""
        gap = value - best if self.plan.mode == "min" else best - value
        return math.inf if math.isnan(gap) and not math.isnan(best) else gap

    def _backtracked(self, network: Network, best: Network) -> Network:
        """Return to the best network of the run where the present one is clearly worse."""
        share = self.plan.backtrack
        if share is None or not self._gap(network.value, best.value) > share * abs(best.value):
            return network
        say(f"Backtracks from {network.value:.5g} to {best.value:.5g}: {best.archive}")
        return best

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
        clones = population(self.plan, parent.genome, self.trainer.space, cycle)
        for clone, (genome, change) in enumerate(clones):
            yield self._task("clone", genome, cycle, clone, change)

    def _train(self, task: Task, parent: Network) -> Network:
        """Train a network on from its parent's values, unless that is done already."""
        done = self.recorder.recall(task)
        if done is not None:
            return done
        notify(self.callbacks, Callback.on_training_begin, task)
        began = time.perf_counter()
        network = self._training.run(task, parent, self.recorder.values(parent))
        network = replace(network, seconds=time.perf_counter() - began)
        if task.phase == "final":
            network = replace(network, restored=self._restored(network))
        describe_training(network, self.plan.monitor)
        self.recorder.record(network)
        notify(self.callbacks, Callback.on_training_end, network)
        return network

    def _restored(self, network: Network) -> str | None:
        """Return the archive of the network that the run ends with instead of its last one."""
        best = self.recorder.log.best(self.plan.mode)
        if not (self.plan.restore_best or is_at_target(self.plan, self.recorder.log)):
            return None
        if best is None or not math.isfinite(best["value"]):
            return None
        if self._gap(network.value, best["value"]) < 0:
            return None
        say(f"Ends with the best network, {best['value']:.5g}: {best['archive']}")
        return str(best["archive"])

    def _select(self, cycle: int, winner: Network) -> None:
        clone = winner.task.clone if winner.task.cycle == cycle else None
        if not self.recorder.select(cycle, clone):
            return
        memory.release()
        notify(self.callbacks, Callback.on_cycle_end, cycle, self.recorder.log.clones(cycle))
        if clone is None:
            self._warn_or_give_up(cycle)

    def _warn_or_give_up(self, cycle: int) -> None:
        if self.recorder.log.has_given_up(cycle):
            raise MihaError(
                f"A clone in three cycles must succeed. Received: cycles {cycle - 2} to {cycle}, "
                "in which every clone failed; the journal says why. Where memory was short, "
                "free some: the same script then tries these cycles again. Else lower the "
                "learning rate or narrow `space`, and begin anew with overwrite=True."
            )
        warnings.warn(
            f"Every clone of cycle {cycle} has failed; the network goes on unchanged. "
            "Narrow the search space or lower the learning rate.",
            MihaWarning,
            stacklevel=2,
        )

    def _untrained(self, genome: Genome) -> Network:
        task = Task("initial", None, None, 0, genome, UNCHANGED, START)
        return Network(task, self.start, (), 0, math.nan)

    def _task(
        self,
        phase: Phase,
        genome: Genome,
        cycle: int | None = None,
        clone: int | None = None,
        change: Change = UNCHANGED,
    ) -> Task:
        epochs, archive = self.plan.schedule.epochs_of(phase), archive_name(phase, cycle, clone)
        return Task(phase, cycle, clone, epochs, genome, change, archive)
