"""What a result can be shown as: each method calls a room above, only when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from miha.results.result import Result
from miha.storage.logbook import Logbook


@pytest.fixture
def result():
    return Result("val_loss", Path("run"), "finished", Logbook(), "min", lambda path: None)


@pytest.mark.parametrize(
    ("method", "given", "module", "function", "received"),
    [
        ("plot_learning_history", (), "visualization", "plot_learning_history", (None,)),
        ("plot_best", ("loss",), "visualization", "plot_best", ("loss", None)),
        ("plot_lineage", (), "visualization", "plot_lineage", ()),
        ("plot_schedule", (), "visualization", "plot_schedule", ()),
        ("plot_gains", (), "visualization", "plot_gains", ()),
        (
            *("plot_parallel_coordinate", (["optimizer"],)),
            *("visualization", "plot_parallel_coordinate", (["optimizer"],)),
        ),
        ("plot_pairs", (), "visualization", "plot_pairs", (None,)),
        ("plot_importance", (3,), "visualization", "plot_importance", (3,)),
        ("report", ("a.html",), "report.page", "write_report", ("a.html", False)),
        ("to_optuna", (), "integrations.optuna", "to_optuna", (None, None, "value")),
        ("to_tensorboard", (), "integrations.tensorboard", "to_tensorboard", (None,)),
        ("_repr_html_", (), "report.notebook", "as_html", ()),
    ],
)
def test_a_method_calls_the_room_that_it_names(
    result, monkeypatch, method, given, module, function, received
):
    calls = []
    room = SimpleNamespace(**{function: lambda *args: calls.append(args) or "shown"})
    monkeypatch.setitem(sys.modules, f"miha.{module}", room)
    assert getattr(result, method)(*given) == "shown"
    assert calls == [(result, *received)]
