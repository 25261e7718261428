"""`replay`: a fresh network is trained along the hyperparameters that won in a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import ArgumentError
from miha.executors.training import train_on
from miha.randomness import draw_seed
from miha.records import Epoch, Genome
from miha.replays.schedule import HyperparameterSchedule, Segment, as_schedule
from miha.space import ACTIVATIONS, OPTIMIZERS, OWN, SearchSpace
from miha.utils.warn import warn
from miha.validation import check_batch_size, check_integer

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from miha.trainer.protocol import Trainer


@dataclass(frozen=True)
class Replayed:
    """A network that has followed a schedule of hyperparameters.

    Attributes:
        model: The network: plain Keras, compiled, with its optimizer's state.
        genome: The hyperparameters that it ended with.
        seed: What decided the order of samples, and all else that was drawn.
    """

    model: keras.Model
    genome: Genome
    seed: int
    _epochs: list[tuple[int, Epoch]] = field(repr=False)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row for each epoch: segment, epoch, what `fit` logs, seconds; both count from 1."""
        import pandas as pd

        rows = [
            {"segment": number, "epoch": epoch, **trained.logs, "seconds": trained.seconds}
            for epoch, (number, trained) in enumerate(self._epochs, 1)
        ]
        return pd.DataFrame(rows)


def replay(
    model: keras.Model,
    x: Any,
    y: Any,
    schedule: HyperparameterSchedule | str | Path,
    *,
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_batch_size: int | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    verbose: int = 1,
) -> Replayed:
    """Train a fresh network along the hyperparameters that won in a run.

    Optimizer, learning rate, batch size and activations change where they changed in the run, and
    by the same transition: an activation that kept the network's function there does so here.
    Where the run's way began with a clone of fresh weights, it begins here with the network's own.
    With ``seed=schedule.seed``, the same first weights and the same data, the network becomes the
    run's own, bit for bit on the same machine and versions, unless it began with such a clone.

    Args:
        model: The compiled network, with the layers that the schedule names. It is not touched.
        x: Inputs, or a source of batches, as `MIHA` takes them.
        y: Targets; None where ``x`` gives them, too.
        schedule: `Result.schedule`, or the file that it was saved in.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, to evaluate on.
        validation_split: Share of the last samples to evaluate on instead, 0 to 1.
        validation_batch_size: Batch size of evaluations; the schedule's first by default.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss.
        shuffle: Whether to shuffle the samples before each epoch.
        seed: Decides every random draw, at least 0. None draws one.
        verbose: 0: quiet; else a line for each segment.

    Returns:
        The trained network and its history.

    Raises:
        ArgumentError: An argument, the data, or the network beside the schedule breaks a rule.
    """
    schedule = as_schedule(schedule)
    seed = draw_seed() if seed is None else check_integer("seed", seed, 0)
    from miha.data.opening import open_data
    from miha.trainer import factory
    from miha.trainer.genes.optimizers import name_of

    sources = open_data(model, x, y, sample_weight, class_weight, validation_data, validation_split)
    sizes = [segment.genome.batch_size for segment in schedule.segments]
    _check_sizes(sizes, sources[0])
    evaluated = sizes[0] if validation_batch_size is None else validation_batch_size
    trainer = factory.make_trainer(
        model,
        *sources,
        batch_size=sizes[0],
        validation_batch_size=check_integer("validation_batch_size", evaluated, 1),
        space=_space(schedule, name_of(getattr(model, "optimizer", None))),
        shuffle=shuffle,
        evaluate_training=False,
        seed=seed,
        genes=[] if schedule.genome.label_smoothing is None else ["label_smoothing"],
        slots_named=[slot for slot, _ in schedule.genome.activations],
    )
    epochs = follow(trainer, schedule, seed, _Lines(schedule.epochs) if verbose else _quiet)
    trained = trainer.load(trainer.export(trainer.snapshot(), trainer.genome))
    return Replayed(trained, trainer.genome, seed, epochs)


def follow(
    trainer: Trainer,
    schedule: HyperparameterSchedule,
    seed: int,
    on_segment: Callable[[Segment, tuple[Epoch, ...]], None],
) -> list[tuple[int, Epoch]]:
    """Train the live network along a schedule.

    Where it diverges, it goes on from the values before that segment, as in a run.

    Args:
        trainer: The live network.
        schedule: What to follow.
        seed: Decides every random draw.
        on_segment: Called after each segment, with its epochs.

    Returns:
        The number of its segment, from 1, and each epoch.

    Raises:
        ArgumentError: The network cannot hold the schedule's hyperparameters.
    """
    _check(trainer, schedule)
    trained: list[tuple[int, Epoch]] = []
    for number, segment in enumerate(schedule.segments, 1):
        values = trainer.snapshot()
        epochs = train_on(trainer, segment.task, seed, segment.anneal, lambda epoch: None)
        if not math.isfinite(epochs[-1].logs.get("loss", 0.0)):
            _warn_of_divergence(number, segment)
            trainer.restore(values)
        trained += [(number, epoch) for epoch in epochs]
        on_segment(segment, epochs)
    return trained


def _check_sizes(sizes: list[int], training: Any) -> None:
    """Raise unless the training data can be put into batches of these sizes."""
    own = training.batch_size
    if not training.rebatches and set(sizes) != {own}:
        raise ArgumentError(
            "`x` must be what can be put into batches of the schedule's sizes. "
            f"Received: batches of {own}, where the schedule has {sorted(set(sizes))}. "
            "Give arrays, or a source that can be put into other batches."
        )
    check_batch_size("batch_size", max(sizes), training.samples)


def _space(schedule: HyperparameterSchedule, own: str) -> SearchSpace:
    """Return what the schedule needs of each gene."""
    genomes = [segment.genome for segment in schedule.segments]
    optimizers = [genome.optimizer for genome in genomes if genome.optimizer != own]
    names = [name for genome in genomes for _, name in genome.activations if name != OWN]
    smoothings = [g.label_smoothing for g in genomes if g.label_smoothing is not None]
    return SearchSpace(
        optimizers=optimizers or OPTIMIZERS,
        activations=names or ACTIVATIONS,
        weight_decay=[g.weight_decay for g in genomes if g.weight_decay is not None] or (0.0,),
        dropout=[rate for genome in genomes for _, rate in genome.dropout] or (0.0,),
        noise=[stddev for genome in genomes for _, stddev in genome.noise] or (0.0,),
        label_smoothing=smoothings or (0.0,),
    )


def _check(trainer: Trainer, schedule: HyperparameterSchedule) -> None:
    """Raise unless the network can hold every genome of a schedule."""
    own, space = trainer.genome, trainer.space
    for genome in (segment.genome for segment in schedule.segments):
        missing = [gene for gene in _BY_NETWORK if _places(own, gene) != _places(genome, gene)]
        rules = {
            "a learning rate where the network's is no schedule, and none where it is": (
                (genome.learning_rate is None) == (own.learning_rate is None)
            ),
            f"{missing} as the network has": not missing,
            f"an optimizer of {list(space.optimizers)}": genome.optimizer in space.optimizers,
            f"activations for {list(space.slots)}, of those that these layers may hold": (
                [slot for slot, _ in genome.activations] == list(space.slots)
                and all(name in space.slots[slot] for slot, name in genome.activations)
            ),
            f"batch sizes that are multiples of {space.batch_multiple}, the number of devices that "
            "a batch is shared out to": genome.batch_size % space.batch_multiple == 0,
        }
        broken = next((rule for rule, is_kept in rules.items() if not is_kept), None)
        if broken is not None:
            raise ArgumentError(
                f"The schedule must have {broken}. Received: {genome}. "
                "Build and compile the network as it was in the run that the schedule is of."
            )


_BY_NETWORK = ("dropout", "noise", "label_smoothing")
"""Genes that a network has or lacks, whatever its optimizer."""


def _places(genome: Genome, gene: str) -> Any:
    """Return where a genome has a gene: names of layers, or whether it has it."""
    held = getattr(genome, gene)
    return [name for name, _ in held] if isinstance(held, tuple) else held is not None


def _warn_of_divergence(number: int, segment: Segment) -> None:
    warn(
        f"The network diverged in segment {number} ({segment.genome}): its loss is not finite. "
        "It goes on from the values before it."
    )


def _quiet(segment: Segment, epochs: tuple[Epoch, ...]) -> None:
    """Show nothing."""


class _Lines:
    """A line for each segment.

    Args:
        total: All epochs.
    """

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def __call__(self, segment: Segment, epochs: tuple[Epoch, ...]) -> None:
        """Say how a segment went."""
        from rich.console import Console

        self._done += segment.epochs
        logs = epochs[-1].logs
        shown = ", ".join(f"{n} {logs[n]:.4g}" for n in ("loss", "val_loss") if n in logs)
        text = f"[{self._done}/{self._total}] {segment.genome}: {shown}"
        Console(highlight=False, soft_wrap=True).print(text, markup=False)
