"""Arrays as `fit` takes them: checked, weighted and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, ClassVar

import keras
import numpy as np

from miha.errors import ArgumentError

AT_ONCE = 1024
"""Samples that are looked at together where a copy of all would take too much memory."""


@dataclass(frozen=True)
class Data:
    """Samples and what belongs to them, each an array or a structure of arrays.

    Attributes:
        x: Inputs; the first axis counts samples.
        y: Targets, or None.
        sample_weight: Weights, or None.
        rebatches: It can be gone through in batches of any size; see `Stream`.
        batch_size: It was given in none.
    """

    rebatches: ClassVar[bool] = True
    batch_size: ClassVar[int | None] = None

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(keras.tree.flatten(self.x)[0])

    @property
    def arrays(self) -> list[np.ndarray]:
        """Every array, in the order of the structure."""
        return [
            a for a in keras.tree.flatten((self.x, self.y, self.sample_weight)) if a is not None
        ]

    @property
    def packed(self) -> Any:
        """The data as a training step takes it."""
        return keras.utils.pack_x_y_sample_weight(self.x, self.y, self.sample_weight)

    def few(self) -> Data:
        """Return the first samples, at most two."""
        return self.take(slice(2))

    def for_evaluation(self) -> Data:
        """Return the same samples, to evaluate on."""
        return self

    def digest(self, sha: Any) -> None:
        """Update a checksum with all values."""
        for array in self.arrays:
            digest_shape(sha, array.shape, array.dtype)
            for start in range(0, len(array), AT_ONCE):
                sha.update(array[start : start + AT_ONCE].tobytes())

    def take(self, part: slice | np.ndarray) -> Data:
        """Return some of the samples."""
        parts = (map_arrays(lambda a: a[part], s) for s in (self.x, self.y, self.sample_weight))
        return Data(*parts)


def prepare(
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
) -> tuple[Data, Data | None]:
    """Check the user's data and bring it into the form that a training step takes.

    Args:
        x: Inputs, an array or a structure of arrays.
        y: Targets, likewise, or None.
        sample_weight: Weights of samples, or None.
        class_weight: Weight of each class in the loss, or None.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, or None.
        validation_split: Share of the last samples to validate on, 0 to 1, as in `fit`.

    Returns:
        Training data, and validation data or None.

    Raises:
        ArgumentError: A rule of the data is broken.
    """
    data, validation = _checked("x", x, y, sample_weight), None
    if validation_data is not None:
        validation = _validation(validation_data)
    elif validation_split:
        data, validation = _split(data, validation_split)
    if class_weight is not None:
        # As in `fit`, validation is not weighed by class.
        data = weigh_classes(data, class_weight)
    return data, validation


def _checked(name: str, x: Any, y: Any, sample_weight: Any) -> Data:
    inputs, targets, weights = (map_arrays(as_array, part) for part in (x, y, sample_weight))
    data = Data(inputs, targets, _spread(weights, targets))
    check_lengths(name, data)
    check_finite(name, data)
    return data


def map_arrays(function: Callable[[Any], Any], structure: Any) -> Any:
    """Apply a function to every array of a structure; lists become tuples, as in `fit`."""
    if isinstance(structure, dict):
        return {key: map_arrays(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return tuple(map_arrays(function, value) for value in structure)
    return None if structure is None else function(structure)


def digest_shape(sha: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Update a checksum with what an array's values are told apart by."""
    sha.update(f"{dtype}{shape}".encode())


def as_array(values: Any) -> np.ndarray:
    """Return values as `fit` takes them.

    Raises:
        ArgumentError: They are no array of numbers with samples along the first axis.
    """
    if hasattr(values, "__iter__") and not hasattr(values, "__len__"):
        raise ArgumentError(
            f"`x` and `y` must be arrays or structures of arrays. Received: {type(values)}. "
            "Read the stream into arrays first."
        )
    array = np.asarray(values)
    if array.dtype == object or array.ndim == 0:
        raise ArgumentError(
            "`x` and `y` must be arrays or structures of arrays with samples along the first "
            f"axis. Received: {type(values)} of dtype {array.dtype} and shape {array.shape}. "
            "Convert the data to numeric NumPy arrays first."
        )
    # As `fit` does: floats of any width become the float that Keras computes with.
    is_float = array.dtype.kind == "f"
    return array.astype(keras.config.floatx(), copy=False) if is_float else array


def _spread(sample_weight: Any, y: Any) -> Any:
    """Give every output the weights, as `fit` does, when there are several outputs."""
    if isinstance(y, (tuple, dict)) and isinstance(sample_weight, np.ndarray):
        return map_arrays(lambda _: sample_weight, y)
    return sample_weight


def check_lengths(name: str, data: Data) -> None:
    """Raise unless all arrays have as many samples as each other, and at least one.

    Raises:
        ArgumentError: They have not.
    """
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
    """Raise where a value is NaN or infinite.

    Raises:
        ArgumentError: One is.
    """
    for array in data.arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise ArgumentError(
                f"`{name}` and its targets and weights must be finite. Received: {bad} values "
                f"that are NaN or infinite in an array of shape {array.shape}. Remove or fill them."
            )


def weigh_classes(data: Data, class_weight: Mapping[int, float]) -> Data:
    """Return the data with the weight of each sample's class.

    Raises:
        ArgumentError: They are no weights, or there are others, or several targets.
    """
    if not isinstance(class_weight, Mapping) or not all(map(_is_weight, class_weight.values())):
        raise ArgumentError(
            "`class_weight` must be a dictionary from class to finite weight. "
            f"Received: class_weight={class_weight!r}. Example: {{0: 1.0, 1: 5.0}}."
        )
    if data.sample_weight is not None:
        raise ArgumentError(
            "`class_weight` and `sample_weight` must not both be given. Received: both. "
            "Multiply the class weights into `sample_weight`."
        )
    if not isinstance(data.y, np.ndarray):
        raise ArgumentError(
            "`class_weight` needs a network with a single target. "
            f"Received: y={type(data.y).__name__}. Give `sample_weight` for each output instead."
        )
    one_hot = data.y.ndim > 1 and data.y.shape[-1] > 1
    labels = data.y.argmax(-1) if one_hot else data.y.reshape(len(data.y), -1)[:, 0]
    weights = [class_weight.get(int(label), 1.0) for label in np.round(labels)]
    return Data(data.x, data.y, np.array(weights, keras.config.floatx()))


def _is_weight(value: Any) -> bool:
    return isinstance(value, Real) and isfinite(value)


def _validation(validation_data: Any) -> Data:
    return _checked("validation_data", *unpack_validation(validation_data))


def unpack_validation(validation_data: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights of what a user gave to validate on.

    Raises:
        ArgumentError: It is not that.
    """
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise ArgumentError(
            "`validation_data` must be (x, y) or (x, y, sample_weight). "
            f"Received: {type(validation_data)}. Give targets beside the inputs."
        )
    x, y, sample_weight = (*validation_data, None)[:3]
    return x, y, sample_weight


def _split(data: Data, share: float) -> tuple[Data, Data]:
    border = split_border(data.samples, share)
    return data.take(slice(border)), data.take(slice(border, None))


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
