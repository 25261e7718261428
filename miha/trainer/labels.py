"""Labels and words: each must have a place in its layer.

All are looked at before anything is trained; where batches come one after another, before the step
that takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import Model

from miha.data.arrays import Data
from miha.data.iterated import Iterated
from miha.data.stream import Stream
from miha.errors import ArgumentError
from miha.trainer.network import copies
from miha.trainer.network.keras_internals import (
    functional_of,
    loss_settings,
    losses_by_path,
    nodes_of,
)
from miha.utils.warn import warn

SPARSE = "sparse_categorical_crossentropy"
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")

Bounds = tuple[float, float]
"""The smallest and the largest of some labels."""

Path = tuple[Any, ...]
"""Where one of several targets or outputs is."""


@dataclass(frozen=True)
class Labels:
    """Targets of a sparse loss, each of which must have a unit in the output layer.

    Attributes:
        path: Which of several targets they are.
        names: Names of the network's outputs.
        units: Units of the output layer.
        ignored: The label that does not count, or None.
    """

    path: Path
    names: tuple[str, ...]
    units: int
    ignored: int | None

    def check(self, kind: str, source: Data | Stream) -> None:
        """Raise `ArgumentError` if a label has no unit."""
        blocks = _targets_at(self.names, source, self.path)
        _check_classes(kind, self.units, _bounds(blocks, self.ignored))


@dataclass(frozen=True)
class Words:
    """Inputs of an Embedding, which must have a vector for each.

    Attributes:
        place: Which of several inputs they are.
        name: The input's name.
        layer: The Embedding's name.
        vectors: How many it has.
    """

    place: int
    name: str
    layer: str
    vectors: int

    def check(self, kind: str, source: Data | Stream) -> None:
        """Raise `ArgumentError` if a word has no vector."""
        bounds = _bounds(_inputs_at(source, self.place, self.name), None)
        if bounds is None or (bounds[0] >= 0 and bounds[1] < self.vectors):
            return
        low, high = bounds
        raise ArgumentError(
            f"What the layer {self.layer!r} (Embedding) reads must be whole numbers from 0 to "
            f"{self.vectors - 1}: its input_dim is {self.vectors}. "
            f"Received: from {low:g} to {high:g} in the {kind} data. "
            "Raise `input_dim`, or give what is beyond it another number."
        )


def check_labels(
    network: Model,
    training: Data | Stream,
    validation: Data | Stream | None,
    x: Any,
) -> None:
    """Look at all labels of arrays; of what gives batches at the first, and at others as they come.

    Args:
        network: It has taken a step.
        training: What it trains on.
        validation: What it is evaluated on, or None.
        x: A few inputs.

    Raises:
        ArgumentError: A sparse loss is given a label that the output layer has no unit for, or an
            Embedding a word that it has no vector for.
    """
    sources = {"training": training}
    if validation is not None:
        sources["validation"] = validation
    watched: list[Labels | Words] = [*_words(network)]
    losses = [(path, loss) for path, loss in losses_by_path(network) if _name(loss)]
    names = tuple(getattr(network, "output_names", ()))
    if losses:
        with copies.untouched(network):
            outputs = network(x, training=False)
    for path, loss in losses:
        if _name(loss) == SPARSE:
            settings = loss_settings(loss)
            output = _at(names, outputs, path)
            axis = settings.get("axis", -1)
            units = int(output.shape[axis])
            watched.append(Labels(path, names, units, settings.get("ignore_class")))
            continue
        for kind, source in sources.items():
            blocks = _targets_at(names, source, path)
            _check_binary(kind, _bounds(blocks, None))

    for kind, source in sources.items():
        check = partial(_check_all, watched, kind)
        check(source)
        # The backend ends in its own words at a late one, or trains on it silently.
        if watched and isinstance(source, Iterated):
            source.watch = check


def _check_all(
    watched: Sequence[Labels | Words],
    kind: str,
    source: Data | Stream,
) -> None:
    for numbers in watched:
        numbers.check(kind, source)


def _words(network: Model) -> Iterator[Words]:
    """Yield what the Embeddings that read an input must have vectors for."""
    for place, name, layer in _embeddings(network):
        yield Words(place, name, layer.name, layer.input_dim)


def _embeddings(
    network: Model,
) -> Iterator[tuple[int, str, Any]]:
    """Yield place and name of each input that an Embedding reads directly, and the layer."""
    functional = functional_of(network)
    if functional is None:
        return
    inputs = keras.tree.flatten(functional.inputs)
    for node in nodes_of(functional):
        if not isinstance(node.operation, keras.layers.Embedding):
            continue
        for place, tensor in enumerate(inputs):
            if tensor is node.input_tensors[0]:
                yield place, tensor.name, node.operation


def _inputs_at(
    source: Data | Stream,
    place: int,
    name: str,
) -> Iterator[np.ndarray]:
    """Yield one input of several; nothing where Keras finds it in another way."""
    for x in source.blocks("x"):
        leaves = keras.tree.flatten(x)
        if isinstance(x, dict):
            found = x.get(name)
        else:
            found = leaves[place] if place < len(leaves) else None
        if isinstance(found, np.ndarray) and found.size and found.dtype.kind in "iuf":
            yield found


def _name(loss: Any) -> str:
    """Return the name of a loss of Keras' own that says which labels there may be, else ''."""
    function = getattr(loss, "fn", None)
    is_kerass = getattr(function, "__module__", "").startswith("keras.")
    name = getattr(function, "__name__", "")
    return name if is_kerass and name in (SPARSE, *BINARY) else ""


def _targets_at(
    names: Sequence[str],
    source: Data | Stream,
    path: Path,
) -> Iterator[np.ndarray]:
    for y in source.blocks("y"):
        target = _at(names, y, path)
        if target is not None and target.size and target.dtype.kind in "biuf":
            yield target


def _at(
    names: Sequence[str],
    structure: Any,
    path: Path,
) -> Any:
    """Return one of several targets or outputs; None where Keras finds it in another way."""
    for key in path:
        # As in Keras, outputs in a list may be named by a dictionary of targets.
        if isinstance(structure, dict) and isinstance(key, int):
            key = names[key] if key < len(names) else key
        try:
            structure = structure[key]
        except (KeyError, IndexError, TypeError):
            return None
    return structure


def _bounds(
    blocks: Iterator[np.ndarray],
    ignored: int | None,
) -> Bounds | None:
    """Return the smallest and the largest label; None where there is none."""
    lows = []
    highs = []
    for block in blocks:
        low, high = block.min(), block.max()
        # Only where the label that does not count is an end, another one has to be found.
        if ignored is not None and ignored in (low, high):
            block = block[block != ignored]
            if not block.size:
                continue
            low, high = block.min(), block.max()
        lows.append(float(low))
        highs.append(float(high))
    return (min(lows), max(highs)) if lows else None


def _check_classes(
    kind: str,
    units: int,
    bounds: Bounds | None,
) -> None:
    if bounds is None:
        return
    low, high = bounds
    # Written so that a label that is missing is refused as well.
    if low >= 0 and high < units:
        return
    cure = "Number the classes from 0: np.unique(y, return_inverse=True)[1]"
    if low >= 0:
        cure += f"; or give the output layer {high + 1:g} units"
    if units == 1:
        cure += "; or compile with 'binary_crossentropy' where there are two"
    raise ArgumentError(
        f"Labels must be whole numbers from 0 to {units - 1}: the output layer has {units} "
        f"{'unit' if units == 1 else 'units'}, one for each class. "
        f"Received: labels from {low:g} to {high:g} in the {kind} data. {cure}."
    )


def _check_binary(
    kind: str,
    bounds: Bounds | None,
) -> None:
    if bounds is None or (bounds[0] >= 0 and bounds[1] <= 1):
        return
    low, high = bounds
    warn(
        f"Binary crossentropy is meant for targets from 0 to 1. Received: from {low:g} to {high:g} "
        f"in the {kind} data. With others it has no minimum: give 0 and 1, or compile with "
        "'sparse_categorical_crossentropy' and one unit for each class."
    )
