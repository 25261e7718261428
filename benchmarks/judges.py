"""Which early value tells best what a mutation is worth at the end of the training.

A network is trained to some age from the good start. From there, each of a list of single mutations
trains on to the task's last epoch. Meanwhile the judges are read: values that a search could decide
by after a few epochs of a trial. A judge is good where it ranks the mutations as the last networks'
values on the test data do.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from baselines import Recipe, build
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr
from tasks import CLASSES, EXPERIMENTS, GOOD, Experiment, Parts

import miha
from miha.records import Epoch, Genome, Transition
from miha.search.annealing import cosine
from miha.search.plan import default_names

READ_AFTER = (2, 5)
"""Epochs of a trial after which the judges are read."""

PARTS = 8
"""Snapshots within an epoch."""

SMALLEST = 1e-30
"""A probability of 0 has no logarithm."""

RUNS = [
    "mnist:100:10",
    "cifar-2k:100:20",
    "mnist:100:30",
    "segment:100:10",
    "vowels:100:10",
    "mnist:101:10",
    "cifar-2k:101:20",
]
"""Task, seed and age of what is measured by default, in this order."""

AUGMENTED = ("cifar-2k",)
"""Tasks whose images are augmented."""

WEIGHTS = {
    "raw": "as they are",
    "ends": "mean of those at the ends of the epochs of the trial's last half",
    "within": "mean of those at the ends of eight parts of the last epoch",
}
"""Weights of a trial that are judged."""

Weights = list[np.ndarray]


def mutations(trainer: Any) -> dict[str, tuple[Genome, Transition]]:
    """Return the single mutations of a trainer's genome, and how each begins.

    Args:
        trainer: Its genome is the good start.
    """
    genome, space = trainer.genome, trainer.space
    rate = genome.learning_rate
    found = {"control": genome}
    for amount in (0.25, 0.5, 1.0):
        pairs = tuple((name, amount) for name, _ in genome.input_noise)
        found[f"noise {amount}"] = genome.replace(input_noise=pairs)
    for name in ("adamw", "rmsprop", "sgd", "lion"):
        found[name] = space.with_optimizer(genome, name)
    if genome.label_smoothing is not None:
        for amount in (0.05, 0.1, 0.2):
            found[f"smoothing {amount}"] = genome.replace(label_smoothing=amount)
    if genome.augmentation is not None:
        for amount in (0.5, 1.0):
            found[f"augmentation {amount}"] = genome.replace(augmentation=amount)
    if genome.dropout:
        for amount in (0.0, 0.5):
            pairs = tuple((name, amount) for name, _ in genome.dropout)
            found[f"dropout {amount}"] = genome.replace(dropout=pairs)
    for name, factor in {"x 3": 3.0, "/ 3": 1 / 3, "/ 10": 0.1}.items():
        found[f"rate {name}"] = genome.replace(learning_rate=float(f"{rate * factor:.3g}"))
    for size in (8, 64, 128):
        found[f"batch {size}"] = genome.replace(batch_size=size)
    ways: dict[str, tuple[Genome, Transition]] = {n: (g, "inherit") for n, g in found.items()}
    for name in ("elu", "silu", "tanh", "gelu"):
        # As MIHA begins with another activation: what it changes is made up for.
        slots = tuple((slot, name) for slot, _ in genome.activations)
        ways[name] = genome.replace(activations=slots), "keep_function"
    return ways


@dataclass
class Trial:
    """Reads the judges while a mutated network trains.

    Attributes:
        experiment: The task.
        trainer: It trains the network.
        validation: Inputs and targets.
        network: A plain network with the mutation's activations, whose weights are exchanged.
        ends: Weights at the ends of the epochs until now.
        within: Weights at the ends of the parts of an epoch.
        values: What the judges say, by the number of epochs.
    """

    experiment: Experiment
    trainer: Any
    validation: tuple[np.ndarray, np.ndarray]
    network: Any
    ends: list[Weights] = field(default_factory=list)
    within: list[Weights] = field(default_factory=list)
    values: dict[str, dict[str, float]] = field(default_factory=dict)

    def train(self, order: np.random.Generator, noise: np.random.Generator) -> None:
        """Train as many epochs as are read."""
        steps = self.trainer._steps

        def in_parts(kind: str, places: np.ndarray, size: int) -> Any:
            if kind == "test" or len(self.ends) + 1 not in READ_AFTER:
                return steps(kind, places, size)
            # The batches are those of the epoch as a whole.
            self.within, logs = [], {}
            batches = -(-len(places) // size)
            cuts = np.linspace(0, batches, min(PARTS, batches) + 1).round().astype(int) * size
            for begin, end in zip(cuts, cuts[1:], strict=False):
                logs = steps(kind, places[begin:end], size)
                self.within.append(self.weights())
            return logs

        self.trainer._steps = in_parts
        try:
            self.trainer.train(max(READ_AFTER), order, noise, self.read)
        finally:
            del self.trainer._steps

    def weights(self) -> Weights:
        """Return the trained network's weights and statistics, without the states of its seeds."""
        variables = self.trainer.snapshot().variables
        return [np.array(value) for value in variables if value.dtype.kind == "f"]

    def read(self, _: Epoch) -> None:
        """Read the judges after an epoch."""
        self.ends.append(self.weights())
        age = len(self.ends)
        if age not in READ_AFTER:
            return
        # The last half begins in its middle: after two epochs, both ends belong to it.
        chosen = {"raw": self.ends[-1:], "ends": self.ends[(age + 1) // 2 - 1 :]}
        chosen["within"] = self.within
        self.values[str(age)] = {}
        for name, snapshots in chosen.items():
            self.network.set_weights(mean(snapshots))
            x, y = self.validation
            found = judge(self.experiment, self.network.predict(x, batch_size=500, verbose=0), y)
            self.values[str(age)] |= {f"{key}, {name}": value for key, value in found.items()}


def mean(snapshots: list[Weights]) -> Weights:
    """Return the mean of networks, value by value."""
    return [np.mean(values, axis=0) for values in zip(*snapshots, strict=True)]


def judge(experiment: Experiment, found: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return what each kind of judge says of predictions, the smaller the better."""
    if experiment.loss != CLASSES:
        return {"loss": float(np.mean((found - y.reshape(found.shape)) ** 2))}
    logs = np.log(np.clip(found.astype("float64"), SMALLEST, 1))
    own = np.arange(len(y)), y.astype(int).ravel()

    def loss_at(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[own]))

    if not np.isfinite(logs).all():
        return dict.fromkeys(("loss", "tempered", "error"), float("inf"))
    best = minimize_scalar(loss_at, bounds=(-3, 4), method="bounded")
    # Keras' loss takes no probability for smaller than this.
    loss = -np.log(np.clip(found[own], 1e-7, 1)).mean()
    error = np.mean(found.argmax(axis=1) != own[1])
    return {"loss": float(loss), "tempered": float(best.fun), "error": float(error)}


def measure(
    task: str, data: Parts, seed: int, age: int, known: set[str], epochs: int | None = None
) -> Iterator[dict[str, Any]]:
    """Train to an age, and on with each mutation; yield a row for each.

    Args:
        task: Name of the task.
        data: Its data.
        seed: Of the first weights, the order of samples and the noise.
        age: Epochs before the mutation.
        known: Mutations that are measured already.
        epochs: All epochs; None: as many as MIHA trains.
    """
    experiment = EXPERIMENTS[task]
    total = epochs or experiment.schedule.epochs
    (x, y), validation, test = data
    augmentation = experiment.augmentation if task in AUGMENTED else None
    trainer: Any = miha.MIHA(
        build(experiment, Recipe(GOOD), seed), x, y, validation_data=validation,
        batch_size=min(GOOD.batch_size, len(x)), seed=seed, c=0, verbose=0,
        mutations=[*default_names(has_validation=True), "label_smoothing"],
        space=miha.SearchSpace(augmentation=augmentation() if augmentation else ()),
    ).trainer  # fmt: skip

    def generators(part: int) -> list[np.random.Generator]:
        return [np.random.default_rng([seed, part, i]) for i in range(2)]

    ways = mutations(trainer)
    if set(ways) <= known:
        return
    trainer.train(age, *generators(0), lambda _: None)
    parent, own = trainer.snapshot(), trainer.genome
    for name, (genome, transition) in ways.items():
        if name in known:
            continue
        begin = time.perf_counter()
        trainer.restore(parent)
        # The parent's genome first: an exchange begins with the activations of before.
        trainer.express(own)
        trainer.express(genome, transition)
        network = trainer.load(trainer.export(trainer.snapshot(), genome))
        trial = Trial(experiment, trainer, validation, network)
        trial.train(*generators(1))
        left = total - age - max(READ_AFTER)
        trainer.train(left, *generators(2), lambda _: None, rates=cosine(left))
        network.set_weights(trial.weights())
        found = network.evaluate(*test, batch_size=500, verbose=0, return_dict=True)
        yield {
            "task": task,
            "seed": seed,
            "age": age,
            "mutation": name,
            "judges": trial.values,
            "test": found[experiment.metric],
            "seconds": round(time.perf_counter() - begin, 1),
        }


def verdicts(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return how each judge ranks the mutations of each task, seed and age.

    Columns: ``rho`` is Spearman's correlation with the value on the test data; ``worth`` is what
    the mutation that the judge puts first is better than the control at the end, and ``possible``
    the most that one is.
    """
    found = []
    for (task, seed, age), group in pd.DataFrame(rows).groupby(["task", "seed", "age"], sort=False):
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        group = group.reset_index(drop=True)
        values = (sign * group["test"]).fillna(-np.inf)
        control = values[group["mutation"] == "control"]
        if len(group) < 3 or control.empty:
            continue
        gains = values - control.iloc[0]
        for n in map(str, READ_AFTER):
            judges = pd.DataFrame([judges[n] for judges in group["judges"]]).fillna(np.inf)
            for judge_name, read in judges.items():
                place = {"task": task, "seed": seed, "age": age, "n": int(n), "judge": judge_name}
                rho = spearmanr(-read, values).statistic
                first = int(read.argmin())
                found.append(
                    place
                    | {"rho": rho, "worth": gains[first], "possible": gains.max()}
                    | {"first": group["mutation"][first], "best": group["mutation"][gains.argmax()]}
                    | {"mutations": len(group)}
                )
    return pd.DataFrame(found)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the judges' verdicts as Markdown: the correlation, and in brackets the worth."""
    found = verdicts(rows)
    if found.empty:
        return "Nothing is measured yet."
    names = list(found["judge"].unique())
    heads = ["task", "seed", "age", "n", *names, "the best possible"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for place, group in found.groupby(["task", "seed", "age", "n"], sort=False):
        own = group.set_index("judge")
        cells = [
            f"{own['rho'][name]:+.2f} ({own['worth'][name]:+.4f})" if name in own.index else ""
            for name in names
        ]
        most = (
            f"{own['best'].iloc[0]} of {own['mutations'].iloc[0]} ({own['possible'].iloc[0]:+.4f})"
        )
        lines.append(f"| {' | '.join([*map(str, place), *cells, most])} |")
    cells = []
    for name in names:
        own = found[found["judge"] == name]
        # Gains of different tasks have different sizes: each is a share of its own possible one.
        share = (own["worth"] / own["possible"]).where(own["possible"] > 0).mean()
        cells.append(f"{own['rho'].mean():+.2f} ({share:.0%})")
    lines.append(f"| mean |  |  |  | {' | '.join(cells)} |  |")
    return "\n".join(lines)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of lines, or of one JSON list."""
    text = path.read_text() if path.exists() else ""
    found: list[dict[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(row) for row in text.splitlines()]
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder; see tasks.py")
    parser.add_argument("--out", type=Path, default=Path("logs/judges.jsonl"))
    parser.add_argument("--runs", nargs="+", default=RUNS, help="TASK:SEED:AGE")
    parser.add_argument("--epochs", type=int, help="of all; by default as many as MIHA trains")
    parser.add_argument("--table", action="store_true", help="show what is there, measure nothing")
    args = parser.parse_args()
    if args.data is None and not args.table:
        parser.error("--data is needed to measure")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = rows_of(args.out)
    for run in [] if args.table else args.runs:
        task, seed, age = run.split(":")
        place = (task, int(seed), int(age))
        known = {r["mutation"] for r in rows if (r["task"], r["seed"], r["age"]) == place}
        data = EXPERIMENTS[task].load(args.data)
        for row in measure(task, data, *place[1:], known, args.epochs):
            rows.append(row)
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
