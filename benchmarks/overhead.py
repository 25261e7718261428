"""What MIHA costs beside `fit`, beside the fastest `fit`, and beside the usual way.

    python benchmarks/overhead.py --data mnist.npz

Prints ratios of one run on one machine; run it alone. The fastest `fit` is that of a network
compiled with ``jit_compile=True`` and ``steps_per_execution=64``.

- ``time``: MNIST-10k, dense 784-400-10, batch 32, validation after each epoch, m=10 n=3 k=3 c=10
  pop_size=5: 200 epochs. Archives, journal and the constructor are in MIHA's time, imports in
  nobody's. `fit` trains the network as it is, while MIHA's clones may have smaller batches, whose
  epochs take longer.
- ``optuna``: the same epochs by Optuna (TPE, MedianPruner), whose networks are trained by the
  fastest `fit`.
- ``usual``: the very clones that MIHA trained, by `clone_model`, `compile` and `fit`.
- ``epochs``: the median epoch of small networks, without the first one, which compiles.
- ``recurrent``: two LSTM layers, 22 epochs in all, compilation included.
- ``growth``: memory and traces over the cycles.
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
from miha.compare import compare
from miha.records import Schedule

PARTS = ["time", "optuna", "usual", "epochs", "recurrent", "growth"]
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
    data: Any, validation: Any, schedule: Schedule, callbacks: Any = (), compiler: Any = "auto"
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


def with_fit(data: Any, validation: Any, schedule: Schedule, **compiled: Any) -> None:
    """Train the network for as many epochs, as everybody does, or as fast as `fit` can."""
    model = build()
    model.compile("adam", model.loss, metrics=["accuracy"], **compiled)
    model.fit(*data, epochs=schedule.epochs, validation_data=validation, verbose=0)


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


FASTEST = {"jit_compile": True, "steps_per_execution": 64}
"""What `compile` takes to make `fit` fast."""


def spread(values: Any) -> str:
    """Return the median of some ratios, and the smallest and the largest."""
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def print_ratios(
    data: Any, validation: Any, schedule: Schedule, compiler: str, rounds: int
) -> None:
    print(f"{schedule.epochs} epochs, {len(data[0])} + {len(validation[0])} objects, x{rounds}")
    seconds: dict[str, list[float]] = {"MIHA": [], "fit": [], "fastest fit": []}
    for _ in range(rounds):
        ours, trainings = timed(lambda: with_miha(data, validation, schedule, compiler=compiler))
        seconds["MIHA"].append(ours)
        seconds["fit"].append(timed(lambda: with_fit(data, validation, schedule))[0])
        fastest = timed(lambda: with_fit(data, validation, schedule, **FASTEST))[0]
        seconds["fastest fit"].append(fastest)
    print(f"time of MIHA / time of the fastest fit: {ratio(seconds, 'fastest fit')}")
    print(f"time of MIHA / time of fit:             {ratio(seconds, 'fit')}")
    sizes = Counter(t["genome"]["batch_size"] for t in trainings for _ in t["epochs"])
    print(f"epochs of MIHA by batch size: {dict(sorted(sizes.items()))}; of fit: all at 32")


def fastest_of(genome: miha.Genome) -> keras.Model:
    """Return the network of a configuration, compiled for the fastest `fit`."""
    model = build()
    model.layers[0].activation = keras.activations.get(dict(genome.activations)["hidden"])
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, model.loss, metrics=["accuracy"], **FASTEST)
    return model


def with_optuna(data: Any, validation: Any, schedule: Schedule) -> float:
    """Return the seconds that Optuna takes for as many epochs."""
    start = miha.Genome("adam", 0.001, 32, (("hidden", "relu"),))
    with tempfile.TemporaryDirectory() as folder:
        comparison = compare(
            fastest_of, (data, validation, validation), ["optuna"], starts={"good": start},
            epochs=schedule.epochs, seeds=1, monitor="val_accuracy", isolate=False,
            logs=Path(folder) / "compare", verbose=0,
        )  # fmt: skip
    [cell] = comparison.cells
    if cell.failure:
        raise SystemExit(cell.failure)
    return cell.seconds


def print_optuna(
    data: Any, validation: Any, schedule: Schedule, compiler: str, rounds: int
) -> None:
    found = []
    for _ in range(rounds):
        ours, _ = timed(lambda: with_miha(data, validation, schedule, compiler=compiler))
        found.append(ours / with_optuna(data, validation, schedule))
    print(f"time of MIHA / time of Optuna with the fastest fit: {spread(found)}")


def print_usual(data: Any, validation: Any, schedule: Schedule, compiler: str) -> None:
    ours, trainings = timed(lambda: with_miha(data, validation, schedule, compiler=compiler))
    usual, _ = timed(lambda: the_usual_way(data, validation, trainings))
    print(f"time of MIHA / time of the usual way:   {ours / usual:.2f}")


def ratio(seconds: dict[str, list[float]], other: str) -> str:
    pairs = zip(seconds["MIHA"], seconds[other], strict=True)
    return spread([ours / theirs for ours, theirs in pairs])


def series(samples: int = 1000) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(samples, 30, 4)).astype("float32")
    return x, x[:, -5:, 0].sum(1, keepdims=True)


def pictures(samples: int = 2000) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, 32, 32, 3)).astype("float32"), rng.integers(10, size=samples)


def network(layers: list[Any], shape: tuple[int, ...], loss: str) -> Callable[..., keras.Model]:
    """Return what builds and compiles a network of its layers' configurations."""

    def make(**compiled: Any) -> keras.Model:
        keras.utils.set_random_seed(0)
        copies = [type(layer).from_config(layer.get_config()) for layer in layers]
        model = keras.Sequential([keras.Input(shape), *copies])
        model.compile("adam", loss, **compiled)
        return model

    return make


def transformer(**compiled: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((30, 4))
    steps = layers.Dense(32)(x)
    steps = layers.LayerNormalization()(steps + layers.MultiHeadAttention(4, 8)(steps, steps))
    wide = layers.Dense(32)(layers.Dense(64, activation="relu")(steps))
    steps = layers.LayerNormalization()(steps + wide)
    model = keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling1D()(steps)))
    model.compile("adam", "mse", **compiled)
    return model


LAYERS = keras.layers
CONVOLUTIONAL = network(
    [
        LAYERS.Conv2D(16, 3, activation="relu"),
        LAYERS.MaxPooling2D(),
        LAYERS.Conv2D(32, 3, activation="relu"),
        LAYERS.MaxPooling2D(),
        LAYERS.Flatten(),
        LAYERS.Dense(10, activation="softmax"),
    ],
    (32, 32, 3),
    "sparse_categorical_crossentropy",
)
GRU = network([LAYERS.GRU(32), LAYERS.Dense(1)], (30, 4), "mse")
TWO_LSTM = network(
    [LAYERS.LSTM(32, return_sequences=True), LAYERS.LSTM(32), LAYERS.Dense(1)], (30, 4), "mse"
)


class Clock(keras.callbacks.Callback):
    """Notes the seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def epoch_of_fit(model: keras.Model, data: Any, epochs: int) -> float:
    clock = Clock()
    model.fit(*data, epochs=epochs, validation_split=0.2, callbacks=[clock], verbose=0)
    return float(np.median(clock.seconds[1:]))


def epoch_of_miha(model: keras.Model, data: Any, epochs: int, compiler: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            model, *data, validation_split=0.2, m=epochs, n=1, k=1, c=0, pop_size=2, seed=0,
            logs=Path(folder) / "run", verbose=0, execution=miha.Execution(compiler=compiler),
        ).optimize()  # fmt: skip
        return float(result.history.seconds.iloc[1:].median())


def print_epochs(epochs: int, rounds: int) -> None:
    """Compare epochs; XLA is asked for as a long run would have it."""
    cases = {
        "small conv net": (CONVOLUTIONAL, pictures(), "exact"),
        "GRU": (GRU, series(), "xla"),
        "Transformer block": (transformer, series(), "xla"),
    }
    for name, (make, data, compiler) in cases.items():
        found: dict[str, list[float]] = {"fit": [], "the fastest fit": []}
        for _ in range(rounds):
            ours = epoch_of_miha(make(), data, epochs, compiler)
            found["fit"].append(ours / epoch_of_fit(make(), data, epochs))
            if make is not CONVOLUTIONAL:  # For which XLA takes minutes on a CPU.
                fastest = epoch_of_fit(make(**FASTEST), data, epochs)
            else:
                fastest = epoch_of_fit(make(steps_per_execution=64), data, epochs)
            found["the fastest fit"].append(ours / fastest)
        texts = [f"{spread(values)} of {other}'s" for other, values in found.items()]
        print(f"{name}: a median epoch takes {', '.join(texts)}")


def search_recurrent() -> None:
    with tempfile.TemporaryDirectory() as folder:
        miha.MIHA(
            TWO_LSTM(), *series(), validation_split=0.2, m=2, n=1, k=1, c=3, pop_size=5, seed=0,
            logs=Path(folder) / "run", verbose=0,
        ).optimize()  # fmt: skip


def print_recurrent(rounds: int) -> None:
    """Compare two LSTM layers from the script's start."""
    found = []
    for _ in range(rounds):
        fit, _ = timed(lambda: TWO_LSTM().fit(*series(), epochs=22, verbose=0))
        ours, _ = timed(search_recurrent)
        found.append(ours / fit)
    print(f"two LSTM layers, 22 epochs: {spread(found)} of fit's time")


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
    parser.add_argument("--compiler", choices=["auto", "exact", "xla"], default="auto")
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    args = parser.parse_args()
    data, validation = load(args.data, 1_000 if args.quick else 10_000)
    rounds = 1 if args.quick else args.rounds
    schedule = QUICK if args.quick else FULL
    if "time" in args.part:
        print_ratios(data, validation, schedule, args.compiler, rounds)
    if "optuna" in args.part:
        print_optuna(data, validation, schedule, args.compiler, rounds)
    if "usual" in args.part:
        print_usual(data, validation, schedule, args.compiler)
    if "epochs" in args.part:
        print_epochs(2 if args.quick else 8, rounds)
    if "recurrent" in args.part:
        print_recurrent(rounds)
    if "growth" in args.part:
        print_growth(tuple(a[:850] for a in data), validation, cycles=6 if args.quick else 50)


if __name__ == "__main__":
    main()
