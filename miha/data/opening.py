"""From what the user gives as data to what a trainer takes: arrays, or a stream."""

from __future__ import annotations

from dataclasses import replace
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from miha.data import free_space
from miha.data.arrays import (
    Data,
    map_arrays,
    prepare,
    split_border,
    unpack_validation,
    weigh_classes,
)
from miha.data.column import is_on_disk
from miha.data.indexed import Indexed
from miha.data.iterated import Iterable
from miha.data.sparse import size_of
from miha.data.stream import ClassWeight, Rules, Stream
from miha.data.text import is_text
from miha.errors import ArgumentError

Source = Data | Stream

Parts = tuple[Any, Any, Any]
"""Inputs, targets and weights of samples."""


def open_data(
    network: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    room: int | None = None,
    must_be_finite: bool = True,
) -> tuple[Source, Source | None]:
    """Check the user's data, and decide what the device holds.

    Args:
        network: What it is for.
        x: Inputs: arrays, or something that gives batches of inputs, targets and weights.
        y: Targets, or None.
        sample_weight: Weights of samples, or None.
        class_weight: Weight of each class in the loss, or None.
        validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or a source of batches, or None.
        validation_split: Share of the last samples to validate on, 0 to 1.
        room: Bytes of arrays to hold on the device; by default a share of its free memory.
        must_be_finite: Whether values that are NaN or infinite are refused.

    Returns:
        Training data, and validation data or None.

    Raises:
        ArgumentError: A rule of the data is broken.
    """
    if room is None:
        room = free_space.bytes_for_data()
    if validation_data is not None and validation_split:
        raise ArgumentError(
            "`validation_data` and `validation_split` must not both be given. "
            f"Received: both, validation_split={validation_split!r}. Leave one out."
        )
    rules = Rules(class_weight, must_be_finite)
    sources = _opened(
        network, (x, y, sample_weight), validation_data, validation_split, room, rules
    )
    _check_targets(*sources)
    return sources


def _opened(
    network: keras.Model,
    parts: Parts,
    validation_data: Any,
    validation_split: float,
    room: int,
    rules: Rules,
) -> tuple[Source, Source | None]:
    """Return training and validation data; see `open_data`."""
    # As in `fit`, validation is not weighed by class.
    unweighed = replace(rules, class_weight=None)
    validation = stream_of("validation_data", validation_data, network, unweighed)
    training = stream_of("x", parts[0], network, rules)
    if training is not None:
        _, y, sample_weight = parts
        _refuse_arrays(y=y, sample_weight=sample_weight, validation_split=validation_split or None)
        if validation is None and validation_data is not None:
            given = _indexed_validation(validation_data, unweighed)
            return training, _Device(room).load(given)
        return training, validation

    if validation is not None:
        arrays, _ = _from_arrays(parts, None, 0.0, room, rules)
        return arrays, validation
    return _from_arrays(parts, validation_data, validation_split, room, rules)


def _indexed_validation(validation_data: Any, rules: Rules) -> Indexed:
    return Indexed.of("validation_data", *unpack_validation(validation_data), rules)


def _check_targets(
    training: Source,
    validation: Source | None,
) -> None:
    """Raise where there is nothing to compare with on validation data, as there is in training."""
    if validation is None or training.few().y is None or validation.few().y is not None:
        return
    raise ArgumentError(
        "`validation_data` must have targets where `x` has them. Received: inputs alone. "
        "Give targets beside the inputs: validation_data=(x, y)."
    )


def with_validation(
    training: Source,
    validation: Source | None,
    class_weight: ClassWeight,
) -> Data:
    """Return all samples as training data: those of the training data come first.

    Args:
        training: Training data, weighed by class where it is to be.
        validation: Validation data, which is not.
        class_weight: Weight of each class in the loss, or None.

    Raises:
        ArgumentError: There is no validation data, or it cannot be joined to the other.
    """
    if validation is None:
        raise ArgumentError(
            "`final_data` must not be 'all' where there is no validation data to train on. "
            "Received: neither validation_data nor validation_split. Give one, or leave "
            "final_data out."
        )
    if not isinstance(training, Data) or not isinstance(validation, Data):
        name = "x" if isinstance(training, Stream) else "validation_data"
        raise ArgumentError(
            "`final_data` must not be 'all' where data is read in parts: all samples are shuffled "
            f"together. Received: `{name}`, which is. Give arrays, and where they are large "
            "miha.Execution(data_memory=...); or leave final_data out."
        )
    if class_weight is not None:
        validation = weigh_classes(validation, class_weight)
    parts = (_weighed_like(training, validation), _weighed_like(validation, training))
    try:
        # PyTorch's trees are mapped without a look at the structure of the second.
        keras.tree.assert_same_structure(parts[0].parts, parts[1].parts)
        return Data(*keras.tree.map_structure(_appended, parts[0].parts, parts[1].parts))
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            "`validation_data` must have the structure, shapes and types of the training data to "
            f"be trained on with it. Received: {error} Make them alike, or leave final_data out."
        ) from error


def _weighed_like(data: Data, other: Data) -> Data:
    """Return samples with a weight of 1 where only the others have weights."""
    if data.sample_weight is not None:
        return data

    def ones(weights: np.ndarray) -> np.ndarray:
        return np.ones((data.samples, *weights.shape[1:]), weights.dtype)

    return replace(data, sample_weight=map_arrays(ones, other.sample_weight))


def _appended(training: np.ndarray | None, validation: np.ndarray | None) -> np.ndarray | None:
    """Return the samples of two arrays, in the type of the first.

    Raises:
        ValueError: They have different shapes, or the type cannot hold a value of the second.
    """
    if training is None and validation is None:
        return None
    if training is None or validation is None:
        raise ValueError("an array that one of them lacks.")
    shapes = [array.shape[1:] for array in (training, validation)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"samples of shape {shapes[0]} and of {shapes[1]}.")
    found = np.concatenate([training, validation])
    if is_text(found):
        return found
    typed = found.astype(training.dtype)
    if not np.array_equal(typed, found, equal_nan=found.dtype.kind == "f"):
        raise ValueError(f"{validation.dtype} values that {training.dtype} cannot hold.")
    return typed


def stream_of(
    name: str,
    value: Any,
    network: keras.Model,
    rules: Rules,
) -> Stream | None:
    """Return what gives batches as a stream, and None for arrays.

    Raises:
        ArgumentError: It gives them once only, or has no end, or a batch is wrong.
    """
    if isinstance(value, keras.utils.PyDataset):
        from miha.data.pydataset import PyDataset

        return PyDataset(name, value, rules)
    if _is_of(value, "DatasetV2", "tensorflow"):
        from miha.data.dataset import Dataset

        return Dataset(name, value, network, rules)
    if _is_of(value, "DataLoader", "torch"):
        from miha.data.loader import Loader

        return Loader(name, value, rules)
    _refuse_functions(name, value)
    if _gives_batches(value):
        return Iterable(name, value, rules)
    return None


def _is_of(
    value: Any,
    name: str,
    package: str,
) -> bool:
    """Return whether something is of a class, without importing the class's package."""
    for kind in type(value).__mro__:
        root, *_ = kind.__module__.split(".")
        if kind.__name__ == name and root == package:
            return True
    return False


def _gives_batches(value: Any) -> bool:
    is_array = hasattr(value, "__array__") or hasattr(value, "shape")
    is_structure = isinstance(value, list | tuple | dict | str | bytes | None)
    return hasattr(value, "__iter__") and not is_array and not is_structure


def _refuse_functions(name: str, value: Any) -> None:
    is_iterable = hasattr(value, "__iter__")
    if isinstance(value, keras.Model):
        raise ArgumentError(
            f"`{name}` must be data. Received: the network {value.name!r}. The network comes "
            "first: miha.MIHA(model, x, y)."
        )
    if isinstance(value, GeneratorType):
        given = "a generator, which can be read once only"
    elif callable(value) and not is_iterable and not hasattr(value, "__array__"):
        given = "a function"
    else:
        return
    raise ArgumentError(
        f"`{name}` is read in every epoch of every clone. Received: {given}. "
        "Give `miha.Batches(function, length)`, whose function returns a new generator each "
        "time, and how many batches are an epoch."
    )


def _refuse_arrays(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(
                f"`{name}` must not be given where `x` gives batches. Received: `{name}` of "
                f"{type(value)}. Let the batches be (x, y) or (x, y, sample_weight), and give "
                "validation_data."
            )


def _from_arrays(
    parts: Parts,
    validation_data: Any,
    validation_split: float,
    room: int,
    rules: Rules,
) -> tuple[Source, Source | None]:
    leaves = _leaves([*parts, validation_data])
    is_small = sum(map(size_of, leaves)) <= room
    if is_small and not any(map(is_on_disk, leaves)):
        return prepare(
            *parts, rules.class_weight, validation_data, validation_split, rules.must_be_finite
        )

    training = Indexed.of("x", *parts, rules)
    validation = None
    if validation_data is not None:
        validation = _indexed_validation(validation_data, rules)
    elif validation_split:
        border = split_border(training.samples, validation_split)
        training, validation = training.split(border)
    if rules.class_weight is not None:
        training = training.weighed(rules.class_weight)

    # Each clone is evaluated on all of the validation data: it comes first.
    device = _Device(room)
    evaluated = None if validation is None else device.load(validation)
    return device.load(training), evaluated


class _Device:
    """Load arrays one after another, as long as there is room for them."""

    def __init__(self, room: int) -> None:
        self._room = room

    def load(self, source: Indexed) -> Source:
        if source.nbytes > self._room:
            return source
        self._room -= source.nbytes
        return source.loaded()


def _leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    map_arrays(found.append, structure)
    return found
