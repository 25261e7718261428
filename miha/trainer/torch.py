"""The PyTorch trainer: the reference, correct first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch

from miha.data.arrays import map_arrays
from miha.records import Epoch, FinalData, Progress
from miha.trainer.base import KerasTrainer, Kind, Logs, should_continue
from miha.trainer.network.keras_internals import flat_layers
from miha.utils.warn import warn


class TorchTrainer(KerasTrainer):
    """Trains one live Keras network on PyTorch.

    It takes Keras' own `train_step` from batch to batch, as `fit` does on this backend, where
    nothing is compiled: it is exact, and no faster than `fit`.
    """

    number = None

    def __init__(
        self,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # Keras sets it on PyTorch only where the user asked for it.
        if self._network.jit_compile:
            warn(
                f"`jit_compile=True` of {self._network.name!r} is not followed: on PyTorch, MIHA "
                "compiles nothing. The weights are those of `fit` without it."
            )

    @property
    def device(self) -> str:
        """See `Trainer`."""
        name = "CPU"
        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
        return f"PyTorch {torch.__version__} on {name}"

    @property
    def traces(self) -> int:
        """See `Trainer`."""
        return 0

    @classmethod
    def foreign_state(
        cls,
        network: keras.Model,
    ) -> list[str]:
        """See `KerasTrainer`; Keras neither reads nor archives the buffers of PyTorch's modules."""
        found: list[str] = []
        for layer in flat_layers(network):
            found += [f"the buffer {name}" for name, _ in layer.named_buffers()]
        return found

    @classmethod
    def probe(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """See `KerasTrainer`."""
        with torch.no_grad():
            return super().probe(network, batch)

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
        progress: Progress | None = None,
        data: FinalData = "train",
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        # PyTorch's generator is the whole process's: leave it to others as it was.
        with torch.random.fork_rng():
            return super().train(epochs, order, noise, on_epoch, rates, progress, data)

    def _reseed(
        self,
        noise: np.random.Generator,
    ) -> None:
        super()._reseed(noise)
        # A Dropout without a seed of its own draws from PyTorch's generator.
        torch.manual_seed(noise.integers(2**31 - 1))

    def _noise_states(self) -> tuple[np.ndarray, ...]:
        states = [torch.random.get_rng_state()]
        if torch.cuda.is_available():
            states += torch.cuda.get_rng_state_all()
        return tuple(state.numpy() for state in states)

    def _go_to(self, progress: Progress, order: np.random.Generator) -> None:
        super()._go_to(progress, order)
        first, *devices = [torch.from_numpy(state) for state in progress.noise]
        torch.random.set_rng_state(first)
        # A run may go on with fewer devices than it was begun on.
        if len(devices) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(devices)

    def _steps(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        is_training = kind == "train"
        # For layers of PyTorch's own, which go by the module's mode.
        self._network.train(is_training)
        step = self._network.train_step if is_training else self._network.test_step
        logs: Logs = {}
        with torch.set_grad_enabled(is_training):
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                logs = step(self._batch(kind, part))
                if is_training and not should_continue(logs):
                    break
        self._network.train(False)
        return logs

    def _batch(
        self,
        kind: Kind,
        part: np.ndarray,
    ) -> Any:
        places = keras.ops.convert_to_tensor(part, "int64")
        return map_arrays(lambda tensor: tensor[places], self._sources[kind])
