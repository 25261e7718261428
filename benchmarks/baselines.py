"""What MIHA is compared with: one training whose hyperparameters stay, and Optuna's search."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras
import numpy as np
from tasks import CLASSES, Experiment, Parts

import miha
from miha.compare.configurations import DEFAULT_SPACE, ConfigurationSpace
from miha.compare.strategies.optuna import suggest
from miha.compare.strategies.sampling import epochs_of_trial
from miha.compare.task import seed_of
from miha.records import Epoch, Genome

L = keras.layers


@dataclass(frozen=True)
class Recipe:
    """How one network is trained, from its first epoch to its last.

    Attributes:
        genome: Optimizer, learning rate, batch size and activation.
        decay: How the learning rate falls; to 0, where it does.
        averages: Whether the weights are averaged by the optimizer (`use_ema`), over about an
            epoch; the averages are evaluated.
        noise: Standard deviation of the noise that the inputs get.
        smoothing: Label smoothing.
        dropout: Rate of a Dropout layer before each dense layer but the first of all; None: the
            network has those of its own.
        weight_decay: The optimizer's; None: its own. Adam with one is Keras' AdamW.
        augments: Whether the task's augmentation is used.
    """

    genome: Genome
    decay: Literal["none", "cosine", "linear"] = "none"
    averages: bool = False
    noise: float = 0.0
    smoothing: float = 0.0
    dropout: float | None = None
    weight_decay: float | None = None
    augments: bool = False

    @property
    def activation(self) -> str:
        """That of all hidden layers."""
        return self.genome.activations[0][1]


FIXED: dict[str, dict[str, Any]] = {
    "fixed noise 0.1": {"noise": 0.1},
    "fixed noise 0.3": {"noise": 0.3},
    "fixed noise 0.5": {"noise": 0.5},
    "fixed smoothing 0.1": {"smoothing": 0.1},
    "fixed smoothing 0.2": {"smoothing": 0.2},
    "fixed dropout 0.2": {"dropout": 0.2},
    "fixed dropout 0.4": {"dropout": 0.4},
    "fixed weight decay 0.02": {"weight_decay": 0.02},
    "fixed augmentation": {"augments": True},
    "fixed noise 0.3 + smoothing 0.1": {"noise": 0.3, "smoothing": 0.1},
    "fixed augmentation + smoothing 0.1": {"augments": True, "smoothing": 0.1},
}
"""The textbook's training with a cosine decay, and one regularisation that nobody searched for."""

BASELINES: dict[str, dict[str, Any]] = {
    "plain": {},
    "cosine": {"decay": "cosine"},
    "cosine ema": {"decay": "cosine", "averages": True},
    "linear ema": {"decay": "linear", "averages": True},
    **{name: {"decay": "cosine", **changes} for name, changes in FIXED.items()},
}
"""What each of them changes in a plain training."""

SEARCHES = {"optuna": 1.0, "optuna then train": 0.5}
"""Searches of Optuna, and the share of the epochs that each searches for.

With the rest, what was found is trained from the start, with a cosine decay.
"""


def suits(experiment: Experiment, changes: dict[str, Any]) -> bool:
    """Return whether a task has a use for what a recipe changes."""
    if changes.get("smoothing") and experiment.loss != CLASSES:
        return False
    if changes.get("augments") and experiment.augmentation is None:
        return False
    hidden = experiment.layers("relu")[2:]
    has_place = any(isinstance(layer, L.Dense) for layer in hidden)
    return has_place or changes.get("dropout") is None


def build(
    experiment: Experiment, recipe: Recipe, seed: int, steps: int = 1, epochs: int = 1
) -> Any:
    """Return a compiled network; all recipes of one seed and activation begin with its weights.

    Args:
        experiment: The task.
        recipe: How it will be trained.
        seed: Of the first weights.
        steps: Steps an epoch.
        epochs: How many it will be trained.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(experiment.layers(recipe.activation))
    if recipe.noise or recipe.augments or recipe.dropout is not None:
        # Another layer would draw from the seed, too: the weights are those of the plain network.
        weights = model.get_weights()
        model = keras.Sequential(_regularised(experiment, recipe))
        model.set_weights(weights)
    loss: Any = experiment.loss
    if recipe.smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.smoothing)
    model.compile(_optimizer(recipe, steps, epochs), loss, metrics=experiment.metrics)
    return model


def _regularised(experiment: Experiment, recipe: Recipe) -> list[Any]:
    inputs, *layers = experiment.layers(recipe.activation)
    first = []
    if recipe.augments and experiment.augmentation is not None:
        first += experiment.augmentation()
    if recipe.noise:
        first.append(L.GaussianNoise(recipe.noise))
    if recipe.dropout is not None:
        layers = _with_dropout(layers, recipe.dropout)
    return [inputs, *first, *layers]


def _with_dropout(layers: list[Any], rate: float) -> list[Any]:
    first, *others = [layer for layer in layers if not isinstance(layer, L.Dropout)]
    found = [first]
    for layer in others:
        if isinstance(layer, L.Dense):
            found.append(L.Dropout(rate))
        found.append(layer)
    return found


def _optimizer(recipe: Recipe, steps: int, epochs: int) -> Any:
    genome = recipe.genome
    schedules = keras.optimizers.schedules
    rate: Any = genome.learning_rate
    if recipe.decay == "cosine":
        rate = schedules.CosineDecay(rate, steps * epochs)
    if recipe.decay == "linear":
        rate = schedules.PolynomialDecay(rate, steps * epochs, end_learning_rate=0.0, power=1.0)
    options: dict[str, Any] = {"learning_rate": rate}
    if recipe.weight_decay is not None:
        options["weight_decay"] = recipe.weight_decay
    if recipe.averages:
        options |= {"use_ema": True, "ema_momentum": max(0.9, 1 - 1 / steps)}
    return type(keras.optimizers.get(genome.optimizer))(**options)


@dataclass
class Trained:
    """A network that was trained.

    Attributes:
        values: The monitored value after each epoch, the smaller the better.
        archives: The last network, and the best on the validation data.
        load: Opens an archive.
    """

    values: list[float]
    archives: list[bytes]
    load: Callable[[bytes], Any]

    def networks(self) -> list[Any]:
        """Return the last network, and the best on the validation data."""
        return [self.load(archive) for archive in self.archives]


def train(
    experiment: Experiment,
    data: Parts,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    is_behind: Callable[[int, float], bool] | None = None,
) -> Trained:
    """Train as `fit` does.

    Args:
        experiment: The task.
        data: Its data.
        recipe: How to train.
        seed: Of the first weights, the order of samples and the noise.
        epochs: How many; None: as many as MIHA.
        is_behind: Called with the number of each epoch and its monitored value; returns True to
            stop.
    """
    epochs = epochs or experiment.schedule.epochs
    (x, y), validation, _ = data
    if recipe.smoothing:
        count = int(y.max()) + 1
        y = keras.utils.to_categorical(y, count)
        validation = validation[0], keras.utils.to_categorical(validation[1], count)
    size = min(recipe.genome.batch_size, len(x))
    model = build(experiment, recipe, seed, math.ceil(len(x) / size), epochs)
    # Nothing mutates: one gene is named, so that the network is compiled without the others.
    trainer = miha.MIHA(
        model, x, y, validation_data=validation, batch_size=size,
        seed=seed, c=0, verbose=0, mutations=["batch_size"],
    ).trainer  # fmt: skip
    watch = _Watch(experiment, trainer, recipe.averages, is_behind)
    order, noise = (np.random.default_rng([seed, i]) for i in range(2))
    trainer.train(epochs, order, noise, watch)
    trainer.finalize()
    last = trainer.snapshot()
    snapshots = last, last if watch.best is None else watch.best
    archives = [trainer.export(snapshot, trainer.genome) for snapshot in snapshots]
    return Trained(watch.values, archives, trainer.load)


@dataclass
class _Watch:
    """Keeps the best network of a training."""

    experiment: Experiment
    trainer: Any
    averages: bool
    is_behind: Callable[[int, float], bool] | None
    best: Any = None
    values: list[float] = field(default_factory=list)

    def __call__(self, epoch: Epoch) -> bool:
        """Look at the network after an epoch; return whether to stop."""
        logs, live = epoch.logs, None
        if self.averages:
            # The averages are evaluated, and the training goes on with the weights.
            live = self.trainer.snapshot()
            logs = self.trainer.finalize()
        sign = 1 if self.experiment.mode == "min" else -1
        value = sign * float(logs[self.experiment.monitor])
        if value < min(self.values, default=math.inf):
            self.best = self.trainer.snapshot()
        self.values.append(value)
        if live is not None:
            self.trainer.restore(live)
        return self.is_behind is not None and self.is_behind(len(self.values), value)


CHOICES: dict[str, tuple[Any, ...]] = {
    "weight_decay": (None, *miha.space.WEIGHT_DECAYS),
    "dropout": (None, *miha.space.DROPOUT_RATES),
    "noise": miha.space.NOISE_LEVELS,
    "smoothing": miha.space.LABEL_SMOOTHINGS,
    "augments": (False, True),
}
"""What Optuna may choose for a part of the recipe; the first is what a plain training has."""

TUNED = ("weight_decay", "dropout", "noise", "smoothing", "augments")
"""Of them, those for which MIHA has a gene by default; the rest of a genome is always chosen."""


def tuned(
    experiment: Experiment, data: Parts, genome: Genome, seed: int, share: float
) -> tuple[Trained, dict[str, list[int]]]:
    """Search by Optuna's TPE and median pruner from a start; see `SEARCHES` for ``share``.

    A trial trains a tenth of the epochs, as in `miha.compare`, whose space and settings these are.

    Returns:
        The best trial, or what was trained from it; and the numbers of all and of pruned trials.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = ConfigurationSpace.of(DEFAULT_SPACE, [genome])
    choices = {name: CHOICES[name] for name in TUNED if _has_gene(experiment, name)}
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=3),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.enqueue_trial(space.values(genome) | {name: own[0] for name, own in choices.items()})
    states = optuna.trial.TrialState

    total = experiment.schedule.epochs
    left = round(share * total)
    most = epochs_of_trial(total, None)
    found: list[tuple[float, Recipe, Trained]] = []
    while left > 0:
        trial = study.ask()
        # A trial's genome first: the order of what is suggested is part of every cell.
        recipe = Recipe(suggest(trial, space))
        chosen = {n: trial.suggest_categorical(n, values) for n, values in choices.items()}
        recipe = replace(recipe, **chosen)
        # Trial 0 begins with the weights with which all others begin.
        own_seed = seed_of(seed, trial.number) if trial.number else seed

        def is_behind(epoch: int, value: float, trial: Any = trial) -> bool:
            trial.report(value, epoch)
            return bool(trial.should_prune())

        trained = train(experiment, data, recipe, own_seed, min(most, left), is_behind)
        left -= len(trained.values)
        value = trained.values[-1]
        if not math.isfinite(value):
            study.tell(trial, state=states.FAIL)
        elif trial.should_prune():
            study.tell(trial, state=states.PRUNED)
        else:
            study.tell(trial, value)
        found.append((min(trained.values), recipe, trained))
        # Of the networks, the best alone is kept.
        found = [min(found, key=lambda trial: (math.isnan(trial[0]), trial[0]))]

    numbers = [len(study.trials), len(study.get_trials(states=(states.PRUNED,)))]
    _, recipe, trained = found[0]
    rest = total - round(share * total)
    if rest:
        trained = train(experiment, data, replace(recipe, decay="cosine"), seed, rest)
    return trained, {"trials": numbers}


def _has_gene(experiment: Experiment, name: str) -> bool:
    """Return whether MIHA could choose a part of the recipe in a task's network, too."""
    if name == "dropout":
        return any(isinstance(layer, L.Dropout) for layer in experiment.layers("relu"))
    return suits(experiment, {name: CHOICES[name][-1]})
