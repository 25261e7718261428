"""A schedule of hyperparameters in a plain `fit`: what can change there does, the rest is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from miha.errors import ArgumentError
from miha.executors.training import cosine
from miha.records import Genome
from miha.replays.schedule import HyperparameterSchedule, Segment, as_schedule
from miha.trainer.genes.activations import find_slots
from miha.trainer.genes.noise import find_noise
from miha.trainer.genes.optimizers import has_schedule, inner, name_of
from miha.utils.warn import warn


class ReplayCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types.
    """Sets the learning rate of each epoch as it was in a run, in a plain `fit`.

    A plain `fit` has one batch size, one optimizer and the activations that the network was
    compiled with: what else changes in the schedule is named, in a warning or, with ``strict``, in
    an error. In epochs of another optimizer than the network's the learning rate is left as it is.
    `miha.replay` follows all of it.

    ``model.fit(x, y, batch_size=replay.batch_size, epochs=replay.epochs, callbacks=[replay])``

    Args:
        schedule: `Result.schedule`, or the file that it was saved in.
        strict: Whether to refuse a schedule that `fit` cannot follow, instead of a warning.

    Raises:
        ArgumentError: There is no such schedule; with ``strict``, `fit` cannot follow it.
    """

    def __init__(self, schedule: HyperparameterSchedule | str | Path, strict: bool = False) -> None:
        super().__init__()
        self.schedule = as_schedule(schedule)
        self.strict = strict

    @property
    def epochs(self) -> int:
        """The epochs of the schedule: what to give `fit`."""
        return self.schedule.epochs

    @property
    def batch_size(self) -> int:
        """The batch size of most of its epochs: what to give `fit`."""
        epochs: dict[int, int] = {}
        for segment in self.schedule.segments:
            size = segment.genome.batch_size
            epochs[size] = epochs.get(size, 0) + segment.epochs
        return max(epochs, key=lambda size: epochs[size])

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Say what `fit` cannot follow."""
        reasons = list(self._beyond_fit())
        if has_schedule(self.model.optimizer):
            reasons.append("the network's own schedule decides the learning rate")
        if reasons and self.strict:
            raise ArgumentError(
                "A plain `fit` must be able to follow the schedule. "
                f"Received: {'; '.join(reasons)}. Use miha.replay, which follows all of it, or "
                "strict=False."
            )
        if reasons:
            text = f"A plain fit does not follow all of the schedule: {'; '.join(reasons)}."
            warn(f"{text} miha.replay does.")

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Set the learning rate of an epoch."""
        segment, first = self._at(epoch)
        self._set(segment, cosine(segment.epochs)[epoch - first] if segment.anneal else 1.0)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After an annealed segment, the learning rate is what it was before."""
        segment, first = self._at(epoch)
        if segment.anneal and epoch == first + segment.epochs - 1:
            self._set(segment, 1.0)

    def _at(self, epoch: int) -> tuple[Segment, int]:
        """Return the segment of an epoch and its first one; behind the end, the last."""
        first = 0
        for segment in self.schedule.segments:
            if epoch < first + segment.epochs:
                return segment, first
            first += segment.epochs
        # Longer than the schedule: on at the last rate, which falls no further.
        return Segment(1, self.schedule.genome), epoch

    def _set(self, segment: Segment, factor: float) -> None:
        rate, optimizer = segment.genome.learning_rate, self.model.optimizer
        is_ours = segment.genome.optimizer == name_of(optimizer)
        if rate is not None and is_ours and not has_schedule(optimizer):
            optimizer.learning_rate = rate * factor

    def _beyond_fit(self) -> Iterator[str]:
        """Yield in words what `fit` cannot follow, gene by gene."""
        wanted: dict[str, list[Any]] = {}
        for segment in self.schedule.segments:
            for gene, value in _flat(segment.genome, name_of(self.model.optimizer)).items():
                wanted.setdefault(gene, []).append(value)
        held = _held(self.model)
        for gene, values in wanted.items():
            yield from _told(gene, values, held.get(gene, "nothing" if " of " in gene else None))
        if self.params.get("epochs") != self.epochs:
            yield f"it has {self.epochs} epochs, and fit {self.params.get('epochs')}"


def _flat(genome: Genome, optimizer: str) -> dict[str, Any]:
    """Return a genome's values by name, those of single layers by gene and layer.

    What belongs to another optimizer than the network's is left out, and a learning rate that can
    be set.
    """
    values = genome.to_dict()
    if values["learning_rate"] is not None:
        del values["learning_rate"]
    if genome.optimizer != optimizer:
        values = {gene: value for gene, value in values.items() if gene not in _OF_OPTIMIZER}
    places = {gene: held for gene, held in values.items() if isinstance(held, dict)}
    flat = {gene: value for gene, value in values.items() if gene not in places}
    for gene, held in places.items():
        flat |= {f"{gene} of {layer}": value for layer, value in held.items()}
    return flat


def _held(model: keras.Model) -> dict[str, Any]:
    """Return what a network holds, by the names of `_flat`, as far as it can be told."""
    optimizer, name = inner(model.optimizer), name_of(model.optimizer)
    held = {"optimizer": name, "weight_decay": getattr(optimizer, "weight_decay", None)}
    slots = find_slots(model, with_outputs=False)
    held |= {f"activations of {slot.name}": slot.own_name for slot in slots}
    return held | {f"{noise.gene} of {noise.name}": noise.amount for noise in find_noise(model)}


_OF_OPTIMIZER = ("weight_decay",)


def _told(name: str, wanted: list[Any], held: Any) -> Iterator[str]:
    """Yield what a gene is to be, unless that is one value, and the one that is held."""
    values = list(dict.fromkeys(wanted))
    if len(values) > 1 or (held is not None and held != values[0]):
        has = "" if held is None else f", where the network has {held}"
        yield f"{name} is {', then '.join(map(str, values))}{has}"
