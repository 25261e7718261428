"""From the user's network, data and search space to a trainer: everything is checked here."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from miha.errors import ArgumentError, MihaWarning
from miha.records import Mode
from miha.space import SearchSpace, Space, batch_size_bounds
from miha.trainer import copies, data, optimizers, surgery
from miha.trainer.exporter import Exporter
from miha.trainer.protocol import Trainer
from miha.trainer.surgery import Slot


def make_trainer(
    model: keras.Model,
    training: data.Data,
    validation: data.Data | None,
    batch_size: int,
    validation_batch_size: int,
    space: SearchSpace,
    shuffle: bool,
    evaluate_training: bool,
    seed: int,
) -> Trainer:
    """Copy the user's network and make a trainer for the copy.

    Args:
        model: The user's network; it is not touched.
        training: Training data.
        validation: Validation data, or None.
        batch_size: The batch size to begin with.
        validation_batch_size: Batch size of evaluations.
        space: What the user lets each gene become.
        shuffle: Whether samples are shuffled.
        evaluate_training: Whether to evaluate on the training data where ``validation`` is None.
        seed: Decides the weights of a network that is not built yet.

    Returns:
        A trainer for the backend that Keras runs on.

    Raises:
        ArgumentError: The network, or the search space for it, breaks a rule.
    """
    from miha.trainer.tensorflow import Settings, TensorFlowTrainer

    _check_model(model)
    optimizers.check_names(space.optimizers)
    _check_activations(space.activations)
    known = copies.custom_objects(model)
    built = model if model.built else copies.build_from(model, _batch(training)[0], seed)
    live = copies.copy(built, known)
    with keras.device("cpu:0"):
        plain = copies.copy(built, known)
    chosen = _slots_to_mutate(built, plain, space, known)
    slots = _slots_in(live, chosen)
    evaluated = training if validation is None and evaluate_training else validation
    prefix = "eval_" if validation is None else "val_"
    modes = _probe(live, training)
    return TensorFlowTrainer(
        network=live,
        slots=slots,
        space=_resolve(space, live, slots, batch_size, training.samples),
        data=training,
        evaluation=evaluated,
        settings=Settings(batch_size, validation_batch_size, prefix, shuffle),
        metrics=modes | ({} if evaluated is None else {prefix + k: v for k, v in modes.items()}),
        exporter=Exporter(plain, _slots_in(plain, chosen), known),
        fingerprint=_fingerprint(built, training, validation),
    )


def _check_model(model: Any) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            "Keras must run on TensorFlow. "
            f"Received: the backend {keras.backend.backend()!r}. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    if not isinstance(model, keras.Model):
        raise ArgumentError(
            f"`model` must be a `keras.Model`. Received: {type(model)}. "
            "Networks of other libraries, and of tf_keras, are not supported."
        )
    if not model.compiled or model.optimizer is None:
        raise ArgumentError(
            f"`model` must be compiled. Received: {model.name!r}, which is not. "
            "Call `model.compile(optimizer, loss)` first."
        )


def _check_activations(names: Sequence[str]) -> None:
    for name in names:
        try:
            known = surgery.is_elementwise(keras.activations.get(name))
        except ValueError:
            known = False
        if not known:
            raise ArgumentError(
                "An activation must be the name of an elementwise function of "
                f"`keras.activations`. Received: {name!r}. Examples: 'relu', 'tanh', 'gelu'."
            )


def _batch(training: data.Data) -> tuple[Any, ...]:
    """Return one small batch."""
    first = training.take(slice(2))
    return first.x, first.y, first.sample_weight


def _probe(network: keras.Model, training: data.Data) -> dict[str, Mode | None]:
    """Take a test step, to learn what is logged and whether network and data fit together."""
    try:
        logs = network.test_step(keras.utils.pack_x_y_sample_weight(*_batch(training)))
    except Exception as error:
        shapes = [array.shape for array in training.arrays]
        raise ArgumentError(
            "The network must accept the data. "
            f"Received: arrays of shapes {shapes}, on which {network.name!r} fails: {error}"
        ) from error
    network.reset_metrics()
    return {name: _mode(network, name) for name in logs}


def _mode(network: keras.Model, name: str) -> Mode | None:
    """Return the direction in which a logged value is better, as Keras' callbacks find it."""
    if name.endswith("loss"):
        return "min"
    metrics = [m for outer in network.metrics for m in (outer, *getattr(outer, "metrics", ()))]
    # With several outputs, a metric is logged under the output's name and its own.
    named = [m for m in metrics if name == m.name or name.endswith(f"_{m.name}")]
    closest = max(named, key=lambda m: len(m.name), default=None)
    modes: dict[Any, Mode] = {"up": "max", "down": "min"}
    return modes.get(getattr(closest, "_direction", None))


def _slots_to_mutate(
    built: keras.Model, plain: keras.Model, space: SearchSpace, known: dict[str, Any]
) -> dict[int, str]:
    """Return the slots that may mutate: their place in the network and their name in it.

    Copies of a subclassed network name their layers anew, so that only the place is sure.
    """
    slots = surgery.find_slots(built)
    if space.layers is None:
        chosen = [slot for slot in slots if slot.is_chosen_by_default]
    else:
        chosen = [slot for name in space.layers for slot in _named(name, slots)]
    wanted = {i: slot.name for i, slot in enumerate(slots) if slot in chosen}
    archived = _archived(plain, wanted, known)
    lost = [name for i, name in wanted.items() if i not in archived]
    if lost:
        warnings.warn(
            f"The activations of {lost} do not mutate: the configuration of "
            f"{type(plain).__name__} does not tell them, so that an archive could not hold them. "
            "Let `get_config` return them to change that.",
            MihaWarning,
            stacklevel=2,
        )
    return {i: name for i, name in wanted.items() if i in archived}


def _slots_in(network: keras.Model, chosen: dict[int, str]) -> list[Slot]:
    """Return the chosen slots of a copy, under the names of the user's network."""
    slots = surgery.find_slots(network)
    return [replace(slots[i], name=name) for i, name in chosen.items()]


def _named(name: str, slots: list[Slot]) -> list[Slot]:
    found = [slot for slot in slots if name in (slot.layer.name, slot.name)]
    if not found:
        raise ArgumentError(
            "`layers` must name layers with an elementwise activation. "
            f"Received: {name!r}. The network has {[slot.name for slot in slots]}."
        )
    return found


def _archived(plain: keras.Model, wanted: dict[int, str], known: dict[str, Any]) -> set[int]:
    """Return the slots whose activation survives in the network's configuration."""
    slots = _slots_in(plain, wanted)
    marks = ["tanh" if slot.own_name != "tanh" else "relu" for slot in slots]
    for slot, mark in zip(slots, marks, strict=True):
        slot.put(keras.activations.get(mark))
    config = keras.saving.serialize_keras_object(plain)
    for slot in slots:
        slot.put(None)
    config["compile_config"] = None
    twin = keras.saving.deserialize_keras_object(config, known, safe_mode=False)
    found = _slots_in(twin, wanted)
    return {
        place
        for place, slot, mark in zip(wanted, found, marks, strict=True)
        if slot.own_name == mark
    }


def _resolve(
    space: SearchSpace, live: keras.Model, slots: list[Slot], batch_size: int, samples: int
) -> Space:
    own = optimizers.Optimizers(live)
    names = dict.fromkeys([own.own_name, *(name.lower() for name in space.optimizers)])
    rates = {name: own.learning_rate(name) for name in names}
    return Space(
        optimizers=rates,
        slots={slot.name: tuple(slot.branches(space.activations)) for slot in slots},
        batch_size=batch_size_bounds(space.batch_size, batch_size, samples),
        learning_rate=space.learning_rate,
    )


def _fingerprint(
    network: keras.Model, training: data.Data, validation: data.Data | None
) -> dict[str, str]:
    """Return checksums of the data, and of the network's weights and way of being compiled."""
    arrays = [*training.arrays, *(validation.arrays if validation else ())]
    weights = [keras.ops.convert_to_numpy(weight) for weight in network.weights]
    compiled = json.dumps(network.get_compile_config(), sort_keys=True, default=str)
    return {"data": _checksum(arrays), "network": _checksum(weights, compiled)}


def _checksum(arrays: Sequence[np.ndarray], text: str = "") -> str:
    sha = hashlib.sha256(text.encode())
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
