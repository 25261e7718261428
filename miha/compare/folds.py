"""Folds: the method on several validation sets in turn, a run on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from miha.api import MIHA
from miha.errors import ArgumentError
from miha.options import Search
from miha.results.result import Result
from miha.results.trials import as_number, flat
from miha.run.resume import choose_seed
from miha.storage.folder import RunFolder, new_folder
from miha.validation import check_integer

if TYPE_CHECKING:
    import keras
    import pandas as pd

VALIDATION = ("validation_data", "validation_split")
"""Arguments of `MIHA` that folds take the place of."""


@dataclass(frozen=True)
class Folds:
    """The runs of several folds, and how far they agree.

    Attributes:
        results: The result of each run, in the order of the folds.
    """

    results: Sequence[Result]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each fold: its folder, state, and what its best network reached on it."""
        import pandas as pd

        rows = []
        for number, result in enumerate(self.results, 1):
            row: dict[str, Any] = {"fold": number}
            row["run_dir"] = str(result.run_dir)
            row["state"] = result.state
            row["epochs"] = result.best.age
            rows.append(row | _validated(result))
        return pd.DataFrame(rows)

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each validated value: its mean over the folds, and their spread.

        The spread is the standard deviation between folds; it is no standard error, since the
        folds share their training data. Each value has chosen the network that it is the value
        of, and so flatters it a little.
        """
        import pandas as pd

        values = pd.DataFrame([_validated(result) for result in self.results])
        columns = {
            "mean": values.mean(),
            "std": values.std(),
            "min": values.min(),
            "max": values.max(),
            "folds": values.count(),
        }
        return pd.DataFrame(columns)

    @property
    def agreement(self) -> pd.DataFrame:
        """One row for each gene: the value that most best networks have, and how many have it."""
        import pandas as pd

        genes = [flat(result.best.genome.to_dict()) for result in self.results]
        names = dict.fromkeys(name for each in genes for name in each)
        rows = []
        for name in names:
            [(value, count)] = Counter(each.get(name) for each in genes).most_common(1)
            rows.append({"gene": name, "value": value, "folds": count, "of": len(genes)})
        return pd.DataFrame(rows)


def cross_validate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_folds: int | Sequence[Any] = 5,
    sample_weight: Any = None,
    shuffle: bool = True,
    seed: int | None = None,
    logs: str | Path | None = None,
    overwrite: bool = False,
    **arguments: Any,
) -> Folds:
    """Run MIHA once for each fold: the fold validates, all other samples train.

    These are as many runs as there are folds, with as many times the epochs, and each ends with
    a network of its own. They tell how far what a run finds depends on which samples validate.
    No network is judged on samples that it was trained on, and none is trained on all samples.

    Run the same script again, and it goes on where it was interrupted.

    Args:
        model: The compiled network that each run begins with. It is not touched.
        x: Inputs: arrays, or a structure of arrays.
        y: Targets, likewise.
        validation_folds: How many folds, at least 2; or for each fold the places of its samples,
            for folds by group, by class or by time: ``[places for _, places in
            GroupKFold(5).split(x, y, groups)]``.
        sample_weight: Weights of the samples in the loss.
        shuffle: Whether samples are shuffled, into folds as before each epoch; else folds are
            of neighbouring samples.
        seed: Decides every random draw, the same in each run. None draws one.
        logs: A folder, in which the runs are ``fold_1``, ``fold_2``, ...; ``logs/<date>-<time>``
            by default.
        overwrite: Whether runs of other arguments, data or network in it are replaced.
        **arguments: All others of `MIHA`.

    Returns:
        The results, as far as the runs have come.

    Raises:
        ArgumentError: An argument breaks a rule.
    """
    from miha.data.arrays import prepare

    _refuse_validation(arguments)
    # Each run looks at its samples by its own rules.
    data, _ = prepare(x, y, sample_weight, must_be_finite=False)
    path = new_folder(Path("logs").absolute()) if logs is None else Path(logs).absolute()
    seed = choose_seed(seed, RunFolder(path / "fold_1"), overwrite)
    folds = split(validation_folds, data.samples, shuffle, seed)

    results: list[Result] = []
    for number, places in enumerate(folds, 1):
        training = data.take(np.setdiff1d(np.arange(data.samples), places))
        validation = data.take(places)
        run = MIHA(
            model,
            training.x,
            training.y,
            sample_weight=training.sample_weight,
            validation_data=validation.parts,
            shuffle=shuffle,
            seed=seed,
            logs=path / f"fold_{number}",
            overwrite=overwrite,
            **arguments,
        )
        results.append(run.optimize())
        # A callback has stopped it: the same script goes on from there.
        if results[-1].state != "finished":
            break
    return Folds(results)


def _refuse_validation(arguments: Mapping[str, Any]) -> None:
    """Raise where validation data is given beside folds, or trained on.

    Raises:
        ArgumentError: It is.
    """
    for name in VALIDATION:
        if name in arguments:
            raise ArgumentError(
                f"`{name}` must not be given with folds, which validate in its place. "
                f"Received: {name}=... Leave it out."
            )
    search = arguments.get("search")
    if isinstance(search, Search) and search.final_data == "all":
        raise ArgumentError(
            "`final_data` must not be 'all' with folds: each network is judged on a fold that it "
            "was not trained on. Received: final_data='all'. Leave it out, and train a network on "
            "all data in a run of its own."
        )


def split(
    wanted: int | Sequence[Any],
    samples: int,
    shuffle: bool,
    seed: int,
) -> list[np.ndarray]:
    """Return the places of the samples of each fold.

    Args:
        wanted: How many folds, or their places.
        samples: How many samples there are.
        shuffle: Whether a number of folds is filled in a drawn order.
        seed: Draws it.

    Raises:
        ArgumentError: There are too few folds or samples, or a place is none.
    """
    if isinstance(wanted, (int, Integral)):
        count = check_integer("validation_folds", wanted, 2)
        places = np.arange(samples)
        if shuffle:
            places = np.random.default_rng(seed).permutation(samples)
        folds = [np.sort(part) for part in np.array_split(places, count)]
    else:
        folds = [np.unique(np.asarray(part, dtype=int)) for part in wanted]

    ends = [(part[0], part[-1]) for part in folds if part.size]
    is_outside = any(first < 0 or last >= samples for first, last in ends)
    sizes = [len(part) for part in folds]
    if len(folds) < 2 or is_outside or not 0 < min(sizes) <= max(sizes) < samples:
        raise ArgumentError(
            "`validation_folds` must be at least 2 folds, each of some samples and not of all, by "
            f"their places from 0 to {samples - 1}. Received: {len(folds)} folds of {sizes} of "
            f"{samples} samples. Give a number from 2 to {samples}, or such places."
        )
    return folds


def _validated(result: Result) -> dict[str, float]:
    """Return what the best network of a run reached on its validation data."""
    logs = result.best.epochs[-1].logs if result.best.epochs else {}
    return {name: as_number(value) for name, value in logs.items() if name.startswith("val_")}
