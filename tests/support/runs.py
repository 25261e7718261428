"""Runs of the fake trainer, to look at."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes import GENOME, SPACE, FakeTrainer, make_loop, run

from miha.errors import MihaWarning
from miha.records import Genome
from miha.results.reader import load_run
from miha.results.result import Result
from miha.space import Space
from miha.storage.logbook import Logbook

SCRIPT = "<script>document.title='hacked'</script>"
"""A layer's name that must be shown as it is."""


def make_run(path: Path, trainer: FakeTrainer | None = None, **changes: Any) -> Result:
    """Return a finished run of two cycles of three clones, unless told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MihaWarning)  # Clones that fail say so.
        run(make_loop(path, trainer, **changes))
    return load_run(path)


def grown(result: Result, cycles: int) -> Result:
    """Return a run of one cycle as if it had had many: none is trained, so it takes no time."""
    log = result._log
    first, *cycle, last = log.trainings
    trainings = [{**entry, "cycle": n} for n in range(1, cycles + 1) for entry in cycle]
    winners = {n: log.winners[1] for n in range(1, cycles + 1)}
    return replace(result, _log=Logbook([first, *trainings, last], winners, True))


def raced(path: Path, **changes: Any) -> Result:
    """Return a run whose clones race, and whose two fittest join."""
    numbers: dict[str, Any] = {"n": 4, "pop_size": 4, "c": 3, "restarts": 1}
    return make_run(path, racing=True, crossover=True, **(numbers | changes))


def spoilt(path: Path) -> Result:
    """Return a run that goes back: its network gets worse in the winner's training of cycle 1."""
    trainer = FakeTrainer(script={4: {"val_loss": 100.0, "loss": 99.0}})
    return make_run(path, trainer, backtrack=0.05)


def rested(path: Path) -> Result:
    """Return a run of eight cycles, some of them rests, since every mutant diverges."""
    trainer = FakeTrainer(diverges=lambda genome: genome != GENOME)
    return make_run(path, trainer, c=8, rest=True, restarts=0)


def hostile() -> FakeTrainer:
    """Return a trainer whose layers are named by a stranger, and whose clones fail with tags."""
    slots = {SCRIPT: ("relu", "<b>tanh</b>"), "%{x}<br>": ("tanh", "relu")}
    space = Space(SPACE.optimizers, slots, SPACE.batch_size, SPACE.learning_rate)
    genome = Genome("sgd", 0.005, 4, ((SCRIPT, "relu"), ("%{x}<br>", "tanh")))

    def fails(genome: Genome) -> Exception | None:
        return ValueError(f"{SCRIPT} failed") if genome.optimizer == "lion" else None

    return FakeTrainer(genome=genome, space=space, fails=fails)


def failing(gene: str) -> FakeTrainer:
    """Return a trainer on which every clone with another optimizer or batch size diverges."""
    return FakeTrainer(diverges=lambda genome: getattr(genome, gene) != getattr(GENOME, gene))
