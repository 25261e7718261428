"""What MIHA costs beside `fit`, and beside the same schedule written the usual way.

    python benchmarks/overhead.py --data mnist.npz

Prints ratios of one run on one machine; run it alone. MNIST-10k, dense 784-400-10, batch 32,
validation after each epoch, m=10 n=3 k=3 c=10 pop_size=5: 200 epochs. Archives, journal and the
constructor are in MIHA's time.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import miha
from miha.records import Schedule

FULL, QUICK = Schedule(10, 3, 3, 10, 5), Schedule(1, 1, 1, 2, 2)


def load(path: str | None, objects: int) -> tuple[Any, Any]:
    """Return training and validation data."""
    if path:
        with np.load(path) as file:
            x, y = file["x_train"], file["y_train"]
    else:
        (x, y), _ = keras.datasets.mnist.load_data()
    x, y = (x[:objects].reshape(-1, 784) / 255).astype("float32"), y[:objects]
    border = int(len(x) * 0.85)
    return (x[:border], y[:border]), (x[border:], y[border:])


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(400, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def with_miha(data: Any, validation: Any, schedule: Schedule, callbacks: Any = ()) -> miha.MIHA:
    """Run MIHA and throw its folder away."""
    with tempfile.TemporaryDirectory() as folder:
        run = miha.MIHA(
            build(), *data, validation_data=validation, **vars(schedule),
            seed=0, logs=Path(folder) / "run", verbose=0, callbacks=callbacks,
        )  # fmt: skip
        for callback in callbacks:
            callback.run = run
        run.optimize()
    return run


def with_fit(data: Any, validation: Any, schedule: Schedule) -> None:
    """Train the network for as many epochs, as everybody does."""
    build().fit(*data, epochs=schedule.epochs, validation_data=validation, verbose=0)


def the_usual_way(data: Any, validation: Any, schedule: Schedule) -> None:
    """Train a population with `clone_model`, `compile` and `fit`, as tutorials do."""
    rng = np.random.default_rng(0)
    optimizers = [keras.optimizers.Adam, keras.optimizers.SGD, keras.optimizers.RMSprop]

    def fit(model: keras.Model, epochs: int, batch_size: int = 32) -> float:
        history = model.fit(
            *data, epochs=epochs, batch_size=batch_size, validation_data=validation, verbose=0
        )
        return history.history["val_loss"][-1]

    network = build()
    fit(network, schedule.m)
    for _ in range(schedule.c):
        clones = []
        for _ in range(schedule.pop_size):
            clone = keras.models.clone_model(network)
            clone.set_weights(network.get_weights())
            clone.compile(
                rng.choice(optimizers)(), "sparse_categorical_crossentropy", metrics=["accuracy"]
            )
            loss = fit(clone, schedule.n, int(rng.choice([16, 32, 64])))
            clones.append((loss, len(clones), clone))
        network = min(clones)[2]
        fit(network, schedule.k)
    fit(network, schedule.m)


def seconds(function: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def resident_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Watch(miha.Callback):
    """Notes memory and traces after each cycle."""

    run: miha.MIHA

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.optimizers: set[str] = set()

    def on_training_begin(self, task: Any) -> None:
        self.optimizers.add(task.genome.optimizer)

    def on_cycle_end(self, cycle: int, clones: Sequence[Mapping[str, Any]]) -> None:
        gc.collect()
        row = {"traces": self.run.trainer.traces, "optimizers": len(self.optimizers)}
        self.rows.append({"megabytes": resident_megabytes(), **row})


def print_ratios(data: Any, validation: Any, schedule: Schedule) -> None:
    print(f"{schedule.epochs} epochs, {len(data[0])} + {len(validation[0])} objects")
    times = {
        way.__name__: seconds(lambda way=way: way(data, validation, schedule))
        for way in (with_miha, with_fit, the_usual_way)
    }
    ours = times["with_miha"]
    print(f"time of MIHA / time of fit:            {ours / times['with_fit']:.2f}  (at most 0.60)")
    usual = ours / times["the_usual_way"]
    print(f"time of MIHA / time of the usual way:  {usual:.2f}  (at most 0.33)")


def print_growth(data: Any, validation: Any, cycles: int) -> None:
    watch = Watch()
    with_miha(data, validation, Schedule(1, 1, 1, cycles, 4), [watch])
    first, early, late = (watch.rows[min(i, cycles) - 1] for i in (1, 5, cycles))
    for cycle, row in ((1, first), (5, early), (cycles, late)):
        print(f"after cycle {cycle}: {row['traces']} traces, {row['optimizers']} optimizer classes")
    same = all(row["traces"] == row["optimizers"] + 1 for row in watch.rows)
    print(f"one trace for each optimizer class used, and one for evaluation: {same}")
    growth = late["megabytes"] / early["megabytes"]
    print(f"memory after cycle {cycles} / after cycle 5: {growth:.3f}  (at most 1.05)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--quick", action="store_true", help="a few epochs: does it still run?")
    args = parser.parse_args()
    data, validation = load(args.data, 1_000 if args.quick else 10_000)
    print_ratios(data, validation, QUICK if args.quick else FULL)
    print_growth(tuple(a[:850] for a in data), validation, cycles=6 if args.quick else 50)


if __name__ == "__main__":
    main()
