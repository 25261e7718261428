"""The augmentation of images that a user need not name: shifts, and mirrors of photographs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

SHIFT = 0.1
"""The largest shift, as a share of a side: what an image shows stays in it."""

SMALLEST_SIDE = 16
"""Pixels; a shift of a smaller image is next to nothing, or takes what it shows out of sight."""

COLOURS = 3


class RandomShift(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types.
    """Shift each image by whole pixels, and repeat what is at its border.

    XLA compiles it, which it cannot do with Keras' own `RandomTranslation`.

    Args:
        share: The largest shift, as a share of the height and of the width, above 0 and below 1.
    """

    def __init__(
        self,
        share: float = SHIFT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, images: Any, training: bool = False) -> Any:
        """Shift each image of a batch: (count, height, width), with channels or without."""
        if not training:
            return images
        shape = ops.shape(images)
        height, width, *channels = images.shape[1:]
        rows = self._rows(images, height)
        columns = self._rows(images, width)

        # All pixels of a batch in one line: taking whole ones is quick in each backend.
        numbers = ops.arange(shape[0], dtype="int32")
        rows = rows + height * ops.expand_dims(numbers, 1)
        first_of_row = width * ops.expand_dims(rows, 2)
        places = first_of_row + ops.expand_dims(columns, 1)
        pixels = ops.reshape(images, (-1, *channels))
        shifted = ops.take(pixels, places, axis=0)
        return ops.reshape(shifted, shape)

    def get_config(self) -> dict[str, Any]:
        """Return what the layer is made from."""
        return {**super().get_config(), "share": self.share}

    def _rows(self, images: Any, side: int) -> Any:
        """Return which row, or column, of each image each of its rows is taken from."""
        most = max(1, round(self.share * side))
        count = ops.shape(images)[0]
        shifts = keras.random.randint(
            (count, 1),
            minval=-most,
            maxval=most + 1,
            seed=self.seed_generator,
        )
        places = ops.arange(side, dtype="int32") + ops.cast(shifts, "int32")
        return ops.clip(places, 0, side - 1)


def usual_augmentation(x: Any) -> list[Any]:
    """Return the layers that change images without changing what most of them show.

    Args:
        x: A few samples.

    Returns:
        Nothing for what is not one array of images. They have one or three channels, last; images
        without channels are whole numbers, since a series has as many dimensions. Photographs,
        of three channels, are mirrored, too: digits and letters have one as a rule.
    """
    arrays = keras.tree.flatten(x)
    if len(arrays) != 1:
        return []
    images = np.asarray(arrays[0])
    if images.ndim not in (3, 4):
        return []
    channels = images.shape[-1]
    if images.ndim == 4:
        is_image = channels in (1, COLOURS)
    else:
        is_image = images.dtype == np.uint8
    if not is_image or min(images.shape[1:3]) < SMALLEST_SIDE:
        return []
    layers = [RandomShift()]
    if channels == COLOURS:
        layers.append(keras.layers.RandomFlip("horizontal", seed=0))
    return layers
