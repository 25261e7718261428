"""What a network is made of that Keras does not know by itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
from keras import Model

from miha.errors import ArgumentError
from miha.trainer.network.keras_internals import compile_settings, flat_layers

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


def custom_objects(model: Model) -> dict[str, Any]:
    """Collect the classes and functions of the user's own in a compiled network, by name.

    Raises:
        ArgumentError: Two of them, one a loss or metric, have one name: Keras would mix them up.
    """
    settings = compile_settings(model)
    compiled = set()
    for part in _parts([settings]):
        compiled.add(id(_named(part)))

    found: dict[str, Any] = {}
    for part in _parts([settings, model]):
        named = _named(part)
        name = named.__name__
        other = found.get(name, named)
        is_compiled = bool(compiled & {id(other), id(named)})
        if other is not named and is_compiled:
            _check_names(other, named, model)
        found[name] = named
    return {n: named for n, named in found.items() if is_custom(named)}


def _check_names(
    first: Any,
    second: Any,
    model: Model,
) -> None:
    """Raise if Keras would mix up two things of one name."""
    if not is_custom(first) and not is_custom(second):
        return

    name = second.__name__
    # A registered name tells things apart, and a lambda is archived by its code.
    if name != "<lambda>" and keras.saving.get_registered_name(second) == name:
        raise ArgumentError(
            "Losses and metrics of your own must have names of their own, since an archive "
            f"knows them by name. Received: two called {name!r} in {model.name!r}. "
            "Rename one, or register both with `@keras.saving.register_keras_serializable()`."
        )


def _named(part: Any) -> Any:
    """Return what an archive names: a function, or the class of an object."""
    return part if inspect.isfunction(part) else type(part)


def is_custom(named: Any) -> bool:
    """Return whether a class or function is not Keras' own."""
    root = str(named.__module__).split(".")[0]  # None where a function was made by `exec`.
    return root not in ("keras", "builtins", "tensorflow", "numpy")


def _parts(
    stack: list[Any],
) -> Iterator[Any]:
    """Yield all that an archive may name in some things, at any depth."""
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


def culprit(
    model: Model,
    known: dict[str, Any],
) -> str:
    """Name the innermost part of a network that does not survive serialisation.

    E.g. ``"layer 'scale' (Scale)"``.
    """
    layers = flat_layers(model, include_self=False)
    # A layer with fewer layers in it lies deeper.
    layers.sort(key=lambda layer: len(flat_layers(layer)))
    for layer in layers:
        if not survives(layer, known):
            return f"layer {layer.name!r} ({type(layer).__name__})"

    for key, value in compile_settings(model).items():
        for part in keras.tree.flatten(value):
            if not survives(part, known):
                return f"{key} {part if inspect.isroutine(part) else type(part).__name__}"
    return f"class {type(model).__name__}"


def survives(
    part: Any,
    known: dict[str, Any],
) -> bool:
    """Return whether Keras can write a part, and read it again."""
    try:
        config = keras.saving.serialize_keras_object(part)
        keras.saving.deserialize_keras_object(config, known, safe_mode=False)
    except Exception:  # A class of the user's may raise anything: that is what is looked for.
        return False
    return True
