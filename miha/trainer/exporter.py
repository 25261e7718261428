"""From genome and snapshot to an archive that plain Keras opens.

What acts in training alone (label smoothing, noise on inputs, augmentation) is in no archive:
there, a network is the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from miha.records import Genome, Snapshot
from miha.trainer.genes.activations import Slot
from miha.trainer.genes.noise import noise_in
from miha.trainer.genes.optimizers import Optimizers, name_of
from miha.trainer.live_network import assign
from miha.trainer.network.compilation import compile_config, nameless, put_back
from miha.trainer.network.copies import from_bytes, to_bytes, values


class Exporter:
    """Makes archives of plain networks, also while the live one trains.

    Args:
        network: A plain copy of the user's network; the exporter changes it.
        slots: The activation slots of ``network`` that may mutate.
        noise: Where its noise may mutate: places among those that add noise, and their names.
        custom_objects: Classes and functions that Keras does not know by itself.
    """

    def __init__(
        self,
        network: keras.Model,
        slots: Sequence[Slot],
        noise: dict[int, str],
        custom_objects: dict[str, Any],
    ) -> None:
        self._network = network
        self._slots = {slot.name: slot for slot in slots}
        self._chosen_noise = noise
        places = noise_in(network, noise)
        self._noise = {place.name: place for place in places}
        self._optimizers = Optimizers(network, custom_objects)
        self._custom_objects = custom_objects
        self._shown: Genome | None = None
        self._nameless = nameless(network)
        # Keras asks the network how it was compiled when it writes it: answer with the
        # optimizer at hand. Compiling again for each archive would leak.
        self._compiled_with = compile_config(network)
        network.get_compile_config = self._compile_config

    def export(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> bytes:
        """Return the Keras v3 archive of a network."""
        with keras.device("cpu"):
            self._express(snapshot, genome)
            return to_bytes(self._network)

    @property
    def network(self) -> keras.Model:
        """The exporter's network, with what it last expressed."""
        return self._network

    def show(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> None:
        """Give the exporter's network values and hyperparameters."""
        with keras.device("cpu"):
            self._express(snapshot, genome)
        if genome != self._shown:
            # What Keras has compiled (for `evaluate`, say) has the activations of before.
            self._network.train_function = None
            self._network.test_function = None
            self._network.predict_function = None
            self._shown = genome

    def load(self, archive: bytes) -> keras.Model:
        """Return the plain network of an archive; its layers are the user's own, so trusted."""
        network = from_bytes(archive, self._custom_objects, safe_mode=False)
        put_back(network, self._nameless)
        return network

    def recall(self, archive: bytes) -> Snapshot:
        """Return the values of an archive, in the order in which `export` was given them."""
        with keras.device("cpu"):
            network = self.load(archive)
            # The live ones have a seed even where there is no noise.
            noise_in(network, self._chosen_noise)

        optimizer = network.optimizer
        return Snapshot(
            variables=values(network.variables),
            optimizer=name_of(optimizer),
            slots=values(optimizer.variables),
        )

    def _express(
        self,
        snapshot: Snapshot,
        genome: Genome,
    ) -> None:
        optimizer = self._optimizers.use(snapshot.optimizer)
        self._optimizers.choose_weight_decay(genome.weight_decay)
        assign(self._network.variables, snapshot.variables)
        assign(optimizer.variables, snapshot.slots)

        for name, activation in genome.activations:
            slot = self._slots[name]
            if activation == slot.own_name:
                slot.put(None)
            else:
                slot.put(keras.activations.get(activation))

        for amounts in (genome.dropout, genome.noise):
            for name, amount in amounts:
                self._noise[name].put(amount)

    def _compile_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {}
        config |= self._compiled_with
        optimizer = self._network.optimizer
        config["optimizer"] = keras.optimizers.serialize(optimizer)
        return config
