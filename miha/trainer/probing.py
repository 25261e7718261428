"""One step on the first samples: what is logged, and whether network and data fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import Model

from miha.data.arrays import Data, map_arrays
from miha.data.feed import to_tensor
from miha.data.stream import Stream
from miha.errors import ArgumentError, first_line
from miha.records import Mode
from miha.trainer.base import KerasTrainer, Logs, spread
from miha.trainer.network import copies
from miha.trainer.network.keras_internals import compile_settings, metric_direction
from miha.trainer.network.survey import Survey
from miha.utils.suggest import did_you_mean

Batch = tuple[Any, ...]
"""Inputs, targets and weights of a few samples."""

Metrics = dict[str, Mode | None]
"""Names of logged values, and the direction in which each is better."""


def first_batch(source: Data | Stream) -> Batch:
    """Return a few samples, as the tensors that a step takes."""
    few = source.few()
    if keras.backend.backend() != "tensorflow":
        _check_numbers(few.y)
    parts = (few.x, few.y, few.sample_weight)
    return tuple(map_arrays(to_tensor, part) for part in parts)


def probe_evaluation(
    network: Model,
    batch: Batch,
    kind: type[KerasTrainer],
    place: str = "",
) -> Metrics:
    """Take a test step, and leave the network as it was.

    Args:
        network: Built and compiled.
        batch: The first samples.
        kind: Takes the step on its backend.
        place: Where the samples are from, for messages; empty for the training data.

    Raises:
        ArgumentError: Network and data do not fit together.
    """
    try:
        with copies.untouched(network):
            logs = kind.probe(network, keras.utils.pack_x_y_sample_weight(*batch))
    except Exception as error:
        raise _explained(network, batch, place, error) from error
    network.reset_metrics()
    return _directions(network, logs)


def probe_training(
    survey: Survey,
    batch: Batch,
    kind: type[KerasTrainer],
) -> Metrics:
    """Take a training step of the user's own, on a copy that is thrown away.

    Raises:
        ArgumentError: Network and data do not fit together.
    """
    network = survey.copy().network
    try:
        logs = kind.probe_training(network, keras.utils.pack_x_y_sample_weight(*batch))
    except Exception as error:
        raise _explained(network, batch, "", error) from error
    return _directions(network, logs)


def has_own(network: Model, *methods: str) -> bool:
    """Return whether a network has a method of the user's, and not Keras' own."""
    for name in methods:
        if getattr(type(network), name) is not getattr(Model, name):
            return True
    return False


def has_no_test_step(network: Model, batch: Batch) -> bool:
    """Return whether a network trains by a step of the user's, and has none to be evaluated by.

    What it has learnt is measured neither by a compiled loss nor by `compute_loss`, `test_step`
    or `add_loss`. Keras raises then; on JAX it logs a loss of zero.
    """
    if not has_own(network, "train_step") or has_own(network, "test_step", "compute_loss"):
        return False
    if compile_settings(network).get("loss") is not None:
        return False
    with copies.untouched(network):
        network(batch[0], training=False)
    return not network.losses


def _directions(network: Model, logs: Logs) -> Metrics:
    # A vector (the F1 score of each class, say) can be logged but not monitored.
    metrics = {}
    for name, value in spread(logs).items():
        if np.ndim(value) == 0:
            metrics[name] = _direction(network, name)
    return metrics


def _direction(
    network: Model,
    name: str,
) -> Mode | None:
    """Return the direction in which a logged value is better, as Keras' callbacks find it."""
    if name.endswith("loss"):
        return "min"

    metrics = []
    for metric in network.metrics:
        metrics += [metric, *getattr(metric, "metrics", ())]

    # With several outputs, a metric is logged under the output's name and its own.
    named = [m for m in metrics if f"_{name}".endswith(f"_{m.name}")]
    named.sort(key=lambda metric: len(metric.name), reverse=True)
    closest = named[0] if named else None
    modes: dict[Any, Mode] = {"up": "max", "down": "min"}
    return modes.get(metric_direction(closest))


def _explained(
    network: Model,
    batch: Batch,
    place: str,
    error: Exception,
) -> ArgumentError:
    """Return an error that says what a step on some samples has failed by."""
    if isinstance(error, ArgumentError):
        return error
    x, y, sample_weight = batch
    given = f"the first samples{place}, of shapes {_shapes(batch)}"
    try:
        _check_numbers(y)
        with copies.untouched(network):
            output = network(x, training=False)
        _check_keys(network, f"targets{place}", y, output)
        _check_keys(network, f"sample weights{place}", sample_weight, output)
    except ArgumentError as text:
        return text
    except Exception:
        cure = "Check the shapes of `x`, and that the network leaves the batch size open."
    else:
        cure = _cure_of_targets(network, y, output)
    return ArgumentError(
        f"The network must accept the data. Received: {given}, on which {network.name!r} fails: "
        f"{first_line(error)} {cure}"
    )


def _check_numbers(y: Any) -> None:
    for target in keras.tree.flatten(y):
        dtype = np.asarray(target).dtype
        if target is not None and dtype.kind in "OSU":
            raise ArgumentError(
                f"Labels must be numbers. Received: text, such as {_first_text(target)!r}. "
                "Number the classes from 0: np.unique(y, return_inverse=True)[1]."
            )


def _check_keys(
    network: Model,
    what: str,
    given: Any,
    output: Any,
) -> None:
    """Raise if a dictionary has other keys than the outputs have names, of which a step failed.

    Args:
        network: It has failed.
        what: What is in the dictionary, for the message.
        given: The dictionary; anything else is passed over.
        output: What the network returns.
    """
    if not isinstance(given, Mapping) or not keras.tree.is_nested(output):
        return
    is_named = isinstance(output, Mapping)
    names = list(output) if is_named else list(getattr(network, "output_names", None) or ())
    loss = compile_settings(network).get("loss")
    needed = set(names)
    # As in `fit`, an output without a loss needs no targets.
    if is_named and isinstance(loss, Mapping):
        needed = {name for name in names if loss.get(name) is not None}
    odd = [key for key in given if key not in names]
    if not names or not (odd or needed - set(given)):
        return
    hint = did_you_mean(odd[0], names) if odd else ""
    raise ArgumentError(
        f"A dictionary of {what} must have the names of the network's outputs as its keys. "
        f"Received: the keys {list(given)}, and outputs {names}.{hint} Give those names, each once."
    )


def _first_text(target: Any) -> str:
    first = np.asarray(target).flat[0]
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def _cure_of_targets(
    network: Model,
    y: Any,
    output: Any,
) -> str:
    """Return what to do where a network takes its inputs, and its loss not the targets."""
    outputs = _shapes(output)
    targets = _shapes(y)
    if not targets:
        return "There are no targets: give `y`, or a network whose `compute_loss` needs none."
    usual = (
        f"The output is of shape {outputs}, the targets of {targets}: check the shape of `y`, the "
        "output layer, and what loss and metrics take."
    )
    if len(outputs) != 1 or len(targets) != 1:
        return usual
    name = _loss_name(network)
    if name.startswith("sparse_") and targets == outputs:
        return (
            "The targets are one-hot: compile with 'categorical_crossentropy', or give labels, "
            "y.argmax(-1)."
        )
    shape_of_labels = outputs[0][:-1]
    are_labels = targets[0] in (shape_of_labels, (*shape_of_labels, 1))
    if name.startswith("categorical_") and are_labels:
        return (
            "The targets are labels: compile with 'sparse_categorical_crossentropy', or give "
            "one-hot ones, keras.utils.to_categorical(y)."
        )
    return usual


def _loss_name(network: Model) -> str:
    """Return the name of a network's one loss; empty: it has another number."""
    loss = compile_settings(network).get("loss")
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", "")
    return str(name)


def _shapes(structure: Any) -> list[tuple[int, ...]]:
    leaves = keras.tree.flatten(structure)
    return [tuple(leaf.shape) for leaf in leaves if leaf is not None]
