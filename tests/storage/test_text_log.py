"""The run's log: one line for each thing, and what the terminal shows."""

from __future__ import annotations

import re

import pytest
from fakes import make_record
from loguru import logger

from miha.errors import StorageError
from miha.storage.text_log import SEVERITY, describe_training, log_warning, run_log, say


def lines(path):
    return [line.split(" ", 2)[2] for line in path.read_text().splitlines()]


def test_what_is_said_meanwhile_stands_in_the_file_with_its_time(tmp_path):
    path = tmp_path / "run.log"
    say("before")
    with run_log(path):
        say("one")
        log_warning("two")
    say("after")
    assert lines(path) == ["one", "two"]
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} one"
    assert re.fullmatch(time, path.read_text().splitlines()[0])


def test_a_later_run_goes_on_in_the_same_file(tmp_path):
    for text in ("one", "two"):
        with run_log(tmp_path / "run.log"):
            say(text)
    assert lines(tmp_path / "run.log") == ["one", "two"]


def test_an_error_that_stops_the_run_is_logged_and_passes(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_log(tmp_path / "run.log"):
        raise KeyboardInterrupt("enough")
    assert lines(tmp_path / "run.log") == ["The run stopped: KeyboardInterrupt('enough')"]


def test_lines_of_others_are_not_in_it(tmp_path):
    with run_log(tmp_path / "run.log"):
        logger.warning("of the tests")
    assert lines(tmp_path / "run.log") == []


def test_the_terminal_shows_warnings_only():
    shown = []
    sink = logger.add(lambda message: shown.append(message.record["message"]), level="DEBUG")
    try:
        say("quiet")
        log_warning("loud")
    finally:
        logger.remove(sink)
    assert shown == ["loud"]
    assert logger.level("DEBUG").no > SEVERITY


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match="taken"), run_log(tmp_path / "taken" / "run.log"):
        pass


def test_a_training_is_one_line(tmp_path):
    first = make_record("initial", None, None, values=(0.5, 0.25))
    second = make_record("clone", 3, 1, values=(0.5, 0.25), fitness=-0.125)
    with run_log(tmp_path / "run.log"):
        describe_training(first, "val_loss", shows_fitness=False)
        describe_training(second, "val_loss", shows_fitness=True)
        describe_training(second, "val_loss", shows_fitness=False)
    assert lines(tmp_path / "run.log") == [
        "initial: unchanged, 2 epochs, val_loss 0.25 -> model/model_init.zip",
        "clone cycle 3 clone 1: unchanged, 2 epochs, val_loss 0.25, fitness -0.125"
        " -> population/3_1_model.zip",
        "clone cycle 3 clone 1: unchanged, 2 epochs, val_loss 0.25 -> population/3_1_model.zip",
    ]
