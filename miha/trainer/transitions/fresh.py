"""Fresh values, which a restart does not inherit from its parent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import Model

from miha.trainer.network.copies import Arrays, configuration, random_state, values
from miha.trainer.network.keras_internals import flat_layers


class FreshValues:
    """Draws first values for a network.

    Args:
        network: A plain, built network; only its configuration is kept.
        x: A few inputs, for networks that are built by a call.
        custom_objects: Classes and functions that Keras does not know by itself.
    """

    def __init__(
        self,
        network: Model,
        x: Any,
        custom_objects: dict[str, Any],
    ) -> None:
        config = configuration(network)
        config.pop("compile_config", None)
        # As text: Keras takes a configuration apart when it reads it.
        self._config = json.dumps(config)
        self._x = x
        self._custom_objects = custom_objects

    def draw(
        self,
        rng: np.random.Generator,
    ) -> Arrays:
        """Return fresh values, in the order of the network's variables."""
        seed = int(rng.integers(2**31))
        with random_state(seed):
            config = json.loads(self._config)
            twin = keras.saving.deserialize_keras_object(
                config, self._custom_objects, safe_mode=False
            )
            if not twin.built:
                twin(self._x)
        return values(twin.variables)


def restart(
    network: Model,
    fresh: Sequence[np.ndarray],
) -> None:
    """Give a network fresh values; what is frozen or adapted to the data stays."""
    learned = {id(weight) for weight in network.trainable_variables}
    for layer in flat_layers(network):
        # Its running means and variances are no trainable variables, but belong to the weights.
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            learned |= {id(variable) for variable in layer.variables}

    for variable, value in zip(network.variables, fresh, strict=True):
        if id(variable) in learned:
            variable.assign(value)
