"""Copies of Keras networks, and their archives, in memory.

The only place that reaches into ``keras.src``: the public functions write to paths alone, and
`model.save` onto a file destroys it when the disk is full.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import random
import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.saving import saving_lib

from miha.errors import ArgumentError


def to_bytes(model: keras.Model) -> bytes:
    """Return the Keras v3 archive of a network."""
    buffer = io.BytesIO()
    saving_lib.save_model(model, buffer)
    return buffer.getvalue()


def from_bytes(
    archive: bytes, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True
) -> keras.Model:
    """Return the network of a Keras v3 archive.

    Args:
        archive: The archive's bytes.
        custom_objects: Classes and functions that the archive names and Keras does not know.
        safe_mode: Whether to refuse what would run code from the archive.
    """
    buffer = io.BytesIO(archive)
    return saving_lib.load_model(buffer, custom_objects=custom_objects, safe_mode=safe_mode)


def copy(model: keras.Model, custom_objects: dict[str, Any]) -> keras.Model:
    """Return a network equal to a built and compiled one, seed and optimizer states included.

    Args:
        model: The network.
        custom_objects: See `custom_objects`.

    Raises:
        ArgumentError: The network cannot be serialised; the message names the layer.
    """
    try:
        with warnings.catch_warnings():
            # An optimizer that has not trained yet has no state to load.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            # The user's own live network: its Lambda layers are trusted.
            twin = from_bytes(to_bytes(model), custom_objects, safe_mode=False)
        _restore_loss_scaling(twin, model)
        _assign_all(twin, model)
    except Exception as error:
        raise ArgumentError(
            "The network must survive being saved and loaded by Keras, since every network of a "
            f"run is archived. Received: {model.name!r}, whose {_culprit(model, custom_objects)} "
            f"does not: {_first_line(error)} Give that class a `get_config` that returns all "
            "arguments of its constructor."
        ) from error
    return twin


def custom_objects(model: keras.Model) -> dict[str, Any]:
    """Collect the classes and functions of a network that Keras does not know by itself."""
    found: dict[str, Any] = {}
    for item in _parts(model):
        named = item if inspect.isfunction(item) else type(item)
        if named.__module__.split(".")[0] not in ("keras", "builtins", "tensorflow", "numpy"):
            found[named.__name__] = named
    return found


def build_from(model: keras.Model, x: Any, seed: int) -> keras.Model:
    """Return a built copy of a network that has not seen data yet.

    Args:
        model: A compiled network without weights.
        x: One batch of inputs.
        seed: Decides the fresh weights.

    Raises:
        ArgumentError: The network cannot be built from ``x``.
    """
    try:
        with _seeded_initializers(seed):
            config = keras.saving.serialize_keras_object(model)
            twin = keras.saving.deserialize_keras_object(
                config, custom_objects(model), safe_mode=False
            )
            twin(x)
    except Exception as error:
        raise ArgumentError(
            "The network must be built, or such that it can be built from `x`. "
            f"Received: {model.name!r}, which is not: {_first_line(error)} "
            "Call the network on a batch of data first, or give it a `keras.Input`."
        ) from error
    return twin


@contextlib.contextmanager
def _seeded_initializers(seed: int) -> Iterator[None]:
    """Let Keras draw the seeds of initializers from here: it takes them from `random`."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _parts(model: keras.Model) -> Iterator[Any]:
    """Yield all that may be written in an archive by name."""
    for layer in model._flatten_layers():
        yield layer
        yield from (part for part in vars(layer).values() if _is_part(part))
    compiled = getattr(model, "_compile_config", None)
    if compiled is not None:
        yield from (part for part in keras.tree.flatten(compiled.config) if _is_part(part))


def _is_part(item: Any) -> bool:
    kinds = (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.optimizers.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.DTypePolicy,
        keras.layers.Layer,
    )
    return inspect.isfunction(item) or isinstance(item, kinds)


def _restore_loss_scaling(twin: keras.Model, model: keras.Model) -> None:
    """Wrap the optimizer as the user's is: loading does so by the global dtype policy only."""
    scaling = keras.optimizers.LossScaleOptimizer
    if isinstance(model.optimizer, scaling) and not isinstance(twin.optimizer, scaling):
        config = {**model.optimizer.get_config(), "inner_optimizer": twin.optimizer}
        twin.optimizer = scaling(**config)
        twin.optimizer.build(twin.trainable_variables)


def _assign_all(twin: keras.Model, model: keras.Model) -> None:
    """Copy every value; what the archive does not hold (seed states) too."""
    _assign(twin.variables, model.variables)
    if model.optimizer is not None and model.optimizer.built:
        _assign(twin.optimizer.variables, model.optimizer.variables)


def _assign(targets: list[Any], sources: list[Any]) -> None:
    shapes = [[tuple(v.shape) for v in variables] for variables in (targets, sources)]
    if shapes[0] != shapes[1]:
        raise ValueError("the loaded network has other variables than the saved one.")
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)


def _culprit(model: keras.Model, known: dict[str, Any]) -> str:
    """Name the first layer that does not survive serialisation on its own."""
    for layer in model._flatten_layers(include_self=False):
        try:
            config = keras.saving.serialize_keras_object(layer)
            keras.saving.deserialize_keras_object(config, known, safe_mode=False)
        except Exception:
            return f"layer {layer.name!r} ({type(layer).__name__})"
    return f"class {type(model).__name__}"


def _first_line(error: Exception) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
    return line if line.endswith(".") else f"{line}."
