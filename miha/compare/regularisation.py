"""Noise on inputs and augmentation of images, for networks that `fit` trains.

MIHA trains with both without a layer for them. Other strategies train the network behind a layer
that does the same, in training alone, with the same weights.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from miha.compare.configurations import Regularisation, noise_of
from miha.errors import ArgumentError
from miha.records import Genome
from miha.space import AUGMENTED_SHARES, SearchSpace
from miha.trainer.genes.images import usual_augmentation
from miha.trainer.genes.inputs import Augmentation, NoisyInput, noisy_inputs
from miha.trainer.network.keras_internals import compile_settings

FEW = 16
"""Samples that tell whether inputs are images."""


def regularisation_of(
    space: SearchSpace,
    x: Any,
    y: Any,
) -> Regularisation:
    """Return what of a space's noise and augmentation there is a use for, as MIHA decides it.

    Args:
        space: What the user lets each gene become.
        x: Training inputs.
        y: Training targets: with one for each pixel, images are not shifted.

    Raises:
        ArgumentError: The space names layers of the user's own that augment.
    """
    if space.augmentation != "auto" and len(space.augmentation):
        raise ArgumentError(
            "A comparison augments images as MIHA does by default, or not at all. Received: layers "
            "in `space.augmentation`. Put them into the network that `build_model` returns, and "
            "give SearchSpace(augmentation=())."
        )
    noise: tuple[float, ...] = ()
    if any(space.input_noise) and _noisy(x):
        # A network to begin with has none.
        noise = tuple(dict.fromkeys((0.0, *space.input_noise)))

    shares: tuple[float, ...] = ()
    has_classes = np.ndim(y) <= 2
    if space.augmentation == "auto" and has_classes and usual_augmentation(x[:FEW]):
        shares = AUGMENTED_SHARES
    return Regularisation(noise, shares)


def regularised(
    model: Any,
    genome: Genome,
    x: Any,
) -> Any:
    """Return a network that trains with the noise and the augmentation of a genome.

    Args:
        model: A compiled network.
        genome: Its hyperparameters.
        x: Training inputs, whose spread is the unit of noise.

    Returns:
        The network itself where there is nothing to do; else one around it, with its weights.
    """
    noise = noise_of(genome)
    share = genome.augmentation or 0.0
    if not noise and not share:
        return model
    inputs = keras.Input(x.shape[1:], dtype=_dtype(x))
    changed = _ChangedInputs(x, noise, share)(inputs)
    around = keras.Model(inputs, model(changed))
    settings = compile_settings(model)
    around.compile(**settings)
    return around


class _ChangedInputs(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types.
    """Changes inputs in training.

    Args:
        x: All training inputs.
        noise: In standard deviations of each feature.
        share: Of the images, those that are changed.
    """

    def __init__(
        self,
        x: Any,
        noise: float,
        share: float,
    ) -> None:
        super().__init__(dtype=_dtype(x))
        self.noise = noise
        self.share = share
        self.seed_generator = keras.random.SeedGenerator()
        self._noisy = _noisy(x) if noise else []
        layers = usual_augmentation(x[:FEW])
        self._augmentation = Augmentation(tuple(layers)) if share else None

    def call(self, values: Any, training: bool = False) -> Any:
        """Return inputs as they are, or changed."""
        if not training:
            return values
        if self._augmentation is not None:
            values = self._augmentation.apply(values, self.share, self.seed_generator)
        for each in self._noisy:
            values = each.add(values, self.noise, self.seed_generator)
        return values

    def compute_output_spec(self, values: Any, training: bool = False) -> Any:
        """Return what comes out: nothing has another shape."""
        return keras.KerasTensor(values.shape, dtype=values.dtype)


def _noisy(x: Any) -> list[NoisyInput]:
    return noisy_inputs(x, padding=None)


def _dtype(x: Any) -> str:
    """Return the type in which a network takes inputs: Keras casts floats to its own."""
    return str(keras.config.floatx() if x.dtype.kind == "f" else x.dtype)
