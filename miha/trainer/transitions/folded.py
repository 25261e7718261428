"""Activations exchanged such that a network's function is kept, as far as it can be.

An exchanged activation is a shock, which a trial of a few epochs punishes. So for each channel
scales a, b and offsets s, c are sought with ``b g(a z + s) + c`` close to ``f(z)`` on a batch of
pre-activations z: a and s are folded into the layer that makes z, b and c into those that read
the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras
import numpy as np

from miha.trainer.genes.activations import Slot, Switch
from miha.trainer.network.layer_graph import Graph, Layer, Surroundings
from miha.trainer.transitions.rescaled import Rescaling

Function = Callable[[np.ndarray], np.ndarray]

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
SHIFTS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Candidates for a, and for s in standard deviations of ``a z``."""

MOST_ROWS = 2048
"""Pre-activations of a channel that are looked at."""

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

    scale: np.ndarray
    shift: np.ndarray
    factor: np.ndarray
    offset: np.ndarray


def exchange(
    network: keras.Model,
    slots: Mapping[str, Slot],
    switches: Mapping[str, Switch],
    wanted: Mapping[str, str],
    x: Any,
) -> None:
    """Exchange activations and keep a network's function, where its graph allows it.

    Where the outputs end up further from what they were than by the plain exchange, that one is
    made.

    Args:
        network: The live network.
        slots: Its activation slots, by name.
        switches: The switches in them.
        wanted: The activation that each slot is to hold.
        x: Some inputs, as tensors.
    """
    names = [name for name in wanted if switches[name].chosen != wanted[name]]
    before, inputs = _watched(network, {name: switches[name] for name in names}, x)
    folds = _folds(network, slots, switches, wanted, inputs)
    for name in names:
        switches[name].choose(wanted[name])
    plain = _distance(network, x, before)
    rescaling = Rescaling(network.optimizer)
    for around, found in folds:
        _fold(around, found, rescaling)
    if not _distance(network, x, before) < plain:
        rescaling.undo()


def unfoldable(network: keras.Model, slots: Mapping[str, Slot]) -> set[str]:
    """Return the slots whose exchange no weights around them can make up for.

    Args:
        network: The live network.
        slots: Its activation slots, by name.
    """
    graph = Graph(network)
    return {name for name, slot in slots.items() if _around(graph, slot) is None}


def _around(graph: Graph, slot: Slot) -> Surroundings | None:
    return None if slot.is_recurrent else graph.around(slot.layer)


def _watched(
    network: keras.Model, switches: Mapping[str, Switch], x: Any
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Return a network's outputs, and the pre-activations that each slot is given, as rows."""
    for switch in switches.values():
        switch.seen = []
    try:
        outputs = _outputs(network, x)
        seen = {name: switch.seen or [] for name, switch in switches.items()}
        once = {name: calls[0] for name, calls in seen.items() if len(calls) == 1}
        return outputs, {name: _rows(value) for name, value in once.items() if _is_known(value)}
    finally:
        for switch in switches.values():
            switch.seen = None


def _outputs(network: keras.Model, x: Any) -> list[np.ndarray]:
    found = keras.tree.flatten(network(x, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(y), "float64") for y in found]


def _is_known(seen: Any) -> bool:
    """Tell whether a tensor has values: inside a loop that a backend compiles it has none."""
    try:
        keras.ops.convert_to_numpy(seen)
    except Exception:  # Each backend has an error of its own.
        return False
    return True


def _rows(seen: Any) -> np.ndarray:
    values = np.asarray(keras.ops.convert_to_numpy(seen), "float32")
    rows = values.reshape(-1, values.shape[-1])
    return rows[:: max(1, len(rows) // MOST_ROWS)]


def _distance(network: keras.Model, x: Any, before: list[np.ndarray]) -> float:
    pairs = zip(_outputs(network, x), before, strict=True)
    return float(sum(np.mean((now - then) ** 2) for now, then in pairs))


def _folds(
    network: keras.Model,
    slots: Mapping[str, Slot],
    switches: Mapping[str, Switch],
    wanted: Mapping[str, str],
    inputs: Mapping[str, np.ndarray],
) -> list[tuple[Surroundings, Fit]]:
    """Return what is to be folded where, for every slot whose surroundings allow it."""
    graph, found = Graph(network), []
    for name, rows in inputs.items():
        around = _around(graph, slots[name])
        if around is not None:
            old, new = (_numpy(switches[name], n) for n in (switches[name].chosen, wanted[name]))
            found.append((around, fitted(old, new, rows, *_freedoms(around))))
    return found


def _numpy(switch: Switch, name: str) -> Function:
    function = switch.functions[switch.options.index(name)]
    return lambda z: np.asarray(keras.ops.convert_to_numpy(function(keras.ops.array(z))))


def _freedoms(around: Surroundings) -> tuple[bool, bool]:
    """Tell whether the source can shift, and whether every reader can take an offset."""
    source, *readers = (_has_offset(layer) for layer in (around.source, *around.readers))
    return source, all(readers)


def _has_offset(layer: Layer) -> bool:
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.center and layer.scale)
    return bool(layer.use_bias)


def fitted(old: Function, new: Function, z: np.ndarray, shifts: bool, offsets: bool) -> Fit:
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
    target, spread = old(z), z.std(0) + 1e-6
    best, least = None, np.full(z.shape[1], np.inf)
    # The plain exchange first: nothing else is taken where nothing else is better.
    candidates = sorted(
        product(SCALES, SHIFTS if shifts else (0.0,)), key=lambda c: c != (1.0, 0.0)
    )
    for a, s in candidates:
        found = _least_squares(target, new(a * z + s * a * spread), offsets)
        values = np.stack([np.full_like(least, a), s * a * spread, *found[:2]])
        is_better = found[2] < 0.999 * least
        best = values if best is None else np.where(is_better, values, best)
        least = np.where(is_better, found[2], least)
    return Fit(*np.asarray(best, "float32"))


def _least_squares(
    target: np.ndarray, values: np.ndarray, offsets: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return b, c and the mean squared error of ``b values + c`` as a target, for each channel."""
    means = (values.mean(0), target.mean(0)) if offsets else (0.0, 0.0)
    centred, wanted = values - means[0], target - means[1]
    factor = (centred * wanted).mean(0) / ((centred**2).mean(0) + 1e-12)
    factor = np.clip(factor, 1 / LARGEST, LARGEST)
    error = ((factor * centred - wanted) ** 2).mean(0)
    return factor, means[1] - factor * means[0], error


def _fold(around: Surroundings, fit: Fit, rescaling: Rescaling) -> None:
    """Fold the scales and offsets of an activation into the layers around it."""
    _scale_outputs(around.source, fit.scale, fit.shift, rescaling)
    for reader in around.readers:
        _scale_inputs(reader, fit.factor, fit.offset, rescaling)


def _scale_outputs(
    layer: Layer, scale: np.ndarray, shift: np.ndarray, rescaling: Rescaling
) -> None:
    """Let a layer give ``scale * output + shift``."""
    if isinstance(layer, keras.layers.BatchNormalization):
        weight, offset = layer.gamma, layer.beta
    else:
        weight, offset = layer.kernel, layer.bias if layer.use_bias else None
    rescaling.apply(weight, scale)
    if offset is not None:
        rescaling.apply(offset, scale, shift)


def _scale_inputs(
    layer: Layer, factor: np.ndarray, offset: np.ndarray, rescaling: Rescaling
) -> None:
    """Let a layer compute from x what it computed from ``factor * x + offset``."""
    if isinstance(layer, keras.layers.BatchNormalization):
        rescaling.apply(layer.moving_mean, 1 / factor, -offset / factor)
        rescaling.apply(layer.moving_variance, 1 / factor**2)
        return
    shape, channels = tuple(layer.kernel.shape), len(factor)
    # After a Flatten, the channels are the fastest of a Dense layer's inputs.
    parts = (-1, channels, shape[-1])
    if layer.use_bias:
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel)).reshape(parts)
        rescaling.apply(layer.bias, np.float32(1), np.einsum("pco,c->o", kernel, offset))
    spread = np.broadcast_to(factor[:, None], (np.prod(shape) // channels // shape[-1], *parts[1:]))
    rescaling.apply(layer.kernel, spread.reshape(shape))
