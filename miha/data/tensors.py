"""Arrays as tensors of the backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from miha.errors import ArgumentError


def to_tensor(array: np.ndarray) -> Any:
    """Return an array as a tensor; text is one on TensorFlow only.

    Raises:
        ArgumentError: The array holds text, and the backend has none.
    """
    if array.dtype.kind not in "SU":
        return keras.ops.convert_to_tensor(array)
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            "Only TensorFlow trains networks that are given text. Received: an array of dtype "
            f"{array.dtype} on the backend {keras.backend.backend()!r}. Turn text into numbers "
            "first, with the network's `TextVectorization` or `StringLookup`, say."
        )
    import tensorflow as tf

    return tf.convert_to_tensor(array)
