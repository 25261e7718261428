"""From what the user gives as data to what a trainer takes: arrays, or a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import GeneratorType
from typing import Any

import keras

from miha.data import free_space as memory
from miha.data.arrays import Data, map_arrays, prepare, split_border, unpack_validation
from miha.data.column import is_on_disk
from miha.data.indexed import Indexed
from miha.data.iterables import Iterable
from miha.data.stream import Stream
from miha.errors import ArgumentError

Source = Data | Stream


def open_data(
    network: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    room: int | None = None,
) -> tuple[Source, Source | None]:
    """Check the user's data, and decide what is held on the device.

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
    room = memory.room() if room is None else room
    streamed = stream_of("validation_data", validation_data, network)
    arrays = None if streamed else validation_data
    training = stream_of("x", x, network, class_weight)
    if training is None:
        trained, validation = _from_arrays(
            (x, y, sample_weight), class_weight, arrays, 0.0 if streamed else validation_split, room
        )
        return trained, streamed or validation
    _refuse_arrays(y=y, sample_weight=sample_weight, validation_split=validation_split or None)
    if arrays is None:
        return training, streamed
    held = Indexed.of("validation_data", *unpack_validation(arrays))
    return training, _settled([held], room)[0]


def stream_of(
    name: str, value: Any, network: keras.Model, class_weight: Mapping[int, float] | None = None
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
    return Iterable(name, value, class_weight) if _gives_batches(value) else None


def _is_of(value: Any, name: str, package: str) -> bool:
    """Tell whether something is of a class, without importing the package that it is from."""
    classes = type(value).__mro__
    return any(c.__name__ == name and c.__module__.split(".")[0] == package for c in classes)


def _gives_batches(value: Any) -> bool:
    is_array = hasattr(value, "__array__") or hasattr(value, "shape")
    is_structure = isinstance(value, (list, tuple, dict, str, bytes)) or value is None
    return hasattr(value, "__iter__") and not is_array and not is_structure


def _refuse_functions(name: str, value: Any) -> None:
    is_function = callable(value) and not hasattr(value, "__iter__")
    if isinstance(value, GeneratorType) or is_function and not hasattr(value, "__array__"):
        given = "a generator, which can be read once only" if not is_function else "a function"
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
    class_weight: Mapping[int, float] | None,
    validation_data: Any,
    validation_split: float,
    room: int,
) -> tuple[Source, Source | None]:
    given = [*parts, validation_data]
    if not any(map(is_on_disk, _leaves(given))) and sum(map(_size, _leaves(given))) <= room:
        return prepare(*parts, class_weight, validation_data, validation_split)
    training, validation = Indexed.of("x", *parts), None
    if validation_data is not None:
        validation = Indexed.of("validation_data", *unpack_validation(validation_data))
    elif validation_split:
        training, validation = training.split(split_border(training.samples, validation_split))
    if class_weight is not None:
        training = training.weighed(class_weight)
    if validation is None:
        return _settled([training], room)[0], None
    held, trained = _settled([validation, training], room)
    return trained, held


def _settled(sources: Sequence[Indexed], room: int) -> list[Source]:
    """Load what there is room for, in turn."""
    settled: list[Source] = []
    for source in sources:
        fits = source.nbytes <= room
        room -= source.nbytes if fits else 0
        settled.append(source.loaded() if fits else source)
    return settled


def _leaves(structure: Any) -> list[Any]:
    found: list[Any] = []
    map_arrays(found.append, structure)
    return found


def _size(values: Any) -> int:
    """Return the bytes of an array; what is not one yet is small enough."""
    return int(getattr(values, "nbytes", 0) or 0) if hasattr(values, "shape") else 0
