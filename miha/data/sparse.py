"""Sparse matrices and tensors, which are trained dense; ragged ones, which are not trained."""

from __future__ import annotations

import math
from typing import Any

from miha.errors import ArgumentError

BYTES = 4
"""Bytes of a value on the device, where an array does not say how many it takes."""


def as_dense(values: Any) -> Any:
    """Return a sparse matrix of SciPy, or a sparse tensor of TensorFlow, as a dense array.

    `fit` multiplies the sparse one: the result is the same, but for rounding.

    Raises:
        ArgumentError: It is a ragged tensor.
    """
    package, *_ = type(values).__module__.split(".")
    kind = type(values).__name__
    if package == "scipy":
        return values.toarray()
    if package != "tensorflow":
        return values

    if kind.startswith("RaggedTensor"):
        raise ragged_refusal(f"a RaggedTensor of shape {values.shape}")
    if kind == "SparseTensor":
        import tensorflow as tf

        return tf.sparse.to_dense(tf.sparse.reorder(values))
    return values


def ragged_refusal(given: str) -> ArgumentError:
    """Return why ragged tensors are not trained."""
    return ArgumentError(
        "Tensors must be dense: `fit` trains a ragged one too, where each layer takes it, which "
        f"recurrent ones do not. Received: {given}. Pad it with 0, `x.to_tensor()`, or in a "
        "dataset of batches `dataset.map(lambda x, y: (x.to_tensor(), y))`. Let the network mask "
        "what is padded, `Embedding(mask_zero=True)` or `Masking`: it learns the same."
    )


def size_of(values: Any) -> int:
    """Return the bytes of an array when it is dense; what is not one yet is small enough."""
    if not hasattr(values, "shape"):
        return 0
    # Frames have none, and that of a sparse matrix would be of what it is not trained as.
    size = getattr(values, "nbytes", None)
    if size is None and None in values.shape:
        # A ragged tensor, which is refused.
        return 0
    if size is None:
        size = math.prod(values.shape) * BYTES
    return int(size)
