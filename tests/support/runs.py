"""Runs of the fake trainer, and of version 0.3.0, to look at."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes import GENOME, SPACE, FakeTrainer, make_loop, run
from paths import ROOT

from miha.errors import MihaWarning
from miha.mutations import resolve
from miha.records import Genome
from miha.results.reader import load_run, start_time
from miha.results.result import Result
from miha.space import Space
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

OLD_RUNS = ROOT / "tests/fixtures/run_0_3_0"
"""Runs that version 0.3.0 wrote: ``plain``, and ``joined`` with clones of clones."""

SCRIPT = "<script>document.title='hacked'</script>"
"""A layer's name that must be shown as it is."""


def make_run(path: Path, trainer: FakeTrainer | None = None, **changes: Any) -> Result:
    """Return a finished run of two cycles of three clones, unless told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MihaWarning)  # Clones that fail say so.
        run(make_loop(path, trainer, **changes))
    return load_run(path)


def old_run(name: str) -> Result:
    """Return a run that version 0.3.0 wrote: ``"plain"`` or ``"joined"``."""
    return load_run(OLD_RUNS / name)


def grown(result: Result, cycles: int) -> Result:
    """Return a run of one cycle as if it had had many: none is trained, so it takes no time."""
    log = result.log
    first, *cycle, last = log.trainings
    trainings = [record.replace(cycle=n) for n in range(1, cycles + 1) for record in cycle]
    winners = {n: log.winners[1] for n in range(1, cycles + 1)}
    return replace(result, log=Logbook([first, *trainings, last], winners, True))


def at(result: Result, lines: int) -> Result:
    """Return the run as it was when its journal had so many lines."""
    path = result.run_dir / "journal.jsonl"
    whole = path.read_bytes()
    Journal(path).cut(lines)
    early = load_run(result.run_dir)
    path.write_bytes(whole)
    return early


def slowed(result: Result) -> tuple[Result, float]:
    """Return a run whose epochs took two seconds each, and when it began."""
    for number, record in enumerate(result.log.trainings):
        epochs = tuple(replace(epoch, seconds=2.0) for epoch in record.epochs)
        result.log.trainings[number] = record.replace(epochs=epochs)
    return result, start_time(result)


class Joining(FakeTrainer):
    """A trainer on which every child of two clones is better than they are."""

    def evaluate(self) -> dict[str, float]:
        return {"val_loss": 0.0, "val_accuracy": 1.0}


def crossed(path: Path, trainer: FakeTrainer | None = None, **changes: Any) -> Result:
    """Return a run whose two fittest clones have a child, which wins unless told otherwise."""
    arguments = {"crossover": True, "mutations": resolve(["learning_rate", "batch_size"])}
    return make_run(path, trainer or Joining(), **(arguments | changes))


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
