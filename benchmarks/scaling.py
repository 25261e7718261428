"""How the cost of a cycle grows: with the cycles before it, the clones, the weights, the samples.

    python benchmarks/scaling.py

Prints milliseconds of a cycle and what part of them is what: epochs, which train and evaluate; what
surrounds them in a training, which sets values and copies them; and the rest, which is rules, the
journal, archives that the disk has not taken yet, and tables. Run it alone on the machine.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import miha

LATEST = 10
"""Cycles of which the mean is taken."""


class Cycles(miha.Callback):
    """Notes the seconds of each cycle, and of its trainings."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []
        self._start = time.perf_counter()
        self._epochs = self._trainings = 0.0

    def on_training_end(self, network: Any) -> None:
        self._epochs += sum(epoch.seconds for epoch in network.record.epochs)
        self._trainings += network.record.seconds or 0.0

    def on_cycle_end(self, cycle: int, clones: Any, winner: Any) -> None:
        now = time.perf_counter()
        self.rows.append((now - self._start, self._epochs, self._trainings))
        self._start = now
        self._epochs = self._trainings = 0.0


def build(units: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(units, activation="relu")
    model = keras.Sequential([keras.Input((16,)), hidden, keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def cycles(c: int, pop_size: int = 5, units: int = 16, samples: int = 1000) -> Cycles:
    """Run c cycles, each with a population, and return what they took."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 16)).astype("float32")
    watch = Cycles()
    with tempfile.TemporaryDirectory() as folder:
        miha.MIHA(
            build(units), x, x[:, :2], validation_split=0.2, m=1, n=1, k=1, c=c, pop_size=pop_size,
            batch_size=32, seed=0, verbose=0, logs=Path(folder) / "run", callbacks=[watch],
            keep="final", search=miha.Search(rest=False, restarts=0),
            mutations=["learning_rate", "input_noise"],
        ).optimize()  # fmt: skip
    return watch


def show(name: str, rows: list[tuple[float, float, float]]) -> None:
    whole, epochs, trainings = np.mean(rows, axis=0)
    parts = (epochs, trainings - epochs, whole - trainings)
    shares = ", ".join(f"{part / whole:.0%}" for part in parts)
    print(f"{name:28} {whole * 1e3:8.1f} ms: {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few cycles: does it still run?")
    args = parser.parse_args()
    print("a cycle: epochs, around them, the rest")
    longest = 20 if args.quick else 1000
    found = cycles(longest).rows
    for last in (10, 100, 300, 1000):
        if last <= longest:
            show(f"cycle {last}", found[last - LATEST : last])
    few = 2 if args.quick else 10
    for pop_size in (2, 16) if args.quick else (2, 16, 64, 256):
        show(f"pop_size {pop_size}", cycles(few, pop_size=pop_size).rows[1:])
    for units in (1_000,) if args.quick else (1_000, 10_000, 100_000):
        show(f"{units * 19} weights", cycles(few, units=units).rows[1:])
    for samples in (10_000,) if args.quick else (10_000, 100_000):
        show(f"{samples} samples", cycles(few, samples=samples).rows[1:])


if __name__ == "__main__":
    main()
