"""What another process needs to build the trainer of a run once more."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from miha.data.opening import Source, open_data
from miha.errors import ArgumentError
from miha.trainer.factory import make_trainer
from miha.trainer.network.compilation import Nameless, nameless, put_back
from miha.trainer.network.copies import from_bytes
from miha.trainer.network.custom_layers import custom_objects
from miha.trainer.protocol import Trainer

LOADED = ("x", "y", "sample_weight", "validation_data")
"""What a user's `load_data` may return."""


@dataclass(frozen=True)
class Blueprint:
    """Builds a trainer that equals the run's.

    Attributes:
        network: The archive of the user's network, as the run's trainer wrote it.
        custom_objects: Classes and functions that Keras does not know by itself.
        nameless: Losses and metrics that the archive cannot hold.
        sources: Training and validation data; None where they are loaded.
        load_data: Returns what `MIHA` was given as data; None where it is sent.
        opening: The other arguments of `open_data`.
        arguments: Those of `make_trainer`.
        settings: Those of Keras, as `keras_settings` returns them.
        environment: Variables that the process needs, as `backend_environment` returns them.
    """

    network: bytes
    custom_objects: Mapping[str, Any]
    nameless: Nameless
    sources: tuple[Source, Source | None] | None
    load_data: Callable[[], Mapping[str, Any]] | None
    opening: Mapping[str, Any]
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    environment: Mapping[str, str]

    def __call__(self) -> Trainer:
        """Build the trainer.

        Raises:
            ArgumentError: `load_data` returns something else than data.
        """
        for name, value in self.settings.items():
            getattr(keras.config, f"set_{name}")(value)
        known = dict(self.custom_objects)
        with warnings.catch_warnings():
            # An optimizer that has not trained yet has no state to load.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            # The user's own network: its Lambda layers are trusted.
            model = from_bytes(self.network, known, safe_mode=False)
        put_back(model, self.nameless)
        training, validation = self._data(model)
        return make_trainer(model, training, validation, **self.arguments)

    def _data(
        self,
        model: keras.Model,
    ) -> tuple[Source, Source | None]:
        if self.sources is not None:
            return self.sources

        loaded = None if self.load_data is None else self.load_data()
        is_data = isinstance(loaded, Mapping) and "x" in loaded
        if loaded is None or not is_data or not set(loaded) <= set(LOADED):
            raise ArgumentError(
                f"`load_data` must return a dictionary of {list(LOADED)}, with 'x' at least. "
                f"Received: {type(loaded)}. Return what MIHA was given."
            )
        return open_data(model, **loaded, **self.opening)


def blueprint(
    model: keras.Model,
    trainer: Trainer,
    sources: tuple[Source, Source | None],
    load_data: Callable[[], Mapping[str, Any]] | None,
    opening: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Blueprint:
    """Return what builds a trainer once more, from one that is not trained yet.

    ``load_data``, ``opening`` and ``arguments`` are those of `Blueprint`.
    """
    snapshot = trainer.snapshot()
    return Blueprint(
        network=trainer.export(snapshot, trainer.genome),
        custom_objects=custom_objects(model),
        nameless=nameless(model),
        sources=sources if load_data is None else None,
        load_data=load_data,
        opening=opening,
        arguments=arguments,
        settings=keras_settings(),
        environment=backend_environment(),
    )


def keras_settings() -> dict[str, Any]:
    """Return the settings of Keras that decide what is computed."""
    return {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def backend_environment() -> dict[str, str]:
    """Return the variables by which another process has the same backend and as many threads.

    How convolutions round depends on how many threads share them.
    """
    backend = keras.config.backend()
    variables = {"KERAS_BACKEND": backend}
    if backend == "tensorflow":
        import tensorflow as tf

        threading = tf.config.threading
        # 0: as the environment says, which other processes have, too.
        if within := threading.get_intra_op_parallelism_threads():
            variables["TF_NUM_INTRAOP_THREADS"] = str(within)
        if between := threading.get_inter_op_parallelism_threads():
            variables["TF_NUM_INTEROP_THREADS"] = str(between)
    elif backend == "torch":
        import torch

        variables["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    return variables
