"""What a run is made of: the user's data, opened, and a trainer for a copy of their network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miha.executors.protocol import Executor
from miha.run import checks

if TYPE_CHECKING:
    import keras

    from miha.data.opening import Source
    from miha.trainer.blueprint import Blueprint
    from miha.trainer.protocol import Trainer


@dataclass(frozen=True)
class Material:
    """Data and trainer of a run.

    Attributes:
        model: The user's network.
        sources: Training data, and validation data or None.
        opening: Arguments of `open_data` beside the data themselves.
        arguments: Those of `make_trainer`.
        trainer: It holds a copy of the network, which is not trained yet.
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
        return "val_loss" if self.has_validation else "eval_loss"

    @property
    def rebatches(self) -> bool:
        """Whether the training data can be put into batches of another size."""
        return self.sources[0].rebatches

    def blueprint(self, executor: Executor) -> Blueprint:
        """Return what other processes need to build the trainer once more."""
        from miha.trainer.blueprint import blueprint

        made = self.model, self.trainer, self.sources
        return blueprint(*made, executor.load_data, self.opening, self.arguments)


def gather(
    model: keras.Model,
    data: Mapping[str, Any],
    opening: Mapping[str, Any],
    batch_size: int | None,
    validation_batch_size: int | None,
    monitor: str | None,
    with_mirror: bool,
    **arguments: Any,
) -> Material:
    """Open the user's data, and make a trainer for a copy of their network.

    Args:
        model: The user's network; it is not touched.
        data: ``x``, ``y``, ``sample_weight`` and ``validation_data``.
        opening: The other arguments of `open_data`.
        batch_size: The batch size to begin with, or None.
        validation_batch_size: That of evaluations; None: the same.
        monitor: The value that the user wants clones to be compared by, or None.
        with_mirror: Whether callbacks of Keras will want a network to look at.
        arguments: Those of `make_trainer` that the user decides alone.

    Raises:
        ArgumentError: The data, the network, or the search space for it, breaks a rule.
    """
    from miha.data.opening import open_data
    from miha.trainer.factory import make_trainer
    from miha.trainer.network.replicas import replicas

    sources = open_data(model, **data, **opening)
    size, evaluated = _batch_sizes(sources[0], batch_size, validation_batch_size)
    arguments |= {
        "batch_size": size,
        "validation_batch_size": evaluated,
        "evaluate_training": monitor is None or monitor.startswith("eval_"),
        "batch_multiple": replicas(model),
    }
    trainer = make_trainer(model, *sources, **arguments, with_mirror=with_mirror)
    return Material(model, sources, opening, arguments, trainer)


def _batch_sizes(training: Source, wanted: int | None, evaluated: int | None) -> tuple[int, int]:
    """Return the batch size to begin with, and that of evaluations."""
    own = training.batch_size, training.rebatches, training.samples
    size = checks.choose_batch_size(wanted, *own)
    return size, checks.check_integer(
        "validation_batch_size", size if evaluated is None else evaluated, 1
    )
