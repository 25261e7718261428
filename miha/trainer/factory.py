"""From the user's network, data and search space to a trainer: everything is checked here."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import keras
import numpy as np

from miha.errors import ArgumentError
from miha.records import Mode
from miha.space import SearchSpace, Space, batch_size_bounds
from miha.trainer import copies, data, optimizers, slots
from miha.trainer.base import KerasTrainer, Settings
from miha.trainer.custom import custom_objects
from miha.trainer.exporter import Exporter
from miha.trainer.fingerprint import fingerprint
from miha.trainer.protocol import Trainer
from miha.trainer.surgery import Slot

TRAINERS = {
    "tensorflow": ("tensorflow", "TensorFlowTrainer"),
    "jax": ("jax", "JaxTrainer"),
    "torch": ("torch", "TorchTrainer"),
}
"""Module and class of the trainer for each backend of Keras; imported when it is needed."""


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
    with_mirror: bool = False,
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
        with_mirror: Whether callbacks of Keras will want a network to look at.

    Returns:
        A trainer for the backend that Keras runs on.

    Raises:
        ArgumentError: The network, or the search space for it, breaks a rule.
    """
    _check_model(model)
    optimizers.check_names(space.optimizers)
    space = replace(space, activations=slots.check_activations(space.activations))
    known, batch = custom_objects(model), _batch(training)
    built = model if model.built else copies.build_from(model, batch[0], seed)
    live = copies.copy(built, known)
    metrics = _probe(live, batch)
    copies.check_same_function(built, live, batch[0])
    with keras.device("cpu"):
        plain = copies.copy(built, known)
        chosen = slots.choose_slots(plain, space, known, batch[0])
        seen = copies.copy(built, known) if with_mirror else None
    if seen is not None:
        _probe(seen, batch)  # Its metrics are built thereby, which callbacks ask for.
    mutable = slots.slots_in(live, chosen)
    evaluation = training if validation is None and evaluate_training else validation
    prefix = "eval_" if validation is None else "val_"
    evaluated = metrics if evaluation is not None else {}
    return _trainer_class()(
        network=live,
        slots=mutable,
        space=_resolve(space, live, mutable, batch_size, training.samples),
        data=training,
        evaluation=evaluation,
        settings=Settings(batch_size, validation_batch_size, prefix, shuffle),
        metrics=metrics | {prefix + name: mode for name, mode in evaluated.items()},
        exporter=Exporter(plain, slots.slots_in(plain, chosen), known),
        fingerprint=fingerprint(built, training, validation),
        mirror=seen and Exporter(seen, slots.slots_in(seen, chosen), known),
    )


def _trainer_class() -> type[KerasTrainer]:
    """Return the trainer for the backend that Keras runs on."""
    module, name = TRAINERS[keras.backend.backend()]
    found: type[KerasTrainer] = getattr(import_module(f"miha.trainer.{module}"), name)
    return found


def _check_model(model: Any) -> None:
    if keras.backend.backend() not in TRAINERS:
        raise ArgumentError(
            f"Keras must run on one of {list(TRAINERS)}. "
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
    foreign = _trainer_class().foreign_state(model)
    if foreign:
        raise ArgumentError(
            "All that a network learns must be in variables of Keras, or a clone would inherit "
            f"another's. Received: {model.name!r}, with the buffers {foreign[:5]}. Use layers of "
            "Keras instead, such as `keras.layers.BatchNormalization`."
        )


def _batch(training: data.Data) -> tuple[Any, ...]:
    """Return a few samples, as the tensors that a step takes."""
    few = training.take(slice(2))
    convert = keras.ops.convert_to_tensor
    return tuple(data.map_arrays(convert, part) for part in (few.x, few.y, few.sample_weight))


def _probe(network: keras.Model, batch: tuple[Any, ...]) -> dict[str, Mode | None]:
    """Take a test step, to learn what is logged and whether network and data fit together."""
    try:
        with copies.untouched(network):
            logs = _trainer_class().probe(network, keras.utils.pack_x_y_sample_weight(*batch))
    except Exception as error:
        shapes = [tuple(array.shape) for array in keras.tree.flatten(batch) if array is not None]
        raise ArgumentError(
            f"The network must accept the data. Received: the first samples, of shapes {shapes}, "
            f"on which {network.name!r} fails: {error}. Check the shapes of `x` and `y`, and that "
            "the network leaves the batch size open."
        ) from error
    network.reset_metrics()
    # A vector (the F1 score of each class, say) can be logged but not monitored.
    return {name: _mode(network, name) for name, value in logs.items() if np.ndim(value) == 0}


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


def _resolve(
    space: SearchSpace, live: keras.Model, chosen: list[Slot], batch_size: int, samples: int
) -> Space:
    own = optimizers.Optimizers(live)
    names = dict.fromkeys([own.own_name, *(name.lower() for name in space.optimizers)])
    rates = {name: own.learning_rate(name) for name in names}
    return Space(
        optimizers=rates,
        slots={slot.name: tuple(slot.branches(space.activations)) for slot in chosen},
        batch_size=batch_size_bounds(space.batch_size, batch_size, samples),
        learning_rate=space.learning_rate,
    )
