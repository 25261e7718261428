"""How a network is compiled: what it really has, and what of that an archive can say."""

from __future__ import annotations

import builtins
import contextlib
import dis
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType
from typing import Any

import keras
from keras import Model

from miha.trainer.network.custom_layers import survives
from miha.trainer.network.keras_internals import compile_settings, written_settings

MEASURES = ("loss", "metrics", "weighted_metrics")
"""Arguments of `compile` that may be functions."""

Nameless = dict[str, dict[int, Any]]
"""Functions that no archive can hold: by the argument of `compile`, and their place in it."""


def nameless(model: Model) -> Nameless:
    """Return the losses and metrics of a network that Keras cannot archive, and need not.

    Those are lambdas over names around them, functions with some arguments given, and the like.
    They learn nothing, so that copies of the network can share them.
    """
    settings = compile_settings(model)
    found: Nameless = {}
    for key in MEASURES:
        places = {}
        for place, part in enumerate(keras.tree.flatten(settings.get(key))):
            if _is_nameless(part):
                places[place] = part
        if places:
            found[key] = places
    return found


def compile_config(model: Model) -> dict[str, Any]:
    """Return what an archive says of how a network is compiled.

    Keras' own answer is that of the last `compile`: it lacks what was set or taken away since.
    """
    without = nameless(model)
    config: dict[str, Any] = {}
    if not without:
        config |= model.get_compile_config()

    written = written_settings(model)
    for key, value in compile_settings(model).items():
        if without or value is not written.get(key):
            kept = _without(value, without.get(key, {}))
            config[key] = keras.saving.serialize_keras_object(kept)
    return config


@contextlib.contextmanager
def written_as_it_is(model: Model) -> Iterator[None]:
    """Let Keras write a network with its compilation as `compile_config` says it."""
    # An exporter's network says by itself how it is compiled.
    own = vars(model)
    if "get_compile_config" in own:
        yield
        return

    config = compile_config(model)
    own["get_compile_config"] = lambda: config
    try:
        yield
    finally:
        del own["get_compile_config"]


def put_back(
    model: Model,
    functions: Nameless,
) -> None:
    """Compile a loaded network with the functions that its archive could not hold."""
    if not functions:
        return
    settings = compile_settings(model)
    for key, places in functions.items():
        leaves = keras.tree.flatten(settings[key])
        for place, function in places.items():
            leaves[place] = function
        settings[key] = keras.tree.pack_sequence_as(settings[key], leaves)

    # Already wrapped, where the loss is scaled.
    settings["optimizer"] = model.optimizer
    model.compile(**settings)


def words(functions: Nameless) -> str:
    """Name functions without a name, e.g. ``"a lambda in `loss`"``."""
    found = []
    for key, places in functions.items():
        for function in places.values():
            found.append(f"a {_kind(function)} in `{key}`")
    return ", ".join(found)


def check_same(twin: Model, model: Model) -> None:
    """Raise unless a copy is compiled as the network is: optimizer, loss and metrics."""
    own = _optimizer_words(model.optimizer)
    found = _optimizer_words(twin.optimizer)
    if own != found:
        raise ValueError(
            f"it has the optimizer {own} and would be trained by {found}. Compile the network "
            "with the optimizer that shall train it."
        )

    settings = compile_settings(model)
    loaded = compile_settings(twin)
    for key in MEASURES:
        wanted = [_name(part) for part in keras.tree.flatten(settings.get(key))]
        names = [_name(part) for part in keras.tree.flatten(loaded.get(key))]
        if wanted != names:
            raise ValueError(f"its `{key}` is {wanted}, and {names} when loaded.")


def is_lambda(thing: Any) -> bool:
    """Return whether something is a lambda."""
    return getattr(thing, "__name__", "") == "<lambda>" and hasattr(thing, "__code__")


def outside_names(code: CodeType) -> set[str]:
    """Return the names of its module that code uses, however deep."""
    instructions = dis.get_instructions(code)
    found = {i.argval for i in instructions if i.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= outside_names(constant)
    return found - set(vars(builtins))


def _is_nameless(part: Any) -> bool:
    # Its function may have a name; the arguments that it was given have none.
    if isinstance(part, partial):
        return True
    if not is_lambda(part):
        return False
    # Keras stores its code and, as far as it can, its closure.
    if outside_names(part.__code__):
        return True
    return part.__closure__ is not None and not survives(part, {})


def _without(structure: Any, places: Mapping[int, Any]) -> Any:
    """Return a structure with None at some places."""
    if not places:
        return structure
    leaves = keras.tree.flatten(structure)
    for place in places:
        leaves[place] = None
    return keras.tree.pack_sequence_as(structure, leaves)


def _kind(function: Any) -> str:
    return "lambda" if is_lambda(function) else type(function).__name__


def _name(part: Any) -> str:
    """Return what a loss or metric is called, as text or as an object alike."""
    if isinstance(part, str | None):
        return str(part)
    return str(getattr(part, "__name__", type(part).__name__))


def _optimizer_words(optimizer: Any) -> str:
    """Return class and settings of an optimizer, and of the one within it."""
    config = optimizer.get_config()
    settings = []
    for key, value in sorted(config.items()):
        # Schedules and functions are objects: their numbers are archived with them.
        if isinstance(value, bool | int | float) and key != "name":
            settings.append(f"{key}={value}")

    words = f"{type(optimizer).__name__}({', '.join(settings)})"
    inner = getattr(optimizer, "inner_optimizer", None)
    return words if inner is None else f"{words} of {_optimizer_words(inner)}"
