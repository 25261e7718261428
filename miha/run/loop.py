"""The method: one network is trained, and its hyperparameters mutate while it learns.

Sources: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for optimizing
neural network hyperparameters" (2021); M. Jaderberg et al., "Population Based Training of Neural
Networks" (2017), whose population lives on, where this one is made anew in each cycle.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

from miha.callbacks import Callback, notify
from miha.competing import Populations, populations
from miha.errors import MihaError
from miha.executors.asynchronous import Asynchronous
from miha.executors.protocol import CycleTrainer
from miha.executors.training import Training
from miha.racing import Race, finalists
from miha.records import UNCHANGED, Change, Genome, Network, Phase, Snapshot, Task
from miha.run.recorder import Recorder
from miha.search.ancestry import clones_by_cycle, epochs_of, life, stages
from miha.search.backtracking import backtracked, better, gap
from miha.search.crossover import mean, offspring
from miha.search.fitness import fittest
from miha.search.judging import Apart, is_ahead, judged
from miha.search.plan import Plan
from miha.search.population import population
from miha.search.rests import is_rest, payments
from miha.search.stopping import is_at_target, stop_reason
from miha.space import Space
from miha.storage.folder import START, archive_name
from miha.storage.text_log import describe_training, say
from miha.utils import free_memory as memory
from miha.utils.warn import warn


@dataclass(frozen=True)
class Loop:
    """One run of the method.

    Attributes:
        plan: What it shall do.
        training: Trains one network.
        executor: Trains the clones of a cycle.
        space: What each gene may become.
        start: The user's network: the values that the run begins with.
        recorder: Remembers what is done, by this process or by one before it.
        callbacks: Who watches.
    """

    plan: Plan
    training: Training
    executor: CycleTrainer | Asynchronous
    space: Space
    start: Snapshot
    recorder: Recorder
    callbacks: Sequence[Callback] = ()

    def run(self, genome: Genome) -> Network:
        """Train m epochs, c cycles and m epochs; return the last network."""
        with self.recorder.writing():
            network = self._train(self._task("initial", genome), self._untrained(genome))
            best = network
            for cycle in itertools.count(1):
                if self._is_over(cycle, network):
                    break
                network, best = self._cycle(network, best, cycle)
            self._populations.finish()
            return self._train(self._last_task(network.genome), network)

    @cached_property
    def _populations(self) -> Populations:
        return populations(self.recorder, self.executor, self._record, self.plan.asynchronous)

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

    def _cycle(self, parent: Network, best: Network, cycle: int) -> tuple[Network, Network]:
        """Train a population and its winner; return the network to go on from, and the best."""
        plan, schedule = self.plan, self.plan.schedule
        log = self.recorder.log
        paid = payments(log, plan.longest, plan.mode) if plan.rest else {}
        rests = plan.rest and is_rest(cycle, paid)
        winner = parent if rests else self._winner(parent, cycle)
        task = self._task("winner", winner.genome, cycle)
        task = replace(task, epochs=schedule.k + schedule.pop_size * schedule.n * rests)
        network = self._train(task, winner)
        best = better(better(best, winner, plan.mode), network, plan.mode)
        return backtracked(network, best, plan.backtrack, plan.mode), best

    def _winner(self, parent: Network, cycle: int) -> Network:
        """Train a population of clones and return the fittest; the parent if all have lost."""
        ranked = self._ranked(parent, cycle, 2 if self.plan.crossover else 1)
        if len(ranked) == 2 and ranked[0].task.change.gene != "restart":
            children = self._offspring(ranked[0], ranked[1], parent.genome, cycle)
            ranked = fittest(children, 1) or ranked
        winner = ranked[0] if ranked else parent
        self._select(cycle, winner)
        return winner

    def _ranked(self, parent: Network, cycle: int, count: int) -> list[Network]:
        """Train a population and return the fittest, whom control and restart may displace."""
        apart = Apart()
        ranked = fittest(apart.watch(self._competitors(parent, cycle)), count + 1)
        return judged(ranked, apart, *self._past(apart, cycle), self.plan, cycle)[:count]

    def _past(self, apart: Apart, cycle: int) -> tuple[list[float], int]:
        """Return the network's values to the control's last, and the age of the restart."""
        log = self.recorder.log
        clones = clones_by_cycle(log.counted)[cycle]
        logs = life(log.counted, log.winners, cycle) + epochs_of(clones, apart.control)
        return list(map(self.training.value, logs)), len(epochs_of(clones, apart.restart))

    def _competitors(self, parent: Network, cycle: int) -> Iterator[Network]:
        """Train a population; where it races, those that are behind only begin."""
        race, tasks = self.plan.race, list(self._population(parent, cycle))
        clones = self._populations.train(tasks, parent)
        if race is None:
            yield from clones
            return
        for number, clone in enumerate(self._finalists(clones, race, cycle), race.candidates):
            text = f"clone {clone.task.clone} ({clone.task.change.text}) goes on"
            change = replace(clone.task.change, text=text, transition="inherit")
            task = self._task("clone", clone.genome, cycle, number, change)
            yield self._train(replace(task, epochs=race.final), clone)

    def _finalists(self, clones: Iterator[Network], race: Race, cycle: int) -> list[Network]:
        """Return the fittest of a heat, with the control and a restart that is to overtake it."""
        heat = Apart()
        ranked = fittest(heat.watch(clones), race.finalists)
        past = self._past(heat, cycle)
        is_seeded = heat.control is not None and is_ahead(heat.restart, *past, self.plan, cycle)
        seeded = (heat.control, heat.restart if is_seeded else None)
        return finalists(ranked, [c for c in seeded if c is not None], race.finalists)

    def _offspring(
        self, fitter: Network, other: Network, parent: Genome, cycle: int
    ) -> Iterator[Network]:
        """Train the two fittest clones on, and what they make together."""
        race = self.plan.race
        first = self.plan.candidates + (0 if race is None else race.finalists)
        clones = clones_by_cycle(self.recorder.log.counted)[cycle]
        ways = [stages(clones, clone.task.clone) for clone in (fitter, other)]
        transitions = [way[0]["change"]["transition"] for way in ways]
        for number, child in enumerate(offspring(fitter, other, parent, transitions), first):
            task = self._task("clone", child.genome, cycle, number, child.change)
            both = (fitter, other) if child.is_soup else (child.base,)
            yield self._train(task, child.base, both)

    def _population(self, parent: Network, cycle: int) -> Iterator[Task]:
        """Yield the training of each clone, the control first."""
        done = self.recorder.log.counted
        clones = population(self.plan, parent.genome, self.space, cycle, done)
        epochs = self.plan.schedule.n if self.plan.race is None else self.plan.race.heat
        for clone, (genome, change) in enumerate(clones):
            yield replace(self._task("clone", genome, cycle, clone, change), epochs=epochs)

    def _train(self, task: Task, parent: Network, sources: Sequence[Network] = ()) -> Network:
        """Train a network on from its parent's values, unless that is done already.

        Args:
            task: What to train.
            parent: The network to go on from.
            sources: Whose values it begins with, the mean where they are two; the parent's alone
                by default.
        """
        done = self.recorder.recall(task)
        if done is not None:
            return done
        began = time.perf_counter()
        values = reduce(mean, map(self.recorder.values, sources or (parent,)))
        return self._record(self.training.run(task, parent, values), began)

    def _record(self, network: Network, began: float) -> Network:
        network = replace(network, seconds=time.perf_counter() - began)
        if network.task.phase == "final":
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
        if gap(network.value, best["value"], self.plan.mode) < 0:
            return None
        say(f"Ends with the best network, {best['value']:.5g}: {best['archive']}")
        return str(best["archive"])

    def _select(self, cycle: int, winner: Network) -> None:
        clone = winner.task.clone if winner.task.cycle == cycle else None
        if not self.recorder.select(cycle, clone, self._populations.late):
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
        warn(
            f"Every clone of cycle {cycle} has failed; the network goes on unchanged. "
            "Narrow the search space or lower the learning rate."
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
