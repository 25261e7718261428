"""A run as an Optuna study: its clones are trials, for optuna-dashboard and `optuna.visualization`.

``pip install 'miha[optuna]'`` installs what it needs.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from miha.errors import MihaError
from miha.results.reader import began
from miha.results.trials import WIDE, RunView, TrainingView, is_number
from miha.utils.json_values import plain
from miha.utils.optional import need

if TYPE_CHECKING:
    import optuna

    from miha.results.result import Result

Target = Literal["value", "fitness", "gain"]

_RUN = "miha:run"


def to_optuna(
    result: Result, storage: Any = None, study_name: str | None = None, target: Target = "value"
) -> optuna.Study:
    """Return a run as an Optuna study whose trials are the clones.

    Called again, as the run grows, it adds the cycles that are new; where a hyperparameter has
    got a value that the study does not allow for, the study is made anew. A clone that failed is a
    failed trial. What a trial was (cycle, change, fitness, ...) stands in its user attributes,
    and its epochs are its intermediate values.

    Args:
        result: A run, finished or not.
        storage: As `optuna.create_study` takes it, e.g. ``"sqlite:///study.db"``; None: memory.
        study_name: The study's name; by default that of the run's folder.
        target: What a trial's value is: the monitored ``"value"``, the ``"fitness"``, or the
            ``"gain"`` in fitness over the control of the cycle.

    Returns:
        The study; it minimises the monitored value where smaller is better.

    Raises:
        MihaError: `target` is none of those, or there is another study of that name.
        MissingPackageError: Optuna is not installed.
    """
    if target not in ("value", "fitness", "gain"):
        raise MihaError(
            "`target` must be 'value', 'fitness' or 'gain'. "
            f"Received: target={target!r}. Choose one."
        )
    package = need("optuna", "optuna")
    view = RunView.of(result)
    study = _study(package, result, storage, study_name, target)
    distributions = _distributions(package.distributions, view)
    if not _are_known(study.trials, distributions):
        _check_own(study)
        package.delete_study(study_name=study.study_name, storage=study._storage)
        study = _study(package, result, storage, study.study_name, target)
    there = {(t.user_attrs.get("cycle"), t.user_attrs.get("clone")) for t in study.trials}
    settled = [clone for clone in view.clones if clone.is_settled]
    new = [clone for clone in settled if (clone.cycle, clone.clone) not in there]
    start = began(result)
    study.add_trials([_trial(package, view, clone, distributions, target, start) for clone in new])
    return study


def _study(
    package: Any, result: Result, storage: Any, name: str | None, target: Target
) -> optuna.Study:
    small = target == "value" and result.mode == "min"
    run = {"folder": str(result.run_dir.absolute()), "target": target}
    with quiet(package):
        study: optuna.Study = package.create_study(
            storage=storage,
            study_name=name or result.run_dir.absolute().name,
            direction="minimize" if small else "maximize",
            load_if_exists=True,
        )
    known = study.user_attrs.get(_RUN)
    if known is None and study.trials or known not in (None, run):
        raise MihaError(
            "A study must be that of the same run and target, or new. "
            f"Received: the study {study.study_name!r} of {known}, for {run}. "
            "Give another `study_name`."
        )
    study.set_user_attr(_RUN, run)
    study.set_user_attr("monitor", result.monitor)
    return study


def _check_own(study: optuna.Study) -> None:
    """Raise if a study that must be made anew holds trials of somebody else's."""
    if any("cycle" not in trial.user_attrs for trial in study.trials):
        raise MihaError(
            "A study that grows with a run must hold that run's clones only. "
            f"Received: {study.study_name!r}, which has other trials. Give another `study_name`."
        )


class quiet:
    """Leaves out the notes that a study was made.

    Args:
        package: Optuna.
    """

    def __init__(self, package: Any) -> None:
        self._logging = package.logging

    def __enter__(self) -> None:
        self._before = self._logging.get_verbosity()
        self._logging.set_verbosity(self._logging.WARNING)

    def __exit__(self, *details: object) -> None:
        self._logging.set_verbosity(self._before)


def _trial(
    package: Any,
    view: RunView,
    clone: TrainingView,
    distributions: Mapping[str, Any],
    target: Target,
    start: float,
) -> Any:
    genes = {name: _value(value) for name, value in clone.genes.items() if value is not None}
    value = getattr(clone, target)
    is_done = clone.failure is None and value is not None and math.isfinite(value)
    states, curve = package.trial.TrialState, clone.curve(view.monitor)
    state = states.COMPLETE if is_done else states.FAIL
    if clone.pruned and is_done:
        state = states.PRUNED
    trial = package.trial.create_trial(
        state=state,
        value=value if is_done else None,
        params=genes,
        distributions={name: distributions[name] for name in genes},
        intermediate_values={clone.start + 1 + i: v for i, v in enumerate(curve) if v == v},
        user_attrs=_attributes(clone),
    )
    # Optuna's times are the clock's here, and name no zone.
    trial.datetime_start = datetime.datetime.fromtimestamp(start + clone.after)
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=clone.seconds)
    return trial


def _attributes(clone: TrainingView) -> dict[str, Any]:
    names = ("cycle", "clone", "change", "gene", "fitness", "gain", "selected", "archive")
    found: dict[str, Any] = plain({name: getattr(clone, name) for name in names})
    return found | ({"failure": clone.failure} if clone.failure else {})


def _distributions(kinds: Any, view: RunView) -> dict[str, Any]:
    """Return what each hyperparameter may be: what the run had."""
    found: dict[str, Any] = {}
    for name in view.gene_names:
        values = [_value(t.genes[name]) for t in view.trials if t.genes.get(name) is not None]
        if values:
            found[name] = _distribution(kinds, values)
    return found


def _are_known(trials: Sequence[Any], distributions: Mapping[str, Any]) -> bool:
    """Tell whether a study's trials have the same distributions; Optuna allows for no others."""
    return all(
        distributions.get(name) == distribution
        for trial in trials
        for name, distribution in trial.distributions.items()
    )


def _distribution(kinds: Any, values: Sequence[Any]) -> Any:
    if not all(map(is_number, values)):
        return kinds.CategoricalDistribution(sorted(set(values), key=str))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= WIDE
    is_whole = all(isinstance(value, int) for value in values)
    kind = kinds.IntDistribution if is_whole else kinds.FloatDistribution
    return kind(low, high, log=log)


def _value(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
