"""The notebook is kept as it was run, and runs as it is, in a kernel of its own."""

from __future__ import annotations

import base64
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


def kinds(cell):
    """What a cell shows, images aside: a kernel makes none. Packages may warn of what they lack."""
    outputs = [output for output in cell.get("outputs", ()) if output["output_type"] != "stream"]
    return [{*output["data"]} - {"image/png"} for output in outputs]


def test_the_notebook_is_kept_with_its_outputs_and_images_of_its_figures():
    notebook = nbformat.read(ROOT / "examples/walkthrough.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output["output_type"] for output in outputs} == {"display_data", "execute_result"}
    figures = [output["data"] for output in outputs if PLOTLY in output["data"]]
    images = [base64.b64decode(data["image/png"]) for data in figures]
    assert len(images) == 5 and all(image.startswith(b"\x89PNG") for image in images)
    # No folder of the machine that has run it.
    assert "PosixPath('/" not in str(outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("kernel")
def test_the_walkthrough_shows_a_summary_figures_and_a_page(tmp_path):
    notebook = nbformat.read(ROOT / "examples/walkthrough.ipynb", as_version=4)
    kept = [kinds(cell) for cell in notebook.cells]
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    # What the code of today shows; `make notebook` keeps it.
    assert [kinds(cell) for cell in notebook.cells] == kept
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
