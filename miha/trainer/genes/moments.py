"""Moments that mean the same in two optimizers, carried from one to the other."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

ALIKE = (keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.Nadam)
"""Optimizers that keep the same running means of gradients and of their squares."""


def carry(before: Any, after: Any) -> None:
    """Let a fresh optimizer go on with another one's moments, where they mean the same.

    Args:
        before: The optimizer that has trained, without wrappers.
        after: The one that takes over, likewise; both built for the same variables.
    """
    if not (_is_alike(before) and _is_alike(after)) or before is after:
        return
    # All batches: `iterations` counts those whose gradients are not accumulated alone.
    after._iterations.assign(before._iterations)
    for name in ("_momentums", "_velocities", "_model_variables_moving_average"):
        pairs = zip(getattr(before, name, ()), getattr(after, name, ()), strict=False)
        for source, target in pairs:
            target.assign(source)
    # What AMSGrad holds is the largest of the velocities so far: this one, to begin with.
    for source, target in zip(
        before._velocities, getattr(after, "_velocity_hats", ()), strict=False
    ):
        target.assign(source)
    if isinstance(after, keras.optimizers.Nadam):
        after._u_product.assign(_product(int(keras.ops.convert_to_numpy(after.iterations))))


def _is_alike(optimizer: Any) -> bool:
    """Tell whether an optimizer is one of `ALIKE`: Keras' own, of a class for each backend."""
    is_keras = type(optimizer).__module__.partition(".")[0] == "keras"
    return is_keras and isinstance(optimizer, ALIKE)


def _product(steps: int) -> float:
    """Return the product of Nadam's momentum schedule over so many steps, at its default beta_1.

    Source: T. Dozat, "Incorporating Nesterov Momentum into Adam" (2016), with the schedule that
    Keras has.
    """
    return float(np.prod(0.9 * (1 - 0.5 * 0.96 ** np.arange(1, steps + 1))))
