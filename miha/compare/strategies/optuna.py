"""Optuna: trials that learn from those before, and end early where they are behind.

Source: https://github.com/optuna/optuna-examples/blob/main/keras/keras_integration.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from miha.compare.configurations import ConfigurationSpace
from miha.compare.strategies.base import Strategy
from miha.compare.strategies.sampling import epochs_of_trial
from miha.compare.task import Model, Task
from miha.records import Genome
from miha.utils.optional import need


@dataclass(frozen=True)
class OptunaMedian(Strategy):
    """TPE, and a MedianPruner by Optuna's callback for Keras; the start is enqueued first.

    Attributes:
        trial_epochs: The most epochs of a trial; None: a tenth of the budget.
        initial: Trials before the sampler learns, the start among them. By default Optuna would
            take ten, which are nearly all trials of a small budget.
    """

    name: str = "Optuna (TPE, median)"
    trial_epochs: int | None = None
    initial: int = 3

    needs = ("optuna", "optuna_integration")

    def run(self, task: Task) -> Model:
        """Optimize a study until the budget is spent."""
        optuna = need("optuna", "compare")
        integration = need("optuna_integration", "compare")
        epochs = epochs_of_trial(task.epochs, self.trial_epochs)

        def objective(trial: Any) -> float:
            genome = suggest(trial, task.space)
            model = self.build(trial, genome, task)
            pruning = integration.KerasPruningCallback(trial, task.monitor)
            arguments = task.arguments(genome)
            fitted = model.fit(**arguments, epochs=epochs, callbacks=[pruning])
            values = fitted.history[task.monitor]
            return float(values[-1])

        def stop(study: Any, trial: Any) -> None:
            if task.meter.is_over:
                study.stop()

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            # The name decides Hyperband's brackets.
            study_name=f"seed {task.seed}",
            direction="minimize" if task.mode == "min" else "maximize",
            sampler=self.sampler(optuna.samplers, task.seed),
            pruner=self.pruner(optuna.pruners, epochs),
        )
        study.enqueue_trial(task.space.values(task.start))
        study.optimize(objective, callbacks=[stop])
        return self.best(task)

    def build(
        self,
        trial: Any,
        genome: Genome,
        task: Task,
    ) -> Model:
        """Return the network of a trial."""
        return task.build(genome, trial.number)

    def best(self, task: Task) -> Model:
        """Return the best network of all trials."""
        return task.best()

    def sampler(self, samplers: Any, seed: int) -> Any:
        """Return what chooses configurations."""
        return samplers.TPESampler(seed=seed, n_startup_trials=self.initial)

    def pruner(self, pruners: Any, epochs: int) -> Any:
        """Return what ends trials early."""
        return pruners.MedianPruner()


@dataclass(frozen=True)
class OptunaHyperband(OptunaMedian):
    """TPE, and a HyperbandPruner."""

    name: str = "Optuna (TPE, Hyperband)"

    def pruner(self, pruners: Any, epochs: int) -> Any:
        """Return what ends trials early."""
        return pruners.HyperbandPruner(
            min_resource=1,
            max_resource=epochs,
            reduction_factor=3,
        )


@dataclass(frozen=True)
class OptunaEvolution(OptunaMedian):
    """A genetic algorithm, NSGA-II: each trial joins two of the fittest of the generation before.

    CMA-ES, another evolution, cannot choose optimizers or activations.

    Attributes:
        initial: Trials of a generation. Optuna's default of 50 are more than a budget has.
    """

    name: str = "Optuna (NSGA-II)"
    initial: int = 4

    def sampler(self, samplers: Any, seed: int) -> Any:
        """Return what chooses configurations."""
        return samplers.NSGAIISampler(seed=seed, population_size=self.initial)

    def pruner(self, pruners: Any, epochs: int) -> Any:
        """Return what ends trials early: nothing, for a generation is compared as a whole."""
        return pruners.NopPruner()


def suggest(trial: Any, space: ConfigurationSpace) -> Genome:
    """Return the configuration that a trial suggests."""
    low, high = space.learning_rate
    values = {"learning_rate": trial.suggest_float("learning_rate", low, high, log=True)}
    for name, choices in space.choices.items():
        values[name] = trial.suggest_categorical(name, choices)
    return space.genome(values)
