"""What MIHA costs beside `fit`, and beside the same schedule written the usual way.

    python benchmarks/overhead.py --data mnist.npz

Prints ratios of one run on one machine; run it alone. MNIST-10k, dense 784-400-10, batch 32,
validation after each epoch, m=10 n=3 k=3 c=10 pop_size=5: 200 epochs. Archives, journal and the
constructor are in MIHA's time. The usual way trains the very clones that MIHA trained; `fit` trains
the network as it is, while MIHA's clones may have smaller batches, whose epochs take longer.
"""

import argparse
import gc
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
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
            keras.layers.Dense(400, activation="relu", name="hidden"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def with_miha(
    data: Any, validation: Any, schedule: Schedule, callbacks: Any = (), compiler: Any = None
) -> list[Any]:
    """Run MIHA, throw its folder away, and return the trainings of its journal."""
    with tempfile.TemporaryDirectory() as folder:
        run = miha.MIHA(
            build(), *data, validation_data=validation, **vars(schedule),
            seed=0, logs=Path(folder) / "run", verbose=0, callbacks=callbacks,
            execution=miha.Execution(compiler=compiler),
            search=miha.Search(rest=False),  # Every cycle has clones: what they cost is to be seen.
        )  # fmt: skip
        for callback in callbacks:
            callback.run = run
        journal = run.optimize().run_dir / "journal.jsonl"
        entries = [json.loads(line) for line in journal.read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == "training"]


def with_fit(data: Any, validation: Any, schedule: Schedule) -> None:
    """Train the network for as many epochs, as everybody does."""
    build().fit(*data, epochs=schedule.epochs, validation_data=validation, verbose=0)


def the_usual_way(data: Any, validation: Any, trainings: list[Any]) -> None:
    """Do the same trainings with `clone_model`, `compile` and `fit`, as tutorials do."""
    networks = {trainings[0]["parent"]: build()}
    for training in trainings:
        network = networks[training["parent"]]
        if training["phase"] == "clone":
            network = usual_clone(network, training["genome"])
        network.fit(
            *data,
            epochs=len(training["epochs"]),
            batch_size=training["genome"]["batch_size"],
            validation_data=validation,
            verbose=0,
        )
        if training["phase"] != "clone":
            networks.clear()  # The losers of the cycle.
        networks[training["archive"]] = network


def usual_clone(network: keras.Model, genome: dict[str, Any]) -> keras.Model:
    def mutated(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in genome["activations"]:
            config["activation"] = genome["activations"][layer.name]
        return type(layer).from_config(config)

    clone = keras.models.clone_model(network, clone_function=mutated)
    clone.set_weights(network.get_weights())
    optimizer = keras.optimizers.get(genome["optimizer"])
    optimizer.learning_rate = genome["learning_rate"]
    clone.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return clone


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


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

    def on_cycle_end(self, cycle: int, clones: Any, winner: Any) -> None:
        gc.collect()
        row = {"traces": self.run.trainer.traces, "optimizers": len(self.optimizers)}
        self.rows.append({"megabytes": resident_megabytes(), **row})


def print_ratios(data: Any, validation: Any, schedule: Schedule, compiler: Any) -> None:
    print(f"{schedule.epochs} epochs, {len(data[0])} + {len(validation[0])} objects")
    ours, trainings = timed(lambda: with_miha(data, validation, schedule, compiler=compiler))
    fit, _ = timed(lambda: with_fit(data, validation, schedule))
    usual, _ = timed(lambda: the_usual_way(data, validation, trainings))
    print(f"time of MIHA / time of fit:            {ours / fit:.2f}  (at most 0.60)")
    print(f"time of MIHA / time of the usual way:  {ours / usual:.2f}  (at most 0.33)")
    sizes = Counter(t["genome"]["batch_size"] for t in trainings for _ in t["epochs"])
    print(f"epochs of MIHA by batch size: {dict(sorted(sizes.items()))}; of fit: all at 32")


def print_growth(data: Any, validation: Any, cycles: int) -> None:
    watch = Watch()
    with_miha(data, validation, Schedule(1, 1, 1, cycles, 5), [watch])
    first, early, late = (watch.rows[min(i, cycles) - 1] for i in (1, 5, cycles))
    for cycle, row in ((1, first), (5, early), (cycles, late)):
        print(f"after cycle {cycle}: {row['traces']} traces, {row['optimizers']} optimizer classes")
    same = all(row["traces"] == row["optimizers"] + 1 for row in watch.rows)
    print(f"one trace for each optimizer class used, and one for evaluation: {same}")
    growth = late["megabytes"] / early["megabytes"]
    print(f"memory after cycle {cycles} / after cycle 5: {growth:.3f}  (at most 1.05)")
    same = [row for row in watch.rows if row["optimizers"] == late["optimizers"]]
    growth = late["megabytes"] / same[0]["megabytes"]
    print(f"the same since the last new optimizer class, {len(same)} cycles: {growth:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--quick", action="store_true", help="a few epochs: does it still run?")
    parser.add_argument("--compiler", choices=["graph", "xla", "auto"], help="see README")
    parser.add_argument("--part", choices=["time", "growth", "both"], default="both")
    args = parser.parse_args()
    data, validation = load(args.data, 1_000 if args.quick else 10_000)
    if args.part != "growth":
        print_ratios(data, validation, QUICK if args.quick else FULL, args.compiler)
    if args.part != "time":
        print_growth(tuple(a[:850] for a in data), validation, cycles=6 if args.quick else 50)


if __name__ == "__main__":
    main()
