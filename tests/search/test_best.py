"""Which network of a run is the best one."""

from __future__ import annotations

import math

from fakes import make_record

from miha.records import Judge
from miha.search.best import best_network, choose_judge

LOSS = Judge("loss", "min")


def line(*values):
    """Return trainings of one epoch, each on from the one before."""
    records = []
    for number, value in enumerate(values):
        parent = records[-1].archive if records else None
        name = f"{number}.zip"
        records.append(
            make_record("winner", number, None, values=(value,), archive=name, parent=parent)
        )
    return records


def test_the_network_with_the_best_value_is_the_best():
    records = line(0.5, 0.1, 0.5)
    assert best_network(records, LOSS) is records[1]
    assert best_network(records, Judge("loss", "max")) is records[2]


def test_of_equally_good_networks_the_latest_is_the_best():
    noisy = line(0.50, 0.42, 0.38, 0.30, 0.34, 0.30, 0.33, 0.31)
    assert best_network(noisy, LOSS) is noisy[-1]
    # Clearly worse at the end: an earlier one.
    overfits = line(0.50, 0.42, 0.38, 0.30, 0.34, 0.30, 0.33, 0.31, 0.9)
    assert best_network(overfits, LOSS) is overfits[-2]


def test_networks_without_a_value_or_an_archive_are_passed_over():
    records = line(0.5, math.nan, 0.6)
    gone = make_record("clone", 1, 1, values=(0.1,)).replace(archive=None)
    child = make_record("clone", 1, 2, values=(0.1,)).replace(epochs=())
    assert best_network([*records, gone, child], LOSS) is records[0]
    assert best_network(line(math.nan), LOSS) is None
    assert best_network([], LOSS) is None


METRICS = {"loss": "min", "accuracy": "max", "val_loss": "min", "val_accuracy": "max"}


def test_the_first_metric_on_validation_data_judges_unless_the_user_monitors_something():
    default = Judge("val_loss", "min")
    assert choose_judge(None, default, METRICS) == Judge("val_accuracy", "max")
    assert choose_judge("val_loss", default, METRICS) == default
    assert choose_judge(None, default, {"loss": "min", "val_loss": "min"}) == default
    # One of unknown direction cannot judge, nor can the loss of one of several outputs.
    unknown = {"val_loss": "min", "val_a_loss": "min", "val_mine": None}
    assert choose_judge(None, default, unknown) == default
