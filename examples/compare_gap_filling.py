"""Gap-filling of satellite fields: MIHA and the same network trained for the same epochs.

    python examples/compare_gap_filling.py                            # synthetic fields
    python examples/compare_gap_filling.py --data lst_gapfilling.npz  # land-surface temperature

A convolutional autoencoder learns the field from the field with gaps. The file holds, for each of
train, val and test: ``x_*`` with 0 in the gaps, ``y_*`` without gaps, ``gap_*`` where they are. The
original experiment reports an MSE of 0.13 for MIHA and of 0.38 without it. Run it again, and it
goes on where it was interrupted. Tables and figures lie in the folder `--logs`; `fields.png` there
shows true, gappy and filled fields.
"""

import argparse
from pathlib import Path

import numpy as np

from miha import Genome, SearchSpace
from miha.compare import CATALOGUE, compare
from miha.compare.figures import plot_fields
from miha.compare.writing import draw
from miha.utils.quiet import quiet

with quiet():  # TensorFlow says much when it starts.
    import keras

LAYERS = ("first", "middle", "last")
SPACE = SearchSpace(layers=LAYERS, learning_rate=(1e-4, 1e-1), batch_size=(8, 256))
STARTS = {
    "good": Genome("adam", 0.001, 32, tuple((name, "relu") for name in LAYERS)),
    "poor": Genome("sgd", 0.01, 128, tuple((name, "sigmoid") for name in LAYERS)),
    "random": None,  # Another one for each seed: a user does not know theirs.
}


def build(genome: Genome) -> keras.Model:
    layers, activations = keras.layers, dict(genome.activations)

    def convolution(filters: int, name: str) -> keras.layers.Layer:
        return layers.Conv2D(filters, 3, padding="same", activation=activations[name], name=name)

    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            convolution(16, "first"),
            layers.MaxPooling2D(),
            convolution(32, "middle"),
            layers.UpSampling2D(),
            convolution(16, "last"),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )
    optimizer = type(keras.optimizers.get(genome.optimizer))(learning_rate=genome.learning_rate)
    model.compile(optimizer, "mse")
    return model


def score(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the error over all pixels and over those in gaps; ``y`` has both as channels."""
    error, gap = (model.predict(x, verbose=0)[..., 0] - y[..., 0]) ** 2, y[..., 1] > 0
    return {"mse": error.mean(), "mse in gaps": error[gap].mean()}


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


def load(path: str | None, objects: int):
    data = dict(np.load(path)) if path else synthetic()
    targets = np.concatenate([data["y_test"], data["gap_test"]], axis=-1)
    # Spread over the file, which has one city after another.
    windows = len(data["x_train"])
    places = np.linspace(0, windows - 1, min(objects, windows)).astype(int)
    training = data["x_train"][places], data["y_train"][places]
    return training, (data["x_val"], data["y_val"]), (data["x_test"], targets)


if __name__ == "__main__":  # Each cell has a process of its own, which reads this file again.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file in the layout above")
    parser.add_argument("--objects", type=int, default=500, help="windows to learn from")
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", choices=CATALOGUE,
                        default=["plain", "cosine", "random", "optuna", "miha"])  # fmt: skip
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--logs", default="logs/compare_gap_filling")
    args = parser.parse_args()
    data = load(args.data, args.objects)
    comparison = compare(
        build,
        data,
        args.strategies,
        starts={name: STARTS[name] for name in args.starts},
        space=SPACE,
        epochs=args.epochs,
        seeds=range(args.first_seed, args.first_seed + args.seeds),
        monitor="val_loss",
        score=score,
        metric="mse",
        logs=args.logs,
        keep_models=True,
    )
    print(f"\n{comparison.to_markdown()}")

    # Pictures: the first seed's networks from the last of the starts, on three test windows.
    (x, y), rows = data[2], {}
    places = np.argsort(-y[..., 1].mean((1, 2)))[[len(y) // 10, len(y) // 4, len(y) // 2]]
    rows["true"] = y[places, ..., 0]
    rows["gappy"] = np.where(y[places, ..., 1] > 0, np.nan, x[places, ..., 0])
    for cell in comparison.cells:
        if (
            cell.place.start == args.starts[-1]
            and cell.place.seed == args.first_seed
            and not cell.failure
        ):
            path = f"{args.logs}/models/{cell.place.file}.keras"
            model = keras.models.load_model(path, compile=False)
            rows[cell.place.strategy] = model.predict(x[places], verbose=0)[..., 0]
    draw({"fields": plot_fields(rows)}, Path(args.logs), say=print)
    print(f"Figures and JSON: {args.logs}")
