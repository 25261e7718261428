"""The article's first experiment: MNIST, a dense network, MIHA beside plain training.

    python examples/mnist_classification.py                    # data through Keras
    python examples/mnist_classification.py --data mnist.npz   # or a file of the same layout

The first 10,000 objects: 8,500 to train on, 1,500 to compare clones by. The test objects are
looked at once, at the end: all of them, and the first 500 as in the article (there 0.974).
"""

import argparse
import time

import numpy as np

import miha
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", help="an .npz file in the layout of keras.datasets.mnist")
parser.add_argument("--start", choices=["good", "poor"], default="good")
parser.add_argument("--objects", type=int, default=10_000, help="objects to learn from")
parser.add_argument("--schedule", type=int, nargs=5, default=[10, 3, 3, 10, 5],
                    metavar=("M", "N", "K", "C", "POP_SIZE"))  # fmt: skip
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--logs", default=None, help="the run's folder")
args = parser.parse_args()

# 1. The data.
if args.data:
    with np.load(args.data) as file:
        (x, y), (x_test, y_test) = [(file[f"x_{s}"], file[f"y_{s}"]) for s in ("train", "test")]
else:
    (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
x, y = x[: args.objects].reshape(-1, 784) / 255, y[: args.objects]
x_test = x_test.reshape(-1, 784) / 255
border = int(args.objects * 0.85)
validation_data = x[border:], y[border:]
x, y = x[:border], y[:border]

# 2. The network, from a good or a poor start.
optimizer, activation, batch_size = {
    "good": (keras.optimizers.Adam, "relu", 32),
    "poor": (keras.optimizers.SGD, "sigmoid", 128),
}[args.start]


def build() -> keras.Model:
    keras.utils.set_random_seed(args.seed)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(400, activation=activation, name="hidden"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# 3. MIHA.
m, n, k, c, pop_size = args.schedule
start = time.perf_counter()
run = miha.MIHA(
    build(), x, y, validation_data=validation_data,
    m=m, n=n, k=k, c=c, pop_size=pop_size,
    batch_size=batch_size, seed=args.seed, logs=args.logs,
)  # fmt: skip
result = run.optimize()
seconds = time.perf_counter() - start

# 4. Plain training for as many epochs.
print(f"Plain training for the same {run.epochs} epochs ...")
plain = build()
start = time.perf_counter()
plain.fit(
    x, y, batch_size=batch_size, epochs=run.epochs, validation_data=validation_data, verbose=0
)
plain_seconds = time.perf_counter() - start

# 5. Both on the test objects.
print(f"\n{'after ' + str(run.epochs) + ' epochs':<28}{'test accuracy':>14}{'first 500':>12}")
for name, model in (
    ("plain training", plain),
    ("MIHA, last network", result.model),
    ("MIHA, best by val_loss", result.best_model),
):
    scores = [
        model.evaluate(x_test[part], y_test[part], verbose=0, return_dict=True)["accuracy"]
        for part in (slice(None), slice(500))
    ]
    print(f"{name:<28}{scores[0]:>14.4f}{scores[1]:>12.3f}")
print(f"MIHA took {seconds / plain_seconds:.2f} x the time of plain training.")
print(f"Started with: {run.genome}\nEnded with:   {result.genome}")
print(f"The run's folder: {result.run_dir}")
