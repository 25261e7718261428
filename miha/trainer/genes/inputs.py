"""What is done to a batch's inputs in training alone: noise, and augmentation of images.

Both act before the user's `train_step`, so that the network itself has no layer for them. With an
amount of zero nothing is computed, and a step is `fit`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import keras
import numpy as np
from keras import ops

from miha.errors import ArgumentError, first_line
from miha.trainer.genes.noise import changed_attributes
from miha.trainer.genes.switches import Switch, SwitchedNumber
from miha.trainer.network.keras_internals import flat_layers, seed_dtype

MOST_SAMPLES = 4096
"""Samples by which the spread of features is measured, at most."""

DRAWS_A_STEP = 256
"""More draws than a step makes: each has a number of its own."""


class TrainingSeed(Switch):
    """The seed of one training; it is an argument of compiled programs, as a choice is."""

    def __init__(self) -> None:
        super().__init__([0])

    def plant(self, seed: int) -> None:
        """Set the seed, 0 or more and below 2**31."""
        self.index.assign(seed)


class StepSeed(keras.random.SeedGenerator):  # type: ignore[misc]  # Keras has no types.
    """A seed without a state: what it draws depends on the training and on the step alone.

    Args:
        training: The seed of the training.
        step: The number of the step.
    """

    def __init__(
        self,
        training: Any,
        step: Any,
    ) -> None:
        # Keras' own constructor makes the variable that this one does without.
        self._training = ops.cast(training, "int32")
        self._step = ops.cast(step, "int32")
        self._draws = 0
        # On PyTorch, a Dropout of a seed without this one draws from PyTorch's own generator.
        self._initial_seed = 0

    def next(self, ordered: bool = True) -> Any:
        """Return another seed each time."""
        number = self._step * DRAWS_A_STEP + self._draws
        self._draws += 1
        pair = ops.stack([self._training, number])
        return ops.cast(pair, seed_dtype())


@dataclass(frozen=True)
class NoisyInput:
    """An input of a network that noise may be added to in training.

    Attributes:
        name: Its name in a genome.
        place: Its place among all inputs.
        spread: Standard deviation of each feature, in the shape of a sample or broadcast to it.
        has_steps: Whether a sample is a series, in which steps of nothing but padding stay.
        padding: What a padded step holds.
    """

    name: str
    place: int
    spread: np.ndarray
    has_steps: bool = False
    padding: float = 0.0

    def add(
        self,
        values: Any,
        amount: Any,
        seed: StepSeed,
    ) -> Any:
        """Return a batch of the input with noise of so many standard deviations."""
        noise = keras.random.normal(ops.shape(values), dtype=values.dtype, seed=seed)
        scale = ops.cast(amount, values.dtype) * ops.cast(self.spread, values.dtype)
        noise = noise * scale
        if self.has_steps:
            is_padded = ops.all(values == self.padding, axis=-1, keepdims=True)
            noise = ops.where(is_padded, ops.zeros_like(noise), noise)
        return values + noise


@dataclass(frozen=True)
class Augmentation:
    """Layers that change images, and what they are applied to.

    Attributes:
        layers: The user's or the usual ones, in order.
    """

    layers: tuple[Any, ...]

    @property
    def description(self) -> tuple[Any, ...]:
        """The layers' configurations, without names, which Keras counts on in each process."""
        configs = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return tuple(_without_names(config) for config in configs)

    def apply(
        self,
        images: Any,
        share: Any,
        seed: StepSeed,
    ) -> Any:
        """Return a batch in which a share of the samples, drawn by chance, is changed."""
        changed = ops.cast(self.change(images, seed), images.dtype)
        count = ops.shape(images)[0]
        ones = (1,) * (len(images.shape) - 1)
        drawn = keras.random.uniform((count, *ones), seed=seed)
        return ops.where(drawn < share, changed, images)

    def change(self, images: Any, seed: StepSeed) -> Any:
        """Return what the layers make of a batch."""
        for layer in self.layers:
            with _drawing_from(layer, seed):
                images = layer(images, training=True)
        return images


class InputChanges:
    """All that is done to the inputs of a batch in training.

    Args:
        inputs: The inputs that noise may be added to.
        noise: The amounts that each may have, its own first.
        augmentation: What changes images; None: nothing.
        shares: The shares of the samples that it may be applied to, the first to begin with.
        number: What a number that is chosen at run time is made of.
    """

    def __init__(
        self,
        inputs: Sequence[NoisyInput],
        noise: Mapping[str, Sequence[float]],
        augmentation: Augmentation | None,
        shares: Sequence[float],
        number: type[SwitchedNumber] | None,
    ) -> None:
        kind = number or SwitchedNumber
        self.noise: dict[str, SwitchedNumber] = {
            each.name: kind(noise[each.name]) for each in inputs
        }
        self.share: SwitchedNumber | None = kind(shares) if augmentation is not None else None
        self.seed = TrainingSeed()
        self._inputs = list(inputs)
        self._augmentation = augmentation

    @property
    def choices(self) -> list[Switch]:
        """All that is chosen at run time, in order."""
        if not self.is_needed:
            return []
        shares = [] if self.share is None else [self.share]
        return [*self.noise.values(), *shares, self.seed]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._inputs) or self.share is not None

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile it; on JAX it compiles whatever there is."""
        if self._augmentation is None or keras.backend.backend() != "tensorflow":
            return True
        layers = chain.from_iterable(map(flat_layers, self._augmentation.layers))
        return all(layer.supports_jit for layer in layers)

    def __call__(self, batch: Any, step: Any) -> Any:
        """Return a batch, as a training step takes it, with its inputs changed.

        Args:
            batch: Inputs alone, or a tuple whose first item they are.
            step: The number of the step.
        """
        seed = StepSeed(self.seed.index, step)
        if isinstance(batch, tuple):
            return (self._changed(batch[0], seed), *batch[1:])
        return self._changed(batch, seed)

    def _changed(self, x: Any, seed: StepSeed) -> Any:
        leaves = keras.tree.flatten(x)
        if self._augmentation is not None and self.share is not None:
            apply = self._augmentation.apply
            leaves[0] = _where_any(self.share, apply, leaves[0], seed)
        for each in self._inputs:
            amounts = self.noise[each.name]
            values = _as_floats(leaves[each.place])
            leaves[each.place] = _where_any(amounts, each.add, values, seed)
        return keras.tree.pack_sequence_as(x, leaves)


def _as_floats(values: Any) -> Any:
    """Return whole numbers as the floats that the network would make of them."""
    dtype = keras.backend.standardize_dtype(values.dtype)
    return (
        values if keras.backend.is_float_dtype(dtype) else ops.cast(values, keras.config.floatx())
    )


def _where_any(
    number: SwitchedNumber,
    change: Callable[[Any, Any, StepSeed], Any],
    values: Any,
    seed: StepSeed,
) -> Any:
    """Change values where the chosen amount is more than zero; else nothing is computed."""
    amount = number.look_up()

    def changed() -> Any:
        return change(values, amount, seed)

    def same() -> Any:
        return values

    return ops.cond(amount > 0, changed, same)


@contextlib.contextmanager
def _drawing_from(layer: Any, seed: StepSeed) -> Iterator[None]:
    """Let a layer, and all layers in it, draw from a seed for a while."""
    with contextlib.ExitStack() as stack:
        for inner in flat_layers(layer):
            names = [name for name in ("generator", "seed_generator") if name in vars(inner)]
            stack.enter_context(changed_attributes(inner, {name: seed for name in names}))
        yield


def noisy_inputs(
    x: Any,
    padding: float | None,
    is_scaled: bool = False,
) -> list[NoisyInput]:
    """Return the inputs that noise may be added to: floats that are no masks.

    Whole numbers may be words or categories. They are not where the network scales them: those
    of pixels, say.

    The unit of noise is a feature's own standard deviation. A feature is a column of a table, a
    channel of images or series.

    Args:
        x: Samples, an array or a structure of arrays.
        padding: What padded steps of a series hold, by a Masking layer; None: zeros.
        is_scaled: Whether the network's only input is scaled by its first layer.
    """
    kinds = "fiu" if is_scaled else "f"
    found = []
    for place, (name, array) in enumerate(_named(x, "x")):
        rows = np.asarray(array)
        is_measured = rows.dtype.kind in kinds and rows.ndim > 1
        if not is_measured or _is_mask(rows):
            continue
        has_steps = rows.ndim == 3
        own = 0.0 if padding is None else padding
        spread = _spread(rows, own if has_steps else None)
        found.append(NoisyInput(name, place, spread, has_steps, own))
    return found


def make_augmentation(
    layers: Sequence[Any],
    x: Any,
) -> Augmentation | None:
    """Return what changes images; None without layers.

    Args:
        layers: Keras layers, those of preprocessing or the user's own.
        x: A few samples.

    Raises:
        ArgumentError: The inputs are no single array, or the layers cannot take it.
    """
    if not layers:
        return None
    arrays = keras.tree.flatten(x)
    if len(arrays) != 1:
        raise ArgumentError(
            "`augmentation` changes the one array that a network takes. "
            f"Received: a network of {len(arrays)} inputs. Leave it out, or put the layers "
            "into the network."
        )
    augmentation = Augmentation(tuple(layers))
    images = ops.convert_to_tensor(np.asarray(arrays[0]))
    try:
        changed = augmentation.change(images, StepSeed(0, 0))
    except Exception as error:
        raise ArgumentError(
            "The layers of `augmentation` must accept the inputs. Received: inputs of shape "
            f"{tuple(images.shape)}, on which they fail: {first_line(error)}"
        ) from error
    if tuple(changed.shape) != tuple(images.shape):
        raise ArgumentError(
            "`augmentation` must keep the shape of the inputs. Received: layers that make "
            f"{tuple(changed.shape)} of {tuple(images.shape)}. Leave out the layer that does."
        )
    return augmentation


def _without_names(config: Any) -> Any:
    if isinstance(config, Mapping):
        kept = {key: value for key, value in config.items() if key != "name"}
        return {key: _without_names(value) for key, value in kept.items()}
    if isinstance(config, (list, tuple)):
        return [_without_names(part) for part in config]
    return config


def _named(x: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each array of a structure under its name, in Keras' order."""
    if isinstance(x, Mapping):
        for key in sorted(x):
            yield from _named(x[key], str(key))
    elif isinstance(x, (list, tuple)):
        for place, part in enumerate(x):
            yield from _named(part, f"{name}[{place}]")
    else:
        yield name, x


def _is_mask(rows: np.ndarray) -> bool:
    return bool(np.isin(rows, (0.0, 1.0)).all())


def _spread(rows: np.ndarray, padding: float | None) -> np.ndarray:
    """Return the standard deviation of each feature, without steps of padding."""
    values = rows.astype("float64")
    if padding is not None:
        is_padded = (values == padding).all(axis=-1, keepdims=True)
        values = np.where(is_padded, np.nan, values)
    axes = tuple(range(rows.ndim - 1)) if rows.ndim > 2 else (0,)
    # A feature of padding alone has no spread.
    found = np.nanstd(values, axis=axes)
    return np.asarray(np.nan_to_num(found), "float32")
