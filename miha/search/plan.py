"""What a run shall do, decided before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miha.mutations import MUTATIONS, Mutation, resolve
from miha.options import Budget, Search
from miha.records import Genome, Judge, Mode, Schedule, TrainingRecord
from miha.search.diagnosis import REGULARISATION
from miha.search.fitness import Fitness, LevelAndSlope
from miha.space import Space
from miha.utils.warn import warn

GREEDY = ("learning_rate", *REGULARISATION)
"""Genes left alone without validation data: less noise, say, always pleases the training loss."""

OPT_IN = ("label_smoothing",)
"""Genes left alone unless they are named: smoothed labels make a network less sure of itself. That
lowers the validation loss at once, and made no clear difference at the end."""

_USUAL = ("activation", "learning_rate", "batch_size")
"""Genes that nearly every network has: where one lacks them, the user is warned."""


@dataclass(frozen=True)
class Plan:
    """What a run shall do.

    Attributes:
        schedule: How long what is trained.
        mutations: The operators that clones are made by.
        fitness: What the clones are compared by.
        monitor: Name of the logged value that the fitness reads.
        mode: Whether it is better small or large.
        seed: Decides every random draw.
        search: Who is in a population, and who wins.
        budget: What may end the run before its last cycle.
        judge: What the best network is the best in; None: the monitored value.
    """

    schedule: Schedule
    mutations: Sequence[Mutation]
    fitness: Fitness
    monitor: str
    mode: Mode
    seed: int
    search: Search = Search()
    budget: Budget = Budget()
    judge: Judge | None = None

    @property
    def is_open(self) -> bool:
        """Whether only the run itself shows how many trainings it has."""
        return self.budget.is_open or self.search.rest

    @property
    def trainings(self) -> int:
        """The most trainings of the run, and so the networks that it archives."""
        children = self.schedule.c if self.search.crossover else 0
        return self.schedule.trainings + children

    @property
    def judge_of_best(self) -> Judge:
        """What the best network is the best in."""
        return self.judge or Judge(self.monitor, self.mode)

    @property
    def has_own_fitness(self) -> bool:
        """Whether the user gave a fitness; else people need not see its numbers."""
        return self.fitness != LevelAndSlope()

    def values(
        self,
        records: Sequence[TrainingRecord],
    ) -> list[float]:
        """Return the monitored value after each epoch of some trainings."""
        return [value for record in records for value in record.values(self.monitor)]


def possible_mutations(
    wanted: Sequence[Mutation] | None,
    genome: Genome,
    space: Space,
    has_validation: bool,
    rebatches: bool = True,
) -> tuple[Mutation, ...]:
    """Leave out the mutations that the network does not allow; warn of those asked for.

    Args:
        wanted: The mutations that the user asked for; None for the default ones.
        genome: The network's own.
        space: What its genes may become.
        has_validation: Whether clones are compared on validation data.
        rebatches: Whether the data can be put into batches of another size.

    Returns:
        What may be drawn.
    """
    if wanted is None:
        mutations = resolve(default_names(has_validation))
    else:
        mutations = tuple(wanted)
    is_exchanged = any(mutation.gene == "optimizer" for mutation in mutations)
    reasons = _reasons(genome, space, list(space.optimizers) if is_exchanged else [])
    if not rebatches:
        reasons["batch_size"] = "the data comes in batches of its own, which stay as they are"

    for mutation in mutations:
        is_missed = wanted is not None or mutation.gene in _USUAL
        if mutation.gene in reasons and is_missed:
            warn(f"There is no mutation of {mutation.gene}: {reasons[mutation.gene]}.")
    return tuple(mutation for mutation in mutations if mutation.gene not in reasons)


def default_names(has_validation: bool) -> list[str]:
    """Return the names of the mutations that a user need not ask for."""
    left_out = OPT_IN if has_validation else (*GREEDY, *OPT_IN)
    return [name for name in MUTATIONS if name not in left_out]


def _reasons(
    genome: Genome,
    space: Space,
    optimizers: Sequence[str],
) -> dict[str, str]:
    """Return why the network does not allow a gene, for each that it does not.

    Args:
        genome: The network's own.
        space: What its genes may become.
        optimizers: What the optimizer may be exchanged for.
    """
    names = [genome.optimizer, *optimizers]
    decays = any(name in space.weight_decay for name in names)
    has_two_layers = len(genome.activations) > 1
    found: dict[str, tuple[object, str]] = {
        "activation": (genome.activations, "no layer whose activation may be exchanged"),
        "activations": (has_two_layers, "no two such layers"),
        "weight_decay": (decays, "no optimizer that decays weights"),
        "dropout": (genome.dropout, "no Dropout layer of its own"),
        "noise": (genome.noise, "no GaussianNoise layer of its own"),
        "label_smoothing": (space.label_smoothing, "not one single loss with label smoothing"),
        "input_noise": (space.input_noise, "no input of floats"),
        "augmentation": (space.augmentation, "no images, or no layers in `space.augmentation`"),
    }
    reasons = {}
    for gene, (exists, text) in found.items():
        if not exists:
            reasons[gene] = f"the network has {text}"
    if genome.learning_rate is None:
        reasons["learning_rate"] = "the network's learning rate schedule is kept"
    return reasons
