"""From what the user gives as data to what a trainer takes: arrays, or a stream."""

from __future__ import annotations

from types import GeneratorType
from typing import Any

import keras

from miha.data import free_space
from miha.data.arrays import Data, map_arrays, prepare, split_border, unpack_validation
from miha.data.column import is_on_disk
from miha.data.indexed import Indexed
from miha.data.iterated import Iterable
from miha.data.sparse import size_of
from miha.data.stream import ClassWeight, Stream
from miha.errors import ArgumentError

Source = Data | Stream


def open_data(
    network: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    room: int | None = None,
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

    Returns:
        Training data, and validation data or None.

    Raises:
        ArgumentError: A rule of the data is broken.
    """
    if room is None:
        room = free_space.bytes_for_data()
    validation = stream_of("validation_data", validation_data, network)
    training = stream_of("x", x, network, class_weight)

    if training is not None:
        _refuse_arrays(y=y, sample_weight=sample_weight, validation_split=validation_split or None)
        if validation is None and validation_data is not None:
            given = Indexed.of("validation_data", *unpack_validation(validation_data))
            return training, _Device(room).load(given)
        return training, validation

    parts = (x, y, sample_weight)
    if validation is not None:
        arrays, _ = _from_arrays(parts, class_weight, None, 0.0, room)
        return arrays, validation
    return _from_arrays(parts, class_weight, validation_data, validation_split, room)


def stream_of(
    name: str,
    value: Any,
    network: keras.Model,
    class_weight: ClassWeight = None,
) -> Stream | None:
    """Return what gives batches as a stream, and None for arrays.

    Raises:
        ArgumentError: It gives them once only, or has no end, or a batch is wrong.
    """
    if isinstance(value, keras.utils.PyDataset):
        from miha.data.pydataset import PyDataset

        return PyDataset(name, value, class_weight)
    if _is_of(value, "DatasetV2", "tensorflow"):
        from miha.data.dataset import Dataset

        return Dataset(name, value, network, class_weight)
    if _is_of(value, "DataLoader", "torch"):
        from miha.data.loader import Loader

        return Loader(name, value, class_weight)
    _refuse_functions(name, value)
    if _gives_batches(value):
        return Iterable(name, value, class_weight)
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
    parts: tuple[Any, Any, Any],
    class_weight: ClassWeight,
    validation_data: Any,
    validation_split: float,
    room: int,
) -> tuple[Source, Source | None]:
    leaves = _leaves([*parts, validation_data])
    is_small = sum(map(size_of, leaves)) <= room
    if is_small and not any(map(is_on_disk, leaves)):
        return prepare(*parts, class_weight, validation_data, validation_split)

    training = Indexed.of("x", *parts)
    validation = None
    if validation_data is not None:
        validation = Indexed.of("validation_data", *unpack_validation(validation_data))
    elif validation_split:
        border = split_border(training.samples, validation_split)
        training, validation = training.split(border)
    if class_weight is not None:
        training = training.weighed(class_weight)

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
