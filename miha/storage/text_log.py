"""The run's log: loguru, in a file of the run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from loguru import logger

from miha.records import Network
from miha.storage.disk import on_disk

SEVERITY = 8
"""Below DEBUG: loguru's default handler leaves the terminal to the progress bar."""


@contextlib.contextmanager
def run_log(path: Path) -> Iterator[None]:
    """Write what is logged meanwhile into a file."""
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
    """Write one line of the run's log that the terminal shall show too."""
    logger.warning(text)


def describe_training(network: Network, monitor: str) -> None:
    """Write one line of the run's log about a finished training."""
    task = network.task
    cycle = "" if task.cycle is None else f" cycle {task.cycle}"
    clone = "" if task.clone is None else f" clone {task.clone}"
    fitness = "" if network.fitness is None else f", fitness {network.fitness:.5g}"
    fitness += ", late" if network.late else ""
    say(
        f"{task.phase}{cycle}{clone}: {task.change.text}, {len(network.epochs)} epochs, "
        f"{monitor} {network.value:.5g}{fitness} -> {task.archive}"
    )
