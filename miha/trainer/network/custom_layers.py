"""What a network is made of that Keras does not know by itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from miha.errors import ArgumentError

KINDS = (
    keras.layers.Layer,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.DTypePolicy,
)
"""What an archive may name."""


def custom_objects(model: keras.Model) -> dict[str, Any]:
    """Collect the classes and functions of the user's own in a compiled network, by name.

    Raises:
        ArgumentError: Two of them, one a loss or metric, have one name: Keras would mix them up.
    """
    found: dict[str, Any] = {}
    compiled = {id(named) for named in map(_named, _held([_compiled(model)]))}
    for named in map(_named, parts(model)):
        other = found.setdefault(named.__name__, named)
        is_mixed_up = other is not named and (is_custom(other) or is_custom(named))
        if is_mixed_up and {id(other), id(named)} & compiled and not _is_told_apart(named):
            raise ArgumentError(
                "Losses and metrics of your own must have names of their own, since an archive "
                f"knows them by name. Received: two called {named.__name__!r} in {model.name!r}. "
                "Rename one, or register both with `@keras.saving.register_keras_serializable()`."
            )
        found[named.__name__] = named
    return {name: named for name, named in found.items() if is_custom(named)}


def _named(part: Any) -> Any:
    """Return what an archive names: a function, or the class of an object."""
    return part if inspect.isfunction(part) else type(part)


def _is_told_apart(named: Any) -> bool:
    """Tell whether Keras knows a thing by more than its name."""
    name = named.__name__
    return bool(name == "<lambda>" or keras.saving.get_registered_name(named) != name)


def is_custom(named: Any) -> bool:
    """Tell whether a class or function is not Keras' own."""
    root = str(named.__module__).split(".")[0]  # None where a function was made by `exec`.
    return root not in ("keras", "builtins", "tensorflow", "numpy")


def has_custom_layers(model: keras.Model) -> bool:
    """Tell whether a layer's configuration was written by somebody else than Keras."""
    return any(is_custom(type(layer)) for layer in model._flatten_layers())


def parts(model: keras.Model) -> Iterator[Any]:
    """Yield all that an archive of a network may name, however deep it is held."""
    return _held([_compiled(model), model])


def _compiled(model: keras.Model) -> dict[str, Any]:
    """Return what a network was compiled with."""
    compiled = getattr(model, "_compile_config", None)
    return dict(compiled.config) if compiled else {}


def _held(stack: list[Any]) -> Iterator[Any]:
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            stack.extend(item)
        elif inspect.isfunction(item) or isinstance(item, KINDS):
            yield item
            stack.extend(vars(item).values())


def culprit(model: keras.Model, known: dict[str, Any]) -> str:
    """Name the innermost part of a network that does not survive serialisation.

    Args:
        model: The network.
        known: Its custom objects.

    Returns:
        E.g. ``"layer 'scale' (Scale)"``.
    """
    layers = model._flatten_layers(include_self=False)
    for layer in sorted(layers, key=lambda layer: len(layer._flatten_layers())):
        if not _survives(layer, known):
            return f"layer {layer.name!r} ({type(layer).__name__})"
    for key, value in _compiled(model).items():
        for part in keras.tree.flatten(value):
            if not _survives(part, known):
                return f"{key} {part if inspect.isroutine(part) else type(part).__name__}"
    return f"class {type(model).__name__}"


def _survives(part: Any, known: dict[str, Any]) -> bool:
    try:
        config = keras.saving.serialize_keras_object(part)
        keras.saving.deserialize_keras_object(config, known, safe_mode=False)
    except Exception:  # Whatever a class of the user's raises is what is looked for.
        return False
    return True
