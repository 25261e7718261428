"""The layers of a network as a tree: their paths, and which of them shape an output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import Model, layers

from miha.trainer.network.keras_internals import children, inputs_of_maker, maker_of

Chosen = dict[int, str]
"""What may mutate: its place among its like in the network, and its name."""


@dataclass(frozen=True)
class Place:
    """A layer in the tree of a network.

    Attributes:
        path: Names of the layers down to it, e.g. ``"encoder/dense"``.
        layer: The layer.
        is_recurrent: Whether it is applied in the loop of a recurrent layer.
    """

    path: str
    layer: Any
    is_recurrent: bool


def walk(root: layers.Layer) -> Iterator[Place]:
    """Yield every layer below one, each once, parents first."""
    seen = {id(root)}
    counts: Counter[str] = Counter()
    start = Place("", root, is_recurrent=False)
    stack = [(start, child) for child in reversed(children(root))]
    while stack:
        parent, layer = stack.pop()
        attributes = vars(parent.layer)
        # A layer that serves as the activation of another one is part of that one.
        if id(layer) in seen or layer is attributes.get("activation"):
            continue
        seen.add(id(layer))

        path = parent.path
        # The cell of a recurrent layer goes by that layer's path.
        if layer is not attributes.get("cell"):
            path = f"{path}/{_plain_name(layer, counts)}".lstrip("/")

        place = Place(path, layer, parent.is_recurrent)
        yield place

        is_loop = parent.is_recurrent or isinstance(layer, layers.RNN)
        below = Place(path, layer, is_loop)
        stack.extend((below, child) for child in reversed(children(layer)))


def _plain_name(
    layer: layers.Layer,
    counts: Counter[str],
) -> str:
    """Return a layer's name, numbered within its network where Keras made it.

    Keras numbers by process: the same network built twice would have slots of other names.
    """
    base = re.sub(r"_\d+$", "", layer.name)
    kind = base.removeprefix("forward_").removeprefix("backward_")
    if kind.replace("_", "") != type(layer).__name__.lower():
        return str(layer.name)

    counts[base] += 1
    number = counts[base] - 1
    return f"{base}_{number}" if number else base


def unique(
    name: str,
    taken: Container[str],
) -> str:
    """Return a name that is not taken yet."""
    number = 2
    found = name
    while found in taken:
        found = f"{name}#{number}"
        number += 1
    return found


def output_layers(model: Model) -> set[Any] | None:
    """Return the layers whose activation shapes an output, down to the last with weights.

    A subclassed network is called symbolically. None: the network does not tell.
    """
    found: set[Any] = set()
    try:
        for tensor in _outputs(model):
            _collect_outputs(tensor, found)
    except Exception:  # A `call` of the user's may raise anything on symbolic tensors.
        return None
    return found


def _outputs(model: Model) -> list[Any]:
    """Return the symbolic outputs of a network."""
    if hasattr(model, "outputs"):
        return list(model.outputs)

    config = model.get_build_config()
    shapes = config.get("input_shape")
    if not shapes:
        shapes = next(iter(config["shapes_dict"].values()))
    inputs = keras.tree.map_shape_structure(keras.KerasTensor, shapes)
    outputs = model.call(inputs)
    return list(keras.tree.flatten(outputs))


def _collect_outputs(
    tensor: Any,
    found: set[Any],
) -> None:
    operation = maker_of(tensor)
    if isinstance(operation, Model) and hasattr(operation, "outputs"):
        found.add(operation)
        for inner in operation.outputs:
            _collect_outputs(inner, found)
        return

    if isinstance(operation, layers.Layer):
        found.add(operation)
        found.update(place.layer for place in walk(operation))
        if operation.weights:
            return

    for source in inputs_of_maker(tensor):
        if maker_of(source) is not operation:
            _collect_outputs(source, found)
