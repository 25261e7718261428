"""Whether a value is better small or large."""

from __future__ import annotations

from miha.errors import ArgumentError
from miha.records import Mode

LARGE = ("acc", "auc", "precision", "recall", "f1", "iou", "r2", "psnr", "ssim")
"""Parts of the names of values that are better large."""


def direction(name: str, value: str, wish: str) -> Mode:
    """Return how a value is better.

    Args:
        name: Of the argument that wishes, for the error.
        value: The value's name, e.g. ``"val_accuracy"``.
        wish: ``"min"``, ``"max"``, or ``"auto"``: by the value's name.

    Raises:
        ArgumentError: The wish is none of those.
    """
    if wish == "auto":
        return "max" if any(part in value.lower() for part in LARGE) else "min"
    if wish == "min":
        return "min"
    if wish == "max":
        return "max"
    raise ArgumentError(
        f"`{name}` must be 'min', 'max' or 'auto'. Received: {name}={wish!r}. Choose one."
    )
