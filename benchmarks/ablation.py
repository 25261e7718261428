"""What each part of the method is worth, at equal trained epochs, and what others reach.

    python benchmarks/ablation.py --data ../data                   # all; goes on where it stopped
    python benchmarks/ablation.py --data ../data --tasks lst --starts poor --seeds 2
    python benchmarks/ablation.py --data ../data --variants plain MIHA fixed --first-seed 100

Each cell is a task, a start, a variant and a seed: one line of ``--out``, a JSON file that a later
call adds to, and whose cells are all in the tables. Every variant of a cell begins with the same
weights and trains for as many epochs; the test objects are looked at once, for the network that is
best on the validation data, and for the last. A variant that a task has no use for is left out, and
fixed regularisations have the good start alone.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from baselines import BASELINES, FIXED, SEARCHES, Recipe, build, suits, train, tuned
from tasks import EXPERIMENTS, FORMER, Experiment, Parts, start_of

import miha
from miha.records import Genome, Schedule
from miha.search.plan import default_names

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
    names = [*default_names(has_validation=True)]
    # No task has a GaussianNoise layer of its own.
    names.remove("noise")
    kept = [name for name in names if name not in without]
    return {"mutations": [*kept, *others]}


def level_of_all_epochs(curve: miha.Curve) -> float:
    """Return a fitness: the mean of a clone's values, a curve smoothed as much as may be."""
    return float(np.mean(curve.values)) * (-1 if curve.mode == "min" else 1)


AUGMENTED = "MIHA with augmentation"
"""As the user of images calls it, who names layers that do not change what an image shows."""

ACTIVATIONS = ("activation", "activations")
LONGER = {"n": 4, "k": 4, "c": 3}
"""Half as many cycles, twice as long; where a task has no epochs for three, there are two."""

MUTATED: dict[str, dict[str, Any]] = {
    "2021": {**OLD, "monitor": "loss"},
    "MIHA": {},
    AUGMENTED: {},
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
    "without augmentation": genes(without=("augmentation",)),
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
    "with label smoothing": genes("label_smoothing"),
}

VARIANTS = (*BASELINES, *SEARCHES, *MUTATED)
GROUPS = {"fixed": tuple(FIXED), "baselines": (*BASELINES, *SEARCHES), "parts": tuple(MUTATED)}
"""Names that the command line takes for several variants."""


def mutated(
    experiment: Experiment, data: Parts, genome: Genome, seed: int, **changes: Any
) -> tuple[list[Any], dict[str, list[int]]]:
    """Run MIHA, and return the last network, the best on the validation data, and what won."""
    (x, y), validation, _ = data
    names = vars(experiment.schedule)
    letters = {name: changes.pop(name, value) for name, value in names.items()}
    # A variant with other letters trains no more epochs than the others.
    letters["c"] = cycles_within(experiment.schedule.epochs, Schedule(**letters))
    # Both the last network and the best one are looked at.
    search = changes.pop("search", miha.Search())
    search = replace(search, restore_best=False)
    with tempfile.TemporaryDirectory() as folder:
        result = miha.MIHA(
            build(experiment, Recipe(genome), seed), x, y, validation_data=validation,
            batch_size=min(genome.batch_size, len(x)),
            seed=seed, logs=Path(folder) / "run", verbose=0, keep="final",
            # Cells were measured so, and repeat to the bit.
            search=search, execution=miha.Execution(compiler="exact"), **letters, **changes,
        ).optimize()  # fmt: skip
    counts = result.lineage.groupby("gene")["selected"].agg(["size", "sum"])
    return [result.model, result.best_model], counts.T.astype(int).to_dict("list")


def cycles_within(epochs: int, schedule: Schedule) -> int:
    """Return how many of a schedule's cycles a total of epochs has room for."""
    room = epochs - 2 * schedule.m
    return min(schedule.c, room // schedule.epochs_of_cycle)


def cell(data: Parts, task: str, start: str, variant: str, seed: int) -> dict[str, Any]:
    """Train one cell and look at the test data."""
    experiment, genome = EXPERIMENTS[task], start_of(start, seed)
    began = time.perf_counter()
    counts = dict[str, list[int]]()
    if variant in BASELINES:
        recipe = Recipe(genome, **BASELINES[variant])
        models = train(experiment, data, recipe, seed).networks()
    elif variant in SEARCHES:
        trained, counts = tuned(experiment, data, genome, seed, SEARCHES[variant])
        models = trained.networks()
    else:
        changes = dict(MUTATED[variant])
        if variant == AUGMENTED:
            changes["space"] = miha.SearchSpace(augmentation=experiment.augmentation())
        models, counts = mutated(experiment, data, genome, seed, **changes)
    seconds = time.perf_counter() - began
    last, best = (tested(experiment, model, data[2]) for model in models)
    place = {"task": task, "start": start, "variant": variant, "seed": seed}
    return {**place, "last": last, "best": best, "genes": counts, "seconds": seconds}


def tested(experiment: Experiment, model: Any, test: Any) -> float:
    """Return the metric of a network on the test data, whatever loss it was trained with."""
    model.compile(loss=experiment.loss, metrics=experiment.metrics)
    scores = model.evaluate(*test, verbose=0, return_dict=True)
    return float(scores[experiment.metric])


def missing(args: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells that are not done yet, seed by seed."""
    known = {(row["task"], row["start"], row["variant"], row["seed"]) for row in done}
    first, variants = args.first_seed, chosen(args.variants)
    for number, start, variant, task in itertools.product(
        range(max(args.seeds, args.random)), args.starts, variants, args.tasks
    ):
        is_wanted = number < (args.random if start == "random" else args.seeds)
        place = (task, start, variant, first + number)
        if is_wanted and has_use(*place[:3]) and place not in known:
            yield place


def chosen(names: list[str]) -> list[str]:
    """Return the variants that are named, one by one or as a group; each once."""
    found = [GROUPS.get(name, (name,)) for name in names]
    return list(dict.fromkeys(itertools.chain(*found)))


def has_use(task: str, start: str, variant: str) -> bool:
    """Return whether a variant is something of its own in a task, from a start."""
    experiment = EXPERIMENTS[task]
    if variant == "by accuracy":
        return experiment.metric == "accuracy"
    if variant == AUGMENTED:
        return experiment.augmentation is not None
    if variant in FIXED and start != "good":
        return False
    return suits(experiment, BASELINES.get(variant, {}))


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
            means = [_mean(column) for column in (last, best)]
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

    A regret is the mean distance to what MIHA reaches from the good start, in the mean of its
    seeds, over the random starts that both a variant and plain training have. A negative one is
    no regret.
    """
    heads = ["task", "MIHA, good start", "variant", "mean regret", "plain's", "share", "n"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for task, group in pd.DataFrame(rows).groupby("task", sort=False):
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        is_aim = (group["start"] == "good") & (group["variant"] == "MIHA")
        aim = sign * group[is_aim]["last"].mean()
        drawn = group[group["start"] == "random"]
        wide = sign * drawn.pivot_table(index="seed", columns="variant", values="last")
        if "plain" not in wide or np.isnan(aim):
            continue
        for name in [v for v in VARIANTS if v in wide and v != "plain"]:
            both = wide[["plain", name]].dropna()
            of_plain, regret = aim - both.mean()
            told = [f"{sign * aim:.4f}", name, f"{regret:.4f}", f"{of_plain:.4f}"]
            cells = [task, *told, f"{regret / of_plain:.1%}", str(len(both))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def reach(rows: list[dict[str, Any]], names: Collection[str] = tuple(FIXED)) -> str:
    """Return how far MIHA's last networks are from the marks to aim at, as Markdown.

    The best fixed regularisation is the best on the test data, in the mean of its seeds: nobody
    could have known it before. It is trained from the good start alone, and stands beside every
    start; so does the way to it, from the good start's cosine decay. The difference is paired, and
    positive where MIHA is better. The last line is the mean over the tasks of classification.

    Args:
        rows: The cells.
        names: Fixed regularisations of which one is the best.
    """
    marks = ("MIHA", "cosine ema", "linear ema")
    heads = ["task", "start", *marks, "best fixed in hindsight", "MIHA - cosine ema"]
    lines = [f"| {' | '.join([*heads, 'share of the way', 'n'])} |", "|---" * 9 + "|"]
    shares = []
    found = pd.DataFrame(rows)
    for (task, start), group in found.groupby(["task", "start"], sort=False):
        wide = group.pivot_table(index="seed", columns="variant", values="last")
        if "MIHA" not in wide:
            continue
        sign = 1 if EXPERIMENTS[str(task)].mode == "max" else -1
        is_good = (found["task"] == task) & (found["start"] == "good")
        good = found[is_good].pivot_table(index="seed", columns="variant", values="last")
        fixed = best_fixed(good, names, sign)
        told = [_mean(wide[name]) if name in wide else "" for name in marks]
        told.append(f"{_mean(good[fixed])} ({fixed.removeprefix('fixed ')})" if fixed else "")
        told.append(_gain(wide, "cosine ema", sign) if "cosine ema" in wide else "")
        share = share_of_the_way(good, fixed, wide["MIHA"], sign, start == "good")
        told.append("" if share is None else f"{share:.0%}")
        lines.append(f"| {' | '.join([task, start, *told, str(wide['MIHA'].count())])} |")
        if share is not None and start == "good" and sign == 1:
            shares.append(share)
    if shares:
        lines.append(f"| classification | good |{'  |' * 5} {np.mean(shares):.0%} |  |")
    return "\n".join(lines)


def best_fixed(values: pd.DataFrame, names: Collection[str], sign: int) -> str | None:
    """Return the fixed regularisation with the best mean, of those with the most seeds."""
    counts = {name: int(values[name].count()) for name in names if name in values}
    whole = [name for name, count in counts.items() if count == max(counts.values())]
    return max(whole, key=lambda name: sign * values[name].mean(), default=None)


def share_of_the_way(
    values: pd.DataFrame, fixed: str | None, reached: pd.Series, sign: int, is_paired: bool
) -> float | None:
    """Return the share of the way from cosine to a fixed regularisation that MIHA has gone.

    Args:
        values: What variants have from the good start, by seed.
        fixed: Name of the regularisation.
        reached: What MIHA has, by seed.
        sign: 1 where large values are better, -1 where small ones are.
        is_paired: Whether seeds are left out that one of them lacks.

    Returns:
        None where no way leads there: the regularisation is no better than cosine.
    """
    if fixed is None or "cosine" not in values:
        return None
    way = values[["cosine", fixed]].dropna()
    if is_paired:
        way = way.loc[way.index.intersection(reached.dropna().index)]
        reached = reached.loc[way.index]
    begin, end = sign * way.mean()
    return (sign * reached.mean() - begin) / (end - begin) if end > begin else None


def _mean(column: pd.Series) -> str:
    """Return a mean and its standard error."""
    values = column.dropna()
    return f"{values.mean():.4f} ± {values.sem():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = [task for task in EXPERIMENTS if task not in FORMER]
    names = [*VARIANTS, *GROUPS]
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("logs/ablation.jsonl"))
    parser.add_argument("--tasks", nargs="+", default=tasks, choices=EXPERIMENTS)
    parser.add_argument("--starts", nargs="+", default=["good", "poor", "random"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=names)
    parser.add_argument("--seeds", type=int, default=5, help="of the good and the poor start")
    parser.add_argument("--random", type=int, default=10, help="how many random starts")
    parser.add_argument("--first-seed", type=int, default=0, help="of all starts")
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
    tables = [table(rows), gains(rows), regrets(rows), reach(rows)]
    # Augmentation knows something of the images: what can be reached without it stands apart.
    others = [name for name in FIXED if "augmentation" not in name]
    tables += ["Without augmentation:", reach(rows, others)]
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    main()
