"""One look at a network: its layers, slots and noise, and the copies that are made of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
from keras import Model

from miha.trainer.genes.activations import Slot, slots_among
from miha.trainer.genes.losses import LossSlot, find_loss
from miha.trainer.genes.noise import Noise, noise_among, noise_at
from miha.trainer.network import copies
from miha.trainer.network.custom_layers import custom_objects, is_custom
from miha.trainer.network.keras_internals import flat_layers, functional_of, nodes_of
from miha.trainer.network.layer_tree import Chosen, Place, walk

SCALING = (keras.layers.Rescaling, keras.layers.Normalization)
"""Layers that make sense for quantities alone, not for words or categories."""


class Survey:
    """What there is to know of a network; each part is found once, when it is first read.

    Args:
        network: A network; it must be built before its slots, noise or copies are read.
        known: Its custom objects, where they are known already.
    """

    def __init__(
        self,
        network: Model,
        known: copies.Known | None = None,
    ) -> None:
        self.network = network
        self._known = known

    @cached_property
    def layers(self) -> list[Any]:
        """The network and all layers in it, in Keras' order."""
        return flat_layers(self.network)

    @cached_property
    def places(self) -> list[Place]:
        """All layers with their paths, parents first."""
        return list(walk(self.network))

    @cached_property
    def slots(self) -> list[Slot]:
        """All activation slots, as they were at first."""
        return slots_among(self.places)

    @cached_property
    def noise(self) -> list[Noise]:
        """All layers that add noise."""
        return noise_among(self.places)

    @cached_property
    def padding(self) -> float | None:
        """What padded steps of a series hold, by a Masking layer; None without one."""
        for layer in self.layers:
            if isinstance(layer, keras.layers.Masking):
                return float(layer.mask_value)
        return None

    @cached_property
    def scales_its_input(self) -> bool:
        """Whether the network has one input, of floats, which it scales before anything else."""
        functional = functional_of(self.network)
        if functional is None or len(functional.inputs) != 1:
            return False
        [tensor] = functional.inputs
        readers = [
            node.operation
            for node in nodes_of(functional)
            if any(read is tensor for read in node.input_tensors)
        ]
        is_float = keras.backend.is_float_dtype(tensor.dtype)
        return is_float and bool(readers) and all(isinstance(each, SCALING) for each in readers)

    @cached_property
    def loss(self) -> LossSlot | None:
        """The loss that may mutate; ask after a step, since Keras makes it there."""
        return find_loss(self.network)

    @cached_property
    def custom_objects(self) -> dict[str, Any]:
        """Classes and functions of the user's, by name."""
        if self._known is not None:
            return self._known
        return custom_objects(self.network)

    @cached_property
    def has_custom_layers(self) -> bool:
        """Whether somebody else than Keras wrote the configuration of a layer."""
        return any(is_custom(type(layer)) for layer in self.layers)

    def slots_at(self, chosen: Chosen) -> list[Slot]:
        """Return the slots at some places, under the given names."""
        found = []
        for place, name in chosen.items():
            # Copies of a subclassed network give their layers other names.
            slot = replace(self.slots[place], name=name)
            found.append(slot)
        return found

    def noise_at(self, chosen: Chosen) -> list[Noise]:
        """Return the noise at some places, ready to take any amount, under the given names."""
        return noise_at(self.noise, chosen)

    @cached_property
    def archive(self) -> bytes:
        """The Keras v3 archive of the network, as it was when it was first asked for."""
        return copies.serialize(self.network, self.custom_objects)

    def copy(self) -> Survey:
        """Return an equal network, seed and optimizer states included.

        Raises:
            ArgumentError: The network does not survive being saved and loaded.
        """
        twin = copies.copy(self.network, self.custom_objects, self.archive)
        return Survey(twin, self.custom_objects)
