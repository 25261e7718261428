"""Fresh values, which a restart does not inherit from its parent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import Model

from miha.trainer.network.copies import Arrays, configuration, random_state, untouched, values
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
    for layer in normalizations(network):
        # Its running means and variances are no trainable variables, but belong to the weights.
        learned |= {id(variable) for variable in layer.variables}

    for variable, value in zip(network.variables, fresh, strict=True):
        if id(variable) in learned:
            variable.assign(value)


def take_statistics(
    network: Model,
    x: Any,
) -> None:
    """Give each BatchNormalization the means and variances of some samples.

    Keras begins with means of 0 and variances of 1, and replaces a hundredth of them in a step.
    After the few steps of a clone its validation loss would speak of these, not of what it
    learned. Its training reads the statistics of each batch, and is the same with and without.

    Source: Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm" (2021), on statistics that lag.

    Args:
        network: Just restarted.
        x: Inputs, of a few samples.
    """
    layers = normalizations(network)
    means = [layer.moving_mean for layer in layers]
    variances = [layer.moving_variance for layer in layers]
    statistics = [*means, *variances]
    # A call in training advances the seeds of noise layers, too.
    with untouched(network), _without_momentum(layers):
        network(x, training=True)
        taken = values(statistics)

    for variable, value in zip(statistics, taken, strict=True):
        variable.assign(value)


def normalizations(network: Model) -> list[Any]:
    """Return the layers whose running means and variances training changes."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in flat_layers(network) if isinstance(layer, kind) and layer.trainable]


@contextlib.contextmanager
def _without_momentum(layers: Sequence[Any]) -> Iterator[None]:
    """Let each batch replace the running means and variances."""
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
