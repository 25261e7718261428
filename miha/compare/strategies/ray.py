"""Ray Tune: populations that copy each other, and trials that end early.

Source: https://docs.ray.io/en/latest/tune/examples/pbt_guide.html (a function that reports with
checkpoints, and restores one when it is called with other hyperparameters).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miha.compare.configurations import ConfigurationSpace
from miha.compare.meter import BudgetSpent
from miha.compare.strategies.base import Strategy
from miha.compare.strategies.sampling import epochs_of_trial
from miha.compare.task import Model, Task, seed_of
from miha.utils.optional import need

ENVIRONMENT = {
    # Nothing leaves the machine.
    "RAY_USAGE_STATS_ENABLED": "0",
    # The newer way of reporting cannot be silenced.
    "RAY_AIR_NEW_OUTPUT": "0",
    # An interruption shall end the comparison.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}

TOGETHER = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Lets several processes share a GPU's memory, which the first one would take as a whole."""


@dataclass(frozen=True)
class RayTune(Strategy):
    """What both schedulers share. Trials run in processes, one a core, and the start is the first.

    Attributes:
        resources: What Ray reserves for each trial, e.g. ``{"cpu": 4, "gpu": 0.25}``; None: a
            core, and an equal share of the GPUs where there are any.
    """

    resources: Mapping[str, float] | None = None

    needs = ("ray", "ray.tune")

    def run(self, task: Task) -> Model:
        """Tune until the budget is spent."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        ray = need("ray", "compare")
        # The schedulers draw from the generators that all share.
        random.seed(seed_of(task.seed, 0))
        np.random.seed(seed_of(task.seed, 0))
        _send_by_value(ray, task.build_model)
        # Workers shall find the modules that this process finds.
        path = os.pathsep.join(filter(None, sys.path))
        ray.init(
            runtime_env={"env_vars": {"PYTHONPATH": path, **TOGETHER}},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
        try:
            shares = self.resources or shares_of(ray.cluster_resources())
            results = self.tuner(task, shares).fit()
        finally:
            # After a failure, too: the next cell starts a Ray of its own.
            ray.shutdown()
        for error in results.errors:
            raise getattr(error, "cause", None) or error
        return task.best()

    def tuner(
        self,
        task: Task,
        shares: Mapping[str, float],
    ) -> Any:
        """Return Ray's tuner."""
        tune = need("ray.tune", "compare")
        variants = need("ray.tune.search.basic_variant", "compare")

        class Spent(tune.Stopper):  # type: ignore[misc, name-defined]
            def __call__(self, trial_id: str, result: Any) -> bool:
                return task.meter.is_over

            def stop_all(self) -> bool:
                # Not while another trial is in its last epoch.
                return task.meter.is_settled

        start = task.space.values(task.start)
        config = tune.TuneConfig(
            metric=task.monitor,
            mode=task.mode,
            num_samples=self.trials_of(task),
            reuse_actors=True,
            scheduler=self.scheduler(task),
            search_alg=variants.BasicVariantGenerator(
                points_to_evaluate=[start], random_state=task.seed
            ),
        )
        trainable = tune.with_parameters(train, task=task)
        folder = str(task.folder / "ray")
        return tune.Tuner(
            tune.with_resources(trainable, dict(shares)),
            param_space=distributions(tune, task.space),
            tune_config=config,
            run_config=tune.RunConfig(
                storage_path=folder,
                stop=Spent(),
                verbose=0,
            ),
        )

    @abstractmethod
    def trials_of(self, task: Task) -> int:
        """Return the most trials."""

    @abstractmethod
    def scheduler(self, task: Task) -> Any:
        """Return what decides which trials go on."""


@dataclass(frozen=True)
class RayPbt(RayTune):
    """Population Based Training: the worst take over weights of the best, and mutate.

    The population trains side by side until the budget is spent.

    Attributes:
        population: Networks that share the budget.
        interval: Epochs after which one may take over another; None: a tenth of its share.
    """

    name: str = "Ray Tune (PBT)"
    population: int = 5
    interval: int | None = None

    def trials_of(self, task: Task) -> int:
        """Return the size of the population."""
        return self.population

    def scheduler(self, task: Task) -> Any:
        """Return the scheduler."""
        tune = need("ray.tune", "compare")
        schedulers = need("ray.tune.schedulers", "compare")
        mutations: dict[str, Any] = {}
        for name, choices in task.space.choices.items():
            mutations[name] = list(choices)
        mutations["learning_rate"] = tune.loguniform(*task.space.learning_rate)
        share = task.epochs // self.population
        return schedulers.PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=self.interval or max(1, share // 10),
            hyperparam_mutations=mutations,
        )


@dataclass(frozen=True)
class RayAsha(RayTune):
    """Asynchronous successive halving of configurations that are drawn at random.

    Attributes:
        trial_epochs: The most epochs of a trial; None: a tenth of the budget.
    """

    name: str = "Ray Tune (ASHA)"
    trial_epochs: int | None = None

    def trials_of(self, task: Task) -> int:
        """Return as many trials as there could be: one epoch each."""
        return task.epochs

    def scheduler(self, task: Task) -> Any:
        """Return the scheduler."""
        schedulers = need("ray.tune.schedulers", "compare")
        longest = epochs_of_trial(task.epochs, self.trial_epochs)
        return schedulers.ASHAScheduler(
            time_attr="training_iteration", max_t=longest, reduction_factor=3
        )


def distributions(
    tune: Any,
    space: ConfigurationSpace,
) -> dict[str, Any]:
    """Return the space in Ray's words."""
    found = {"learning_rate": tune.loguniform(*space.learning_rate)}
    for name, choices in space.choices.items():
        found[name] = tune.choice(choices)
    return found


def shares_of(cluster: Mapping[str, float]) -> dict[str, float]:
    """Return a core of what Ray has found, and what there is of the GPUs for each core."""
    gpus = cluster.get("GPU", 0.0)
    if not gpus:
        return {"cpu": 1}
    trials = max(cluster.get("CPU", 1.0), gpus)
    # Ray counts in ten-thousandths.
    return {"cpu": 1, "gpu": math.floor(1e4 * gpus / trials) / 1e4}


def _send_by_value(ray: Any, function: Any) -> None:
    """Send the functions of a script as they are: workers could not import them by its name."""
    name = getattr(function, "__module__", None)
    # What a script is called in a process that was spawned.
    if name == "__mp_main__":
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])


def train(
    config: dict[str, Any],
    task: Task,
) -> None:
    """Train one trial from its checkpoint until the scheduler or the budget ends it."""
    from ray import tune

    # Ray takes no trial that reports nothing: where others have spent the budget, it is the worst.
    worst_value = math.inf if task.mode == "min" else -math.inf
    worst = {task.monitor: worst_value}
    # Asked before the network is built, which takes seconds.
    if task.meter.is_over and task.meter.taken:
        tune.report(worst)
        return

    genome = task.space.genome(config)
    name = tune.get_context().get_trial_id()
    number = name.rsplit("_", 1)[-1]
    network = task.build(genome, int(number))
    arguments = task.arguments(genome)
    first = restore(network, tune.get_checkpoint(), genome.optimizer)
    for epoch in itertools.count(first):
        try:
            fitted = network.fit(**arguments, initial_epoch=epoch, epochs=epoch + 1)
        except BudgetSpent:
            tune.report(worst)
            return
        [value] = fitted.history[task.monitor]
        with tempfile.TemporaryDirectory() as folder:
            save(network, Path(folder), genome.optimizer, epoch + 1)
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({task.monitor: float(value)}, checkpoint=checkpoint)


def save(
    model: Model,
    folder: Path,
    optimizer: str,
    epochs: int,
) -> None:
    """Write a network's weights, its optimizer's state, and how long it has been trained."""
    slots = [np.asarray(variable) for variable in model.optimizer.variables]
    np.savez(folder / "weights.npz", *model.get_weights())
    np.savez(folder / "slots.npz", *slots)
    about = {"optimizer": optimizer, "epochs": epochs}
    (folder / "about.json").write_text(json.dumps(about))


def restore(
    model: Model,
    checkpoint: Any,
    optimizer: str,
) -> int:
    """Read what `save` wrote, and return how long that network has been trained.

    The learning rate stays what the trial's configuration says; the state of another optimizer
    than the trial's is left out.
    """
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as name:
        folder = Path(name)
        about = json.loads((folder / "about.json").read_text())
        weights = _arrays(folder / "weights.npz")
        slots = _arrays(folder / "slots.npz")
    model.set_weights(weights)
    if about["optimizer"] == optimizer:
        # The learning rate is one of the optimizer's variables.
        rate = float(model.optimizer.learning_rate)
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, slots, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = rate
    return int(about["epochs"])


def _arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[f"arr_{i}"] for i in range(len(file.files))]
