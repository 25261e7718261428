"""The live network: its values and its genome, which one clone after another takes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from itertools import chain, product
from typing import Any, ClassVar

import keras
import numpy as np

from miha.errors import TrainerError
from miha.records import Genome, Snapshot, Transition
from miha.space import Space
from miha.trainer.genes.activations import ActivationSwitch, Slot
from miha.trainer.genes.losses import LossSlot, Variant
from miha.trainer.genes.noise import Noise
from miha.trainer.genes.optimizers import Optimizers, name_of, short_decimal
from miha.trainer.genes.switches import Switch, SwitchedNumber
from miha.trainer.network.copies import values
from miha.trainer.transitions import fresh as transitions
from miha.trainer.transitions.blended import Blend
from miha.trainer.transitions.folded import exchange, unfoldable

_UNTOLD = ("momentum", "weight_decay", "loss", "label_smoothing")
"""Genes that a genome need not tell."""


class LiveNetwork(abc.ABC):
    """One Keras network whose values and hyperparameters are exchanged.

    Args:
        network: The live network; it is changed.
        slots: The activation slots of ``network`` that may mutate.
        noise: Its layers whose noise may mutate.
        loss: Its loss, where that may mutate.
        space: What each gene may become.
        fresh: Draws first values anew.
    """

    number: ClassVar[type[SwitchedNumber] | None] = SwitchedNumber
    """What stands for an optimizer's numbers in a compiled step; None where none is compiled."""

    _batch_size: int
    """That of the genome; it is the trainer's affair."""

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        noise: Sequence[Noise],
        loss: LossSlot | None,
        space: Space,
        fresh: transitions.FreshValues,
    ) -> None:
        self.space = space
        self._fresh = fresh
        self._network = network
        self._slots = {slot.name: slot for slot in slots}
        self._switches = {slot.name: _install(slot, space.slots[slot.name]) for slot in slots}
        rigid = unfoldable(network, self._slots)
        self._blend = Blend({n: switch for n, switch in self._switches.items() if n in rigid})
        amounts = {**space.dropout, **space.noise}
        self._noise = {place.name: place.install(amounts[place.name]) for place in noise}
        self._own_loss = loss
        self._loss = None if loss is None else loss.install(_variants(loss, space))
        self._numbers = {} if self.number is None else _numbers(space, self.number)
        self._optimizers = Optimizers(network, numbers=self._numbers)
        self._optimizers.use(self._optimizers.own_name)
        self._optimizers.choose({})

    @property
    @abc.abstractmethod
    def _few(self) -> Any:
        """Some inputs, the same each time."""

    @property
    def genome(self) -> Genome:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        scheduled = self._optimizers.scheduled
        rate = None if scheduled else short_decimal(optimizer.learning_rate)
        numbers = self._optimizers.numbers
        loss, smoothing = (None, None) if self._loss is None else self._loss.chosen
        return Genome(
            optimizer=name_of(optimizer),
            learning_rate=rate,
            batch_size=self._batch_size,
            activations=tuple((name, switch.chosen) for name, switch in self._switches.items()),
            dropout=tuple((name, self._noise[name].chosen) for name in self.space.dropout),
            noise=tuple((name, self._noise[name].chosen) for name in self.space.noise),
            momentum=numbers.get("momentum"),
            weight_decay=numbers.get("weight_decay"),
            loss=loss if self.space.losses else None,
            label_smoothing=smoothing if self.space.label_smoothing else None,
        )

    @property
    def _choices(self) -> list[Switch]:
        """All that is chosen at run time, in an order that stays."""
        loss = [] if self._loss is None else [self._loss]
        places = (*self._switches.values(), *self._noise.values())
        return [*places, *self._numbers.values(), *self._blend.choices, *loss]

    def snapshot(self) -> Snapshot:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        variables, slots = values(self._network.variables), values(optimizer.variables)
        return Snapshot(variables, name_of(optimizer), slots)

    def restore(self, snapshot: Snapshot) -> None:
        """See `Trainer`."""
        self._blend.end()
        optimizer = self._optimizers.use(snapshot.optimizer)
        _assign(self._network.variables, snapshot.variables)
        _assign(optimizer.variables, snapshot.slots)

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        """See `Trainer`."""
        self._transit(genome, transition, rng)
        if genome.optimizer != name_of(self._network.optimizer):
            self._optimizers.start_fresh(genome.optimizer)
        if genome.learning_rate is not None:
            self._network.optimizer.learning_rate = genome.learning_rate
        self._optimizers.choose({"momentum": genome.momentum, "weight_decay": genome.weight_decay})
        for layer, amount in (*genome.dropout, *genome.noise):
            self._noise[layer].choose(amount)
        if self._own_loss is not None and self._loss is not None:
            self._loss.choose(self._own_loss.variant_of(genome))
        for slot, activation in genome.activations:
            self._switches[slot].choose(activation)
        self._batch_size = genome.batch_size
        self._check_expressed(genome)

    def _transit(
        self, genome: Genome, transition: Transition, rng: np.random.Generator | None
    ) -> None:
        """Change the live network's values as a transition asks."""
        network = self._network
        self._blend.end()
        if transition == "keep_function":
            wanted, old = dict(genome.activations), dict(self.genome.activations)
            exchange(network, self._slots, self._switches, wanted, self._few)
            self._blend.begin({n: old[n] for n, name in wanted.items() if name != old[n]})
        elif transition in ("restart", "perturb"):
            change = getattr(transitions, transition)
            change(network, self._fresh.draw(rng or np.random.default_rng()))
            self._optimizers.start_fresh(genome.optimizer, carries=False)

    def _check_expressed(self, genome: Genome) -> None:
        found, rate = self.genome, genome.learning_rate
        # What a genome does not tell is as the network has it of its own.
        own = {gene: getattr(found, gene) for gene in _UNTOLD if getattr(genome, gene) is None}
        expected = genome.replace(**own)
        expected = expected if rate is None else expected.replace(learning_rate=short_decimal(rate))
        if found != expected:
            raise TrainerError(
                f"The network must hold the genome that was expressed. Expected: {expected}. "
                f"Found: {found}. This is a fault of MIHA or of a custom optimizer."
            )

    def _reseed(self, noise: np.random.Generator) -> None:
        """Draw new states for the seed generators: the variables that are no weights."""
        weights = {id(weight) for weight in self._network.weights}
        for variable in self._network.variables:
            if id(variable) not in weights:
                variable.assign(np.array([noise.integers(2**31 - 1), 0]))


def _install(slot: Slot, names: Sequence[str]) -> ActivationSwitch:
    switch = ActivationSwitch(slot.branches(names))
    slot.put(switch)
    return switch


def _variants(loss: LossSlot, space: Space) -> list[Variant]:
    """Return the losses that may be trained; the network's own is the first."""
    name, smoothing = loss.variant
    return list(product(space.losses or (name,), space.label_smoothing or (smoothing,)))


def _numbers(space: Space, kind: type[SwitchedNumber]) -> dict[str, SwitchedNumber]:
    """Return what holds the numbers of all optimizers: one of them trains at a time."""
    values = {"momentum": space.momentum, "weight_decay": space.weight_decay}
    options = {gene: sorted(set(chain(*held.values()))) for gene, held in values.items()}
    return {gene: kind(numbers) for gene, numbers in options.items() if numbers}


def _assign(variables: list[Any], values: tuple[np.ndarray, ...]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
