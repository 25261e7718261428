"""`tf.data.Dataset`, on every backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from miha.data.arrays import Data
from miha.data.blocks import as_data
from miha.data.iterated import Iterated
from miha.data.sparse import as_dense, ragged_refusal
from miha.data.stream import Rules
from miha.errors import ArgumentError

READ_TOGETHER = 256
"""Samples that are read at once of a dataset without batches."""


class Dataset(Iterated):
    """The samples of a `tf.data.Dataset`, in batches of any size.

    Args:
        name: The argument that the user gave it as.
        dataset: The dataset, in batches or not. Where it does not know how many there are, they
            are counted.
        network: What it is for: its inputs tell whether the dataset is in batches.
        rules: What is asked of the samples and done with them.

    Raises:
        ArgumentError: It is infinite, or holds what cannot be put into batches.
    """

    kind = "a tf.data.Dataset"
    has_labels_per_step = True

    def __init__(
        self,
        name: str,
        dataset: tf.data.Dataset,
        network: keras.Model,
        rules: Rules,
    ) -> None:
        dataset = _dense(dataset)
        leaves = _leaves(dataset.element_spec)
        _check_kind(name, leaves)
        is_batched = _is_batched(dataset.element_spec, network)
        first_axis = 1 if is_batched else 0
        is_ragged = any(None in _shape(leaf)[first_axis:] for leaf in leaves)
        if is_ragged and not is_batched:
            raise ArgumentError(
                f"The samples of `{name}` must all have one shape. "
                f"Received: a dataset of {dataset.element_spec}. Put them into batches yourself, "
                "with `padded_batch`."
            )
        length = _count(name, dataset)
        if not is_batched:
            dataset = dataset.batch(min(READ_TOGETHER, max(length, 1)))
        # Parallel stages of the user's pipeline would else give the samples in any order.
        options = tf.data.Options()
        options.deterministic = True
        self._dataset = dataset.with_options(options)
        super().__init__(name, length, rules, own_batches=is_ragged)
        if not is_batched:
            self.batch_size = None
            self.samples = length

    def _batches(
        self,
        size: int | None,
        seed: int,
        shuffle: bool,
    ) -> Iterator[Data]:
        dataset = self._dataset if size is None else self._dataset.rebatch(size)
        for batch in dataset.as_numpy_iterator():
            yield as_data(self.name, batch)


def _dense(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a dataset whose sparse tensors are dense."""
    leaves = _leaves(dataset.element_spec)
    if not any(isinstance(leaf, tf.SparseTensorSpec) for leaf in leaves):
        return dataset

    def convert(*parts: Any) -> Any:
        element = tf.nest.map_structure(as_dense, parts)
        return element if len(element) > 1 else element[0]

    return dataset.map(convert)


def _check_kind(
    name: str,
    leaves: list[Any],
) -> None:
    for leaf in leaves:
        if isinstance(leaf, tf.RaggedTensorSpec):
            raise ragged_refusal(f"`{name}` of {leaf}")
        if not isinstance(leaf, tf.TensorSpec) or leaf.dtype == tf.variant:
            raise ArgumentError(
                f"`{name}` must be a dataset of tensors of numbers or text. Received: {leaf}. "
                "Convert it with `map`."
            )


def _leaves(spec: Any) -> list[Any]:
    return list(tf.nest.flatten(spec))


def _shape(
    leaf: tf.TensorSpec,
) -> list[int | None]:
    return [None] if leaf.shape.rank is None else list(leaf.shape)


def _is_batched(
    spec: Any,
    network: keras.Model,
) -> bool:
    """Return whether the first axis of all that a dataset gives counts samples."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(spec)
    inputs = getattr(network, "inputs", None) or ()
    given = [tuple(_shape(leaf)) for leaf in _leaves(x)]
    wanted = [tuple(tensor.shape) for tensor in inputs]
    wanted_of_one = [shape[1:] for shape in wanted]
    if Counter(map(len, given)) == Counter(map(len, wanted)):
        return True
    if Counter(given) == Counter(wanted_of_one):
        return False
    # The network does not tell: in batches, all parts have the same first axis.
    shapes = [_shape(leaf) for leaf in _leaves(spec)]
    sizes = {shape[0] if shape else 0 for shape in shapes}
    return len(sizes) == 1 and 0 not in sizes


def _count(
    name: str,
    dataset: tf.data.Dataset,
) -> int:
    """Return how many elements a dataset has."""
    length = int(dataset.cardinality())
    if length == tf.data.INFINITE_CARDINALITY:
        raise ArgumentError(
            f"`{name}` must have an end: MIHA has to know when an epoch ends. "
            "Received: an infinite dataset. Leave out `repeat()`, or add `take(batches)`."
        )
    if length == tf.data.UNKNOWN_CARDINALITY:
        none = tf.constant(0, tf.int64)
        count = dataset.reduce(none, lambda found, _: found + 1)
        length = int(count)
    return length
