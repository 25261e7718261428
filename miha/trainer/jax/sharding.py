"""Batches of JAX shared out to several devices, as `keras.distribution.DataParallel` does."""

from __future__ import annotations

from typing import Any

import jax
import keras


class Sharding:
    """Where values lie: data and state whole on every device, a batch in equal parts.

    Args:
        distribution: The user's `keras.distribution.DataParallel`.
    """

    def __init__(self, distribution: Any) -> None:
        self.devices = int(distribution.num_model_replicas)
        self._distribution = distribution
        self.whole = keras.distribution.TensorLayout([], distribution.device_mesh).backend_layout

    def spread(self, data: Any) -> Any:
        """Bring a structure of arrays to every device."""
        return jax.device_put(data, self.whole)

    def share_out(self, batch: Any) -> Any:
        """Return a batch in equal parts, in a compiled step or outside.

        One that cannot be parted evenly, as the last of an epoch, every device has whole.
        """
        return jax.tree.map(self._share_out, batch)

    def _share_out(self, array: Any) -> Any:
        if len(array) % self.devices:
            return array
        layout = self._distribution.get_data_layout(array.shape)
        return keras.distribution.distribute_tensor(array, layout)
