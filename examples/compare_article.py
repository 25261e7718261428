"""The comparison of MIHA's article: Optuna may choose numbers of layers and units, too.

    python examples/compare_article.py                   # data through Keras
    python examples/compare_article.py --data mnist.npz --seeds 3

The first 10,000 objects of MNIST, of which 15 % validate; 200 epochs for each cell. MIHA trains
the start, 784-400-10. Optuna's second strategy also chooses one to three layers of 16 to 512 units.
The network that its validation accuracy picks is scored on all test objects, and on the first 500
as in the article (there MIHA 0.974 with 176 epochs, Optuna 0.976). Tables and figures, those at
equal seconds among them, lie in the folder `--logs`.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial

from compare_optuna import SPACE, STARTS, load, score

from miha import Genome
from miha.compare import OptunaMedian, Task, compare
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras


def build(genome: Genome, units: tuple[int, ...] = (400,)) -> keras.Model:
    activation = dict(genome.activations)["hidden"]
    # The first layer has the name by which all strategies choose the activation of all.
    names = ["hidden", "hidden2", "hidden3"]
    hidden = [
        keras.layers.Dense(count, activation=activation, name=name)
        for name, count in zip(names, units, strict=False)
    ]
    model = keras.Sequential(
        [keras.Input((784,)), *hidden, keras.layers.Dense(10, activation="softmax")]
    )
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@dataclass(frozen=True)
class OptunaLayers(OptunaMedian):
    """TPE with a MedianPruner, which chooses the topology as well; its first trial is the start."""

    name: str = "Optuna, layers and units searched"

    def build(self, trial, genome: Genome, task: Task) -> keras.Model:
        units = (400,)
        if trial.number:
            count = trial.suggest_int("layers", 1, 3)
            units = tuple(
                trial.suggest_int(f"units of layer {place}", 16, 512, log=True)
                for place in range(1, count + 1)
            )
        own = replace(task, build_model=partial(build, units=units))
        return own.build(genome, trial.number)

    def best(self, task: Task) -> keras.Model:
        # The kernels say how many units each layer has; the last one is the output's.
        kernels = task.pick().weights[::2]
        units = tuple(kernel.shape[1] for kernel in kernels[:-1])
        return replace(task, build_model=partial(build, units=units)).best()


if __name__ == "__main__":  # Each cell has a process of its own, which reads this file again.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
    parser.add_argument("--objects", type=int, default=10_000, help="objects to learn from")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--starts", nargs="+", default=["good", "random"], choices=STARTS)
    parser.add_argument("--logs", default="logs/compare_article")
    args = parser.parse_args()
    comparison = compare(
        build,
        load(args.data, args.objects),
        ["plain", "optuna", OptunaLayers(), "miha"],
        starts={name: STARTS[name] for name in args.starts},
        space=SPACE,
        epochs=args.epochs,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        monitor="val_accuracy",
        score=score,
        logs=args.logs,
    )
    print(f"\n{comparison.to_markdown()}\nFigures and JSON: {args.logs}")
