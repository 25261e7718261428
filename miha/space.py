"""What each gene may become: as the user wishes it, and as one network allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real

from miha.errors import ArgumentError

OPTIMIZERS = ("sgd", "adam", "adamw", "adadelta", "rmsprop", "nadam", "adagrad", "lion")
ACTIVATIONS = (
    "relu",
    "elu",
    "selu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "leaky_relu",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "mish",
)
DEFAULT_BATCH_SIZES = (8, 512)

OWN = "own"
"""The name in a genome of a user's activation that Keras has no name for."""


@dataclass(frozen=True)
class SearchSpace:
    """What the user lets each gene become.

    Args:
        optimizers: Names of Keras optimizers, any case. The network's own always belongs to them.
        activations: Names of elementwise Keras activations. A layer's own always belongs to them.
        layers: Names of the layers whose activation may change: a layer's name, or its path
            in the network such as ``"encoder/dense"``. None: every layer but the output layers.
        batch_size: Smallest and largest batch size. None: 8 to 512, widened to hold the
            network's own and cut at the number of samples.
        learning_rate: Smallest and largest learning rate.

    Raises:
        ArgumentError: A bound is reversed or not positive, or a list is empty.
    """

    optimizers: Sequence[str] = OPTIMIZERS
    activations: Sequence[str] = ACTIVATIONS
    layers: Sequence[str] | None = None
    batch_size: tuple[int, int] | None = None
    learning_rate: tuple[float, float] = (1e-6, 1.0)

    def __post_init__(self) -> None:
        _check_names("optimizers", self.optimizers)
        _check_names("activations", self.activations)
        if self.layers is not None:
            _check_names("layers", self.layers)
        _check_bounds("learning_rate", self.learning_rate, Real)
        if self.batch_size is not None:
            _check_bounds("batch_size", self.batch_size, Integral)


@dataclass(frozen=True)
class Space:
    """What each gene of one network may become: a `SearchSpace` that a trainer has resolved.

    Attributes:
        optimizers: Learning rate that each optimizer starts with; None under a schedule.
        slots: Activations that each slot of the network may hold.
        batch_size: Smallest and largest, at least 1.
        learning_rate: Smallest and largest, positive.
    """

    optimizers: Mapping[str, float | None]
    slots: Mapping[str, tuple[str, ...]]
    batch_size: tuple[int, int]
    learning_rate: tuple[float, float]


def batch_size_bounds(
    wish: tuple[int, int] | None, batch_size: int, samples: int
) -> tuple[int, int]:
    """Resolve the bounds of the batch size for one data set.

    Args:
        wish: The user's bounds, or None.
        batch_size: The network's own, 1 to ``samples``.
        samples: Training samples.

    Returns:
        Smallest and largest batch size, the network's own between them.
    """
    low, high = wish or DEFAULT_BATCH_SIZES
    return min(low, batch_size), min(max(high, batch_size), samples)


def _check_names(name: str, values: Sequence[str]) -> None:
    if isinstance(values, str) or not values or not all(isinstance(v, str) for v in values):
        raise ArgumentError(
            f"`{name}` must be a list of at least one name. Received: {name}={values!r}. "
            f"Give a list such as {name}=['...'], or leave the argument out."
        )


def _check_bounds(name: str, bounds: tuple[float, float], kind: type) -> None:
    is_pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    is_number = is_pair and all(isinstance(bound, kind) for bound in bounds)
    if not is_number or not 0 < bounds[0] <= bounds[1] < inf:
        numbers = "integers" if kind is Integral else "numbers"
        raise ArgumentError(
            f"`{name}` must be two bounds, {numbers} with 0 < low <= high. "
            f"Received: {name}={bounds!r}. Give the smaller one first."
        )
