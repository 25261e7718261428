"""Importance: how much of what the clones gained each hyperparameter explains, by fANOVA."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.errors import MihaError
from miha.integrations.optuna import quiet, to_optuna
from miha.utils.optional import need
from miha.visualization.scales import GainScale, Scale
from miha.visualization.theme import MAIN, figure, safe, title

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from miha.results.result import Result

FEWEST = 50
"""Clones below which a forest would explain chance."""

MOST = 250
"""Clones that a forest is fitted to: its time grows with their square."""

TREES = 8
"""Trees of one forest."""

FORESTS = 4
"""Forests whose mean is shown, unless the time is over before."""

SECONDS = 5.0
"""No further forest begins when so much time has passed."""


@dataclass(frozen=True)
class Importance:
    """What fANOVA found.

    Attributes:
        shares: The share of the variance in gain that each hyperparameter explains, the largest
            first.
        used: Clones that the shares rest on.
        clones: Clones of the run that have a gain.
    """

    shares: dict[str, float]
    used: int
    clones: int

    @property
    def basis(self) -> str:
        """What the shares rest on, in words."""
        if self.used == self.clones:
            return f"{self.used} clones"
        return f"{self.used} of {self.clones} clones, drawn at random"


def plot_importance(result: Result, seed: int = 0) -> go.Figure:
    """Plot how much of the differences in gain each hyperparameter explains.

    Optuna's fANOVA works on the clones' gains, since their values fall with the epochs whatever
    their hyperparameters are. It works on the places of gains on the figures' axis; else one
    clone that diverged would be all that is explained. It takes a few seconds, however many
    clones there are.

    Args:
        result: A run, finished or not.
        seed: Of the forests that are fitted, at least 0.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: There are fewer than 50 clones, or all gained the same.
        MissingPackageError: Plotly, Optuna or scikit-learn is not installed.
    """
    found = gene_importance(result, seed)
    shares = found.shares
    # Plotly counts from below, and the most important one belongs on top.
    names = list(reversed(shares))
    rows = list(range(len(names)))
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [shares[name] for name in names],
        "y": rows,
        "text": [f"{shares[name]:.2f}" for name in names],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{customdata}: %{x:.3f}<extra></extra>",
        "customdata": [safe(name) for name in names],
        "marker": {"color": MAIN},
    }
    return figure(
        [bars],
        title=title("Importance for the gain (fANOVA)"),
        height=180 + 32 * len(names),
        xaxis={
            "title": {"text": f"share of the variance; from {found.basis}"},
            "rangemode": "tozero",
        },
        yaxis={
            "tickvals": rows,
            "ticktext": [safe(name, 36) for name in names],
            "showgrid": False,
            "ticks": "",
        },
    )


def has_importance(clones: int) -> bool:
    """Return whether so many clones are enough to tell what matters."""
    return clones >= FEWEST


def gene_importance(result: Result, seed: int = 0) -> Importance:
    """Return the share of the variance in gain that each hyperparameter explains.

    Args:
        result: A run, finished or not.
        seed: Of the forests that are fitted, and of the clones that are drawn; at least 0.

    Returns:
        The shares, and what they rest on.

    Raises:
        MihaError: There are fewer than 50 clones, or all gained the same.
        MissingPackageError: Optuna or scikit-learn is not installed.
    """
    need("sklearn", "optuna")
    need("optuna.importance", "optuna")
    study = to_optuna(result, target="gain")
    # Clones that failed have no gain.
    done = [trial for trial in study.trials if trial.value is not None]
    gains = {trial.value for trial in done}
    if not has_importance(len(done)) or len(gains) < 2:
        raise MihaError(
            f"At least {FEWEST} clones of different gain are needed to tell what matters. "
            f"Received: {len(done)}. Wait for more."
        )
    used = _sample(done, seed)
    filled = _filled(used)
    totals = Counter[str]()
    rounds = 0
    for shares in _forests(filled, seed):
        totals.update(shares)
        rounds += 1
    means = {name: float(total / rounds) for name, total in totals.most_common()}
    return Importance(means, len(used), len(done))


def _sample(done: Sequence[Any], seed: int) -> list[Any]:
    """Return as many clones as a forest is fitted to in time."""
    if len(done) <= MOST:
        return list(done)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(done), MOST, replace=False)
    return [done[number] for number in sorted(chosen)]


def _forests(study: optuna.Study, seed: int) -> Iterator[dict[str, float]]:
    """Yield the shares by one forest after another, as long as there is time."""
    importance = need("optuna.importance", "optuna")
    end = time.monotonic() + SECONDS
    for number in range(FORESTS):
        if number and time.monotonic() > end:
            return
        evaluator = importance.FanovaImportanceEvaluator(
            n_trees=TREES, max_depth=32, seed=seed + number
        )
        yield importance.get_param_importances(study, evaluator=evaluator)


def _filled(done: Sequence[Any]) -> optuna.Study:
    """Return a study in which every trial has every hyperparameter: fANOVA leaves out others.

    A number that a trial does not have (the weight decay of an optimizer without one) lies below
    all others, as in the figure of parallel coordinates.
    """
    optuna = need("optuna", "optuna")
    scale = GainScale.of(trial.value for trial in done)
    columns: dict[str, list[float]] = {}
    kinds: dict[str, Any] = {}
    names = chain.from_iterable(trial.params for trial in done)
    for name in dict.fromkeys(names):
        values = [trial.params.get(name) for trial in done]
        gene_scale = Scale.of(values)
        places = gene_scale.filled(values)
        columns[name] = places
        kinds[name] = _distribution(gene_scale, places)

    # Optuna would print a line for the study.
    with quiet(optuna):
        study = optuna.create_study(direction="maximize")
    for row, trial in enumerate(done):
        filled = optuna.trial.create_trial(
            value=scale.place(trial.value),
            params={name: column[row] for name, column in columns.items()},
            distributions=kinds,
        )
        study.add_trial(filled)
    return study


def _distribution(scale: Scale, places: list[float]) -> Any:
    """Return Optuna's distribution of a hyperparameter."""
    distributions = need("optuna.distributions", "optuna")
    if scale.is_numeric:
        return distributions.FloatDistribution(min(places), max(places))
    return distributions.CategoricalDistribution(sorted(set(places)))
