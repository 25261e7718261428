"""The optimizers of one network: one object for each class, made when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import Model
from keras.ops import convert_to_numpy

from miha.errors import ArgumentError
from miha.trainer.genes.switches import SwitchedNumber
from miha.trainer.network.keras_internals import (
    all_iterations,
    averages,
    learning_rate_source,
    moment_pairs,
    nadam_product,
)
from miha.utils.suggest import did_you_mean

CARRIED = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)
"""What a user sets beside the class: every other optimizer gets it too."""

EXTRA = {"sgd": {"momentum": 0.9}}
"""What an optimizer has beyond its Keras defaults: without momentum SGD is rarely used."""

ALIKE = (
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Nadam,
)
"""Optimizers that keep the same running means of gradients and of their squares."""

RATES = {"adadelta": 1.0, "adagrad": 0.01}
"""Learning rates other than Keras' defaults, at which these two nearly stand still.

Sources: M. Zeiler, "ADADELTA" (2012), whose rule has no other factor; PyTorch's default of Adagrad.
"""

Bounds = tuple[float, float]
"""The smallest value and the largest."""


def name_of(optimizer: Any) -> str:
    """Return the name that an optimizer has in a genome, whatever wraps it."""
    return type(inner(optimizer)).__name__.lower()


def inner(optimizer: Any) -> Any:
    """Return the optimizer itself, without the loss scaling of mixed precision."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def has_schedule(optimizer: Any) -> bool:
    """Return whether a schedule or a function decides the learning rate."""
    config = inner(optimizer).get_config()
    return not isinstance(config["learning_rate"], float)


def check_names(names: Sequence[str]) -> None:
    """Raise unless every name is a Keras optimizer."""
    for name in names:
        try:
            keras.optimizers.get(name)
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                "An optimizer must be the name of a class of `keras.optimizers`. "
                f"Received: {name!r}.{did_you_mean(name, _known_names())} "
                "Examples: 'sgd', 'adam', 'lion'."
            ) from error


def _known_names() -> list[str]:
    kinds = [thing for thing in vars(keras.optimizers).values() if isinstance(thing, type)]
    return [kind.__name__.lower() for kind in kinds if kind is not keras.optimizers.Optimizer]


def short_decimal(rate: Any) -> float:
    """Return the shortest decimal that is the learning rate in float32, as the network has it."""
    return float(str(np.float32(rate)))


class Optimizers:
    """The optimizers of one network.

    Args:
        model: A built and compiled network. Its optimizer keeps all the user's settings; the
            others get what the user set beside the class.
        custom_objects: Classes and functions that Keras does not know by itself.
        weight_decay: Where the weight decay is chosen at run time; None to set a plain number.
    """

    def __init__(
        self,
        model: Model,
        custom_objects: dict[str, Any] | None = None,
        weight_decay: SwitchedNumber | None = None,
    ) -> None:
        self._model = model
        self._custom_objects = custom_objects or {}
        self._weight_decay = weight_decay
        self._own = model.optimizer
        # Now: a number that is chosen at run time has no configuration.
        self._own_config = inner(self._own).get_config()
        self._outer_config = self._own.get_config()
        self.own_name = name_of(self._own)
        self.scheduled = has_schedule(self._own)
        self._made: dict[str, Any] = {}
        self._first_state: dict[str, list[np.ndarray]] = {}
        self._first_decay: dict[str, float | None] = {}

    def learning_rate(
        self,
        name: str,
        bounds: Bounds,
    ) -> float | None:
        """Return the learning rate that an optimizer begins with; None under a schedule.

        Args:
            name: The optimizer's.
            bounds: Smallest and largest one for all but the user's own.
        """
        if self.scheduled:
            return None
        if name == self.own_name:
            return short_decimal(self._own_config["learning_rate"])

        default = RATES.get(name)
        if default is None:
            config = keras.optimizers.get(name).get_config()
            default = config["learning_rate"]

        low, high = bounds
        return min(max(short_decimal(default), low), high)

    def first_weight_decay(self, name: str) -> float | None:
        """Return the weight decay that an optimizer begins with; None where it has none.

        Optimizers of other makers have none, nor have those of weights that are not in single
        precision.
        """
        is_user_code = name == self.own_name
        optimizer = inner(self._own if is_user_code else self._make(name))
        types = {weight.dtype for weight in self._model.trainable_variables}
        if not is_of_keras(optimizer) or types - {"float32"}:
            return None

        config = self._own_config if is_user_code else optimizer.get_config()
        value = config.get("weight_decay")
        return None if value is None else float(value)

    @property
    def weight_decay(self) -> float | None:
        """The weight decay of the network's optimizer; None where it has none."""
        if self._first_decay[name_of(self._model.optimizer)] is None:
            return None
        value = self._values()["weight_decay"]
        chosen: float = value.chosen if isinstance(value, SwitchedNumber) else value
        return chosen

    def choose_weight_decay(self, wish: float | None) -> None:
        """Give the network's optimizer another weight decay; None is what it begins with."""
        first = self._first_decay[name_of(self._model.optimizer)]
        if first is None:
            return
        value = first if wish is None else wish

        # On PyTorch and in archives, nothing is compiled: the number itself stands there.
        values = self._values()
        switch = values["weight_decay"]
        if isinstance(switch, SwitchedNumber):
            switch.choose(value)
        else:
            values["weight_decay"] = value

    def _values(self) -> dict[str, Any]:
        """Return the attributes of the network's optimizer, past Keras' tracking."""
        values: dict[str, Any] = vars(inner(self._model.optimizer))
        return values

    def use(self, name: str) -> Any:
        """Make an optimizer the network's and return it; its state is as it was left."""
        if name not in self._made:
            self._add(name)
        self._model.optimizer = self._made[name]
        return self._made[name]

    def _add(self, name: str) -> None:
        """Make an optimizer for the first time, with a switch in the place of its weight decay."""
        is_user_code = name == self.own_name
        optimizer = self._own if is_user_code else self._make(name)
        first_decay = self.first_weight_decay(name)
        self._first_decay[name] = first_decay
        self._made[name] = self._built(optimizer)
        self._first_state[name] = self._fresh_state(optimizer)

        if first_decay is not None and self._weight_decay is not None:
            # Past Keras' tracking, which would archive the switch as state of the optimizer.
            vars(inner(optimizer))["weight_decay"] = self._weight_decay

    def start_fresh(
        self,
        name: str,
        carries: bool = True,
    ) -> Any:
        """Make an optimizer the network's, with the state that a new one has.

        Args:
            name: The optimizer's.
            carries: Whether to carry over the moments of the one before, where they mean the
                same. Moments of other weights do not.
        """
        before = self._model.optimizer
        optimizer = self.use(name)
        state = self._first_state[name]
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)

        if carries:
            carry(inner(before), inner(optimizer))
        if self.scheduled:
            self._continue_schedule(inner(before), inner(optimizer))
        return optimizer

    def _continue_schedule(
        self,
        before: Any,
        optimizer: Any,
    ) -> None:
        """Let the user's schedule go on where it is; only the slots start fresh."""
        # The first variable is the count of steps.
        optimizer.variables[0].assign(before.variables[0])
        if optimizer.use_ema:
            # Keras starts an average at step 0 only.
            weights = self._model.trainable_variables
            pairs = zip(averages(optimizer), weights, strict=True)
            for average, weight in pairs:
                average.assign(weight)

    def _built(self, optimizer: Any) -> Any:
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        return optimizer

    def _fresh_state(
        self,
        optimizer: Any,
    ) -> list[np.ndarray]:
        """Return the state that a new optimizer has."""
        steps = convert_to_numpy(inner(optimizer).iterations)
        if steps > 0:
            # The user has trained with it already: another one of the same settings is new.
            kind = type(inner(optimizer))
            known = {**self._custom_objects, kind.__name__: kind}
            config = keras.optimizers.serialize(optimizer)
            another = keras.optimizers.deserialize(config, known)
            optimizer = self._built(another)

        state = []
        for variable in optimizer.variables:
            value = np.array(convert_to_numpy(variable))
            state.append(_small(value))
        return state

    def _make(self, name: str) -> Any:
        """Return another optimizer with what the user set beside the class of their own."""
        settings: dict[str, Any] = dict(EXTRA.get(name, {}))
        carried = set(CARRIED)
        # The weight decay of AdamW belongs to its class.
        if self.own_name != "adamw":
            carried.add("weight_decay")
        for key, value in self._own_config.items():
            if key in carried and value is not None:
                settings[key] = value

        own = inner(self._own)
        if self.scheduled:
            settings["learning_rate"] = learning_rate_source(own)
        optimizer = type(keras.optimizers.get(name))(**settings)
        if own is self._own:
            return optimizer

        # The user's is wrapped, for loss scaling: so is this one.
        outer = dict(self._outer_config)
        outer.pop("inner_optimizer", None)
        return type(self._own)(optimizer, **outer)


def _small(values: np.ndarray) -> np.ndarray:
    """Keep an array of equal values in the memory of one: fresh slots mostly are."""
    if values.size == 0:
        return values
    first = values.flat[0]
    is_equal = (values == first).all()
    return np.broadcast_to(first, values.shape) if is_equal else values


def carry(before: Any, after: Any) -> None:
    """Let a fresh optimizer go on with another one's moments, where they mean the same.

    Both are without wrappers, and built for the same variables.
    """
    is_alike = isinstance(before, ALIKE) and isinstance(after, ALIKE)
    is_known = is_of_keras(before) and is_of_keras(after)
    if before is after or not is_alike or not is_known:
        return

    # All batches: `iterations` leaves out those whose gradients are only accumulated.
    all_iterations(after).assign(all_iterations(before))
    for source, target in moment_pairs(before, after):
        target.assign(source)

    if isinstance(after, keras.optimizers.Nadam):
        steps = int(convert_to_numpy(after.iterations))
        nadam_product(after).assign(_momentum_product(steps))


def is_of_keras(thing: Any) -> bool:
    """Return whether a class of Keras' own made an optimizer or a layer."""
    return type(thing).__module__.partition(".")[0] == "keras"


def _momentum_product(steps: int) -> float:
    """Return the product of Nadam's momentum schedule over so many steps, at its default beta_1.

    Source: T. Dozat, "Incorporating Nesterov Momentum into Adam" (2016), with the schedule that
    Keras has.
    """
    numbers = np.arange(1, steps + 1)
    momentums = 0.9 * (1 - 0.5 * 0.96**numbers)
    return float(np.prod(momentums))
