"""The run's log: loguru, in a file of the run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from loguru import logger

from miha.records import TrainingRecord
from miha.storage.disk import on_disk

SEVERITY = 8
"""Below DEBUG: loguru's default handler leaves the terminal to the progress bar."""


@contextlib.contextmanager
def run_log(path: Path) -> Iterator[None]:
    """Write what is logged in the block into a file."""
    line = "{time:YYYY-MM-DD HH:mm:ss.SSS} {message}"
    with on_disk(path):
        sink = logger.add(path, level=SEVERITY, format=line, filter="miha", encoding="utf-8")
    try:
        yield
    except BaseException as error:
        logger.log(SEVERITY, f"The run stopped: {error!r}")
        raise
    finally:
        logger.remove(sink)


def say(text: str) -> None:
    """Write one line of the run's log."""
    logger.log(SEVERITY, text)


def log_warning(text: str) -> None:
    """Write one line of the run's log that the terminal shows too."""
    logger.warning(text)


def describe_training(
    record: TrainingRecord,
    monitor: str,
    shows_fitness: bool,
) -> None:
    """Write one line of the run's log about a finished training.

    Args:
        record: Of the training.
        monitor: Name of the monitored value.
        shows_fitness: Whether fitness says something to the reader: it is the user's own.
    """
    place: str = record.phase
    if record.cycle is not None:
        place += f" cycle {record.cycle}"
    if record.clone is not None:
        place += f" clone {record.clone}"

    outcome = f"{monitor} {record.value:.5g}"
    if shows_fitness and record.fitness is not None:
        outcome += f", fitness {record.fitness:.5g}"

    if record.has_seen_validation:
        outcome += " on data it has seen"
    epochs = len(record.epochs)
    say(f"{place}: {record.change.text}, {epochs} epochs, {outcome} -> {record.archive}")
