"""Data parallelism that the user has set up: how many devices a batch is shared out to."""

from __future__ import annotations

from typing import Any

import keras
from keras import Model

from miha.errors import ArgumentError


def replicas(model: Model) -> int:
    """Return how many devices share each batch of a network; 1 where the batch is not split.

    Args:
        model: The user's network.

    Raises:
        ArgumentError: The user has set up what is not passed on.
    """
    strategy = strategy_of(model)
    if strategy is not None:
        return int(strategy.num_replicas_in_sync)

    distribution = keras.distribution.distribution()
    return 1 if distribution is None else _devices(distribution)


def strategy_of(model: Model) -> Any:
    """Return the `tf.distribute.MirroredStrategy` that a network was built in; None: in none.

    Raises:
        ArgumentError: It was built in another strategy.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    # What is no network has no such attribute, and is refused later.
    strategy = getattr(model, "distribute_strategy", None)
    if isinstance(strategy, tf.distribute.MirroredStrategy):
        return strategy

    # TensorFlow has a strategy even where the user set none; its class has no public name.
    kind = type(strategy).__name__
    if strategy is not None and kind != "_DefaultDistributionStrategy":
        raise ArgumentError(
            "A network may be built in the scope of a `tf.distribute.MirroredStrategy`, and of no "
            f"other strategy. Received: {kind}. Build it in such a scope, or in "
            "none."
        )
    return None


def check_divisible(
    name: str,
    value: int,
    number: int,
) -> None:
    """Raise unless a number of devices can share a batch evenly.

    Args:
        name: The argument that sets the batch size.
        value: Samples a batch.
        number: Devices.

    Raises:
        ArgumentError: They cannot.
    """
    rest = value % number
    if rest:
        raise ArgumentError(
            f"`{name}` must be a multiple of the number of devices that a batch is shared out to, "
            f"{number}. Received: {name}={value}. Choose {value - rest or number}, say."
        )


def _devices(distribution: Any) -> int:
    is_passed_on = keras.backend.backend() == "jax" and _is_single_process()
    if not is_passed_on or not isinstance(distribution, keras.distribution.DataParallel):
        raise ArgumentError(
            "`keras.distribution` may be set to `DataParallel`, on JAX, over the devices of one "
            f"process. Received: {type(distribution).__name__} on {keras.backend.backend()}. "
            "Set that, or none: keras.distribution.set_distribution(None)."
        )
    return int(distribution.num_model_replicas)


def _is_single_process() -> bool:
    import jax

    return bool(jax.process_count() == 1)
