"""Switches: what a compiled step reads from a variable, so that another choice compiles nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras.ops import convert_to_numpy


class Switch:
    """One of a few options, chosen at run time.

    Args:
        options: What there is to choose from; the first is chosen to begin with.

    Attributes:
        traced: The option that a step is traced for alone; None: it is read at run time.
    """

    def __init__(self, options: Sequence[Any]) -> None:
        self.options = list(options)
        self.traced: Any = None
        self.index = keras.Variable(
            0,
            dtype="int32",
            trainable=False,
            name="choice",
        )

    @property
    def chosen(self) -> Any:
        """The chosen option, read from the device."""
        place = convert_to_numpy(self.index)
        return self.options[int(place)]

    def choose(self, option: Any) -> None:
        """Choose an option."""
        self.index.assign(self.options.index(option))


class SwitchedNumber(Switch):
    """A number of an optimizer, chosen at run time: it stands where Keras expects a float."""

    def __jax_array__(self) -> Any:
        """Return the number as JAX reads it."""
        return self.look_up()

    def look_up(self) -> Any:
        """Return the chosen number in single precision."""
        table = keras.ops.convert_to_tensor(self.options, "float32")
        return keras.ops.take(table, self.index)
