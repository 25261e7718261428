"""The live network: its values and its genome, which one clone after another takes."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import keras
import numpy as np

from miha.errors import TrainerError
from miha.records import Genome, Snapshot, Transition
from miha.space import Space
from miha.trainer.genes.activations import ActivationSwitch, Slot
from miha.trainer.genes.inputs import InputChanges
from miha.trainer.genes.losses import LossSlot, LossSwitch
from miha.trainer.genes.noise import Noise
from miha.trainer.genes.optimizers import Optimizers, inner, name_of, short_decimal
from miha.trainer.genes.switches import Switch, SwitchedNumber
from miha.trainer.network.copies import values
from miha.trainer.network.keras_internals import all_iterations
from miha.trainer.transitions.blended import Blend
from miha.trainer.transitions.folded import exchange, unfoldable
from miha.trainer.transitions.fresh import FreshValues, normalizations, restart, take_statistics

_OPTIONAL = ("weight_decay", "label_smoothing", "augmentation")
"""Genes that a genome may leave to the network."""


class LiveNetwork(abc.ABC):
    """One Keras network whose values and hyperparameters are exchanged.

    Args:
        network: The live network; it is changed.
        slots: The activation slots of ``network`` that may mutate.
        noise: Its layers whose noise may mutate.
        loss: Its loss, where the label smoothing may mutate.
        inputs: What is done to the inputs of a batch in training.
        space: What each gene may become.
        fresh: Draws the first values of a restart.
    """

    number: ClassVar[type[SwitchedNumber] | None] = SwitchedNumber
    """What stands for the weight decay in a compiled step; None where none is compiled."""

    _batch_size: int
    """That of the genome; a trainer uses it."""

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        noise: Sequence[Noise],
        loss: LossSlot | None,
        inputs: InputChanges,
        space: Space,
        fresh: FreshValues,
    ) -> None:
        self.space = space
        self._fresh = fresh
        self._network = network
        self._slots = {slot.name: slot for slot in slots}
        self._switches: dict[str, ActivationSwitch] = {}
        for slot in slots:
            names = space.slots[slot.name]
            switch = ActivationSwitch(slot.branches(names))
            slot.put(switch)
            self._switches[slot.name] = switch

        # What cannot be folded into weights is blended.
        rigid = unfoldable(network, self._slots)
        blending = [name for name in self._switches if name in rigid]
        self._blend = Blend({name: self._switches[name] for name in blending})

        self._noise: dict[str, Switch] = {}
        amounts = {**space.dropout, **space.noise}
        for place in noise:
            choice = place.install(amounts[place.name])
            self._noise[place.name] = choice

        self._inputs = inputs
        if inputs.is_needed:
            vars(network)["train_step"] = self._train_step_on(inputs, network.train_step)
        if not inputs.supports_jit:
            # As Keras does where such a layer is in the network.
            network.supports_jit = network.jit_compile = False

        self._loss: LossSwitch | None = None
        if loss is not None:
            self._loss = loss.install(space.label_smoothing, self.number)

        self._weight_decay: SwitchedNumber | None = None
        decays = set(chain.from_iterable(space.weight_decay.values()))
        if self.number is not None and decays:
            # It serves all optimizers: one of them trains at a time.
            self._weight_decay = self.number(sorted(decays))
        self._optimizers = Optimizers(network, weight_decay=self._weight_decay)
        self._optimizers.use(self._optimizers.own_name)
        self._optimizers.choose_weight_decay(None)

    @property
    @abc.abstractmethod
    def _few(self) -> Any:
        """Some inputs, the same each time."""

    @property
    def genome(self) -> Genome:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        rate = None
        if not self._optimizers.scheduled:
            rate = short_decimal(optimizer.learning_rate)

        return Genome(
            optimizer=name_of(optimizer),
            learning_rate=rate,
            batch_size=self._batch_size,
            activations=_chosen(self._switches, self._switches),
            dropout=_chosen(self._noise, self.space.dropout),
            noise=_chosen(self._noise, self.space.noise),
            weight_decay=self._optimizers.weight_decay,
            label_smoothing=None if self._loss is None else self._loss.chosen,
            input_noise=_chosen(self._inputs.noise, self.space.input_noise),
            augmentation=None if self._inputs.share is None else self._inputs.share.chosen,
        )

    @property
    def _choices(self) -> list[Switch]:
        """All that is chosen at run time, always in the same order: the loss is the last."""
        choices: list[Switch] = []
        choices += self._switches.values()
        choices += self._noise.values()
        if self._weight_decay is not None:
            choices.append(self._weight_decay)
        choices += self._blend.choices
        choices += self._inputs.choices
        if self._loss is not None:
            choices.append(self._loss.number)
        return choices

    def _train_step_on(self, inputs: InputChanges, train_step: Any) -> Any:
        """Return the network's training step, on inputs that are changed before it.

        Args:
            inputs: What changes them.
            train_step: The network's own.
        """

        def step(batch: Any) -> Any:
            steps = all_iterations(inner(self._network.optimizer))
            return train_step(inputs(batch, steps))

        return step

    def snapshot(self) -> Snapshot:
        """See `Trainer`."""
        optimizer = self._network.optimizer
        return Snapshot(
            variables=values(self._network.variables),
            optimizer=name_of(optimizer),
            slots=values(optimizer.variables),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See `Trainer`."""
        self._blend.end()
        optimizer = self._optimizers.use(snapshot.optimizer)
        assign(self._network.variables, snapshot.variables)
        assign(optimizer.variables, snapshot.slots)

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        """See `Trainer`."""
        # The values change while the network still has its old hyperparameters.
        self._blend.end()
        if transition == "keep_function":
            self._keep_function(dict(genome.activations))
        elif transition == "restart":
            rng = rng or np.random.default_rng()
            restart(self._network, self._fresh.draw(rng))
            self._optimizers.start_fresh(genome.optimizer, carries=False)
            # Else the statistics would read the seeds that a training before has left.
            self._reseed(rng)

        self._set_genes(genome)
        if transition == "restart" and normalizations(self._network):
            # With the genome's activations: they decide what the layers behind them see.
            take_statistics(self._network, self._few)
        self._check_expressed(genome)

    def _keep_function(
        self,
        wanted: Mapping[str, str],
    ) -> None:
        """Exchange activations, and fold or blend what they change."""
        old = dict(self.genome.activations)
        few = self._few
        exchange(self._network, self._slots, self._switches, wanted, few)
        changed = [name for name in wanted if wanted[name] != old[name]]
        self._blend.begin({name: old[name] for name in changed})

    def _set_genes(self, genome: Genome) -> None:
        if genome.optimizer != name_of(self._network.optimizer):
            self._optimizers.start_fresh(genome.optimizer)
        if genome.learning_rate is not None:
            self._network.optimizer.learning_rate = genome.learning_rate
        self._optimizers.choose_weight_decay(genome.weight_decay)

        for amounts in (genome.dropout, genome.noise):
            for layer, amount in amounts:
                self._noise[layer].choose(amount)
        if self._loss is not None:
            own = self._loss.options[0]
            smoothing = genome.label_smoothing
            self._loss.choose(own if smoothing is None else smoothing)
        for name, amount in genome.input_noise:
            self._inputs.noise[name].choose(amount)
        if self._inputs.share is not None:
            share = genome.augmentation
            self._inputs.share.choose(0.0 if share is None else share)
        for slot, activation in genome.activations:
            self._switches[slot].choose(activation)
        self._batch_size = genome.batch_size

    def _check_expressed(self, genome: Genome) -> None:
        found = self.genome
        expected = genome
        # What a genome leaves open is as the network has it.
        for gene in _OPTIONAL:
            if getattr(genome, gene) is None:
                own = {gene: getattr(found, gene)}
                expected = expected.replace(**own)
        if genome.learning_rate is not None:
            rate = short_decimal(genome.learning_rate)
            expected = expected.replace(learning_rate=rate)

        if found != expected:
            raise TrainerError(
                f"The network must hold the genome that was expressed. Expected: {expected}. "
                f"Found: {found}. This is a fault of MIHA or of a custom optimizer."
            )

    def _reseed(
        self,
        noise: np.random.Generator,
    ) -> None:
        """Draw new states for the seed generators: the variables that are no weights."""
        # A generator of its own: the layers draw the same with it and without.
        (inputs,) = noise.spawn(1)
        self._inputs.seed.plant(int(inputs.integers(2**31 - 1)))

        weights = {id(weight) for weight in self._network.weights}
        for variable in self._network.variables:
            if id(variable) not in weights:
                seed = noise.integers(2**31 - 1)
                variable.assign(np.array([seed, 0]))


def assign(
    variables: Sequence[Any],
    values: Sequence[Any],
) -> None:
    """Give variables their values, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _chosen(
    choices: Mapping[str, Switch],
    names: Iterable[str],
) -> Any:
    return tuple((name, choices[name].chosen) for name in names)
