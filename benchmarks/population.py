"""What a population costs that trains in one program: beside one clone, and one after another.

    python benchmarks/population.py                       # a quick look, on any machine
    python benchmarks/population.py --full --data mnist.npz --out population
    python benchmarks/population.py --part schedule --full --data mnist.npz

Needs Keras and JAX, no TensorFlow. Each number of clones runs in a process of its own, so that its
peak memory is its own. All ratios are of times within one such process, programs compiled before.
The clones differ in learning rate and activation, and train in one group. With `--full` the second
part compares 2,000 epochs of MIHA with as many of `fit`, and of Optuna where that is installed.

Writes a JSON, and a plot where matplotlib is installed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # So that memory can be seen.

import keras
import numpy as np

import miha
from miha.records import Schedule

SIZES = {False: [1, 2, 4], True: [1, 2, 4, 8, 16, 32, 64, 128, 256]}
OBJECTS = {False: 1_000, True: 10_000}
# 2,000 epochs: 2 m + c (pop_size n + k).
SCHEDULES = {False: Schedule(1, 1, 1, 2, 3), True: Schedule(10, 3, 12, 33, 16)}
LONGEST = 16
"""Clones that are trained one after another at most; more of them are reckoned from these."""


def load(path: str | None, objects: int) -> tuple[Any, Any]:
    """Return training and validation data: MNIST, or noise of its shape."""
    if path:
        with np.load(path) as file:
            x, y = file["x_train"][:objects], file["y_train"][:objects]
    else:
        rng = np.random.default_rng(0)
        x, y = rng.integers(256, size=(objects, 28, 28)), rng.integers(10, size=objects)
    x, border = (x / 255).astype("float32"), int(objects * 0.85)
    return (x[:border], y[:border]), (x[border:], y[border:])


def dense() -> list[keras.layers.Layer]:
    return [keras.layers.Flatten(), keras.layers.Dense(400, activation="relu")]


def conv() -> list[keras.layers.Layer]:
    return [
        keras.layers.Reshape((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
    ]


def lstm() -> list[keras.layers.Layer]:
    return [keras.layers.LSTM(64)]


NETWORKS = {"dense": dense, "conv": conv, "lstm": lstm}


def build(network: str, activation: str | None = None, optimizer: Any = "adam") -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28)), *NETWORKS[network]()]
    for layer in layers[1:]:
        if activation and getattr(layer, "activation", None) is keras.activations.relu:
            layer.activation = keras.activations.get(activation)
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# One number of clones, in a process of its own.


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train clones alone, one after another and together; return seconds and memory."""
    data, validation = load(args.data, args.objects)
    batch_size = min(args.batch_size, len(data[0]))
    with tempfile.TemporaryDirectory() as folder:
        trainer = miha.MIHA(
            build(args.child), *data, validation_data=validation, batch_size=batch_size,
            seed=0, verbose=0, logs=Path(folder) / "run",
        ).trainer  # fmt: skip
    start, number = trainer.snapshot(), args.sizes[0]
    genomes = genomes_of(trainer, number)
    one_by_one = genomes[:LONGEST]

    def alone(genome: Any) -> None:
        trainer.restore(start)
        trainer.express(genome)
        trainer.train(args.epochs, *generators(), lambda epoch: None)
        trainer.snapshot()

    def sequential() -> None:
        for genome in one_by_one:
            alone(genome)

    def fused() -> None:
        clones = trainer.train_population(
            genomes, start, args.epochs, *generators(), lambda place, epoch: None
        )
        for clone in clones:
            clone.snapshot()

    found = {"network": args.child, "clones": number, "device": trainer.device}
    ways = {"alone": lambda: alone(genomes[0]), "sequential": sequential, "fused": fused}
    for name, way in ways.items():
        found[name] = timed(way, args.repeat) | {"peak_megabytes": peak_megabytes()}
    found["sequential"]["seconds"] *= number / len(one_by_one)
    return found | {"sequential_reckoned_from": len(one_by_one)}


def genomes_of(trainer: Any, number: int) -> list[Any]:
    """Return genomes that differ in learning rate and activation."""
    own = trainer.genome
    names = [(slot, name) for slot, names in trainer.space.slots.items() for name in names]
    rates = np.geomspace(0.0003, 0.003, number).tolist()
    return [
        own.replace(learning_rate=rate).with_activation(*names[i % len(names)])
        for i, rate in enumerate(rates)
    ]


def generators() -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng(0), np.random.default_rng(1)


def timed(way: Callable[[], None], repeat: int) -> dict[str, Any]:
    """Return the median of some times after a first one, which compiles."""
    seconds = []
    way()
    with utilisation() as found:
        for _ in range(repeat):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "utilisation": found()}


@contextmanager
def utilisation() -> Iterator[Callable[[], float]]:
    """Watch how busy the GPU is, or this process on the CPU's cores: 0 to 1."""
    import jax

    program = shutil.which("nvidia-smi") if jax.default_backend() == "gpu" else None
    readings, ended = [], threading.Event()
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # What JAX takes first.
    query = [program, f"--id={card}", "--query-gpu=utilization.gpu"]
    query += ["--format=csv,noheader,nounits"]

    def watch() -> None:
        while not ended.wait(0.1):
            text = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            readings.extend(int(line) / 100 for line in text.split() if line.isdigit())

    watcher = threading.Thread(target=watch, daemon=True)
    if program:
        watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()

    def found() -> float:
        if program:
            return statistics.mean(readings) if readings else float("nan")
        busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
        return busy / (os.cpu_count() or 1)

    yield found
    ended.set()
    if program:
        watcher.join()


def peak_megabytes() -> float:
    """Return the most memory that this process has had: on the GPU, or resident."""
    import jax

    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(args: argparse.Namespace, network: str, clones: int) -> dict[str, Any] | None:
    names = ("data", "objects", "epochs", "batch_size", "repeat")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    command = [sys.executable, __file__, "--child", network, "--sizes", str(clones), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{network}, {clones} clones failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_row(row: dict[str, Any]) -> None:
    one, many, fused = (row[way] for way in ("alone", "sequential", "fused"))
    print(
        f"{row['network']:>6} {row['clones']:>6} {fused['seconds'] / one['seconds']:>12.2f} "
        f"{many['seconds'] / fused['seconds']:>18.2f} {fused['utilisation']:>12.0%} "
        f"{fused['peak_megabytes']:>8.0f} MB",
        flush=True,
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw ratios, utilisation and memory over the number of clones."""
    if find_spec("matplotlib") is None:
        print("No plot: matplotlib is not installed.")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(17, 4), layout="constrained")
    curves: list[tuple[str, Callable[[dict[str, Any]], float]]] = [
        ("together / one alone (time)", lambda r: r["fused"]["seconds"] / r["alone"]["seconds"]),
        (
            "one after another / together (time)",
            lambda r: r["sequential"]["seconds"] / r["fused"]["seconds"],
        ),
        ("utilisation, together", lambda r: r["fused"]["utilisation"]),
        ("peak memory together, MB", lambda r: r["fused"]["peak_megabytes"]),
    ]
    for axis, (title, value) in zip(axes, curves, strict=True):
        for network in dict.fromkeys(row["network"] for row in rows):
            mine = [row for row in rows if row["network"] == network]
            axis.plot([r["clones"] for r in mine], list(map(value, mine)), "o-", label=network)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("clones")
        axis.set_title(title)
    axes[0].legend()
    figure.suptitle(rows[0]["device"])
    figure.savefig(path, dpi=120)


# The whole schedule.


def with_miha(args: argparse.Namespace, data: Any, validation: Any, schedule: Schedule) -> None:
    with tempfile.TemporaryDirectory() as folder:
        miha.MIHA(
            build("dense"), *data, validation_data=validation, **vars(schedule),
            seed=0, logs=Path(folder) / "run", verbose=0,
            execution=miha.Execution(population=args.population),
        ).optimize()  # fmt: skip


def with_fit(data: Any, validation: Any, schedule: Schedule) -> None:
    model = build("dense")
    model.fit(*data, epochs=schedule.epochs, validation_data=validation, verbose=0)


def with_optuna(data: Any, validation: Any, schedule: Schedule, epochs: int) -> None:
    """Search the same genes with trials that train from the beginning, as tutorials do."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        optimizer = keras.optimizers.get(trial.suggest_categorical("optimizer", ["adam", "sgd"]))
        optimizer.learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        activation = trial.suggest_categorical("activation", ["relu", "tanh", "gelu", "silu"])
        size = trial.suggest_categorical("batch_size", [16, 32, 64, 128])
        history = build("dense", activation, optimizer).fit(
            *data, batch_size=size, epochs=epochs, validation_data=validation, verbose=0
        )
        keras.utils.clear_session()
        return float(min(history.history["val_loss"]))

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=max(schedule.epochs // epochs, 1))


def compare_schedules(args: argparse.Namespace) -> dict[str, float]:
    """Time MIHA, `fit` and Optuna for as many epochs, compilation included."""
    schedule = SCHEDULES[args.full]
    data, validation = load(args.data, args.objects)
    ways: dict[str, Callable[[], None]] = {
        "miha": lambda: with_miha(args, data, validation, schedule),
        "fit": lambda: with_fit(data, validation, schedule),
    }
    if find_spec("optuna"):
        trial = 20 if args.full else 2
        ways["optuna"] = lambda: with_optuna(data, validation, schedule, trial)
    seconds = {}
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        seconds[name] = time.perf_counter() - start
        print(f"{schedule.epochs} epochs, {name} / miha: {seconds[name] / seconds['miha']:.2f}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--full", action="store_true", help="1 to 256 clones, 10,000 objects")
    parser.add_argument("--part", choices=["population", "schedule", "both"], default="both")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of clones")
    parser.add_argument("--objects", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--population", choices=["auto", "fused", "sequential"], default="auto")
    parser.add_argument("--out", default="population", help="name of the JSON and the plot")
    parser.add_argument("--child", choices=list(NETWORKS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.sizes = args.sizes or SIZES[args.full]
    args.objects = args.objects or OBJECTS[args.full]
    if args.child:
        print(json.dumps(measure(args)))
        return
    rows, seconds = [], {}
    if args.part != "schedule":
        print("        clones  x one alone  x faster in one  utilisation     peak")
        for network in args.networks:
            for clones in args.sizes:
                row = in_a_process(args, network, clones)
                if row:
                    print_row(row)
                    rows.append(row)
    if args.part != "population":
        seconds = compare_schedules(args)
    found = {"population": rows, "schedule_seconds": seconds, "arguments": vars(args)}
    Path(f"{args.out}.json").write_text(json.dumps(found, indent=1))
    if rows:
        plot(rows, Path(f"{args.out}.png"))


if __name__ == "__main__":
    main()
