"""The optimizers of one network: one object for each class, made when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from miha.errors import ArgumentError
from miha.trainer.genes.moments import carry
from miha.trainer.genes.switches import Number

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

MOMENTUM = {
    "sgd": "momentum",
    "rmsprop": "momentum",
    "adam": "beta_1",
    "adamw": "beta_1",
    "nadam": "beta_1",
    "adamax": "beta_1",
    "lamb": "beta_1",
    "lion": "beta_1",
}
"""The attribute of each class of Keras' that is its momentum."""

EXTRA = {"sgd": {"momentum": 0.9}}
"""What an optimizer has beyond its Keras defaults: without momentum SGD is rarely used."""

RATES = {"adadelta": 1.0, "adagrad": 0.01}
"""Learning rates other than Keras' defaults, at which these two nearly stand still.

Sources: M. Zeiler, "ADADELTA" (2012), whose rule has no other factor; PyTorch's default of Adagrad.
"""


def name_of(optimizer: Any) -> str:
    """Return the name that an optimizer has in a genome; wrappers are looked through."""
    return type(inner(optimizer)).__name__.lower()


def inner(optimizer: Any) -> Any:
    """Return the optimizer itself, without the loss scaling of mixed precision."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def has_schedule(optimizer: Any) -> bool:
    """Tell whether the learning rate is decided by a schedule or a function."""
    return not isinstance(inner(optimizer).get_config()["learning_rate"], float)


def check_names(names: Sequence[str]) -> None:
    """Raise unless every name is a Keras optimizer.

    Raises:
        ArgumentError: A name is unknown.
    """
    for name in names:
        try:
            keras.optimizers.get(name)
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                "An optimizer must be the name of a class of `keras.optimizers`. "
                f"Received: {name!r}. Examples: 'sgd', 'adam', 'lion'."
            ) from error


def short_decimal(rate: Any) -> float:
    """Return the shortest decimal that is the learning rate in float32, as the network has it."""
    return float(str(np.float32(rate)))


class Optimizers:
    """The optimizers of one network.

    Args:
        model: A built and compiled network. Its optimizer keeps all the user's settings; the
            others get what the user set beside the class.
        custom_objects: Classes and functions that Keras does not know by itself.
        numbers: Where momentum and weight decay are chosen at run time, by the name of the gene;
            None to set them as plain numbers.
    """

    def __init__(
        self,
        model: keras.Model,
        custom_objects: dict[str, Any] | None = None,
        numbers: Mapping[str, Number] | None = None,
    ) -> None:
        self._model = model
        self._custom_objects = custom_objects
        self._numbers = numbers or {}
        self._own = model.optimizer
        # Now: what is chosen at run time has no configuration.
        self._own_config = inner(self._own).get_config()
        self._outer_config = self._own.get_config()
        self.own_name = name_of(self._own)
        self.scheduled = has_schedule(self._own)
        self._made: dict[str, Any] = {}
        self._fresh: dict[str, list[np.ndarray]] = {}
        self._begins: dict[str, dict[str, float]] = {}

    def learning_rate(self, name: str, bounds: tuple[float, float]) -> float | None:
        """Return the learning rate that an optimizer begins with; None under a schedule.

        Args:
            name: The optimizer's.
            bounds: Smallest and largest one for all but the user's own.
        """
        if self.scheduled:
            return None
        if name == self.own_name:
            return short_decimal(inner(self._own).get_config()["learning_rate"])
        default = RATES.get(name) or keras.optimizers.get(name).get_config()["learning_rate"]
        return min(max(short_decimal(default), bounds[0]), bounds[1])

    def beginning(self, name: str) -> dict[str, float]:
        """Return the momentum and the weight decay that an optimizer begins with, where it has any.

        A momentum of 0 is none: Keras makes no slots for it. Optimizers of other makers have none,
        nor have those of weights that are not in single precision.
        """
        optimizer = inner(self._own if name == self.own_name else self._make(name))
        weights = self._model.trainable_variables
        is_known = type(optimizer).__module__.split(".")[0] == "keras"
        if not is_known or any(weight.dtype != "float32" for weight in weights):
            return {}
        config = self._own_config if name == self.own_name else optimizer.get_config()
        found = {gene: config.get(attribute) for gene, attribute in _attributes(name).items()}
        if not found.get("momentum"):
            found.pop("momentum", None)
        return {gene: float(value) for gene, value in found.items() if value is not None}

    @property
    def numbers(self) -> dict[str, float]:
        """The momentum and the weight decay of the network's optimizer, where it has any."""
        held = {gene: value for gene, (_, value) in self._held().items()}
        return {gene: v.chosen if isinstance(v, Number) else v for gene, v in held.items()}

    def choose(self, numbers: Mapping[str, float | None]) -> None:
        """Give the network's optimizer other numbers; None is what it begins with."""
        for gene, (attribute, value) in self._held().items():
            wish = numbers.get(gene)
            wish = self._begins[self._name][gene] if wish is None else wish
            if isinstance(value, Number):
                value.choose(wish)
            else:
                vars(inner(self._model.optimizer))[attribute] = wish

    def _held(self) -> dict[str, tuple[str, Any]]:
        """Return the attribute of each number of the network's optimizer, and what it holds."""
        optimizer, attributes = inner(self._model.optimizer), _attributes(self._name)
        genes = self._begins[self._name]
        return {gene: (attributes[gene], vars(optimizer)[attributes[gene]]) for gene in genes}

    @property
    def _name(self) -> str:
        return name_of(self._model.optimizer)

    def use(self, name: str) -> Any:
        """Make an optimizer the network's and return it; its state is as it was left."""
        if name not in self._made:
            optimizer = self._own if name == self.own_name else self._make(name)
            self._begins[name] = self.beginning(name)
            self._made[name] = self._built(optimizer)
            self._fresh[name] = self._fresh_state(self._made[name])
            self._install(name)
        self._model.optimizer = self._made[name]
        return self._made[name]

    def start_fresh(self, name: str, carries: bool = True) -> Any:
        """Make an optimizer the network's, with the state that a new one has.

        Args:
            name: The optimizer's.
            carries: Whether moments that mean the same in the one before are carried over: not
                where they are those of other weights.
        """
        before = self._model.optimizer
        optimizer = self.use(name)
        for variable, value in zip(optimizer.variables, self._fresh[name], strict=True):
            variable.assign(value)
        if carries:
            carry(inner(before), inner(optimizer))
        if self.scheduled:
            self._continue_schedule(inner(before), inner(optimizer))
        return optimizer

    def _install(self, name: str) -> None:
        """Put choices where the optimizer has numbers; it takes no notice, or would save them."""
        attributes, held = _attributes(name), vars(inner(self._made[name]))
        for gene in self._begins[name]:
            if gene in self._numbers:
                held[attributes[gene]] = self._numbers[gene]

    def _continue_schedule(self, before: Any, optimizer: Any) -> None:
        """Let the user's schedule go on where it is; only the slots begin anew."""
        optimizer.variables[0].assign(before.variables[0])  # The count of steps.
        if optimizer.use_ema:
            # Keras starts an average at step 0 only.
            averages = optimizer._model_variables_moving_average
            for average, weight in zip(averages, self._model.trainable_variables, strict=True):
                average.assign(weight)

    def _built(self, optimizer: Any) -> Any:
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        return optimizer

    def _fresh_state(self, optimizer: Any) -> list[np.ndarray]:
        if (
            keras.ops.convert_to_numpy(inner(optimizer).iterations) > 0
        ):  # The user has trained with it already.
            config, kind = keras.optimizers.serialize(optimizer), type(inner(optimizer))
            known = {**(self._custom_objects or {}), kind.__name__: kind}
            optimizer = keras.optimizers.deserialize(config, known)
            optimizer = self._built(optimizer)
        return [_small(np.array(keras.ops.convert_to_numpy(v))) for v in optimizer.variables]

    def _make(self, name: str) -> Any:
        own, config = inner(self._own), self._own_config
        settings = {key: config[key] for key in CARRIED if config.get(key) is not None}
        if self.own_name != "adamw" and config.get("weight_decay") is not None:
            settings["weight_decay"] = config["weight_decay"]
        if self.scheduled:
            settings["learning_rate"] = own._learning_rate
        optimizer = type(keras.optimizers.get(name))(**EXTRA.get(name, {}), **settings)
        return optimizer if own is self._own else self._wrap(optimizer)

    def _wrap(self, optimizer: Any) -> Any:
        config = {k: v for k, v in self._outer_config.items() if k != "inner_optimizer"}
        return type(self._own)(optimizer, **config)


def _attributes(name: str) -> dict[str, str]:
    """Return the attribute for each gene that an optimizer may have."""
    momentum = {"momentum": MOMENTUM[name]} if name in MOMENTUM else {}
    return {**momentum, "weight_decay": "weight_decay"}


def _small(values: np.ndarray) -> np.ndarray:
    """Hold an array of equal values in the room of one: fresh slots mostly are."""
    equal = values.size > 0 and bool((values == values.flat[0]).all())
    return np.broadcast_to(values.flat[0], values.shape) if equal else values
