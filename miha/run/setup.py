"""Setting a run up: the user's data, opened, and a trainer for a copy of their network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miha.executors.protocol import Executor
from miha.mutations import Mutation
from miha.options import Budget, Search
from miha.records import FinalData, Judge, Schedule
from miha.run.checks import check_mutations, check_ruler, resolve_monitor
from miha.search.best import choose_judge
from miha.search.fitness import Fitness, LevelAndSlope
from miha.search.plan import Plan, default_names, possible_mutations
from miha.space import SearchSpace
from miha.utils.warn import warn
from miha.validation import check_integer, choose_batch_size

if TYPE_CHECKING:
    import keras

    from miha.data.opening import Source
    from miha.trainer.blueprint import Blueprint
    from miha.trainer.protocol import Trainer


@dataclass(frozen=True)
class Data:
    """What the user trains on, as `fit` takes it.

    Attributes:
        x: Inputs, or a source of batches.
        y: Targets; None where ``x`` gives them, too.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss.
        validation_data: What clones are compared on, or None.
        validation_split: Share of the last samples to validate on instead.
        batch_size: The batch size to begin with, or None.
        validation_batch_size: That of evaluations; None: the same.
        shuffle: Whether to shuffle the samples before each epoch.
        memory: Bytes of arrays to keep on the device, or None.
        must_be_finite: Whether values that are NaN or infinite are refused.
        final: What the last training takes its samples from.
    """

    x: Any
    y: Any
    sample_weight: Any
    class_weight: Mapping[int, float] | None
    validation_data: Any
    validation_split: float
    batch_size: int | None
    validation_batch_size: int | None
    shuffle: bool
    memory: int | None
    must_be_finite: bool = True
    final: FinalData = "train"


@dataclass(frozen=True)
class Setup:
    """Data and trainer of a run.

    Attributes:
        model: The user's network.
        sources: Training data, and validation data or None.
        opening: Arguments of `open_data` beside the data themselves.
        arguments: Those of `make_trainer`.
        trainer: It has a copy of the network, which is not trained yet.
    """

    model: keras.Model
    sources: tuple[Source, Source | None]
    opening: Mapping[str, Any]
    arguments: Mapping[str, Any]
    trainer: Trainer

    @property
    def has_validation(self) -> bool:
        """Whether clones can be compared by what they have not been trained on."""
        return self.sources[1] is not None

    @property
    def monitor(self) -> str:
        """Name of the value that clones are compared by unless the user names one."""
        if self.has_validation:
            return "val_loss"
        # A network with a `train_step` of its own may have nothing to be evaluated by.
        return "eval_loss" if "eval_loss" in self.trainer.metrics else "loss"

    @property
    def rebatches(self) -> bool:
        """Whether the training data can be put into batches of another size."""
        return self.sources[0].rebatches

    def blueprint(self, executor: Executor) -> Blueprint:
        """Return what other processes need to build the trainer once more."""
        from miha.trainer.blueprint import blueprint

        return blueprint(
            self.model,
            self.trainer,
            self.sources,
            executor.load_data,
            self.opening,
            self.arguments,
        )


def set_up(
    model: keras.Model,
    data: Data,
    space: SearchSpace,
    genes: Sequence[str] | None,
    monitor: str | None,
    seed: int,
    with_mirror: bool,
) -> Setup:
    """Open the user's data, and make a trainer for a copy of their network.

    Args:
        model: The user's network; it is not touched.
        data: What it is trained on.
        space: What each gene may become.
        genes: The genes that the user names; None: the default ones.
        monitor: The value that the user wants clones to be compared by, or None.
        seed: The run's.
        with_mirror: Whether callbacks of Keras will want a network to look at.

    Raises:
        ArgumentError: The data, the network, or the search space for it, breaks a rule.
    """
    from miha.data.opening import open_data, with_validation
    from miha.trainer.factory import make_trainer
    from miha.trainer.network.admission import check_made
    from miha.trainer.network.replicas import replicas

    check_made(model)
    opening: dict[str, Any] = {
        "class_weight": data.class_weight,
        "validation_split": data.validation_split,
        "room": data.memory,
        "must_be_finite": data.must_be_finite,
    }
    sources = open_data(
        model,
        x=data.x,
        y=data.y,
        sample_weight=data.sample_weight,
        validation_data=data.validation_data,
        **opening,
    )
    final = None
    if data.final == "all":
        final = with_validation(*sources, data.class_weight)
    if genes is None:
        genes = default_names(has_validation=sources[1] is not None)
    multiple = replicas(model)
    batch_size = _batch_size(sources[0], data.batch_size, multiple)
    evaluated = batch_size if data.validation_batch_size is None else data.validation_batch_size
    arguments: dict[str, Any] = {
        "space": space,
        "shuffle": data.shuffle,
        "seed": seed,
        "genes": genes,
        "batch_size": batch_size,
        "validation_batch_size": check_integer("validation_batch_size", evaluated, 1),
        "evaluate_training": monitor is None or monitor.startswith("eval_"),
        "batch_multiple": multiple,
    }
    # Workers train clones alone, which take the training data.
    trainer = make_trainer(model, *sources, **arguments, with_mirror=with_mirror, final=final)
    return Setup(model, sources, opening, arguments, trainer)


def _batch_size(
    training: Source,
    wanted: int | None,
    multiple: int,
) -> int:
    own = training.batch_size
    return choose_batch_size(wanted, own, training.rebatches, training.samples, multiple)


def _warn_of_training_data(monitor: str) -> None:
    warn(
        f"Without validation data, clones are compared by {monitor!r}, a loss on the training "
        "data: those win that fit it best, whether they overfit or not. Give `validation_data` or "
        f"`validation_split`; or write monitor={monitor!r} if that is what you want."
    )


@dataclass(frozen=True)
class Choices:
    """What the user wants of the search, before the network is known.

    Attributes:
        schedule: How long what is trained.
        mutations: The operators that the user names; None: the default ones.
        fitness: What clones are compared by; None: level and slope.
        monitor: Name of the monitored value; None: a loss that no gene bends.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        seed: Decides every random draw.
        search: Who is in a population, and who wins.
        budget: What may end the run before its last cycle.
    """

    schedule: Schedule
    mutations: Sequence[Mutation] | None
    fitness: Fitness | None
    monitor: str | None
    mode: str
    seed: int
    search: Search
    budget: Budget


def make_plan(choices: Choices, setup: Setup) -> Plan:
    """Return what a run shall do, with what the network allows.

    Raises:
        ArgumentError: The monitored value is not logged, or nothing can mutate.
    """
    trainer = setup.trainer
    wanted = choices.monitor or setup.monitor
    if choices.monitor is None and not setup.has_validation and choices.schedule.c:
        _warn_of_training_data(wanted)
    monitor, mode = resolve_monitor(wanted, choices.mode, trainer.metrics)
    check_ruler(monitor, trainer.space)
    mutations = possible_mutations(
        choices.mutations, trainer.genome, trainer.space, setup.has_validation, setup.rebatches
    )
    check_mutations(mutations, trainer.genome, trainer.space, choices.schedule)
    judge = choose_judge(choices.monitor, Judge(monitor, mode), trainer.metrics)
    return Plan(
        schedule=choices.schedule,
        mutations=mutations,
        fitness=choices.fitness or LevelAndSlope(),
        monitor=monitor,
        mode=mode,
        seed=choices.seed,
        search=choices.search,
        budget=choices.budget,
        judge=judge,
    )
