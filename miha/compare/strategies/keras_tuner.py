"""KerasTuner: a hypermodel, and a tuner that searches for its hyperparameters.

Source: https://keras.io/keras_tuner/getting_started/ (a `HyperModel` whose `fit` tunes the batch
size, too).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from miha.compare.strategies.base import Strategy
from miha.compare.strategies.sampling import epochs_of_trial
from miha.compare.task import Model, Task
from miha.records import Genome
from miha.utils.optional import need

MANY = 1_000
"""More than there is budget for."""


@dataclass(frozen=True)
class KerasTuner(Strategy):
    """What both tuners share.

    The start is what the hyperparameters are by default; neither tuner tries that first, and none
    can be told to.

    Attributes:
        trial_epochs: The most epochs of a trial; None: a tenth of the budget.
    """

    trial_epochs: int | None = None

    needs = ("keras_tuner", "tensorboard")

    def run(self, task: Task) -> Model:
        """Search until the budget is spent."""
        tuning = need("keras_tuner", "compare")
        epochs = epochs_of_trial(task.epochs, self.trial_epochs)
        tuner = self.tuner(
            tuning,
            epochs,
            hypermodel=hypermodel(tuning, task),
            hyperparameters=hyperparameters(tuning, task),
            objective=tuning.Objective(task.monitor, task.mode),
            # KerasTuner takes a seed of 0 for none.
            seed=task.seed + 1,
            # A loss that is not finite counts as a failed trial.
            max_consecutive_failed_trials=MANY,
            directory=str(task.folder),
            project_name="tuner",
        )
        # The tuner knows no budget of epochs: the hypermodel ends the search by this error.
        arguments = {"epochs": epochs, "validation_data": task.validation_data, "verbose": 0}
        try:
            tuner.search(task.x, task.y, **arguments)
        except tuning.errors.FatalError:
            if not task.meter.is_over:
                raise
        return task.best()

    @abstractmethod
    def tuner(
        self,
        tuning: Any,
        epochs: int,
        **arguments: Any,
    ) -> Any:
        """Return the tuner."""


@dataclass(frozen=True)
class KerasTunerHyperband(KerasTuner):
    """Hyperband, again and again until the budget is spent."""

    name: str = "KerasTuner (Hyperband)"

    def tuner(
        self,
        tuning: Any,
        epochs: int,
        **arguments: Any,
    ) -> Any:
        """Return the tuner."""
        return tuning.Hyperband(max_epochs=epochs, hyperband_iterations=MANY, **arguments)


@dataclass(frozen=True)
class KerasTunerBayesian(KerasTuner):
    """Bayesian optimization with a Gaussian process.

    Attributes:
        initial: Trials at random before it learns. By default KerasTuner would take three for each
            hyperparameter, which are more than all trials of a small budget.
    """

    name: str = "KerasTuner (Bayesian)"
    initial: int = 3

    def tuner(
        self,
        tuning: Any,
        epochs: int,
        **arguments: Any,
    ) -> Any:
        """Return the tuner."""
        search = tuning.BayesianOptimization
        return search(max_trials=MANY, num_initial_points=self.initial, **arguments)


def hypermodel(tuning: Any, task: Task) -> Any:
    """Return what builds networks until the budget is spent."""
    # A number for each configuration that was trained: the tuner's very first build never is.
    trials: dict[Genome, int] = {}

    class Family(tuning.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            if task.meter.is_over:
                raise tuning.errors.FatalError("The budget is spent.")
            genome = task.space.genome(hp.values)
            return task.build(genome, trials.get(genome, len(trials)))

        def fit(
            self,
            hp: Any,
            model: Any,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            genome = task.space.genome(hp.values)
            trials.setdefault(genome, len(trials))
            size = task.arguments(genome)["batch_size"]
            return model.fit(*args, batch_size=size, **kwargs)

    return Family()


def hyperparameters(tuning: Any, task: Task) -> Any:
    """Return the space in KerasTuner's words."""
    found = tuning.HyperParameters()
    start = task.space.values(task.start)
    low, high = task.space.learning_rate
    rate = start["learning_rate"]
    found.Float("learning_rate", min_value=low, max_value=high, sampling="log", default=rate)
    for name, choices in task.space.choices.items():
        found.Choice(name, list(choices), default=start[name])
    return found
