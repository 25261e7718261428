"""The strategies that are compared; each uses its library as that library's documents show."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from miha.compare.strategies.base import Strategy
from miha.errors import ArgumentError

CATALOGUE = {
    "plain": "plain.Plain",
    "cosine": "plain.CosineEarlyStopping",
    "cosine-averages": "plain.CosineAverages",
    "random": "sampling.RandomSearch",
    "grid": "sampling.GridSearch",
    "optuna": "optuna.OptunaMedian",
    "optuna-hyperband": "optuna.OptunaHyperband",
    "optuna-evolution": "optuna.OptunaEvolution",
    "keras-tuner-hyperband": "keras_tuner.KerasTunerHyperband",
    "keras-tuner-bayesian": "keras_tuner.KerasTunerBayesian",
    "ray-pbt": "ray.RayPbt",
    "ray-asha": "ray.RayAsha",
    "miha-2021": "mutation.Miha2021",
    "miha": "mutation.Miha",
}
"""From a name to the class, in the order of the tables."""


def strategies_of(wishes: Sequence[str | Strategy] | None) -> list[Strategy]:
    """Return strategies: those asked for, or all; no two have the same name."""
    if wishes is None:
        wishes = list(CATALOGUE)
    found = [_strategy(wish) for wish in wishes]
    names = [strategy.name for strategy in found]
    if not names or len(set(names)) < len(names):
        raise ArgumentError(
            f"`strategies` must be at least one, with different names. Received: {names}. "
            "Give a strategy another `name=`."
        )
    return found


def _strategy(wish: str | Strategy) -> Strategy:
    if isinstance(wish, Strategy):
        return wish
    if wish not in CATALOGUE:
        raise ArgumentError(
            f"A strategy must be one of {list(CATALOGUE)} or a `miha.compare.Strategy`. "
            f"Received: {wish!r}."
        )
    module, name = CATALOGUE[wish].split(".")
    home = import_module(f"miha.compare.strategies.{module}")
    strategy: Strategy = getattr(home, name)()
    return strategy
