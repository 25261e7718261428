"""Train the run of examples/walkthrough.ipynb, and keep its outputs.

python tools/notebook.py

Each figure is kept as an image beside the data that a notebook draws it from: GitHub and nbconvert
show the image. Needs `miha[test]` and a Chrome or Chromium, which draws the images.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
import plotly.io
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "walkthrough.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH = 900
"""Pixels of an image, about what GitHub shows."""

SETTINGS = {
    "PLOTLY_RENDERER": "plotly_mimetype",
    # Optuna's bars would be widgets, which this run does not need.
    "PYTHONWARNINGS": "ignore:IProgress",
    "PYTHONPATH": str(ROOT),
}


def main() -> None:
    """Write the notebook with the outputs of a run of today's code."""
    os.environ.update(SETTINGS)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, resources={"metadata": {"path": folder}})
        client.execute()
    for cell in notebook.cells:
        # Times of the kernel's messages, other ones each time.
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            add_image(output.get("data", {}))
    # A reader has another folder.
    text = nbformat.writes(notebook).replace(f"{folder}/", "")
    NOTEBOOK.write_text(f"{text}\n", encoding="utf-8")


def add_image(data: dict[str, Any]) -> None:
    """Add the image of a figure to what a cell shows; nothing where that is no figure."""
    if PLOTLY not in data:
        return
    content = {name: data[PLOTLY][name] for name in ("data", "layout")}
    figure: go.Figure = plotly.io.from_json(json.dumps(content))
    image = figure.to_image("png", width=WIDTH)
    data["image/png"] = base64.b64encode(image).decode()


if __name__ == "__main__":
    main()
