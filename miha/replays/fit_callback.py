"""A schedule of hyperparameters in a plain `fit`: what can change there does, the rest is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from miha.errors import ArgumentError
from miha.replays.schedule import HyperparameterSchedule, Segment, as_schedule
from miha.trainer.genes.activations import find_slots
from miha.trainer.genes.noise import find_noise
from miha.trainer.genes.optimizers import has_schedule, inner, name_of
from miha.utils.warn import warn

TRAINING_ALONE = ("input_noise", "augmentation")
"""Genes that a network has no layer for."""


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

    def __init__(
        self,
        schedule: HyperparameterSchedule | str | Path,
        strict: bool = False,
    ) -> None:
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
        epochs: Counter[int] = Counter()
        for segment in self.schedule.segments:
            epochs[segment.genome.batch_size] += segment.epochs
        [(size, _)] = epochs.most_common(1)
        return size

    def on_train_begin(
        self,
        logs: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what `fit` cannot follow."""
        reasons = [*self._reasons()]
        if not reasons:
            return
        text = "; ".join(reasons)
        if self.strict:
            raise ArgumentError(
                f"A plain `fit` must be able to follow the schedule. Received: {text}. "
                "Use miha.replay, which follows all of it, or strict=False."
            )
        warn(f"A plain fit does not follow all of the schedule: {text}. miha.replay does.")

    def on_epoch_begin(
        self,
        epoch: int,
        logs: Mapping[str, Any] | None = None,
    ) -> None:
        """Set the learning rate of an epoch."""
        segment, first = self._at(epoch)
        factor = 1.0
        if segment.rates:
            factor = segment.rates[epoch - first]
        self._set_rate(segment, factor)

    def on_epoch_end(
        self,
        epoch: int,
        logs: Mapping[str, Any] | None = None,
    ) -> None:
        """After an annealed segment, the learning rate is what it was before."""
        segment, first = self._at(epoch)
        if segment.rates and epoch == first + segment.epochs - 1:
            self._set_rate(segment, 1.0)

    def _at(
        self,
        epoch: int,
    ) -> tuple[Segment, int]:
        """Return the segment of an epoch and its first one."""
        first = 0
        for segment in self.schedule.segments:
            if epoch < first + segment.epochs:
                return segment, first
            first += segment.epochs
        # Longer than the schedule: on at the last rate, which falls no further.
        return Segment(1, self.schedule.genome), epoch

    def _set_rate(
        self,
        segment: Segment,
        factor: float,
    ) -> None:
        optimizer = self.model.optimizer
        rate = segment.genome.learning_rate
        # The rate of another optimizer would be none for this one.
        is_same = segment.genome.optimizer == name_of(optimizer)
        if rate is not None and is_same and not has_schedule(optimizer):
            optimizer.learning_rate = rate * factor

    def _reasons(self) -> Iterator[str]:
        """Yield in words what `fit` cannot follow, gene by gene."""
        has = _values_of_network(self.model)
        for name, values in self._wanted().items():
            # A layer that the network lacks has nothing; other genes may be anything there.
            own = has.get(name, "nothing" if " of " in name else None)
            if name.startswith(TRAINING_ALONE):
                # What acts in training alone, `fit` has none of.
                own = 0.0
            is_own = own is None or own == values[0]
            if len(values) > 1 or not is_own:
                text = f"{name} is {', then '.join(map(str, values))}"
                yield text if own is None else f"{text}, where the network has {own}"

        epochs = self.params.get("epochs")
        if epochs != self.epochs:
            yield f"it has {self.epochs} epochs, and fit {epochs}"
        if self.schedule.takes_all_data:
            yield "its last epochs train on the validation data, too"
        if has_schedule(self.model.optimizer):
            yield "the network's own schedule decides the learning rate"

    def _wanted(
        self,
    ) -> dict[str, list[Any]]:
        """Return the different values of each gene in the schedule, in order."""
        optimizer = name_of(self.model.optimizer)
        wanted: dict[str, list[Any]] = {}
        for segment in self.schedule.segments:
            for name, value in _values_of_segment(segment, optimizer).items():
                values = wanted.setdefault(name, [])
                if value not in values:
                    values.append(value)
        return wanted


def _values_of_segment(
    segment: Segment,
    optimizer: str,
) -> dict[str, Any]:
    """Return a genome's values by name, those of single layers as ``"gene of layer"``.

    Args:
        segment: Has the genome.
        optimizer: The network's own.
    """
    values: dict[str, Any] = {}
    for gene, value in segment.genome.to_dict().items():
        if isinstance(value, dict):
            for layer, held in value.items():
                values[f"{gene} of {layer}"] = held
        else:
            values[gene] = value
    # A learning rate can be set, and the decay of another optimizer is none of the network's.
    if values["learning_rate"] is not None:
        del values["learning_rate"]
    if segment.genome.optimizer != optimizer:
        values.pop("weight_decay", None)
    return values


def _values_of_network(
    model: keras.Model,
) -> dict[str, Any]:
    """Return what a network has, by the same names, as far as that is known."""
    values = {
        "optimizer": name_of(model.optimizer),
        "weight_decay": getattr(inner(model.optimizer), "weight_decay", None),
    }
    for slot in find_slots(model, with_outputs=False):
        values[f"activations of {slot.name}"] = slot.own_name
    for noise in find_noise(model):
        values[f"{noise.gene} of {noise.name}"] = noise.amount
    return values
