"""The method: one network is trained, and its hyperparameters mutate while it learns.

Sources: M. Sarafanov, "Talking about Neural Architecture Search and own algorithm for optimizing
neural network hyperparameters" (2021); M. Jaderberg et al., "Population Based Training of Neural
Networks" (2017), whose population lives on, where this one is drawn for each cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from miha.executors.protocol import PopulationExecutor
from miha.records import Genome, Snapshot, TrainingRecord
from miha.run.trainings import Trainings, first_task, last_task, untrained
from miha.search import crossover
from miha.search.ancestry import main_line
from miha.search.annealing import rates
from miha.search.plan import Plan
from miha.search.population import draw_population
from miha.search.restarts import training_losses
from miha.search.rests import resting_cycles
from miha.search.selection import contenders, select
from miha.search.stopping import has_reached_target, stop_reason
from miha.space import Space


@dataclass(frozen=True)
class Loop:
    """One run of the method.

    Attributes:
        plan: What it shall do.
        trainings: Trains one network at a time, unless it is trained already, and records it.
        executor: Trains the clones of a cycle.
        space: What each gene may become.
    """

    plan: Plan
    trainings: Trainings
    executor: PopulationExecutor
    space: Space

    def run(self, genome: Genome, start: Snapshot) -> TrainingRecord:
        """Train m epochs, c cycles and m epochs; return the last network."""
        with self.trainings.recording():
            network = self._train_first(genome, start)
            for cycle in count(1):
                if self._is_over(cycle, network):
                    break
                network = self._run_cycle(network, cycle)
            return self._train_last(network)

    def _train_first(self, genome: Genome, start: Snapshot) -> TrainingRecord:
        """Train the user's network for m epochs."""
        users_own = untrained(genome)
        self.trainings.recorder.start_with(users_own.archive, start)
        return self.trainings.train(first_task(self.plan, genome), users_own)

    def _is_over(self, cycle: int, network: TrainingRecord) -> bool:
        """Return whether there is no further cycle: all are done, or a budget is spent."""
        reason = stop_reason(self.plan, self.trainings.log, cycle, network)
        if reason is not None:
            self.trainings.stop(reason)
        return reason is not None or cycle > self.plan.schedule.c

    def _run_cycle(self, parent: TrainingRecord, cycle: int) -> TrainingRecord:
        """Train a population and its winner, or the network alone; return the network."""
        schedule = self.plan.schedule
        rests = resting_cycles(self.trainings.log, self.plan, cycle)
        if rests:
            self.trainings.rest(cycle, rests)
            falling = rates(cycle, rests, self.plan)
            network = self.trainings.train_winner(parent, cycle, schedule.epochs_of_cycle, falling)
        else:
            clones = self._train_population(parent, cycle)
            winner = self._select_winner(clones, parent, cycle)
            self._free_all_but(winner)
            network = self.trainings.train_winner(winner, cycle, schedule.k)
        best = self._free_all_but(network)
        return self.trainings.go_on_from(network, best, cycle)

    def _free_all_but(self, network: TrainingRecord) -> TrainingRecord:
        """Free all values but a network's and those of the main line's best; return the best."""
        best = self.trainings.log.best_of_main_line(self.plan.mode) or network
        self.trainings.recorder.keep_values([network, best])
        return best

    def _train_population(self, parent: TrainingRecord, cycle: int) -> list[TrainingRecord]:
        """Train pop_size clones of the network; keep the values of those that can still win."""
        drawn = draw_population(self.plan, parent, self.space, cycle, self.trainings.log.trainings)
        tasks = self.trainings.clone_tasks(drawn, cycle)
        clones: list[TrainingRecord] = []
        for clone in self.trainings.train_clones(self.executor, tasks, parent):
            clones.append(clone)
            self.trainings.recorder.keep_values([parent, *contenders(clones)])
        return clones

    def _select_winner(
        self, clones: Sequence[TrainingRecord], parent: TrainingRecord, cycle: int
    ) -> TrainingRecord:
        """Select the fittest clone or the child of the two fittest; the parent if all lost."""
        line = main_line(self.trainings.log.trainings, parent)
        past = self.plan.values(line)
        selection = select(clones, self._plan_at(cycle), past, cycle, training_losses(line))
        if self.plan.search.crossover and selection.allows_child:
            child = self._evaluate_child(clones, parent, cycle)
            selection = crossover.select_child(child, selection, past, self.plan)
        self.trainings.select(cycle, selection)
        return selection.winner or parent

    def _plan_at(self, cycle: int) -> Plan:
        """Return the plan as it was in a cycle: the run may have been given more cycles since."""
        schedule = self.plan.schedule
        planned = self.trainings.log.planned_cycles(cycle, schedule.c)
        return replace(self.plan, schedule=schedule.with_cycles(planned))

    def _evaluate_child(
        self, clones: Sequence[TrainingRecord], parent: TrainingRecord, cycle: int
    ) -> TrainingRecord | None:
        """Join the two fittest clones and evaluate their child; None where they cannot be."""
        both = crossover.parents_of_child(clones)
        if not both:
            return None
        drawn = crossover.child_of(both[0], both[1], parent.genome)
        return self.trainings.evaluate(drawn, both, cycle)

    def _train_last(self, network: TrainingRecord) -> TrainingRecord:
        """Train m epochs more, or none where the target is reached."""
        is_done = has_reached_target(self.plan, self.trainings.log)
        # A cosine that began in the last rests goes on.
        end = self.plan.schedule.c + 1
        rests = range(0)
        if network.rates:
            rests = resting_cycles(self.trainings.log, self.plan, end - 1)
        falling = rates(end, rests, self.plan)
        task = last_task(self.plan, network.genome, falling, is_done)
        return self.trainings.train(task, network)
