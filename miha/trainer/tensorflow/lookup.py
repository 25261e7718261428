"""Numbers of an optimizer as TensorFlow's graphs read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from miha.trainer.genes.switches import SwitchedNumber


class GraphNumber(SwitchedNumber):
    """A number that a graph looks up once in a step, however many weights it is used for."""

    def __init__(self, options: Sequence[float]) -> None:
        super().__init__(options)
        self._found: dict[tuple[Any, ...], Any] = {}

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """Return the number as TensorFlow wants it."""
        tensor = self.look_up(self.options)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def look_up(self, values: list[float]) -> Any:
        """See `SwitchedNumber`."""
        if tf.executing_eagerly():
            return tf.gather(tf.constant(values, tf.float32), self.index.value)
        key = (tf.compat.v1.get_default_graph(), *values)
        if key not in self._found:
            self._found[key] = tf.gather(tf.constant(values, tf.float32), self.index.value)
        return self._found[key]
