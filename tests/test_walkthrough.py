"""The notebook runs as it is, in a kernel of its own, and shows its figures."""

from __future__ import annotations

import json
import os
import sys

import pytest
from paths import ROOT

from miha.results.reader import load_run

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for package in ("ipykernel", "plotly", "optuna", "sklearn"):
    pytest.importorskip(package)

PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel of this very interpreter, whatever kernels are installed."""
    spec = tmp_path / "kernels/python3"
    spec.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    words = {"argv": command, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(words))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("kernel")
def test_the_walkthrough_shows_a_summary_figures_and_a_page(tmp_path):
    notebook = nbformat.read(ROOT / "examples/walkthrough.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # Kept without.
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] in ("display_data", "execute_result")
    ]
    figures = [data[PLOTLY] for data in shown if PLOTLY in data]
    assert len(figures) == 5 and all(figure["data"] for figure in figures)
    assert any("The run is finished: 6 of 6 cycles" in data.get("text/html", "") for data in shown)
    assert "report.html" in shown[-1]["text/plain"]
    assert len(list(tmp_path.glob("logs/*/report.html"))) == 1
    [folder] = tmp_path.glob("logs/*")
    result = load_run(folder)
    # Those of the network itself, and of the clones that it became.
    epochs = (result.history["phase"] != "clone").sum() + 2 * result.lineage["selected"].sum()
    assert len((tmp_path / "epochs.csv").read_text().splitlines()) == 1 + epochs >= 1 + 34
