"""The graph between a network's layers: what makes a slot's input, and what reads its output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import keras

Layer: TypeAlias = Any
"""A `keras.layers.Layer`; Keras ships no types."""

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
FOLDABLE = (keras.layers.Dense, *CONVOLUTIONS, keras.layers.BatchNormalization)
"""Layers whose weights can take up a scale and an offset of each of their channels."""

TRANSPARENT = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.Flatten,
    keras.layers.Identity,
)
"""Layers that let a positive scale and an offset of a channel through."""


@dataclass(frozen=True)
class Surroundings:
    """What stands around an activation.

    Attributes:
        source: The layer that makes the pre-activation.
        readers: The layers that read the activation, through transparent ones.
    """

    source: Layer
    readers: tuple[Layer, ...]


class Graph:
    """The nodes of a network, those of the networks nested in it included.

    Args:
        network: A built network; what is subclassed in it tells no graph.
    """

    def __init__(self, network: keras.Model) -> None:
        self._readers: dict[int, list[Any]] = defaultdict(list)
        self._makers: dict[int, Any] = {}
        self._calls: dict[int, list[Any]] = defaultdict(list)
        self._outputs: set[int] = set()
        for functional in _functionals(network):
            self._outputs |= {id(tensor) for tensor in functional.outputs}
            for node in chain.from_iterable(functional._nodes_by_depth.values()):
                self._calls[id(node.operation)].append(node)
                for tensor in node.input_tensors:
                    self._readers[id(tensor)].append(node)
                for tensor in node.outputs:
                    self._makers[id(tensor)] = node

    def around(self, layer: Layer) -> Surroundings | None:
        """Return what stands around a layer's activation, where all of it can be folded into.

        Args:
            layer: The one that holds the activation: with weights, or an activation alone.
        """
        call = self._only_call(layer)
        source = None if call is None else self._source(layer, call)
        readers = None if call is None else self._all_readers(call)
        if source is None or not readers or not all(map(_can_fold, (source, *readers))):
            return None
        return Surroundings(source, tuple(readers))

    def _only_call(self, layer: Layer) -> Any:
        calls = self._calls[id(layer)]
        return calls[0] if len(calls) == 1 and len(calls[0].outputs) == 1 else None

    def _source(self, layer: Layer, call: Any) -> Layer | None:
        if layer.weights:
            return layer
        tensor = call.input_tensors[0]
        maker = self._makers.get(id(tensor))
        alone = len(self._readers[id(tensor)]) == 1 and id(tensor) not in self._outputs
        if maker is None or not alone or self._only_call(maker.operation) is None:
            return None
        activation = getattr(maker.operation, "activation", None)
        return maker.operation if activation in (None, keras.activations.linear) else None

    def _all_readers(self, call: Any) -> list[Layer] | None:
        """Return what reads a call's output; None where a reader lets nothing be folded."""
        tensor, found = call.outputs[0], list[Layer]()
        if id(tensor) in self._outputs:
            return None
        for node in self._readers[id(tensor)]:
            if self._only_call(node.operation) is None:
                return None
            is_transparent = type(node.operation) in TRANSPARENT
            further = self._all_readers(node) if is_transparent else [node.operation]
            if further is None:
                return None
            found += further
        return found


def _functionals(network: keras.Model) -> Iterator[Any]:
    """Yield the graphs of a network and of those nested in it."""
    for layer in (network, *network._flatten_layers(include_self=False)):
        functional = getattr(layer, "_functional", layer)
        if hasattr(functional, "_nodes_by_depth") and hasattr(functional, "outputs"):
            yield functional


def _can_fold(layer: Layer) -> bool:
    """Tell whether a layer's weights may be changed, and how they act is known."""
    if type(layer) not in FOLDABLE or not layer.trainable:
        return False
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, layer.input_spec.ndim - 1)
    is_plain = not getattr(layer, "lora_enabled", False)
    is_plain &= getattr(layer, "quantization_mode", None) is None
    is_convolution = isinstance(layer, CONVOLUTIONS)
    return is_plain and (
        not is_convolution or (layer.data_format == "channels_last" and layer.groups == 1)
    )
