"""KerasTuner: a hypermodel, and a tuner that searches for its hyperparameters.

Source: https://keras.io/keras_tuner/getting_started/ (a `HyperModel` whose `fit` tunes the batch
size, too).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miha.compare.strategies.base import Strategy
from miha.compare.strategies.sampling import epochs_of_trial
from miha.records import Genome
from miha.utils.optional import need

if TYPE_CHECKING:
    import keras

    from miha.compare.task import Task

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

    needs = ("keras_tuner",)

    def run(self, task: Task) -> keras.Model:
        """Search until the budget is spent."""
        tuning = need("keras_tuner", "compare")
        epochs = epochs_of_trial(task.epochs, self.trial_epochs)
        tuner = self.tuner(
            tuning,
            epochs,
            hypermodel=self.family(tuning, task),
            hyperparameters=self.declare(tuning, task),
            objective=tuning.Objective(task.monitor, task.mode),
            seed=task.seed + 1,  # It takes 0 for none.
            max_consecutive_failed_trials=MANY,  # A loss that is not finite counts as one.
            directory=str(task.folder),
            project_name="tuner",
        )
        data = {"validation_data": task.validation_data, "verbose": 0}
        try:
            tuner.search(task.x, task.y, epochs=epochs, **data)
        except tuning.errors.FatalError:
            if not task.meter.is_over:
                raise
        return task.best()

    def family(self, tuning: Any, task: Task) -> Any:
        """Return the hypermodel: it builds networks until the budget is spent."""
        trials: dict[Genome, int] = {}  # Those that were trained: the first build never is.

        class Family(tuning.HyperModel):  # type: ignore[misc]
            def build(self, hp: Any) -> Any:
                if task.meter.is_over:
                    raise tuning.errors.FatalError("The budget is spent.")
                genome = task.space.genome(hp.values)
                return task.build(genome, trials.get(genome, len(trials)))

            def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
                genome = task.space.genome(hp.values)
                trials.setdefault(genome, len(trials))
                size = task.arguments(genome)["batch_size"]
                return model.fit(*args, batch_size=size, **kwargs)

        return Family()

    def declare(self, tuning: Any, task: Task) -> Any:
        """Return the hyperparameters of the space."""
        hp, start, rates = tuning.HyperParameters(), task.space.values(task.start), {}
        rates["min_value"], rates["max_value"] = task.space.learning_rate
        hp.Float("learning_rate", **rates, sampling="log", default=start["learning_rate"])
        for name, choices in task.space.choices.items():
            hp.Choice(name, list(choices), default=start[name])
        return hp

    @abstractmethod
    def tuner(self, tuning: Any, epochs: int, **arguments: Any) -> Any:
        """Return the tuner."""


@dataclass(frozen=True)
class KerasTunerHyperband(KerasTuner):
    """Hyperband, again and again until the budget is spent."""

    name: str = "KerasTuner (Hyperband)"

    def tuner(self, tuning: Any, epochs: int, **arguments: Any) -> Any:
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

    def tuner(self, tuning: Any, epochs: int, **arguments: Any) -> Any:
        """Return the tuner."""
        search = tuning.BayesianOptimization
        return search(max_trials=MANY, num_initial_points=self.initial, **arguments)
