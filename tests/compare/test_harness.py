"""The arguments of `compare`."""

from __future__ import annotations

import sys

import pytest
import rivals
from compared import MIHA, STARTS, run
from rivals import START

from miha.compare import compare
from miha.compare.harness import direction
from miha.errors import ArgumentError
from miha.records import Genome
from miha.utils.optional import MissingPackageError

pytestmark = pytest.mark.usefixtures("nothing_has_run")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epochs": 1}, "`epochs` must be an integer, at least 2"),
        ({"strategies": ["nonsense"]}, "must be one of"),
        ({"strategies": [MIHA, MIHA]}, "with different names"),
        ({"mode": "big"}, "`mode` must be 'min', 'max' or 'auto'"),
        ({"starts": {"a": None}}, "Give one start"),
        ({"starts": {"a": START, "b": Genome("sgd", 0.1, 8)}}, "the same layers"),
        ({"starts": {"a": START.replace(learning_rate=None)}}, "must have a learning rate"),
        ({"seeds": []}, "`seeds` must be"),
        ({"time_limit": 0}, "`time_limit` must be a number above 0"),
    ],
)
def test_arguments_that_break_a_rule_are_refused_before_anything_is_written(
    tmp_path, arguments, message
):
    with pytest.raises(ArgumentError, match=message):
        run(tmp_path / "folder", **arguments)
    assert not (tmp_path / "folder").exists()


def test_data_without_a_test_part_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="`data` must be three pairs"):
        compare(rivals.build, rivals.data()[:2], [MIHA], logs=tmp_path / "x", starts=STARTS)


def test_without_scipy_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingPackageError):
        run(tmp_path / "folder")
    assert not rivals.RAN and not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "name, mode",
    [("val_loss", "min"), ("val_accuracy", "max"), ("auc", "max"), ("mse_gap", "min")],
)
def test_how_a_value_is_better_is_told_by_its_name(name, mode):
    assert direction("mode", name, "auto") == mode
    assert direction("mode", name, "max") == "max"
