"""Importance: how much of what the clones gained each hyperparameter explains, by fANOVA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miha.errors import MihaError
from miha.integrations.optuna import to_optuna
from miha.optional import need
from miha.visualization.theme import MAIN, figure, safe, title

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from miha.result import Result

FEWEST = 4
"""Clones below which there is nothing to explain."""


def plot_importance(result: Result, seed: int = 0) -> go.Figure:
    """Plot how much of the differences in gain each hyperparameter explains.

    Optuna's fANOVA works on the clones' gains, since their values fall with the epochs whatever
    their hyperparameters are.

    Args:
        result: A run, finished or not.
        seed: Of the forest that is fitted, at least 0.

    Returns:
        A Plotly figure.

    Raises:
        MihaError: Too few clones differ.
        MissingPackageError: Plotly, Optuna or scikit-learn is not installed.
    """
    importances = gene_importance(result, seed)
    names = list(reversed(importances))
    return figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": [importances[name] for name in names],
                "y": list(range(len(names))),
                "text": [f"{importances[name]:.2f}" for name in names],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertemplate": "%{customdata}: %{x:.3f}<extra></extra>",
                "customdata": [safe(name) for name in names],
                "marker": {"color": MAIN},
            }
        ],
        title=title("Importance for the gain in fitness (fANOVA)"),
        height=180 + 32 * len(names),
        xaxis={"title": {"text": "share of the variance"}, "rangemode": "tozero"},
        yaxis={
            "tickvals": list(range(len(names))),
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
    done = [trial for trial in study.trials if trial.value is not None]
    if len(done) < FEWEST or len({trial.value for trial in done}) < 2:
        raise MihaError(
            f"At least {FEWEST} clones of different fitness are needed to tell what matters. "
            f"Received: {len(done)}. Wait for more."
        )
    evaluator = importance.FanovaImportanceEvaluator(seed=seed)
    shares: dict[str, float] = importance.get_param_importances(study, evaluator=evaluator)
    return dict(shares)
