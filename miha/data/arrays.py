"""Arrays as `fit` takes them: checked, weighted and split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Integral, Number, Real
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from miha.data.frames import array_of_frame, is_frame
from miha.data.sparse import as_dense
from miha.data.text import bytes_of, is_text
from miha.errors import ArgumentError

AT_ONCE = 1024
"""Samples that are looked at together where a copy of all would take too much memory."""

Part = Literal["x", "y"]
"""Inputs or targets."""


@dataclass(frozen=True)
class Data:
    """Samples and what belongs to them, each an array or a structure of arrays.

    Attributes:
        x: Inputs; the first axis counts samples.
        y: Targets, or None.
        sample_weight: Weights, or None.
        rebatches: Batches may have any size; see `Stream`.
        batch_size: None, because arrays are in no batches.
    """

    rebatches: ClassVar[bool] = True
    batch_size: ClassVar[int | None] = None

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        first, *_ = keras.tree.flatten(self.x)
        return len(first)

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights."""
        return self.x, self.y, self.sample_weight

    @property
    def arrays(self) -> list[np.ndarray]:
        """Every array, in the order of the structure."""
        leaves = keras.tree.flatten(self.parts)
        return [leaf for leaf in leaves if leaf is not None]

    @property
    def packed(self) -> Any:
        """The data as a training step takes it."""
        return keras.utils.pack_x_y_sample_weight(*self.parts)

    def few(self) -> Data:
        """Return the first samples, at most two."""
        return self.take(slice(2))

    def blocks(self, part: Part) -> Iterator[Any]:
        """Yield inputs or targets, here all at once; see `Stream`."""
        yield getattr(self, part)

    def for_evaluation(self) -> Data:
        """Return the same samples, to evaluate on."""
        return self

    def digest(self, sha: Any) -> None:
        """Update a checksum with all values."""
        for array in self.arrays:
            digest_shape(sha, array.shape, array.dtype)
            for start in range(0, len(array), AT_ONCE):
                block = array[start : start + AT_ONCE]
                sha.update(bytes_of(block))

    def map(
        self,
        function: Callable[[Any], Any],
    ) -> Data:
        """Apply a function to every array."""
        return Data(*(map_arrays(function, part) for part in self.parts))

    def take(
        self,
        part: slice | np.ndarray,
    ) -> Data:
        """Return some of the samples."""
        return self.map(lambda array: array[part])

    def with_spread_weights(self) -> Data:
        """Give every output the weights, as `fit` does, where there are several outputs."""
        weights = self.sample_weight
        is_single = weights is not None and not isinstance(weights, tuple | dict)
        if is_single and isinstance(self.y, tuple | dict):
            weights = map_arrays(lambda _: weights, self.y)
        return Data(self.x, self.y, weights)


def prepare(
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    must_be_finite: bool = True,
) -> tuple[Data, Data | None]:
    """Check the user's data and bring it into the form that a training step takes.

    Args:
        x: Inputs, an array or a structure of arrays.
        y: Targets, likewise, or None.
        sample_weight: Weights of samples, or None.
        class_weight: Weight of each class in the loss, or None.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or None.
        validation_split: Share of the last samples to validate on, 0 to 1, as in `fit`.
        must_be_finite: Whether values that are NaN or infinite are refused.

    Returns:
        Training data, and validation data or None.

    Raises:
        ArgumentError: A rule of the data is broken.
    """
    data = _checked("x", Data(x, y, sample_weight), must_be_finite)
    validation = None
    if validation_data is not None:
        given = Data(*unpack_validation(validation_data))
        validation = _checked("validation_data", given, must_be_finite)
    elif validation_split:
        border = split_border(data.samples, validation_split)
        validation = data.take(slice(border, None))
        data = data.take(slice(border))

    # As in `fit`, validation is not weighed by class.
    if class_weight is not None:
        data = weigh_classes(data, class_weight)
    return data, validation


def _checked(
    name: str,
    given: Data,
    must_be_finite: bool,
) -> Data:
    data = given.map(as_array).with_spread_weights()
    check_lengths(name, data)
    if must_be_finite:
        check_finite(name, data)
    return data


def map_arrays(
    function: Callable[[Any], Any],
    structure: Any,
) -> Any:
    """Apply a function to every array of a structure; lists become tuples, as in `fit`."""
    if isinstance(structure, dict):
        return {key: map_arrays(function, value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return tuple(map_arrays(function, value) for value in structure)
    if structure is None:
        return None
    return function(structure)


def digest_shape(
    sha: Any,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    """Update a checksum with an array's type and shape."""
    sha.update(f"{dtype}{shape}".encode())


def as_array(values: Any) -> np.ndarray:
    """Return values as `fit` takes them.

    Raises:
        ArgumentError: They are not an array with samples along the first axis.
    """
    if hasattr(values, "__iter__") and not hasattr(values, "__len__"):
        raise ArgumentError(
            f"`x` and `y` must be arrays or structures of arrays. Received: {type(values)}. "
            "Read the stream into arrays first."
        )
    if isinstance(values, Number | str):
        raise ArgumentError(
            "`x` and `y` must be arrays or structures of arrays, as in `fit`. "
            f"Received: a list or tuple of values such as {values!r}. Make it one array: "
            "np.array([...])."
        )
    array = array_of_frame(values) if is_frame(values) else np.asarray(as_dense(values))
    is_odd = array.dtype == object and not is_text(array)
    if is_odd or array.ndim == 0:
        raise ArgumentError(
            "`x` and `y` must be arrays or structures of arrays with samples along the first "
            f"axis. Received: {type(values)} of dtype {array.dtype} and shape {array.shape}. "
            "Convert the data to numeric NumPy arrays first."
        )
    # As in `fit`, floats of any width become the float that Keras computes with.
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx(), copy=False)
    return array


def check_lengths(name: str, data: Data) -> None:
    """Raise `ArgumentError` unless all arrays have as many samples, and at least one."""
    lengths = [len(array) for array in data.arrays]
    if len(set(lengths)) > 1:
        raise ArgumentError(
            f"All arrays of `{name}` and its targets and weights must have as many samples as "
            f"each other. Received lengths: {lengths}. Cut the longer ones or find what is missing."
        )
    if not lengths or lengths[0] == 0:
        raise ArgumentError(
            f"`{name}` must hold at least one sample. Received: none. Check the slicing."
        )


def check_finite(name: str, data: Data) -> None:
    """Raise `ArgumentError` where a value is NaN or infinite."""
    for array in data.arrays:
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        bad = int((~np.isfinite(array)).sum())
        raise ArgumentError(
            f"`{name}` and its targets and weights must be finite. Received: {bad} values "
            f"that are NaN or infinite in an array of shape {array.shape}. Remove or fill them; "
            "where a layer or the loss does that, write "
            "execution=miha.Execution(check_finite=False)."
        )


def weigh_classes(
    data: Data,
    class_weight: Mapping[int, float],
    per_step: bool = False,
) -> Data:
    """Return the data with the weight of each sample's class.

    Args:
        data: Samples without weights.
        class_weight: Weight of each class; one without counts once, as in `fit`.
        per_step: Whether a sample may have several classes, one for each step or pixel, as `fit`
            allows in a `tf.data.Dataset` alone.

    Raises:
        ArgumentError: They are no weights, there are others, or there are several targets.
    """
    _check_class_weight(class_weight)
    if data.sample_weight is not None:
        raise ArgumentError(
            "`class_weight` and `sample_weight` must not both be given. Received: both. "
            "Multiply the class weights into `sample_weight`."
        )
    if not isinstance(data.y, np.ndarray):
        raise ArgumentError(
            "`class_weight` needs a network with a single target. "
            f"Received: {_targets_in_words(data.y)}. Give `sample_weight` for each output instead."
        )
    labels = _labels(data.y)
    if not per_step and labels.ndim > 1:
        raise ArgumentError(
            "`class_weight` needs one class for each sample, as in `fit`. Received: targets of "
            f"shape {data.y.shape}, with one for each step or pixel. Give `sample_weight` of "
            f"shape {labels.shape} instead."
        )
    weights = [class_weight.get(int(label), 1.0) for label in labels.flat]
    array = np.array(weights, keras.config.floatx())
    return replace(data, sample_weight=array.reshape(labels.shape))


def _check_class_weight(class_weight: Any) -> None:
    is_mapping = isinstance(class_weight, Mapping)
    if not is_mapping or not all(map(_is_weight, class_weight.values())):
        raise ArgumentError(
            "`class_weight` must be a dictionary from class to finite weight. "
            f"Received: class_weight={class_weight!r}. Example: {{0: 1.0, 1: 5.0}}."
        )
    odd = [label for label in class_weight if not _is_class(label)]
    if odd:
        raise ArgumentError(
            "`class_weight` must name classes by whole numbers, as targets do: others weigh "
            f"nothing. Received: the class {odd[0]!r}. Example: {{0: 1.0, 1: 5.0}}."
        )


def _targets_in_words(y: Any) -> str:
    return "none" if y is None else f"{len(keras.tree.flatten(y))} targets in a {_kind(y)}"


def _kind(structure: Any) -> str:
    # Lists have become tuples.
    return "dictionary" if isinstance(structure, dict) else "list or tuple"


def _labels(y: np.ndarray) -> np.ndarray:
    """Return the class of each sample, or of each of its steps, as `fit` reads it."""
    if y.dtype.kind not in "biuf":
        raise ArgumentError(
            "Labels must be numbers where classes are weighed. "
            f"Received: targets of dtype {y.dtype}. "
            "Number the classes from 0: np.unique(y, return_inverse=True)[1]."
        )
    # One-hot targets name a class by its place.
    if y.ndim > 1 and y.shape[-1] > 1:
        _check_one_hot(y)
        labels = y.argmax(-1)
    else:
        labels = y[..., 0] if y.ndim > 1 else y
    # A sample with a single step has one class.
    if labels.size == len(y):
        labels = labels.reshape(len(y))
    return np.asarray(np.round(labels))


def _check_one_hot(y: np.ndarray) -> None:
    if y.dtype.kind in "iu" and y.max() > 1:
        raise ArgumentError(
            "`class_weight` needs one class for each sample, or one-hot targets, whose last axis "
            f"counts classes. Received: targets of shape {y.shape} with numbers up to {y.max()}. "
            f"Give `sample_weight` of shape {y.shape} instead."
        )


def _is_class(value: Any) -> bool:
    return isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())


def _is_weight(value: Any) -> bool:
    return isinstance(value, Real) and isfinite(value)


def unpack_validation(
    validation_data: Any,
) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights of what a user gave to validate on.

    Raises:
        ArgumentError: It is not that.
    """
    # As in `fit`: what is neither tuple nor list is inputs, of a network without targets.
    if not isinstance(validation_data, tuple | list | str):
        return validation_data, None, None
    if isinstance(validation_data, str) or len(validation_data) not in (1, 2, 3):
        kind = type(validation_data).__name__
        raise ArgumentError(
            "`validation_data` must be (x, y) or (x, y, sample_weight), or (x,) where there are "
            f"no targets. Received: a {kind} of {len(validation_data)}. Put several inputs into a "
            "list of their own: ([a, b], y)."
        )
    x, y, sample_weight = (*validation_data, None, None)[:3]
    return x, y, sample_weight


def split_border(samples: int, share: float) -> int:
    """Return how many of the first samples to train on, as `fit` counts them.

    Args:
        samples: How many there are.
        share: Share of the last ones to validate on, 0 to 1.

    Raises:
        ArgumentError: None would be left on a side.
    """
    if not isinstance(share, Real) or not 0 < share < 1:
        raise ArgumentError(
            f"`validation_split` must be between 0 and 1. Received: validation_split={share!r}. "
            "Give the share of the last samples to set aside, such as 0.15."
        )
    border = int(np.floor(samples * (1 - share)))
    if border in (0, samples):
        raise ArgumentError(
            "`validation_split` must leave samples on both sides. "
            f"Received: validation_split={share!r} of {samples} samples. "
            "Choose a share nearer to the middle, or leave it out."
        )
    return border
