"""Data parallelism that the user has set up: how many devices a batch is shared out to."""

from __future__ import annotations

from typing import Any

import keras

from miha.errors import ArgumentError


def replicas(model: keras.Model) -> int:
    """Return how many devices each batch of a network is shared out to; 1: it is not.

    Args:
        model: The user's network.

    Raises:
        ArgumentError: The user has set up what is not passed on.
    """
    strategy, distribution = strategy_of(model), keras.distribution.distribution()
    if strategy is not None:
        return int(strategy.num_replicas_in_sync)
    return 1 if distribution is None else _devices(distribution)


def strategy_of(model: keras.Model) -> Any:
    """Return the `tf.distribute.MirroredStrategy` that a network was built in; None: in none.

    Raises:
        ArgumentError: It was built in another strategy.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    strategy = getattr(model, "distribute_strategy", None)  # What is no network is told later.
    if isinstance(strategy, tf.distribute.MirroredStrategy):
        return strategy
    # What TensorFlow has where there is none; it has no public name.
    if strategy is not None and type(strategy).__name__ != "_DefaultDistributionStrategy":
        raise ArgumentError(
            "A network may be built in the scope of a `tf.distribute.MirroredStrategy`, and of no "
            f"other strategy. Received: {type(strategy).__name__}. Build it in such a scope, or in "
            "none."
        )
    return None


def check_divisible(name: str, value: int, number: int) -> None:
    """Raise unless a batch can be shared out evenly.

    Args:
        name: The argument.
        value: Samples a batch.
        number: Devices.

    Raises:
        ArgumentError: It cannot.
    """
    if value % number:
        raise ArgumentError(
            f"`{name}` must be a multiple of the number of devices that a batch is shared out to, "
            f"{number}. Received: {name}={value}. Choose {value - value % number or number}, say."
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
