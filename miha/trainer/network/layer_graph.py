"""The graph between a network's layers: what makes a slot's input, and what reads its output."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
from keras import Model, layers

from miha.trainer.network.keras_internals import flat_layers, functional_of, nodes_of

Layer: TypeAlias = Any
"""A `keras.layers.Layer`; Keras ships no types."""

Nodes = dict[int, list[Any]]

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
FOLDABLE = (layers.Dense, *CONVOLUTIONS, layers.BatchNormalization)
"""Layers whose weights can take up a scale and an offset of each of their channels."""

TRANSPARENT = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.Flatten,
    layers.Identity,
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

    def __init__(self, network: Model) -> None:
        # By the id of a tensor, and the calls of a layer by that of the layer.
        self._readers: Nodes = defaultdict(list)
        self._makers: dict[int, Any] = {}
        self._calls: Nodes = defaultdict(list)
        self._outputs: set[int] = set()
        for layer in flat_layers(network):
            functional = functional_of(layer)
            if functional is not None:
                self._add(functional)

    def _add(self, functional: Any) -> None:
        self._outputs |= {id(tensor) for tensor in functional.outputs}
        for node in nodes_of(functional):
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
        if call is None:
            return None

        source = self._source(layer, call)
        readers = self._all_readers(call)
        if source is None or not readers:
            return None
        can_fold = all(_can_fold(layer) for layer in (source, *readers))
        return Surroundings(source, tuple(readers)) if can_fold else None

    def _only_call(self, layer: Layer) -> Any:
        """Return the call of a layer that is called once, and gives one tensor."""
        calls = self._calls[id(layer)]
        if len(calls) != 1 or len(calls[0].outputs) != 1:
            return None
        return calls[0]

    def _source(
        self,
        layer: Layer,
        call: Any,
    ) -> Layer | None:
        if layer.weights:
            return layer

        key = id(call.input_tensors[0])
        maker = self._makers.get(key)
        if maker is None or key in self._outputs:
            return None
        if len(self._readers[key]) != 1 or self._only_call(maker.operation) is None:
            return None

        activation = getattr(maker.operation, "activation", None)
        is_linear = activation in (None, keras.activations.linear)
        return maker.operation if is_linear else None

    def _all_readers(
        self,
        call: Any,
    ) -> list[Layer] | None:
        """Return what reads a call's output; None where a reader lets nothing be folded."""
        tensor = call.outputs[0]
        if id(tensor) in self._outputs:
            return None

        found: list[Layer] = []
        for node in self._readers[id(tensor)]:
            if self._only_call(node.operation) is None:
                return None
            if type(node.operation) not in TRANSPARENT:
                found.append(node.operation)
                continue

            further = self._all_readers(node)
            if further is None:
                return None
            found += further
        return found


def _can_fold(layer: Layer) -> bool:
    """Return whether a layer's weights may be changed, and how they act is known."""
    if type(layer) not in FOLDABLE or not layer.trainable:
        return False
    if isinstance(layer, layers.BatchNormalization):
        return layer.axis in (-1, layer.input_spec.ndim - 1)

    # LoRA and quantization put other weights beside the kernel.
    if getattr(layer, "lora_enabled", False):
        return False
    if getattr(layer, "quantization_mode", None) is not None:
        return False
    if isinstance(layer, CONVOLUTIONS):
        return bool(layer.data_format == "channels_last" and layer.groups == 1)
    return True
