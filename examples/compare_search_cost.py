"""What a search costs: final accuracy, epochs of a candidate, epochs of the final training.

    python examples/compare_search_cost.py                         # Fashion-MNIST, through Keras
    python examples/compare_search_cost.py --dataset mnist
    python examples/compare_search_cost.py --data mnist.npz --objects 2000

A search spends a part of the budget on candidates that train a few epochs each, and the rest on
training the best of them anew. The shorter a candidate trains, the more of them there are, and the
less its rank tells of how it would rank in the end: that is measured, too, as Spearman's
correlation of the ranks after n epochs with the final ones. Run it again, and it goes on where it
was interrupted. Tables and figures lie in the folder `--logs`.
"""

import argparse
from pathlib import Path

import numpy as np

from miha import Genome, SearchSpace
from miha.compare import (
    Comparison,
    Miha,
    OptunaMedian,
    Plain,
    RandomSearch,
    Strategy,
    ThenTrain,
    compare,
)
from miha.compare.figures import plot_correlations
from miha.compare.statistics import Mean, rank_correlations
from miha.compare.writing import draw
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

LAYERS = ("hidden", "hidden_1")
SPACE = SearchSpace(layers=LAYERS, learning_rate=(1e-4, 1e-1), batch_size=(8, 256))
STARTS = {
    "good": Genome("adam", 0.001, 32, tuple((name, "relu") for name in LAYERS)),
    "poor": Genome("sgd", 0.01, 128, tuple((name, "sigmoid") for name in LAYERS)),
    "random": None,  # Another one for each seed: a user does not know theirs.
}


def build(genome: Genome) -> keras.Model:
    activations = dict(genome.activations)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(256, activation=activations["hidden"], name="hidden"),
            keras.layers.Dense(128, activation=activations["hidden_1"], name="hidden_1"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load(path: str | None, dataset: str, objects: int):
    if path:
        with np.load(path) as file:
            x, y, x_test, y_test = (file[n] for n in ("x_train", "y_train", "x_test", "y_test"))
    else:
        (x, y), (x_test, y_test) = getattr(keras.datasets, dataset).load_data()
    x, x_test = ((part.reshape(-1, 784) / 255).astype("float32") for part in (x[:objects], x_test))
    border = int(len(x) * 0.85)
    return (x[:border], y[:border]), (x[border:], y[border:objects]), (x_test, y_test)


def strategies(candidates: list[int], final: int, epochs: int) -> list[tuple[Strategy, tuple]]:
    """Return the strategies, with the epochs of a candidate and of the final training."""
    found: list[tuple[Strategy, tuple]] = [(Plain(), ("–", epochs))]
    for n in candidates:
        for word, search in (("random", RandomSearch(trial_epochs=n)),
                             ("Optuna", OptunaMedian(trial_epochs=n))):  # fmt: skip
            found.append((ThenTrain(f"{word}, {n} epochs each", search, final), (n, final)))
    return [*found, (Miha(), ("in the training", epochs))]


def table_of_costs(costs: Comparison, start: str, epochs_of: dict[str, tuple]) -> str:
    lines = [f"Start: {start}\n"]
    lines += [
        "| strategy | final accuracy | epochs of a candidate | epochs of the final training |"
    ]
    lines += ["| --- | ---: | ---: | ---: |"]
    for name in costs.strategies:
        mean = Mean.of(list(costs.scores(start, name).values()))
        lines.append("| {} | {} | {} | {} |".format(name, mean, *epochs_of[name]))
    return "\n".join(lines)


def table_of_ranks(correlations: np.ndarray, final: int) -> str:
    lines = ["| epochs of a candidate | Spearman's correlation with the ranks "
             f"after {final} epochs |", "| ---: | ---: |"]  # fmt: skip
    for n in range(1, final):
        lines.append(f"| {n} | {Mean.finite(list(correlations[:, n - 1]))} |")
    return "\n".join(lines)


if __name__ == "__main__":  # Each cell has a process of its own, which reads this file again.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--dataset", default="fashion_mnist", choices=["fashion_mnist", "mnist"])
    parser.add_argument("--objects", type=int, default=10_000, help="objects to learn from")
    parser.add_argument("--epochs", type=int, default=100, help="the budget")
    parser.add_argument("--final", type=int, default=20, help="epochs of the final training")
    parser.add_argument("--candidate", type=int, nargs="+", default=[1, 2, 5, 10],
                        help="epochs of a candidate")  # fmt: skip
    parser.add_argument("--ranked", type=int, default=12, help="candidates to rank")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--logs", default="logs/compare_search_cost")
    args = parser.parse_args()
    data, final, logs = load(args.data, args.dataset, args.objects), args.final, Path(args.logs)
    starts = {name: STARTS[name] for name in args.starts}
    common = {"space": SPACE, "seeds": args.seeds, "monitor": "val_accuracy"}

    # 1. The same budget, with candidates of several lengths.
    chosen = strategies(args.candidate, final, args.epochs)
    costs = compare(build, data, [strategy for strategy, _ in chosen], starts=starts,
                    epochs=args.epochs, logs=logs / "costs", **common)  # fmt: skip
    epochs_of = {strategy.name: epochs for strategy, epochs in chosen}
    tables = [table_of_costs(costs, start, epochs_of) for start in starts]

    # 2. Candidates that all train as long: one long random search, whose curve holds all of theirs.
    longest = [RandomSearch(trial_epochs=final)]
    ranks = compare(build, data, longest, starts={"random": None}, epochs=args.ranked * final,
                    logs=logs / "ranks", **common)  # fmt: skip
    values = [np.array([v for _, v in cell.curve]).reshape(-1, final)
              for cell in ranks.cells if not cell.failure]  # fmt: skip
    correlations = np.array([rank_correlations(seed, "max") for seed in values])
    if len(correlations):
        tables.append(table_of_ranks(correlations, final))
        draw({"ranks": plot_correlations(correlations)}, logs, say=print)
    table = "\n\n".join(tables)
    (logs / "search_cost.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{costs.to_markdown()}\n{table}\n\nFigures and JSON: {logs}")
