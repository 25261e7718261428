"""What each part of the method is worth, at equal trained epochs.

    python benchmarks/ablation.py --data ../data                   # all; goes on where it stopped
    python benchmarks/ablation.py --data ../data --tasks lst --starts poor --seeds 2

The folder holds ``mnist.npz``, ``cifar10_12k.npz`` and ``lst_gapfilling.npz``. Each cell is a
task, a start, a variant and a seed: one line of ``--out``, a JSON file that a later call adds to.
Every variant of a cell begins with the same network and trains for as many epochs; the test
objects are looked at once, for the network that is best on the validation data, and for the last.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

import miha
from miha.records import Genome, Schedule

L = keras.layers
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Experiment:
    """One task.

    Attributes:
        load: From the folder to training, validation and test data.
        layers: From an activation to the network's layers.
        loss: The loss, and metric whose value on the test data is reported.
        metric: Name of that metric.
        mode: Whether it is better small or large.
        monitor: What the best network of a plain training is the best in, on the validation data.
        schedule: The epochs of MIHA; all others train as many.
    """

    load: Callable[[Path], tuple[Arrays, Arrays, Arrays]]
    layers: Callable[[str], list[Any]]
    loss: str
    metric: str
    mode: str
    monitor: str
    schedule: Schedule


def digits(folder: Path, count: int = 2_000) -> tuple[Arrays, Arrays, Arrays]:
    """Return MNIST-10k, of whose training objects so many; 1,500 to validate, 10,000 to test."""
    return _images(folder / "mnist.npz", (784,), count)


def photographs(folder: Path) -> tuple[Arrays, Arrays, Arrays]:
    """Return CIFAR-12k, of whose training objects 2,000; 1,500 to validate, 2,000 to test."""
    return _images(folder / "cifar10_12k.npz", (32, 32, 3), 2_000)


def _images(path: Path, shape: tuple[int, ...], count: int) -> tuple[Arrays, Arrays, Arrays]:
    with np.load(path) as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = ((part.reshape(-1, *shape) / 255).astype("float32") for part in (x, x_test))
    train, validation = slice(count), slice(8_500, 10_000)
    return (x[train], y[train]), (x[validation], y[validation]), (x_test, y_test)


def fields(folder: Path) -> tuple[Arrays, Arrays, Arrays]:
    """Return LST gap-filling: 991 windows to train on, 464 to validate, 598 to test."""
    with np.load(folder / "lst_gapfilling.npz") as file:
        parts = [(file[f"x_{s}"], file[f"y_{s}"]) for s in ("train", "val", "test")]
    (x, y), (x_val, y_val), test = parts
    return (x[::2], y[::2]), (x_val, y_val), test


def dense(activation: str) -> list[Any]:
    return [
        keras.Input((784,)),
        L.Dense(128, activation=activation),
        L.Dense(64, activation=activation),
        L.Dense(10, activation="softmax"),
    ]


def convolutional(activation: str) -> list[Any]:
    blocks = [
        [
            L.Conv2D(filters, 3, padding="same"),
            L.BatchNormalization(),
            L.Activation(activation),
            L.MaxPooling2D(),
        ]
        for filters in (8, 16)
    ]
    head = [L.Flatten(), L.Dropout(0.3), L.Dense(64, activation=activation)]
    return [keras.Input((32, 32, 3)), *blocks[0], *blocks[1], *head, L.Dense(10, "softmax")]


def autoencoder(activation: str) -> list[Any]:
    same = {"padding": "same", "activation": activation}
    return [
        keras.Input((32, 32, 1)),
        L.Conv2D(8, 3, **same),
        L.MaxPooling2D(),
        L.Conv2D(16, 3, **same),
        L.UpSampling2D(),
        L.Conv2D(8, 3, **same),
        L.Conv2D(1, 3, padding="same"),
    ]


CLASSES = "sparse_categorical_crossentropy"
EXPERIMENTS = {
    "mnist": Experiment(
        digits, dense, CLASSES, "accuracy", "max", "val_accuracy", Schedule(10, 2, 2, 6, 5)
    ),
    "lst": Experiment(
        fields, autoencoder, "mse", "loss", "min", "val_loss", Schedule(10, 2, 2, 6, 5)
    ),
    "cifar": Experiment(
        photographs,
        convolutional,
        *(CLASSES, "accuracy", "max", "val_accuracy"),
        Schedule(6, 2, 2, 4, 5),
    ),
}
EXPERIMENTS["mnist-10k"] = replace(EXPERIMENTS["mnist"], load=partial(digits, count=8_500))

OLD = {
    "fitness": miha.LevelAndSlope(recovery=True),
    "mutations": [
        "optimizer",
        miha.ActivationMutation(keep_function=False),
        miha.BatchSizeMutation(step=10),
    ],
    "search": miha.Search.of_2021(),
}


def genes(*others: str | miha.Mutation, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the default mutations, but for some."""
    names = ["optimizer", "activation", "activations", "batch_size", "learning_rate"]
    kept = [name for name in (*names, "weight_decay", "dropout") if name not in without]
    return {"mutations": [*kept, *others]}


def level_of_all_epochs(curve: miha.Curve) -> float:
    """Return a fitness: the mean of a clone's values, a curve smoothed as much as may be."""
    return float(np.mean(curve.values)) * (-1 if curve.mode == "min" else 1)


ACTIVATIONS = ("activation", "activations")
LONGER = {"n": 4, "k": 4, "c": 3}
"""Half as many cycles, twice as long; where a task has no epochs for three, there are two."""

VARIANTS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "cosine": None,
    "2021": {**OLD, "monitor": "loss"},
    "MIHA": {},
    "by accuracy": {"monitor": "val_accuracy"},
    "without restarts": {"search": miha.Search(restarts=0)},
    "without kept function": genes(
        miha.ActivationMutation(keep_function=False),
        miha.ActivationsMutation(keep_function=False),
        without=ACTIVATIONS,
    ),
    "without all activations at once": genes(
        miha.ActivationMutation(weight=1.0), without=ACTIVATIONS
    ),
    "without activations": genes(without=ACTIVATIONS),
    "without kept step": genes(miha.OptimizerMutation(keep_step=False), without=("optimizer",)),
    "without weight decay and dropout": genes(without=("weight_decay", "dropout")),
    "without a margin": {"search": miha.Search(margin=0.0)},
    "twice the margin": {"search": miha.Search(margin=2.0)},
    "without rests": {"search": miha.Search(rest=False)},
    "without backtracking": {"search": miha.Search(backtrack=None)},
    "with early backtracking": {"search": miha.Search(backtrack=0.05)},
    "without annealing": {"search": miha.Search(anneal=False)},
    "with recovery": {"fitness": miha.LevelAndSlope(recovery=True)},
    "level only": {"fitness": miha.LevelAndSlope(slope_weight=0.0)},
    "improvement rate": {"fitness": miha.LevelAndSlope(level_weight=0.0)},
    "smoothed curve": {"fitness": level_of_all_epochs},
    "longer cycles": LONGER,
    "with crossover": {"search": miha.Search(crossover=True)},
}

GOOD = Genome("adam", 0.001, 32, (("all", "relu"),))
POOR = Genome("sgd", 0.01, 128, (("all", "sigmoid"),))


def start_of(name: str, seed: int) -> Genome:
    """Return a start: the good one, the poor one, or a random one for each seed.

    "random-3" is that of seed 3, for every seed: what it is worth shows in several trainings.
    """
    if name in ("good", "poor"):
        return GOOD if name == "good" else POOR
    rng = np.random.default_rng([7, int(name.partition("-")[2] or seed)])
    optimizer = rng.choice(miha.space.OPTIMIZERS)
    rate = keras.optimizers.get(optimizer).get_config()["learning_rate"]
    activation = str(rng.choice(miha.space.ACTIVATIONS))
    size = int(2 ** rng.integers(3, 9))
    rate *= 10 ** rng.uniform(-1.5, 0.7)
    return Genome(str(optimizer), float(f"{rate:.3g}"), size, (("all", activation),))


def build(experiment: Experiment, genome: Genome, seed: int, steps: int | None = None) -> Any:
    """Return a compiled network; with a cosine decay over so many steps, where there are any."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(experiment.layers(genome.activations[0][1]))
    rate: Any = genome.learning_rate
    if steps:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=rate)
    metrics = ["accuracy"] if experiment.metric == "accuracy" else []
    model.compile(optimizer, experiment.loss, metrics=metrics)
    return model


def plain(experiment: Experiment, data: Any, genome: Genome, seed: int, decays: bool) -> Any:
    """Train as `fit` does, and return the last network and the best on the validation data."""
    (x, y), validation, _ = data
    epochs, size = experiment.schedule.epochs, min(genome.batch_size, len(x))
    steps = epochs * -(-len(x) // size) if decays else None
    model = build(experiment, genome, seed, steps)
    trainer = miha.MIHA(
        model, x, y, validation_data=validation, batch_size=size, seed=seed, c=0, verbose=0
    ).trainer
    best: dict[str, Any] = {"value": np.inf}
    sign = 1 if experiment.mode == "min" else -1

    def on_epoch(epoch: Any) -> None:
        value = sign * epoch.logs[experiment.monitor]
        if value < best["value"]:
            best.update(value=value, snapshot=trainer.snapshot())

    rngs = [np.random.default_rng([seed, i]) for i in range(2)]
    trainer.train(epochs, *rngs, on_epoch)
    snapshots = trainer.snapshot(), best.get("snapshot", trainer.snapshot())
    return [trainer.load(trainer.export(s, trainer.genome)) for s in snapshots], {}


def mutated(experiment: Experiment, data: Any, genome: Genome, seed: int, **changes: Any) -> Any:
    """Run MIHA, and return the last network, the best on the validation data, and what won."""
    (x, y), validation, _ = data
    names = vars(experiment.schedule)
    letters = {name: changes.pop(name, value) for name, value in names.items()}
    # A variant with other letters trains no more epochs than the others.
    letters["c"] = cycles_within(experiment.schedule.epochs, Schedule(**letters))
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            build(experiment, genome, seed), x, y, validation_data=validation,
            batch_size=min(genome.batch_size, len(x)),
            seed=seed, logs=Path(folder) / "run", verbose=0, keep="final",
            **letters, **changes,
        ).optimize()  # fmt: skip
    counts = result.lineage.groupby("gene")["selected"].agg(["size", "sum"])
    return [result.model, result.best_model], counts.T.astype(int).to_dict("list")


def cycles_within(epochs: int, schedule: Schedule) -> int:
    """Return how many of a schedule's cycles a total of epochs has room for."""
    room = epochs - 2 * schedule.m
    return min(schedule.c, room // schedule.epochs_of_cycle)


def cell(data: Any, task: str, start: str, variant: str, seed: int) -> dict[str, Any]:
    """Train one cell and look at the test data."""
    experiment, genome, changes = EXPERIMENTS[task], start_of(start, seed), VARIANTS[variant]
    began = time.perf_counter()
    if changes is None:
        models, counts = plain(experiment, data, genome, seed, variant == "cosine")
    else:
        models, counts = mutated(experiment, data, genome, seed, **changes)
    seconds = time.perf_counter() - began
    scores = [m.evaluate(*data[2], verbose=0, return_dict=True) for m in models]
    last, best = (float(score[experiment.metric]) for score in scores)
    place = {"task": task, "start": start, "variant": variant, "seed": seed}
    return {**place, "last": last, "best": best, "genes": counts, "seconds": seconds}


def missing(args: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells that are not done yet, seed by seed."""
    known = {(row["task"], row["start"], row["variant"], row["seed"]) for row in done}
    for seed, start, variant, task in itertools.product(
        range(max(args.seeds, args.random)), args.starts, args.variants, args.tasks
    ):
        is_wanted = seed < (args.random if start == "random" else args.seeds)
        is_wanted &= variant != "by accuracy" or EXPERIMENTS[task].metric == "accuracy"
        if is_wanted and (task, start, variant, seed) not in known:
            yield task, start, variant, seed


def table(rows: list[dict[str, Any]]) -> str:
    """Return means and standard errors of each cell, and paired differences to MIHA, as Markdown.

    A gain is positive where MIHA's last network is better.
    """
    lines = ["| task | start | variant | last network | best network | MIHA's gain | n |"]
    lines.append("|---" * 7 + "|")
    for (task, start), group in pd.DataFrame(rows).groupby(["task", "start"], sort=False):
        wide = group.pivot_table(index="seed", columns="variant", values=["last", "best"])
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        for name in [v for v in VARIANTS if v in wide["last"]]:
            last, best = wide["last"][name].dropna(), wide["best"][name].dropna()
            told = "" if name == "MIHA" else _gain(wide["last"], name, sign)
            means = [f"{column.mean():.4f} ± {column.sem():.4f}" for column in (last, best)]
            lines.append(f"| {' | '.join([task, start, name, *means, told, str(len(last))])} |")
    return "\n".join(lines)


def gains(rows: list[dict[str, Any]]) -> str:
    """Return MIHA's gain over each variant, and of how many seeds, as Markdown.

    There is a column for each task and start.
    """
    columns = dict[str, dict[str, str]]()
    for (task, start), group in pd.DataFrame(rows).groupby(["task", "start"], sort=False):
        wide = group.pivot_table(index="seed", columns="variant", values="last")
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        others = [name for name in VARIANTS if name in wide and name != "MIHA"]
        seeds = {name: len(wide[["MIHA", name]].dropna()) for name in others if "MIHA" in wide}
        told = {n: f"{_gain(wide, n, sign)} ({seeds[n]})" for n in others if seeds.get(n)}
        columns |= {f"{task}, {start}": told} if told else {}
    found = [name for name in VARIANTS if any(name in column for column in columns.values())]
    lines = [f"| variant | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in found:
        lines.append(f"| {name} | {' | '.join(c.get(name, '') for c in columns.values())} |")
    return "\n".join(lines)


def _gain(values: pd.DataFrame, name: str, sign: int) -> str:
    """Return the mean of the paired differences of MIHA and a variant, and its standard error."""
    gain = sign * (values.get("MIHA", np.nan) - values[name]).dropna()
    return "" if gain.empty else f"{gain.mean():+.4f} ± {gain.sem():.4f}"


def regrets(rows: list[dict[str, Any]]) -> str:
    """Return how much of plain training's regret over random starts each variant leaves.

    The best known is the start, of whatever kind, from which plain training is the best, in the
    mean of all its seeds: most random starts have one. A regret is the mean distance to it.
    """
    lines = ["| task | best known | variant | mean regret | share of plain's |", "|---" * 5 + "|"]
    for task, group in pd.DataFrame(rows).groupby("task", sort=False):
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        group["last"] *= sign
        is_drawn = group["start"] == "random"
        group["from"] = group["start"].where(~is_drawn, "random-" + group["seed"].astype(str))
        plain = group[group["variant"].isin(["plain", "cosine"])]
        plain = plain.drop_duplicates(["from", "variant", "seed"])
        best = plain.groupby(["from", "variant"])["last"].mean().max()
        wide = group[group["start"] == "random"].pivot(
            index="seed", columns="variant", values="last"
        )
        for name in [v for v in VARIANTS if v in wide and "plain" in wide]:
            of_plain, regret = (best - wide[["plain", name]].dropna().mean()).iloc[:2]
            share = f"{regret / of_plain:.1%}"
            lines.append(f"| {task} | {sign * best:.4f} | {name} | {regret:.4f} | {share} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("logs/ablation.jsonl"))
    parser.add_argument("--tasks", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    parser.add_argument("--starts", nargs="+", default=["good", "poor", "random"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=5, help="of the good and the poor start")
    parser.add_argument("--random", type=int, default=10, help="how many random starts")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.touch()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()]
    data = {task: EXPERIMENTS[task].load(args.data) for task in args.tasks}
    for place in missing(args, rows):
        rows.append(cell(data[place[0]], *place))
        print(json.dumps(rows[-1]), flush=True)
        with args.out.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows), gains(rows), regrets(rows), sep="\n\n")


if __name__ == "__main__":
    main()
