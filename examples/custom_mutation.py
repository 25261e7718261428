"""A mutation of your own, in ten lines; a minute at most, on two cores.

    python examples/custom_mutation.py

All Dropout layers get another rate at once, where MIHA's own mutation changes one.
"""

import argparse

from sklearn.datasets import load_digits

import miha
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--cycles", type=int, default=6, help="cycles of mutation, c")
parser.add_argument("--logs", default=None, help="the run's folder")
args = parser.parse_args()


# 1. The mutation: from a genome, and what its genes may become, to another genome.
class OneRateForAll(miha.Mutation):
    """Gives all Dropout layers the same rate."""

    gene = "dropout"

    def mutate(self, genome, space, rng):
        """Return a genome with another rate."""
        rates = sorted(set.intersection(*map(set, space.dropout.values())))
        rate = rates[rng.integers(len(rates))]
        return genome.replace(dropout=tuple((layer, rate) for layer in space.dropout))


# 2. Data and a network, which drops far too much.
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
train, validation, test = slice(0, 1000), slice(1000, 1297), slice(1297, None)
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.8),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.8),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adamw", "sparse_categorical_crossentropy", metrics=["accuracy"])

# 3. Yours beside those of MIHA, drawn twice as often; the space says what rates there are.
result = miha.MIHA(
    model,
    x[train],
    y[train],
    validation_data=(x[validation], y[validation]),
    m=5,
    n=2,
    k=2,
    c=args.cycles,
    pop_size=4,
    mutations=[OneRateForAll(weight=2), "dropout", "weight_decay", "learning_rate"],
    space=miha.SearchSpace(dropout=[0.0, 0.1, 0.2, 0.4], weight_decay=[0.0, 0.01]),
    seed=0,
    logs=args.logs,
).optimize()

# 4. What was tried, and what won.
print(result.lineage[["cycle", "change", "value", "selected", "reason"]].to_string(index=False))
accuracy = result.model.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"]
print(f"Test accuracy: {accuracy:.3f}")
print(f"Ended with: {result.genome}")
