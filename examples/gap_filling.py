"""The article's second experiment: filling the gaps that clouds leave in satellite fields.

    python examples/gap_filling.py                            # a synthetic field
    python examples/gap_filling.py --data lst_gapfilling.npz  # land-surface temperature

A convolutional autoencoder learns the field from the field with gaps. The file holds, for each
of train, val and test: ``x_*`` with 0 in the gaps, ``y_*`` without gaps, ``gap_*`` where they are.
"""

import argparse
import time

import numpy as np

import miha
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", help="an .npz file in the layout above")
parser.add_argument("--start", choices=["good", "poor"], default="good")
parser.add_argument("--objects", type=int, default=None, help="windows to learn from")
parser.add_argument("--schedule", type=int, nargs=5, default=[10, 2, 2, 7, 4],
                    metavar=("M", "N", "K", "C", "POP_SIZE"))  # fmt: skip
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--logs", default=None, help="the run's folder")
args = parser.parse_args()


def smooth_fields(rng: np.random.Generator, count: int, size: int = 32) -> np.ndarray:
    """Return random fields whose spectrum falls as that of temperatures does."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    spectrum = np.fft.fft2(rng.normal(size=(count, size, size))) / (frequency + 1 / size) ** 1.5
    fields = np.fft.ifft2(spectrum).real
    fields -= fields.mean((1, 2), keepdims=True)
    return (fields / fields.std((1, 2), keepdims=True))[..., None].astype("float32")


def synthetic() -> dict[str, np.ndarray]:
    """Return a data set in the layout of the file: smooth fields, cloud-shaped gaps."""
    rng, data = np.random.default_rng(0), {}
    for name, count in (("train", 600), ("val", 150), ("test", 150)):
        field, clouds = smooth_fields(rng, count), smooth_fields(rng, count)
        gap = clouds > 0.8
        data |= {f"x_{name}": np.where(gap, 0, field), f"y_{name}": field, f"gap_{name}": gap}
    return data


# 1. The data.
data = dict(np.load(args.data)) if args.data else synthetic()
windows = len(data["x_train"])
# Spread over the file, which has one city after another.
places = np.linspace(0, windows - 1, min(args.objects or windows, windows)).astype(int)
x, y = data["x_train"][places], data["y_train"][places]
validation_data = data["x_val"], data["y_val"]

# 2. The network, from a good or a poor start.
optimizer, activation, batch_size = {
    "good": (keras.optimizers.Adam, "relu", 32),
    "poor": (keras.optimizers.SGD, "sigmoid", 128),
}[args.start]


def build() -> keras.Model:
    keras.utils.set_random_seed(args.seed)
    same = {"padding": "same", "activation": activation}
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(16, 3, **same),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, **same),
            keras.layers.UpSampling2D(),
            keras.layers.Conv2D(16, 3, **same),
            keras.layers.Conv2D(1, 3, padding="same"),
        ]
    )
    model.compile(optimizer(), "mse")
    return model


# 3. MIHA.
m, n, k, c, pop_size = args.schedule
start = time.perf_counter()
run = miha.MIHA(
    build(), x, y, validation_data=validation_data,
    m=m, n=n, k=k, c=c, pop_size=pop_size,
    batch_size=min(batch_size, len(x)), seed=args.seed, logs=args.logs,
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

# 5. All on the test windows.
x_test, y_test, gap = data["x_test"], data["y_test"], data["gap_test"]
print(f"\n{'after ' + str(run.epochs) + ' epochs':<28}{'test MSE':>12}{'in the gaps':>14}")
for name, filled in (
    ("gaps filled with the mean", x_test),
    ("plain training", plain.predict(x_test, verbose=0)),
    ("MIHA, last network", result.model.predict(x_test, verbose=0)),
    ("MIHA, best by val_loss", result.best_model.predict(x_test, verbose=0)),
):
    error = (filled - y_test) ** 2
    print(f"{name:<28}{error.mean():>12.4f}{error[gap].mean():>14.4f}")
print(f"MIHA took {seconds / plain_seconds:.2f} x the time of plain training.")
print(f"Started with: {run.genome}\nEnded with:   {result.genome}")
print(f"The run's folder: {result.run_dir}")
