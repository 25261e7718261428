"""The examples and the benchmark run as they are, at a small size."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT


def run(script: str, *arguments: object, cwd: Path) -> str:
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "120"}
    # A user has not set it.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    # Workers of Ray write what they like; an example itself does not show how TensorFlow starts.
    if script.startswith("examples/") and "ray" not in script:
        assert "absl::" not in done.stderr and "TensorFlow binary" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mnist(tmp_path_factory) -> Path:
    """A file in MNIST's layout: noisy bars, which way they lie."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, count in (("train", 400), ("test", 120)):
        y = rng.integers(2, size=count).astype("uint8")
        x = rng.integers(100, size=(count, 28, 28))
        x[y == 0, 10:14] = 255
        x[y == 1, :, 10:14] = 255
        arrays |= {f"x_{name}": x.astype("uint8"), f"y_{name}": y}
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, **arrays)
    return path


def test_the_quickstart_shows_accuracies_lineage_and_folder(tmp_path):
    output = run("examples/quickstart.py", "--cycles", 1, cwd=tmp_path)
    assert output.startswith("MIHA trains 38 epochs")
    assert "Lineage" in output and re.search(r"\S+ -> \S+", output)
    rows = re.findall(r"│ (.+?) +│ +([01]\.\d{3}) │", output)
    assert [words for words, _ in rows] == [
        "before training",
        "38 epochs, plain training",
        "38 epochs, textbook (adam, relu)",
        "38 epochs of MIHA",
    ]
    folder = re.search(r"The run's folder: (.+)", output).group(1)
    assert (tmp_path / folder / "model/model_final.zip").exists()


@pytest.mark.parametrize("start", [pytest.param("good", marks=pytest.mark.slow), "poor"])
def test_the_classification_example_compares_with_plain_training(
    tmp_path, mnist, start, monkeypatch, capsys
):
    # In this process, which has imported TensorFlow: that takes as long as the example.
    script = ROOT / "examples/mnist_classification.py"
    arguments = ["--data", mnist, "--objects", 400, "--start", start]
    arguments += ["--schedule", 2, 1, 1, 1, 2, "--logs", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    output = capsys.readouterr().out
    scores = dict(re.findall(r"^(plain training|MIHA, \w+).*?(\d\.\d{4})", output, re.M))
    assert scores.keys() == {"plain training", "MIHA, last", "MIHA, best"}
    assert float(scores["MIHA, best"]) >= 0.5
    assert "after 7 epochs" in output


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["synthetic", "file"])
def test_the_gap_filling_example_compares_with_plain_training(tmp_path, layout):
    arguments = ["--objects", 64, "--schedule", 1, 1, 1, 1, 2, "--logs", tmp_path / "run"]
    if layout == "file":
        rng = np.random.default_rng(0)
        arrays = {}
        for name in ("train", "val", "test"):
            y = rng.normal(size=(64, 32, 32, 1)).astype("float32")
            gap = y > 1
            arrays |= {f"x_{name}": np.where(gap, 0, y), f"y_{name}": y, f"gap_{name}": gap}
        np.savez(tmp_path / "field.npz", **arrays)
        arguments += ["--data", tmp_path / "field.npz"]
    output = run("examples/gap_filling.py", *arguments, cwd=tmp_path)
    rows = re.findall(r"^(gaps filled|plain|MIHA, \w+).*? +(\d\.\d+) +(\d\.\d+)$", output, re.M)
    assert [row[0] for row in rows] == ["gaps filled", "plain", "MIHA, last", "MIHA, best"]
    assert all(float(value) > 0 for row in rows for value in row[1:])


@pytest.mark.slow
def test_a_mutation_of_the_users_own_changes_all_dropout_layers_at_once(tmp_path):
    output = run("examples/custom_mutation.py", "--logs", tmp_path, cwd=tmp_path)
    assert re.search(r"dropout: \S+ -> \S+, dropout_1: \S+ -> ", output)
    assert re.search(r"^Test accuracy: 0\.\d{3}$", output, re.M)
    assert re.search(r"^Ended with: .*dropout_1: ", output, re.M)


@pytest.mark.slow
def test_the_benchmark_prints_ratios(tmp_path, mnist):
    output = run("benchmarks/overhead.py", "--data", mnist, "--quick", cwd=tmp_path)
    ratios = re.findall(r"^time of MIHA / time of .*: +(\d+\.\d+)", output, re.M)
    assert len(ratios) == 4 and all(float(ratio) > 0 for ratio in ratios)
    assert "one trace for each optimizer class used, and one for evaluation: True" in output
    growth = float(re.search(r"after cycle 5: (\d\.\d+)", output).group(1))
    assert growth < 1.05


def scores(output: str) -> dict[str, int]:
    """Return the epochs of each cell of a comparison, as it is told."""
    cells = re.findall(r"^\[\d+/\d+\] (.+), seed 0: \S.* \d\.\d{4}, (\d+) epochs", output, re.M)
    return {name: int(epochs) for name, epochs in cells}


@pytest.mark.slow
def test_the_comparison_on_mnist_goes_on_where_it_was(tmp_path, mnist):
    script = "examples/compare_optuna.py"
    arguments = ["--data", mnist, "--objects", 100, "--epochs", 2, "--seeds", 1, "--starts", "poor"]
    output = run(script, *arguments, "--strategies", "plain", cwd=tmp_path)
    assert scores(output) == {"plain training, start poor": 2}
    assert "| plain training | " in output and "first 500" in output
    again = run(script, *arguments, "--strategies", "plain", cwd=tmp_path)
    assert not scores(again) and again.splitlines()[1:] == output.splitlines()[2:]
    assert (tmp_path / "logs/compare_optuna/comparison.json").exists()


@pytest.mark.slow
def test_the_comparison_of_the_article_searches_layers_too(tmp_path, mnist):
    pytest.importorskip("optuna_integration", reason="pip install 'miha[compare]'")
    arguments = ["--objects", 40, "--epochs", 8, "--seeds", 1, "--starts", "good"]
    output = run("examples/compare_article.py", "--data", mnist, *arguments, cwd=tmp_path)
    names = ["plain training", "Optuna (TPE, median)", "Optuna, layers and units searched", "MIHA"]
    assert scores(output) == {f"{name}, start good": 8 for name in names}
    assert "Equal seconds" in output


@pytest.mark.slow
@pytest.mark.parametrize("script", ["compare_optuna", "compare_cifar10", "compare_gap_filling"])
def test_the_comparisons_of_the_examples_run(tmp_path, mnist, script):
    data = {"compare_optuna": ["--data", mnist], "compare_gap_filling": []}.get(script)
    if data is None:
        rng = np.random.default_rng(0)
        data = ["--data", tmp_path / "cifar.npz"]
        images = {f"x_{n}": rng.integers(255, size=(40, 32, 32, 3)) for n in ("train", "test")}
        np.savez(data[1], **images, **{f"y_{n}": np.arange(40) % 10 for n in ("train", "test")})
    output = run(
        *(f"examples/{script}.py", *data, "--objects", 40, "--epochs", 8, "--seeds", 1),
        *("--strategies", "random", "miha", "--starts", "random"),
        cwd=tmp_path,
    )
    assert scores(output) == {"random search, start random": 8, "MIHA, start random": 8}
    folder = tmp_path / "logs" / script
    assert (folder / "fields.html").exists() == (script == "compare_gap_filling")


@pytest.mark.slow
def test_the_example_of_what_a_search_costs_runs(tmp_path, mnist):
    output = run(
        *("examples/compare_search_cost.py", "--data", mnist, "--objects", 60, "--epochs", 8),
        *("--final", 3, "--candidate", 2, "--ranked", 4, "--seeds", 1, "--starts", "poor"),
        cwd=tmp_path,
    )
    assert set(scores(output).values()) == {8, 12}
    assert re.search(r"^\| random, 2 epochs each \| \d\.\d{4} \| 2 \| 3 \|$", output, re.M)
    assert re.search(r"^\| 2 \| (-?\d\.\d{4}|–) \|$", output, re.M)
