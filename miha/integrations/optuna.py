"""A run as an Optuna study: its clones are trials, for optuna-dashboard and `optuna.visualization`.

``pip install 'miha[optuna]'`` installs what it needs.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from miha.errors import MihaError
from miha.results.reader import start_time
from miha.results.trials import WIDE, RunView, TrainingView, is_number
from miha.utils.json_values import plain
from miha.utils.optional import need

if TYPE_CHECKING:
    import optuna

    from miha.results.result import Result

Target = Literal["value", "fitness", "gain"]
Values = Mapping[str, Any]

_RUN = "miha:run"
"""The user attribute of a study that says which run it is of."""

_ATTRIBUTES = ("cycle", "clone", "change", "gene", "fitness", "gain", "selected", "archive")


def to_optuna(
    result: Result,
    storage: Any = None,
    study_name: str | None = None,
    target: Target = "value",
) -> optuna.Study:
    """Return a run as an Optuna study whose trials are the clones.

    Called again, as the run grows, it adds the cycles that are new. Where a hyperparameter has
    got a value that the study does not allow for, the study is replaced. A clone that failed is a
    failed trial. A child of two clones is not trained and
    has no fitness: a study of fitness or gain is without it. What a trial was (cycle, change,
    fitness, ...) stands in its user attributes, and its epochs are its intermediate values.

    Args:
        result: A run, finished or not.
        storage: As `optuna.create_study` takes it, e.g. ``"sqlite:///study.db"``; None: memory.
        study_name: The study's name; by default that of the run's folder.
        target: What a trial's value is: the monitored ``"value"``, the ``"fitness"``, or the
            ``"gain"`` in the monitored value over the control of the cycle.

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
    distributions = _distributions(package.distributions, view)
    study = _open_study(package, result, storage, study_name, target)
    if not _are_known(study.trials, distributions):
        # Optuna allows for no other distributions in a study that has trials.
        _check_own(study)
        package.delete_study(study_name=study.study_name, storage=study._storage)
        study = _open_study(package, result, storage, study.study_name, target)

    start = start_time(result)
    trials = _Trials(package.trial, view, distributions, target, start)
    known = [trial.user_attrs for trial in study.trials]
    places = {(attributes.get("cycle"), attributes.get("clone")) for attributes in known}
    for clone in view.clones:
        is_new = (clone.cycle, clone.clone) not in places
        if clone.is_settled and is_new and trials.can_have(clone):
            study.add_trial(trials.make(clone))
    return study


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


def _open_study(
    package: Any,
    result: Result,
    storage: Any,
    name: str | None,
    target: Target,
) -> optuna.Study:
    """Return the study of a run, a new one where there is none."""
    folder = result.run_dir.absolute()
    is_minimized = target == "value" and result.mode == "min"
    with quiet(package):
        study: optuna.Study = package.create_study(
            storage=storage,
            study_name=name or folder.name,
            direction="minimize" if is_minimized else "maximize",
            load_if_exists=True,
        )

    run = {"folder": str(folder), "target": target}
    known = study.user_attrs.get(_RUN)
    is_own = known == run or (known is None and not study.trials)
    if not is_own:
        raise MihaError(
            "A study must be that of the same run and target, or new. "
            f"Received: the study {study.study_name!r} of {known}, for {run}. "
            "Give another `study_name`."
        )
    study.set_user_attr(_RUN, run)
    study.set_user_attr("monitor", result.monitor)
    return study


def _check_own(study: optuna.Study) -> None:
    """Raise if a study that must be replaced has trials of somebody else's."""
    if any("cycle" not in trial.user_attrs for trial in study.trials):
        raise MihaError(
            "A study that grows with a run must hold that run's clones only. "
            f"Received: {study.study_name!r}, which has other trials. Give another `study_name`."
        )


class _Trials:
    """Makes trials of clones.

    Args:
        trial: Optuna's module of trials.
        view: The run.
        distributions: What each hyperparameter may be.
        target: What a trial's value is.
        start: When the run began, in seconds since 1970.
    """

    def __init__(
        self,
        trial: Any,
        view: RunView,
        distributions: Values,
        target: Target,
        start: float,
    ) -> None:
        self._package = trial
        self._view = view
        self._distributions = distributions
        self._target = target
        self._start = start

    def can_have(self, clone: TrainingView) -> bool:
        """Return whether a clone has what is the value of a trial, or has failed to get it."""
        return self._target == "value" or clone.fitness is not None

    def make(self, clone: TrainingView) -> Any:
        """Return the trial that a clone was."""
        genes = _known_genes(clone)
        value = getattr(clone, self._target)
        has_value = clone.failure is None and value is not None and math.isfinite(value)
        states = self._package.TrialState
        trial = self._package.create_trial(
            state=states.COMPLETE if has_value else states.FAIL,
            value=value if has_value else None,
            params=genes,
            distributions={name: self._distributions[name] for name in genes},
            intermediate_values=self._intermediate_values(clone),
            user_attrs=_attributes(clone),
        )
        # Optuna's times are the clock's here, and name no zone.
        start = datetime.datetime.fromtimestamp(self._start + clone.after)
        trial.datetime_start = start
        trial.datetime_complete = start + datetime.timedelta(seconds=clone.seconds)
        return trial

    def _intermediate_values(
        self,
        clone: TrainingView,
    ) -> dict[int, float]:
        """Return the monitored values, each by the epochs of the main line before it."""
        values = clone.curve(self._view.monitor)
        steps = enumerate(values, start=clone.start + 1)
        # Optuna takes no NaN, which an epoch that diverged has.
        return {step: value for step, value in steps if not math.isnan(value)}


def _attributes(clone: TrainingView) -> dict[str, Any]:
    values = {name: getattr(clone, name) for name in _ATTRIBUTES}
    if clone.failure:
        values["failure"] = clone.failure
    # A fitness of minus infinity is text: JSON has no such number.
    found: dict[str, Any] = plain(values)
    return found


def _known_genes(trial: TrainingView) -> dict[str, Any]:
    """Return the hyperparameters that a training has, as Optuna can hold them."""
    genes: dict[str, Any] = {}
    for name, value in trial.genes.items():
        if isinstance(value, (bool, int, float, str)):
            genes[name] = value
        elif value is not None:
            genes[name] = str(value)
    return genes


def _distributions(
    kinds: Any,
    view: RunView,
) -> dict[str, Any]:
    """Return what each hyperparameter may be: what the run had."""
    values: dict[str, list[Any]] = {}
    for trial in view.trials:
        for name, value in _known_genes(trial).items():
            values.setdefault(name, []).append(value)
    return {name: _distribution(kinds, found) for name, found in values.items()}


def _distribution(
    kinds: Any,
    values: Sequence[Any],
) -> Any:
    """Return the narrowest distribution that has some values."""
    if not all(is_number(value) for value in values):
        choices = sorted(set(values), key=str)
        return kinds.CategoricalDistribution(choices)
    low = min(values)
    high = max(values)
    is_wide = low > 0 and high / low >= WIDE
    is_whole = all(isinstance(value, int) for value in values)
    kind = kinds.IntDistribution if is_whole else kinds.FloatDistribution
    return kind(low, high, log=is_wide)


def _are_known(
    trials: Sequence[Any],
    distributions: Values,
) -> bool:
    """Return whether a study's trials have the same distributions."""
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if distributions.get(name) != distribution:
                return False
    return True
