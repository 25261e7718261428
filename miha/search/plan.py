"""What a run shall do, decided before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miha.mutations import MUTATIONS, Mutation, resolve
from miha.racing import Race, race
from miha.records import Genome, LongestSchedule, Mode, Schedule
from miha.search.budgets import Budgets
from miha.search.crossover import MOST
from miha.search.fitness import Fitness
from miha.space import OF_THE_LOSS, SearchSpace, Space
from miha.utils.warn import warn


@dataclass(frozen=True)
class Plan:
    """What a run shall do.

    Attributes:
        schedule: How long what is trained.
        mutations: The operators that clones are made by.
        fitness: What the clones are compared by.
        monitor: Name of the logged value that the fitness reads.
        mode: Whether it is better small or large.
        control: Whether clone 0 of every population stays unchanged.
        restarts: In how many cycles, from the first, the last clone begins with fresh weights.
        crossover: Whether the two fittest clones of a population join.
        racing: Whether clones that are behind stop early, for more candidates.
        adaptive: Whether mutations that paid off are drawn more often.
        margin: By how many times its noise a mutant must be better than the control.
        rest: Whether cycles train the network alone where the control keeps winning.
        backtrack: The share by which the network may be worse than the run's best before it is
            given up for that one; None: never.
        anneal: Whether the learning rate falls to zero in the last training.
        budgets: What may end it before its last cycle.
        restore_best: Whether the run ends with its best network instead of its last one.
        asynchronous: The share of a population that must have come before the run goes on; None:
            all of it.
        seed: Decides every random draw.
    """

    schedule: Schedule
    mutations: Sequence[Mutation]
    fitness: Fitness
    monitor: str
    mode: Mode
    control: bool
    seed: int
    restarts: int = 0
    crossover: bool = False
    racing: bool = False
    adaptive: bool = False
    margin: float = 0.0
    rest: bool = False
    backtrack: float | None = None
    anneal: bool = False
    budgets: Budgets = Budgets()
    restore_best: bool = False
    asynchronous: float | None = None

    @property
    def longest(self) -> LongestSchedule:
        """The most that the run can be, as far as its budget of epochs goes."""
        further, race = MOST * self.crossover, self.race
        begun = self.candidates + (0 if race is None else race.finalists)
        schedule = LongestSchedule(**vars(self.schedule), further=further, archives=begun + further)
        return self.budgets.longest(schedule)

    @property
    def epochs_of_cycle(self) -> int:
        """The most epochs of a cycle, those of clones that join included."""
        return self.longest.epochs_of_cycle

    @property
    def is_open(self) -> bool:
        """Whether only the run itself shows how many trainings it has."""
        return self.budgets.is_open or self.crossover or self.rest

    @property
    def race(self) -> Race | None:
        """How a population races, if it does."""
        return race(self.schedule) if self.racing else None

    @property
    def candidates(self) -> int:
        """Clones that a population begins with."""
        return self.schedule.pop_size if self.race is None else self.race.candidates


def possible_mutations(
    wishes: Sequence[Mutation] | None,
    genome: Genome,
    space: Space,
    has_validation: bool,
    rebatches: bool = True,
) -> tuple[Mutation, ...]:
    """Leave out the mutations that the network does not allow, with a warning of those asked for.

    Args:
        wishes: The mutations that the user asked for; None for the default ones.
        genome: The network's own.
        space: What its genes may become.
        has_validation: Whether clones are compared on validation data.
        rebatches: Whether the data can be put into batches of another size.

    Returns:
        What may be drawn.
    """
    mutations = resolve(default_names(has_validation)) if wishes is None else tuple(wishes)
    is_exchanged = any(mutation.gene == "optimizer" for mutation in mutations)
    reasons = _reasons(genome, space, list(space.optimizers) if is_exchanged else [])
    if not rebatches:
        reasons["batch_size"] = "the data comes in batches of its own, which stay as they are"
    for mutation in mutations:
        is_told = wishes is not None or mutation.gene in _ALWAYS_TOLD
        if mutation.gene in reasons and is_told:
            text = f"There is no mutation of {mutation.gene}: {reasons[mutation.gene]}."
            warn(text)
    return tuple(mutation for mutation in mutations if mutation.gene not in reasons)


def warn_of_unused(wishes: Sequence[Mutation] | None, space: SearchSpace) -> None:
    """Warn where the space lists losses, or amounts of smoothing, and neither mutates.

    Args:
        wishes: The mutations that the user asked for; None for the default ones.
        space: The user's.
    """
    genes, default = {mutation.gene for mutation in wishes or ()}, SearchSpace()
    for gene, name in {"loss": "losses", "label_smoothing": "label_smoothing"}.items():
        values = getattr(space, name)
        is_wish = values is not None and list(values) != list(getattr(default, name) or ())
        if is_wish and gene not in genes:
            warn(f"`space.{name}` has no effect: {gene!r} mutates only where `mutations` names it.")


def default_names(has_validation: bool) -> list[str]:
    """Return the names of the mutations that a user need not ask for."""
    left_out = (*ASKED, *(() if has_validation else GREEDY))
    return [name for name in MUTATIONS if name not in left_out]


def _reasons(genome: Genome, space: Space, optimizers: Sequence[str]) -> dict[str, str]:
    """Return why the network does not allow a gene, for each that it does not.

    Args:
        genome: The network's own.
        space: What its genes may become.
        optimizers: What the optimizer may be exchanged for.
    """
    names = {genome.optimizer, *optimizers}
    reasons = {
        "activation": (genome.activations, "no layer whose activation may be exchanged"),
        "activations": (len(genome.activations) > 1, "no two such layers"),
        "momentum": (names & {*space.momentum}, "no optimizer with a momentum"),
        "weight_decay": (names & {*space.weight_decay}, "no optimizer that decays weights"),
        "dropout": (genome.dropout, "no Dropout layer of its own"),
        "noise": (genome.noise, "no GaussianNoise layer of its own"),
        "loss": (space.losses, "not one single loss of Keras' that has a family"),
        "label_smoothing": (space.label_smoothing, "not one single loss with label smoothing"),
    }
    found = {gene: f"the network has {text}" for gene, (held, text) in reasons.items() if not held}
    if genome.learning_rate is None:
        found["learning_rate"] = "the network's learning rate schedule is kept"
    return found


ASKED = (*OF_THE_LOSS, "momentum", "perturb")
"""Genes that mutate only where the user asks for it."""

GREEDY = ("learning_rate", "weight_decay", "dropout", "noise")
"""Genes left alone without validation data: less noise, say, always pleases the training loss."""

_ALWAYS_TOLD = ("activation", "learning_rate", "batch_size")
"""Genes that nearly every network has: where one lacks them, the user is told."""
