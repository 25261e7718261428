"""Which networks are admitted: what cannot be trained faithfully is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
from keras import Model

from miha.errors import ArgumentError
from miha.trainer.genes.optimizers import inner
from miha.trainer.network.compilation import is_lambda, outside_names
from miha.trainer.network.survey import Survey


def check_network(
    survey: Survey,
    foreign_state: Callable[[Model], list[str]],
) -> None:
    """Raise unless a network can be trained, copied and archived as it is.

    Args:
        survey: What the user gave.
        foreign_state: Names what a network learns beside its variables.

    Raises:
        ArgumentError: The message names the part that stands in the way.
    """
    model = survey.network
    _check_compiled(model)
    _check_layers(survey.layers)
    _check_optimizers(model, survey.layers)
    _check_lambdas(model, survey.layers)
    _check_foreign_state(model, foreign_state(model))


def check_made(model: Any) -> None:
    """Raise where a function or class is given that makes a network.

    Raises:
        ArgumentError: It is to be called.
    """
    is_class = inspect.isclass(model)
    if is_class or inspect.isroutine(model) or isinstance(model, partial):
        name = getattr(model, "__name__", "")
        call = f"model={name}()" if name.isidentifier() else "model=build(), say"
        raise ArgumentError(
            f"`model` must be a `keras.Model`. Received: the {'class' if is_class else 'function'} "
            f"{name or model!r}. Call it: {call}."
        )


def _check_compiled(model: Any) -> None:
    if not isinstance(model, Model):
        raise ArgumentError(
            f"`model` must be a `keras.Model`. Received: {type(model)}. "
            "Networks of other libraries, and of tf_keras, are not supported."
        )
    if not model.compiled or getattr(model, "optimizer", None) is None:
        raise ArgumentError(
            f"`model` must be compiled with an optimizer. Received: {model.name!r}, which is not. "
            "Call `model.compile(optimizer, loss)` first; a `compile` of your own must pass them "
            "on to `super().compile`."
        )


def _is_stateful(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN) and bool(layer.stateful)


def _is_quantized(layer: Any) -> bool:
    return isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy)


def _has_lora(layer: Any) -> bool:
    if getattr(layer, "lora_enabled", False):
        return True
    return bool(getattr(layer, "lora_rank", None))


RULES = (
    (
        _is_stateful,
        "A recurrent layer must not carry its state from batch to batch: the state is one of a "
        "fixed batch size and order of samples, and both change.",
        "Make it with `stateful=False`.",
    ),
    (
        _is_quantized,
        "A network must hold its weights as they are trained, not quantized.",
        "Quantize what MIHA has trained: `result.model.quantize(...)`.",
    ),
    (
        _has_lora,
        "Every weight must be archived as it is trained, but Keras merges those of LoRA into the "
        "kernel and forgets them.",
        "Train without `enable_lora`; freeze layers with `trainable = False` instead.",
    ),
)
"""What no layer may be: a predicate, the rule and the cure."""


def _check_layers(layers: Sequence[Any]) -> None:
    for layer in layers:
        for breaks_rule, rule, cure in RULES:
            if breaks_rule(layer):
                kind = type(layer).__name__
                raise ArgumentError(f"{rule} Received: layer {layer.name!r} ({kind}). {cure}")


def _check_optimizers(
    model: Model,
    layers: Sequence[Any],
) -> None:
    """Raise if a network has optimizers beside the one it is compiled with."""
    known = (model.optimizer, inner(model.optimizer))
    for layer in layers:
        for name, value in held(layer):
            if not isinstance(value, keras.optimizers.Optimizer):
                continue
            if all(value is not one for one in known):
                raise ArgumentError(
                    "A network must be trained by the one optimizer that it is compiled with, "
                    "which is what mutates and what archives hold. "
                    f"Received: {model.name!r} with another one, {type(value).__name__}, as "
                    f"`{name}`. Networks of several, such as GANs, are not supported."
                )


def held(
    layer: Any,
) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer by name, and what is in its lists and dictionaries."""
    for name, value in vars(layer).items():
        # TensorFlow keeps notes of its own on what a layer holds.
        if name.startswith("_self_"):
            continue
        yield name, value

        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for item in value:
                yield name, item


def _check_lambdas(
    model: Model,
    layers: Sequence[Any],
) -> None:
    """Raise if the lambda of a layer uses what is not stored with it."""
    for layer in layers:
        if not isinstance(layer, keras.layers.Lambda) or not is_lambda(layer.function):
            continue
        names = sorted(outside_names(layer.function.__code__))
        if names:
            raise ArgumentError(
                "A lambda must use its arguments alone, since Keras stores its code without the "
                f"names around it. Received: layer {layer.name!r} (Lambda) of {model.name!r}, "
                f"which uses {names}. Write a class, or a named function with "
                "`@keras.saving.register_keras_serializable()`."
            )


def _check_foreign_state(
    model: Model,
    foreign: list[str],
) -> None:
    if foreign:
        raise ArgumentError(
            "All that a network learns must be in variables of Keras, or a clone would inherit "
            f"another's. Received: {model.name!r}, with {foreign[:5]}. Use `add_weight` or layers "
            "of Keras instead, such as `keras.layers.BatchNormalization`."
        )
