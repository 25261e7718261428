"""Exchange activations and keep a network's function, as far as that is possible.

An exchanged activation is a shock, which a trial of a few epochs punishes. So for each channel
a search finds scales a, b and offsets s, c with ``b g(a z + s) + c`` close to ``f(z)`` on a batch
of pre-activations z. The layer that makes z takes up a and s, and those that read the activation
take up b and c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras
import numpy as np
from keras import Model, layers
from keras.ops import convert_to_numpy

from miha.trainer.genes.activations import ActivationSwitch, Slot
from miha.trainer.network.layer_graph import Graph, Layer, Surroundings
from miha.trainer.transitions.rescaled import Rescaling

Array = np.ndarray
Function = Callable[[Array], Array]
Slots = Mapping[str, Slot]
Switches = Mapping[str, ActivationSwitch]

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
SHIFTS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Candidates for a, and for s in standard deviations of ``a z``."""

MOST_ROWS = 2048
"""Pre-activations of a channel that are read."""

LARGEST = 10.0
"""The largest b, and its reciprocal the smallest: a network with others hardly trains."""


@dataclass(frozen=True)
class Fit:
    """What makes one activation like another, a value for each channel.

    Attributes:
        scale: a, positive.
        shift: s.
        factor: b, positive.
        offset: c.
    """

    scale: Array
    shift: Array
    factor: Array
    offset: Array


def exchange(
    network: Model,
    slots: Slots,
    switches: Switches,
    wanted: Mapping[str, str],
    x: Any,
) -> None:
    """Exchange activations and keep a network's function, where its graph allows it.

    The plain exchange is made where it keeps the outputs closer to what they were.

    Args:
        network: The live network.
        slots: Its activation slots, by name.
        switches: The switches in them.
        wanted: The activation that each slot is to hold.
        x: Some inputs, as tensors.
    """
    changing = {}
    for name, activation in wanted.items():
        if switches[name].chosen != activation:
            changing[name] = switches[name]
    before, inputs = _watched(network, changing, x)
    folds = _folds(network, slots, switches, wanted, inputs)

    for name, switch in changing.items():
        switch.choose(wanted[name])
    plain = _distance(network, x, before)

    rescaling = Rescaling(network.optimizer)
    for around, fit in folds:
        _fold(around, fit, rescaling)
    # A distance that is not a number is not closer either.
    is_closer = _distance(network, x, before) < plain
    if not is_closer:
        rescaling.undo()


def unfoldable(
    network: Model,
    slots: Slots,
) -> set[str]:
    """Return the slots whose exchange no weights around them can make up for."""
    graph = Graph(network)
    found = set()
    for name, slot in slots.items():
        if _around(graph, slot) is None:
            found.add(name)
    return found


def _around(
    graph: Graph,
    slot: Slot,
) -> Surroundings | None:
    return None if slot.is_recurrent else graph.around(slot.layer)


def _watched(
    network: Model,
    switches: Switches,
    x: Any,
) -> tuple[list[Array], dict[str, Array]]:
    """Return a network's outputs, and the pre-activations that each slot is given, as rows."""
    for switch in switches.values():
        switch.seen = []

    try:
        outputs = _outputs(network, x)
        rows = {}
        for name, switch in switches.items():
            seen = switch.seen or []
            # A layer that is called twice has no one input to fit.
            if len(seen) == 1 and _has_values(seen[0]):
                rows[name] = _rows(seen[0])
        return outputs, rows
    finally:
        for switch in switches.values():
            switch.seen = None


def _outputs(
    network: Model,
    x: Any,
) -> list[Array]:
    outputs = keras.tree.flatten(network(x, training=False))
    return [_array(output, "float64") for output in outputs]


def _array(
    tensor: Any,
    dtype: str | None = None,
) -> Array:
    return np.asarray(convert_to_numpy(tensor), dtype)


def _has_values(tensor: Any) -> bool:
    """Return whether a tensor has values: inside a loop that a backend compiles it has none."""
    try:
        convert_to_numpy(tensor)
    except Exception:  # Each backend has an error of its own.
        return False
    return True


def _rows(tensor: Any) -> Array:
    values = _array(tensor, "float32")
    rows = values.reshape(-1, values.shape[-1])
    stride = max(1, len(rows) // MOST_ROWS)
    return rows[::stride]


def _distance(
    network: Model,
    x: Any,
    before: list[Array],
) -> float:
    outputs = _outputs(network, x)
    total = 0.0
    for now, then in zip(outputs, before, strict=True):
        total += np.mean((now - then) ** 2)
    return float(total)


def _folds(
    network: Model,
    slots: Slots,
    switches: Switches,
    wanted: Mapping[str, str],
    inputs: Mapping[str, Array],
) -> list[tuple[Surroundings, Fit]]:
    """Return what to fold where, for every slot whose surroundings allow it."""
    graph = Graph(network)
    found = []
    for name, rows in inputs.items():
        around = _around(graph, slots[name])
        if around is None:
            continue
        switch = switches[name]
        old = _on_arrays(switch, switch.chosen)
        new = _on_arrays(switch, wanted[name])
        # A layer without a bias cannot shift what it gives, nor make up for a shift of inputs.
        shifts = _has_offset(around.source)
        offsets = all(_has_offset(reader) for reader in around.readers)
        fit = fitted(old, new, rows, shifts, offsets)
        found.append((around, fit))
    return found


def _on_arrays(switch: ActivationSwitch, name: str) -> Function:
    """Return an activation as a function of arrays."""
    function = switch.functions[switch.options.index(name)]

    return lambda z: _array(function(keras.ops.array(z)))


def _has_offset(layer: Layer) -> bool:
    if isinstance(layer, layers.BatchNormalization):
        return bool(layer.center and layer.scale)
    return bool(layer.use_bias)


def fitted(
    old: Function,
    new: Function,
    z: Array,
    shifts: bool,
    offsets: bool,
) -> Fit:
    """Make one activation like another on a batch: a and s by search, b and c by least squares.

    Args:
        old: The activation f.
        new: The activation g.
        z: Pre-activations, (rows, channels).
        shifts: Whether s may differ from 0.
        offsets: Whether c may.

    Returns:
        The best of each channel.
    """
    target = old(z)
    spread = z.std(0) + 1e-6
    # The plain exchange first: nothing else is taken where nothing else is better.
    deviations_tried = SHIFTS if shifts else (0.0,)
    candidates = list(product(SCALES, deviations_tried))
    candidates.sort(key=lambda candidate: candidate != (1.0, 0.0))

    best = None
    least = np.full(z.shape[1], np.inf)
    for scale, deviations in candidates:
        shift = deviations * scale * spread
        values = new(scale * z + shift)
        factor, offset, error = _least_squares(target, values, offsets)
        scales = np.full_like(least, scale)
        fit = np.stack([scales, shift, factor, offset])
        is_better = error < 0.999 * least
        best = fit if best is None else np.where(is_better, fit, best)
        least = np.where(is_better, error, least)
    return Fit(*np.asarray(best, "float32"))


def _least_squares(
    target: Array,
    values: Array,
    offsets: bool,
) -> tuple[Array, Array, Array]:
    """Return b, c and the mean squared error of ``b values + c`` as a target, for each channel."""
    mean = values.mean(0) if offsets else 0.0
    target_mean = target.mean(0) if offsets else 0.0
    centred = values - mean
    wanted = target - target_mean

    product_mean = (centred * wanted).mean(0)
    square_mean = (centred**2).mean(0)
    factor = product_mean / (square_mean + 1e-12)
    factor = np.clip(factor, 1 / LARGEST, LARGEST)
    offset = target_mean - factor * mean

    difference = factor * centred - wanted
    return factor, offset, (difference**2).mean(0)


def _fold(
    around: Surroundings,
    fit: Fit,
    rescaling: Rescaling,
) -> None:
    """Fold the scales and offsets of an activation into the layers around it."""
    _scale_outputs(around.source, fit.scale, fit.shift, rescaling)
    for reader in around.readers:
        _scale_inputs(reader, fit.factor, fit.offset, rescaling)


def _scale_outputs(
    layer: Layer,
    scale: Array,
    shift: Array,
    rescaling: Rescaling,
) -> None:
    """Let a layer give ``scale * output + shift``."""
    if isinstance(layer, layers.BatchNormalization):
        weight = layer.gamma
        offset = layer.beta
    else:
        weight = layer.kernel
        offset = layer.bias if layer.use_bias else None

    rescaling.apply(weight, scale)
    if offset is not None:
        rescaling.apply(offset, scale, shift)


def _scale_inputs(
    layer: Layer,
    factor: Array,
    offset: Array,
    rescaling: Rescaling,
) -> None:
    """Let a layer compute from x what it computed from ``factor * x + offset``."""
    if isinstance(layer, layers.BatchNormalization):
        rescaling.apply(layer.moving_mean, 1 / factor, -offset / factor)
        rescaling.apply(layer.moving_variance, 1 / factor**2)
        return

    # After a Flatten, the channels are the fastest of a Dense layer's inputs.
    shape = tuple(layer.kernel.shape)
    channels = len(factor)
    outputs = shape[-1]
    repeats = np.prod(shape) // channels // outputs

    if layer.use_bias:
        kernel = _array(layer.kernel).reshape(-1, channels, outputs)
        shift = np.einsum("pco,c->o", kernel, offset)
        rescaling.apply(layer.bias, np.float32(1), shift)

    parts = (repeats, channels, outputs)
    scale = np.broadcast_to(factor[:, None], parts)
    rescaling.apply(layer.kernel, scale.reshape(shape))
