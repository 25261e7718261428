"""A population on the cores of this machine, or on a cluster, by Ray.

    pip install "miha[ray,examples]"
    python examples/ray_cluster.py                          # this machine
    python examples/ray_cluster.py --address 10.0.0.1:6379  # a cluster, on one of its machines

The numbers are those of a run without Ray (``--local``), bit for bit where both have the same
threads: with TF_NUM_INTRAOP_THREADS=1 and TF_NUM_INTEROP_THREADS=1 in the environment.
"""

import argparse

from sklearn.datasets import load_digits

import miha
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--address", default=None, help="host:port of the cluster's head")
parser.add_argument("--workers", type=int, default=None, help="clones at once; by default all fit")
parser.add_argument("--cycles", type=int, default=5, help="cycles of mutation, c")
parser.add_argument("--local", action="store_true", help="without Ray, to compare")
parser.add_argument("--logs", default=None, help="the run's folder")
args = parser.parse_args()

# 1. Data and network, as always. The data is sent to each machine once.
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
train, validation = slice(0, 1200), slice(1200, None)

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="sigmoid"),
        keras.layers.Dense(32, activation="sigmoid"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

# 2. Where the clones train. A worker that hangs for ten minutes is replaced.
ray = miha.RayExecutor(address=args.address, workers=args.workers, cpus_per_clone=1, timeout=600)

# 3. The run. A population should be a multiple of the workers.
result = miha.MIHA(
    model,
    x[train],
    y[train],
    validation_data=(x[validation], y[validation]),
    m=5,
    n=3,
    k=3,
    c=args.cycles,
    pop_size=8,
    seed=0,
    execution=miha.Execution(executor="local" if args.local else ray),
    logs=args.logs,
    verbose=2,
).optimize()

print(result.lineage[["cycle", "clone", "change", "value", "selected"]].to_string(index=False))
print(f"Ended with: {result.genome}")
print(f"The run's folder: {result.run_dir}")
