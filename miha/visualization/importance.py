"""Importance: how much of what the clones gained each hyperparameter explains, by fANOVA."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from miha.errors import MihaError
from miha.integrations.optuna import quiet, to_optuna
from miha.utils.optional import need
from miha.visualization.scales import GainScale, Scale
from miha.visualization.theme import MAIN, figure, safe, title

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from miha.results.result import Result

FEWEST = 4
"""Clones below which there is nothing to explain."""


def plot_importance(result: Result, seed: int = 0) -> go.Figure:
    """Plot how much of the differences in gain each hyperparameter explains.

    Optuna's fANOVA works on the clones' gains, since their values fall with the epochs whatever
    their hyperparameters are. It works on the places of gains on the figures' axis; else one
    clone that diverged would be all that is explained.

    Args:
        result: A run, finished or not.
        seed: Of the forest that is fitted, at least 0.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: Too few clones differ.
        MissingPackageError: Plotly, Optuna or scikit-learn is not installed.
    """
    shares = gene_importance(result, seed)
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
        xaxis={"title": {"text": "share of the variance"}, "rangemode": "tozero"},
        yaxis={
            "tickvals": rows,
            "ticktext": [safe(name, 36) for name in names],
            "showgrid": False,
            "ticks": "",
        },
    )


def gene_importance(result: Result, seed: int = 0) -> dict[str, float]:
    """Return the share of the variance in gain that each hyperparameter explains.

    Args:
        result: A run, finished or not.
        seed: Of the forest that is fitted, at least 0.

    Returns:
        Shares by name, the largest first.

    Raises:
        MihaError: Too few clones differ.
        MissingPackageError: Optuna or scikit-learn is not installed.
    """
    need("sklearn", "optuna")
    importance = need("optuna.importance", "optuna")
    study = to_optuna(result, target="gain")
    # Clones that failed have no gain.
    done = [trial for trial in study.trials if trial.value is not None]
    gains = {trial.value for trial in done}
    if len(done) < FEWEST or len(gains) < 2:
        raise MihaError(
            f"At least {FEWEST} clones of different gain are needed to tell what matters. "
            f"Received: {len(done)}. Wait for more."
        )
    evaluator = importance.FanovaImportanceEvaluator(seed=seed)
    shares = importance.get_param_importances(_filled(done), evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


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
