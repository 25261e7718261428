"""`replay`: a fresh network is trained along the hyperparameters that won in a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.errors import ArgumentError
from miha.executors.training import train_on
from miha.randomness import draw_seed
from miha.records import Epoch, Genome
from miha.replays.schedule import HyperparameterSchedule, Segment, as_schedule
from miha.space import ACTIVATIONS, OPTIMIZERS, OWN, SearchSpace
from miha.trainer.protocol import Trainer, XlaTrainer
from miha.utils.keywords import explains_call
from miha.utils.warn import warn
from miha.validation import check_batch_size, check_integer

if TYPE_CHECKING:
    import keras
    import pandas as pd


Watch = Callable[[Segment, tuple[Epoch, ...]], None]
"""Called after each segment, with its epochs."""


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

        rows = []
        for epoch, (number, trained) in enumerate(self._epochs, 1):
            place = {"segment": number, "epoch": epoch}
            rows.append({**place, **trained.logs, "seconds": trained.seconds})
        return pd.DataFrame(rows)


@explains_call(
    "miha.replay",
    elsewhere={
        "epochs": "The schedule says for how long. Leave it out.",
        "batch_size": "The schedule says the batch sizes. Leave it out.",
    },
)
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
    augmentation: Sequence[Any] | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    verbose: int = 1,
) -> Replayed:
    """Train a fresh network along the hyperparameters that won in a run.

    Optimizer, learning rate, batch size and activations change where they changed in the run, and
    by the same transition: an activation that kept the network's function there does so here.
    Where the main line of the run began with a restart, it begins here with the network's own
    weights. Where it went through a child of two clones, it follows the fitter one.
    With ``seed=schedule.seed``, the same first weights and the same data, the network becomes the
    run's own, bit for bit on the same machine and versions, unless there was one of these.

    Args:
        model: The compiled network, with the layers that the schedule names. It is not touched.
        x: Inputs, or a source of batches, as `MIHA` takes them.
        y: Targets; None where ``x`` gives them, too.
        schedule: `Result.schedule`, or the file that it was saved in.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, to evaluate on; and to train on in
            the last epochs of a schedule that does.
        validation_split: Share of the last samples to evaluate on instead, 0 to 1.
        validation_batch_size: Batch size of evaluations; the schedule's first by default.
        sample_weight: Weights of the samples in the loss.
        class_weight: Weight of each class in the loss.
        augmentation: The layers that the run had, where the user named some.
        shuffle: Whether to shuffle the samples before each epoch.
        seed: Decides every random draw, at least 0. None draws one.
        verbose: 0: quiet; else a line for each segment.

    Returns:
        The trained network and its history.

    Raises:
        ArgumentError: An argument, the data, or the network beside the schedule breaks a rule.
    """
    # Imported late: they load Keras and its backend, which takes seconds.
    from miha.data.opening import open_data, with_validation
    from miha.trainer import factory
    from miha.trainer.genes.optimizers import name_of

    schedule = as_schedule(schedule)
    seed = draw_seed() if seed is None else check_integer("seed", seed, 0)
    # What may be missing, the run has decided.
    sources = open_data(
        model,
        x,
        y,
        sample_weight,
        class_weight,
        validation_data,
        validation_split,
        must_be_finite=False,
    )
    sizes = [segment.genome.batch_size for segment in schedule.segments]
    _check_sizes(sizes, sources[0])
    final = with_validation(*sources, class_weight) if schedule.takes_all_data else None
    if validation_batch_size is None:
        validation_batch_size = sizes[0]

    trainer = factory.make_trainer(
        model,
        *sources,
        batch_size=sizes[0],
        validation_batch_size=check_integer("validation_batch_size", validation_batch_size, 1),
        space=replace(
            _space(schedule, name_of(getattr(model, "optimizer", None))),
            augmentation="auto" if augmentation is None else augmentation,
        ),
        shuffle=shuffle,
        evaluate_training=False,
        seed=seed,
        genes=_genes_on_request(schedule.genome),
        slots_named=[slot for slot, _ in schedule.genome.activations],
        final=final,
    )
    if augmentation is None:
        _check_augmentation(schedule, trainer)
    if schedule.xla is not None and isinstance(trainer, XlaTrainer):
        trainer.use_xla(schedule.xla)
    on_segment = _Lines(schedule.epochs) if verbose else _quiet
    epochs = follow(trainer, schedule, seed, on_segment)
    archive = trainer.export(trainer.snapshot(), trainer.genome)
    return Replayed(trainer.load(archive), trainer.genome, seed, epochs)


def follow(
    trainer: Trainer,
    schedule: HyperparameterSchedule,
    seed: int,
    on_segment: Watch,
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
        epochs = train_on(trainer, segment.task, seed, lambda epoch: None)
        loss = epochs[-1].logs.get("loss", 0.0)
        if not math.isfinite(loss):
            warn(
                f"The network diverged in segment {number} ({segment.genome}): its loss is not "
                "finite. It goes on from the values before it."
            )
            trainer.restore(values)
        for epoch in epochs:
            trained.append((number, epoch))
        on_segment(segment, epochs)
    return trained


def _check_sizes(
    sizes: list[int],
    training: Any,
) -> None:
    """Raise unless the training data can be put into batches of these sizes."""
    # A source of ready batches has one size.
    own = training.batch_size
    if not training.rebatches and set(sizes) != {own}:
        raise ArgumentError(
            "`x` must be what can be put into batches of the schedule's sizes. "
            f"Received: batches of {own}, where the schedule has {sorted(set(sizes))}. "
            "Give arrays, or a source that can be put into other batches."
        )
    check_batch_size("batch_size", max(sizes), training.samples)


def _check_augmentation(
    schedule: HyperparameterSchedule,
    trainer: Trainer,
) -> None:
    """Raise where the run had other layers than the usual ones, which need not be given."""
    # As JSON has it: without tuples.
    usual = json.loads(json.dumps(trainer.settings["augmentation"]))
    named = list(schedule.augmentation)
    is_augmented = any(segment.genome.augmentation for segment in schedule.segments)
    if is_augmented and named != usual:
        names = [config.get("class_name", "?") for config in named]
        raise ArgumentError(
            "`augmentation` must be the layers that the run had. "
            f"Received: augmentation=None, where the run had {', '.join(names) or 'some'}. "
            "Write augmentation=[...], with the same settings."
        )


def _genes_on_request(genome: Genome) -> list[str]:
    """Return the genes that a network has only where they are asked for."""
    genes = []
    if genome.label_smoothing is not None:
        genes.append("label_smoothing")
    if genome.input_noise:
        genes.append("input_noise")
    if genome.augmentation is not None:
        genes.append("augmentation")
    return genes


def _space(schedule: HyperparameterSchedule, own: str) -> SearchSpace:
    """Return what the schedule needs of each gene.

    Args:
        schedule: What shall be followed.
        own: The network's own optimizer.
    """
    optimizers: list[str] = []
    activations: list[str] = []
    weight_decay: list[float] = []
    dropout: list[float] = []
    noise: list[float] = []
    label_smoothing: list[float] = []
    input_noise: list[float] = []
    for segment in schedule.segments:
        genome = segment.genome
        # What the network has from the first, Keras may have no name for.
        if genome.optimizer != own:
            optimizers.append(genome.optimizer)
        activations += [name for _, name in genome.activations if name != OWN]
        if genome.weight_decay is not None:
            weight_decay.append(genome.weight_decay)
        if genome.label_smoothing is not None:
            label_smoothing.append(genome.label_smoothing)
        dropout += [rate for _, rate in genome.dropout]
        noise += [stddev for _, stddev in genome.noise]
        input_noise += [amount for _, amount in genome.input_noise]

    # A list must not be empty, even of a gene that the network lacks.
    return SearchSpace(
        optimizers=optimizers or OPTIMIZERS,
        activations=activations or ACTIVATIONS,
        weight_decay=weight_decay or (0.0,),
        dropout=dropout or (0.0,),
        noise=noise or (0.0,),
        label_smoothing=label_smoothing or (0.0,),
        input_noise=input_noise or (0.0,),
    )


def _check(trainer: Trainer, schedule: HyperparameterSchedule) -> None:
    """Raise unless the network can have every genome of a schedule."""
    for segment in schedule.segments:
        genome = segment.genome
        for rule in _broken_rules(trainer, genome):
            raise ArgumentError(
                f"The schedule must have {rule}. Received: {genome}. "
                "Build and compile the network as it was in the run that the schedule is of."
            )


def _broken_rules(
    trainer: Trainer,
    genome: Genome,
) -> Iterator[str]:
    """Yield what a genome must have, and has not, so that a network can have it."""
    own = trainer.genome
    space = trainer.space
    if (genome.learning_rate is None) != (own.learning_rate is None):
        yield "a learning rate where the network's is no schedule, and none where it is"

    missing = [gene for gene in _BY_NETWORK if _places(own, gene) != _places(genome, gene)]
    if missing:
        yield f"{missing} as the network has"
    if genome.optimizer not in space.optimizers:
        yield f"an optimizer of {list(space.optimizers)}"

    slots = list(space.slots)
    wanted = dict(genome.activations)
    is_allowed = all(name in space.slots.get(slot, ()) for slot, name in wanted.items())
    if [slot for slot, _ in genome.activations] != slots or not is_allowed:
        yield f"activations for {slots}, of those that these layers may hold"
    if genome.batch_size % space.batch_multiple:
        yield (
            f"batch sizes that are multiples of {space.batch_multiple}, the number of devices that "
            "a batch is shared out to"
        )


_BY_NETWORK = ("dropout", "noise", "label_smoothing", "input_noise", "augmentation")
"""Genes that a network has or lacks, whatever its optimizer."""


def _places(genome: Genome, gene: str) -> Any:
    """Return where a genome has a gene: names of layers, or whether it has it."""
    value = getattr(genome, gene)
    if isinstance(value, tuple):
        return [layer for layer, _ in value]
    return value is not None


def _quiet(
    segment: Segment,
    epochs: tuple[Epoch, ...],
) -> None:
    """Show nothing."""


class _Lines:
    """A line for each segment.

    Args:
        total: All epochs.
    """

    def __init__(self, total: int) -> None:
        self._done = 0
        self._total = total

    def __call__(
        self,
        segment: Segment,
        epochs: tuple[Epoch, ...],
    ) -> None:
        """Say how a segment went."""
        from rich.console import Console

        self._done += segment.epochs
        logs = epochs[-1].logs
        names = [name for name in ("loss", "val_loss") if name in logs]
        shown = ", ".join(f"{name} {logs[name]:.4g}" for name in names)
        text = f"[{self._done}/{self._total}] {segment.genome}: {shown}"
        Console(highlight=False, soft_wrap=True).print(text, markup=False)
