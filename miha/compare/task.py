"""What a strategy is given: a network family, its data, its start and its budget."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from miha.compare.configurations import ConfigurationSpace
from miha.compare.meter import Meter, Pick
from miha.errors import ArgumentError
from miha.records import Genome, Mode

Model = Any
"""A `keras.Model`: Keras has no types."""

BuildModel = Callable[[Genome], Model]
"""From a genome to a compiled network."""

Pair = tuple[Any, Any]

Data = tuple[Pair, Pair, Pair]
"""Training, validation and test data, each ``(x, y)``."""


@dataclass(frozen=True)
class Task:
    """One cell of a comparison, as a strategy sees it: there are no test data in it.

    Attributes:
        build_model: The user's function.
        x: Training inputs.
        y: Training targets.
        validation_data: ``(x, y)``.
        space: What a configuration may be.
        start: The configuration to begin with, where a strategy can be told one.
        epochs: Epochs to train in all.
        seed: The pair's: strategies with the same seed begin alike.
        monitor: Name of the value that decides, e.g. ``"val_loss"``.
        mode: Whether small or large values of it are better.
        time_limit: Seconds; None: any number.
        folder: For a strategy's own files; deleted afterwards.
        meter: Counts the trained epochs.
    """

    build_model: BuildModel
    x: Any
    y: Any
    validation_data: Pair
    space: ConfigurationSpace
    start: Genome
    epochs: int
    seed: int
    monitor: str
    mode: Mode
    time_limit: float | None
    folder: Path
    meter: Meter

    def network(
        self,
        genome: Genome,
        trial: int = 0,
    ) -> Model:
        """Build a network that nobody counts: for strategies that train without `fit`.

        They take tickets from `meter` and record epochs in it themselves.

        Args:
            genome: Its hyperparameters.
            trial: Decides, with the seed, its first weights and the order of samples.
        """
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(seed_of(self.seed, trial))
        return self.build_model(genome)

    def build(
        self,
        genome: Genome,
        trial: int = 0,
    ) -> Model:
        """Build a network that counts its epochs when its `fit` is called.

        It trains with the noise and the augmentation of its genome.
        """
        from miha.compare.regularisation import regularised

        model = self.network(genome, trial)
        model = regularised(model, genome, self.x)
        return count_epochs(model, self.meter, self.monitor, genome)

    def arguments(self, genome: Genome) -> dict[str, Any]:
        """Return the arguments of `fit` that all strategies share, without epochs."""
        return {
            "x": self.x,
            "y": self.y,
            "validation_data": self.validation_data,
            "batch_size": min(genome.batch_size, len(self.x)),
            "verbose": 0,
        }

    def best(self) -> Model:
        """Return the network with the best monitored value of all that `build` built."""
        pick = self.pick()
        model = self.network(pick.genome)
        model.set_weights(pick.weights)
        return model

    def pick(self) -> Pick:
        """Return values and hyperparameters of that network."""
        return self.meter.best()

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the generator of the draws for one purpose."""
        number = zlib.crc32(purpose.encode())
        return np.random.default_rng([self.seed, number])

    def part(self, epochs: int, name: str) -> Task:
        """Return a task that ends after the first of its epochs and keeps its own best network."""
        limit = min(epochs, self.meter.limit)
        meter = replace(self.meter, limit=limit, pick=name)
        return replace(self, epochs=epochs, meter=meter)

    def within(self, folder: Path) -> Task:
        """Return the task in another folder, where its meter counts."""
        meter = replace(self.meter, folder=folder)
        return replace(self, folder=folder, meter=meter)


def count_epochs(
    model: Any,
    meter: Meter,
    monitor: str,
    genome: Genome,
) -> Any:
    """Make a network count its epochs, whoever calls its `fit`; return it."""
    import keras

    def on_epoch_begin(
        epoch: int,
        logs: Mapping[str, Any],
    ) -> None:
        meter.take()

    def on_epoch_end(
        epoch: int,
        logs: Mapping[str, Any],
    ) -> None:
        if monitor not in logs:
            raise ArgumentError(
                f"`monitor` must be what `fit` logs: {sorted(logs)}. Received: "
                f"monitor={monitor!r}. Choose one of them, or compile the network with that metric."
            )
        value = logs[monitor]
        meter.offer(value, genome, model.get_weights)
        # Recorded last: as soon as it is, other processes may end this one.
        meter.record(value)
        if meter.is_over:
            model.stop_training = True

    counter = keras.callbacks.LambdaCallback(
        on_epoch_begin=on_epoch_begin, on_epoch_end=on_epoch_end
    )
    fit = model.fit

    def fit_and_count(
        *args: Any,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        others = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        given = [callback for callback in others if callback is not None]
        # The counter comes first, so that no other callback ends an epoch before it is counted.
        return fit(*args, callbacks=[counter, *given], **kwargs)

    model.fit = fit_and_count
    return model


def seed_of(seed: int, trial: int) -> int:
    """Return the seed of one trial; trial 0 is that of all strategies alike."""
    sequence = np.random.SeedSequence([seed, trial])
    [state] = sequence.generate_state(1)
    return int(state)
