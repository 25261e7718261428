"""`miha export`: networks of a real run as files that others open."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from networks import dense, images

import miha
from miha.cli import main
from miha.results.export import _find_archive, describe_network, export


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    x, y = images()
    arguments = {"validation_data": images(32, seed=9), "seed": 1, "logs": folder, "verbose": 0}
    miha.MIHA(dense(), x, y, m=1, n=1, k=1, c=1, pop_size=2, **arguments).optimize()
    return folder


def predicted(run_dir, archive):
    model, _ = miha.load(run_dir / archive)
    return model.predict(images(8, seed=3)[0], verbose=0)


@pytest.mark.parametrize(
    "name, archive",
    [
        ("last", "model/model_final.zip"),
        ("model_1", "model/model_1.zip"),
        ("1_1_model", "population/1_1_model.zip"),
        ("population/1_0_model.zip", "population/1_0_model.zip"),
        ("model_start", "model/model_start.zip"),
    ],
)
def test_a_network_is_exported_for_keras(run_dir, tmp_path, name, archive):
    path = tmp_path / "deep/network.keras"
    assert export(run_dir, name, path) == path
    model = keras.models.load_model(path)
    found = model.predict(images(8, seed=3)[0], verbose=0)
    np.testing.assert_array_equal(found, predicted(run_dir, archive))
    assert [p.name for p in path.parent.iterdir()] == ["network.keras"]


def test_a_network_is_exported_for_tensorflow(run_dir, tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    path = export(run_dir, "last", tmp_path / "served")
    loaded = tensorflow.saved_model.load(path)
    served = loaded.serve(images(8, seed=3)[0])
    expected = predicted(run_dir, "model/model_final.zip")
    np.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:In the future `np.object`", "ignore::DeprecationWarning")
@pytest.mark.skipif(not (find_spec("onnx") and find_spec("tf2onnx")), reason="needs the extra onnx")
def test_a_network_is_exported_as_onnx(run_dir, tmp_path):
    import onnx
    from onnx.reference import ReferenceEvaluator

    path = export(run_dir, "last", tmp_path / "network.onnx")
    network = onnx.load(path)
    [name] = [item.name for item in network.graph.input]
    [found] = ReferenceEvaluator(network).run(None, {name: images(8, seed=3)[0]})
    expected = predicted(run_dir, "model/model_final.zip")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("onnx") and find_spec("tf2onnx")), reason="needs the extra onnx")
def test_an_export_shows_nothing_of_how_tensorflow_starts(run_dir, tmp_path):
    environment = {**os.environ}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "miha", "export", str(run_dir), "--to"]
    done = subprocess.run(
        [*command, str(tmp_path / "network.onnx")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_onnx_says_what_it_needs(run_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[onnx\]'"):
        export(run_dir, "last", tmp_path / "network.onnx")


def test_what_keras_cannot_export_is_an_error_that_leaves_nothing(run_dir, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError("no such operation")

    monkeypatch.setattr(keras.Model, "export", refuse)
    with pytest.raises(miha.MihaError, match="must be able to export.*no such operation"):
        export(run_dir, "last", tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error_with_words(run_dir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(miha.StorageError, match="must have a place that is writable"):
        export(run_dir, "best", tmp_path / "file/network.keras")


def test_the_best_and_the_last_network_have_names(run_dir):
    result = miha.load_run(run_dir)
    assert [_find_archive(result, name) for name in ("last", "best")] == [*result.archives]


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("model_9", "network.keras", r"'best', 'last' or .*'model_1'.*Received: 'model_9'"),
        ("last", "network.h5", "must end in .keras or .onnx"),
        ("last", ".", "must name something new"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(run_dir, tmp_path, name, target, words):
    with pytest.raises(miha.MihaError, match=words):
        export(run_dir, name, tmp_path / target)


def test_the_command_line_prints_what_it_wrote(run_dir, tmp_path, capsys):
    path = tmp_path / "network.keras"
    assert main(["export", str(run_dir), "--model", "last", "--to", str(path)]) == 0
    out = capsys.readouterr().out
    assert out == f"{path}: {describe_network(run_dir, 'last')}\n"
    (tmp_path / "file").touch()
    assert main(["export", str(run_dir), "--to", str(tmp_path / "file/network.keras")]) == 1
    assert "must have a place that is writable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model_1", r"model_1 \(cycle 1, winner.*\), val_loss [\d.]+"),
        ("1_1_model", r"1_1_model \(cycle 1, clone 1\), val_loss [\d.]+"),
        ("last", r"model_final \(final training.*the last network\), val_loss [\d.]+"),
        ("model_start", r"model_start \(the network as it was before the run\)"),
    ],
)
def test_a_network_is_described_by_its_place_and_value(run_dir, name, words):
    # The metric that the best network is the best in stands beside the monitored value.
    metric = "" if name == "model_start" else r", val_accuracy [\d.]+"
    assert re.fullmatch(words + metric, describe_network(run_dir, name))
