"""What each gene may become: as the user wishes it, and as one network allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Integral, Real
from typing import Any, Literal

from miha.errors import ArgumentError
from miha.records import Genome
from miha.utils.keywords import explains_keywords
from miha.validation import is_number

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
WEIGHT_DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 4e-3, 1e-2, 1e-1)
DROPOUT_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
NOISE_LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3)
LABEL_SMOOTHINGS = (0.0, 0.05, 0.1, 0.2)
INPUT_NOISES = (0.0, 0.25, 0.5, 1.0, 1.5)
AUGMENTED_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

OWN = "own"
"""The name in a genome of a user's activation that Keras has no name for."""


@explains_keywords(
    "miha.SearchSpace",
    {
        "momentum": "The momentum stays as the optimizer has it.",
        "losses": "The loss stays the network's own.",
    },
)
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
        learning_rate: Smallest and largest learning rate; the network's own is what it is.
        weight_decay: Values of the weight decay, at least 0. What an optimizer begins with always
            belongs to them, as the network's own does to all lists below.
        dropout: Rates of Dropout layers, 0 or more and below 1.
        noise: Standard deviations of GaussianNoise layers, 0 to 1.
        label_smoothing: Values of the label smoothing, 0 or more and below 1.
        input_noise: Amounts of noise on inputs, in standard deviations of each feature, 0 to 10.
        augmentation: Keras layers that change inputs without changing what they show, such as
            ``[keras.layers.RandomFlip("horizontal")]``. The gene is the share of samples that
            they are applied to: 0, a quarter, a half, three quarters or all. By default images
            with classes are shifted by up to a tenth of their sides, and photographs mirrored;
            ``()`` is no augmentation.

    Raises:
        ArgumentError: A bound is reversed or not positive, a value is out of its range, or a list
            is empty.
    """

    optimizers: Sequence[str] = OPTIMIZERS
    activations: Sequence[str] = ACTIVATIONS
    layers: Sequence[str] | None = None
    batch_size: tuple[int, int] | None = None
    learning_rate: tuple[float, float] = (1e-6, 1.0)
    weight_decay: Sequence[float] = WEIGHT_DECAYS
    dropout: Sequence[float] = DROPOUT_RATES
    noise: Sequence[float] = NOISE_LEVELS
    label_smoothing: Sequence[float] = LABEL_SMOOTHINGS
    input_noise: Sequence[float] = INPUT_NOISES
    augmentation: Sequence[Any] | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        _check_names("optimizers", self.optimizers)
        _check_names("activations", self.activations)
        if self.layers is not None:
            _check_names("layers", self.layers)
        _check_layers(self.augmentation)
        for name, (rule, is_kept) in _RANGES.items():
            _check_values(name, getattr(self, name), rule, is_kept)
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
        weight_decay: Values for each optimizer that decays weights, what it begins with first.
        dropout: Rates that each Dropout layer may have, its own first.
        noise: Standard deviations that each GaussianNoise layer may have, its own first.
        label_smoothing: Values that it may have, the network's own first; empty where it stays.
        input_noise: Amounts of noise that each input may get, its own first.
        augmentation: Shares of samples that may be augmented, its own first; empty where it stays.
        batch_multiple: What every batch size is a multiple of.
    """

    optimizers: Mapping[str, float | None]
    slots: Mapping[str, tuple[str, ...]]
    batch_size: tuple[int, int]
    learning_rate: tuple[float, float]
    weight_decay: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    dropout: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    label_smoothing: tuple[float, ...] = ()
    input_noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    augmentation: tuple[float, ...] = ()
    batch_multiple: int = 1

    def bounded_rate(self, rate: float) -> float:
        """Return a learning rate of three digits, so that tables are legible, within the bounds."""
        low, high = self.learning_rate
        rounded = float(f"{rate:.3g}")
        return min(max(rounded, low), high)

    def with_optimizer(self, genome: Genome, name: str) -> Genome:
        """Return a genome with another optimizer, which begins with what is its own."""
        # An optimizer without weight decay has no values of it.
        weight_decays = self.weight_decay.get(name) or (None,)
        return genome.replace(
            optimizer=name,
            learning_rate=self.optimizers[name],
            weight_decay=weight_decays[0],
        )


def values_of(own: float, others: Sequence[float]) -> tuple[float, ...]:
    """Return what a number may become: its own value first, then the others that differ."""
    values = [float(own)]
    values += [float(value) for value in others]
    return tuple(dict.fromkeys(values))


def batch_size_bounds(
    wish: tuple[int, int] | None, batch_size: int, samples: int, multiple: int = 1
) -> tuple[int, int]:
    """Resolve the bounds of the batch size for one data set.

    Args:
        wish: The user's bounds, or None.
        batch_size: The network's own, 1 to ``samples``.
        samples: Training samples.
        multiple: What every batch size is a multiple of, the network's own among them.

    Returns:
        Smallest and largest batch size, the network's own between them.
    """
    low, high = wish or DEFAULT_BATCH_SIZES
    low = min(low, batch_size)
    high = min(max(high, batch_size), samples)
    # The smallest is rounded up to a multiple, the largest down.
    low_parts = -(-low // multiple)
    high_parts = high // multiple
    return low_parts * multiple, high_parts * multiple


def _check_names(name: str, values: Sequence[str]) -> None:
    # A single name is a sequence of letters.
    is_list = not isinstance(values, str) and bool(values)
    if not is_list or not all(isinstance(value, str) for value in values):
        raise ArgumentError(
            f"`{name}` must be a list of at least one name. Received: {name}={values!r}. "
            f"Give a list such as {name}=['...'], or leave the argument out."
        )


def _check_layers(layers: Sequence[Any] | Literal["auto"]) -> None:
    if isinstance(layers, str) and layers == "auto":
        return
    is_list = isinstance(layers, (list, tuple))
    if not is_list or not all(callable(layer) for layer in layers):
        raise ArgumentError(
            "`augmentation` must be a list of Keras layers. "
            f"Received: augmentation={layers!r}. "
            "Write augmentation=[keras.layers.RandomFlip('horizontal')], say."
        )


def _check_bounds(name: str, bounds: tuple[float, float], kind: type) -> None:
    is_pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    is_of_kind = is_pair and all(isinstance(bound, kind) for bound in bounds)
    if not is_of_kind or not 0 < bounds[0] <= bounds[1] < inf:
        numbers = "integers" if kind is Integral else "numbers"
        raise ArgumentError(
            f"`{name}` must be two bounds, {numbers} with 0 < low <= high. "
            f"Received: {name}={bounds!r}. Give the smaller one first."
        )


def _check_values(
    name: str, values: Sequence[float], rule: str, is_kept: Callable[[float], bool]
) -> None:
    is_list = isinstance(values, (tuple, list)) and len(values) > 0
    if not is_list or not all(is_number(value) and is_kept(value) for value in values):
        raise ArgumentError(
            f"`{name}` must be a list of at least one number, {rule}. "
            f"Received: {name}={values!r}. Give a list, or leave the argument out."
        )


_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "weight_decay": ("each at least 0 and finite", lambda value: 0 <= value < inf),
    "dropout": ("each at least 0 and below 1", lambda value: 0 <= value < 1),
    "noise": ("each 0 to 1", lambda value: 0 <= value <= 1),
    "label_smoothing": ("each at least 0 and below 1", lambda value: 0 <= value < 1),
    "input_noise": ("each 0 to 10", lambda value: 0 <= value <= 10),
}
"""The range of each list of numbers, in words and as a test."""
