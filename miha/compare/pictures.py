"""Pictures of what networks do: filled fields, and how early ranks tell of late ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from miha.compare.statistics import Mean
from miha.compare.writing import draw
from miha.visualization.theme import MAIN, figure, safe, title

SIDE = 150
"""Of one field, in pixels."""


def draw_fields(
    columns: Mapping[str, np.ndarray], folder: Path, say: Callable[[str], None]
) -> None:
    """Draw fields beside each other: ``fields.html`` and ``fields.png``.

    Args:
        columns: From a heading to fields of shape (n, height, width); NaN is left blank. All have
            the same n, and a row has the colours of its first field.
        folder: It must be there.
        say: Receives a line where there are no pictures.
    """
    names = list(columns)
    rows = len(columns[names[0]])
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for row in range(rows):
        low, high = np.nanmin(columns[names[0]][row]), np.nanmax(columns[names[0]][row])
        for column, name in enumerate(names):
            number = row * len(names) + column + 1
            suffix = "" if number == 1 else str(number)
            colours = {"colorscale": "Viridis", "zmin": float(low), "zmax": float(high)}
            data.append(
                {"type": "heatmap", "z": columns[name][row][::-1], "showscale": False}
                | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", **colours}
            )
            layout |= _axes(suffix, row, rows, column, len(names), name)
    size = {"width": 40 + SIDE * len(names), "height": 110 + SIDE * rows}
    margin = {"l": 20, "r": 20, "t": 90, "b": 20}
    drawn = figure(data, title=title("Test windows"), margin=margin, **size, **layout)
    draw({"fields": drawn}, folder, say, width=size["width"])


def _axes(suffix: str, row: int, rows: int, column: int, columns: int, name: str) -> dict[str, Any]:
    """Return the axes of one field: nothing but its place, and its heading in the first row."""
    bare = {"showgrid": False, "ticks": "", "showticklabels": False}
    across = {"domain": [column / columns, (column + 0.96) / columns], "anchor": f"y{suffix}"}
    down = {"domain": [1 - (row + 0.96) / rows, 1 - row / rows], "anchor": f"x{suffix}"}
    heading = (
        {"title": {"text": safe(name, 24), "font": {"size": 12}}, "side": "top"} if row == 0 else {}
    )
    return {f"xaxis{suffix}": {**bare, **across, **heading}, f"yaxis{suffix}": {**bare, **down}}


def draw_correlations(values: np.ndarray, folder: Path, say: Callable[[str], None]) -> None:
    """Draw how well ranks after n epochs predict the final ones: ``ranks.html``, ``ranks.png``.

    Args:
        values: Shape (seeds, epochs): Spearman's correlations.
        folder: It must be there.
        say: Receives a line where there are no pictures.
    """
    means = [Mean.finite(list(column)) for column in values.T]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(1, len(means) + 1)),
        "y": [mean.value for mean in means],
        "error_y": {"type": "data", "array": [mean.error for mean in means], "thickness": 1.5},
        "line": {"color": MAIN, "width": 2.5},
        "hovertemplate": "after %{x} epochs: %{y:.3f}<extra></extra>",
    }
    drawn = figure(
        [line],
        title=title("Spearman's correlation of the ranks with the final ones"),
        height=420,
        xaxis={"title": {"text": "epochs of a candidate"}},
        yaxis={"title": {"text": "correlation ± standard error"}, "range": [-0.1, 1.05]},
    )
    draw({"ranks": drawn}, folder, say)
