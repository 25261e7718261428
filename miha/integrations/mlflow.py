"""A run in MLflow: one run of MLflow's, and one nested in it for each clone.

``pip install 'miha[mlflow]'`` installs what it needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miha.callbacks import Callback
from miha.errors import MihaError
from miha.records import TrainingRecord
from miha.results.reader import start_time, load_run
from miha.results.trials import RunView, TrainingView, flat, is_number
from miha.storage.folder import RunFolder
from miha.utils.optional import need

if TYPE_CHECKING:
    from miha.results.result import Result

BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""How many of each MLflow takes at once."""

LONGEST = 500
"""Characters of a parameter's value."""

_RUN, _TRIAL = "miha.run", "miha.trial"

Metric = tuple[str, float, int, float]
"""Name, value, step, and when: seconds since 1970."""


class MLflow(Callback):
    """Logs a run to MLflow while it goes on: after each cycle, and at the end with its archive.

    A run that goes on after an interruption goes on in MLflow too.

    Args:
        tracking_uri: Where to, e.g. ``"sqlite:///mlflow.db"``; None: as MLflow is set up, which
            is the file ``mlflow.db`` of the folder at hand unless you have said otherwise.
        experiment: Name of the experiment; it is made where it is not there.
        artifacts: Whether to log the last and the best network's archives at the end.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "miha",
        artifacts: bool = True,
    ) -> None:
        need("mlflow", "mlflow")
        self._uri, self._experiment = tracking_uri, experiment
        self._artifacts = artifacts
        self._run_dir = ""

    def on_run_begin(self, schedule: Any, run_dir: str) -> None:
        """Remember where the run is; raise before it trains where MLflow cannot be reached."""
        self._run_dir = run_dir
        _Log(self._uri, self._experiment)

    def on_cycle_end(
        self, cycle: int, clones: Sequence[TrainingRecord], winner: TrainingRecord | None
    ) -> None:
        """Log what is new."""
        to_mlflow(load_run(self._run_dir), self._uri, self._experiment, artifacts=False)

    def on_run_end(self, result: Result) -> None:
        """Log the rest, and the archives."""
        to_mlflow(result, self._uri, self._experiment, self._artifacts)


def to_mlflow(
    result: Result,
    tracking_uri: str | None = None,
    experiment: str = "miha",
    artifacts: bool = True,
) -> str:
    """Log a run to MLflow; called again, as the run grows, it adds the cycles that are new.

    Args:
        result: A run, finished or not.
        tracking_uri: Where to, e.g. ``"sqlite:///mlflow.db"``; None: as MLflow is set up.
        experiment: Name of the experiment; it is made where it is not there.
        artifacts: Whether to log the last and the best network's archives of a finished run.

    Returns:
        The id of MLflow's run.

    Raises:
        MihaError: The run has no training yet, or MLflow does not take `tracking_uri`.
        MissingPackageError: MLflow is not installed.
    """
    view = RunView.of(result)
    if not view.trials:
        raise MihaError(
            "A run must have finished its first training to be logged. "
            f"Received: {str(result.run_dir)!r}, which has not. Wait for it."
        )
    log = _Log(tracking_uri, experiment)
    description = RunFolder(result.run_dir).description()
    start = start_time(result)
    parent = log.find_or_make(result, description, start)
    there = log.there(parent)
    for number, trial in enumerate(view.trials):
        if trial.is_settled and (trial.is_clone or trial.logs):
            _log_trial(log, trial, number, parent, there, start)
    if result.state == "finished":
        last = view.trials[-1]
        log.finish(parent, result if artifacts else None, start + last.after + last.seconds)
    return parent


def _log_trial(
    log: _Log, trial: TrainingView, number: int, parent: str, there: Mapping[str, str], start: float
) -> None:
    """Log a clone as a nested run, and what is on the main line in the run itself."""
    begin = start + trial.after
    if trial.is_on_main_line and f"main-{number}" not in there:
        log.write(parent, metrics=_metrics(trial, begin), tags={f"{_TRIAL}.main-{number}": "1"})
    if trial.is_clone and f"clone-{number}" not in there:
        values = {"fitness": trial.fitness, "gain": trial.gain}
        finite = {n: v for n, v in values.items() if v is not None and math.isfinite(v)}
        tags = {"miha.gene": trial.gene, "miha.change": trial.change}
        tags["miha.selected"] = str(trial.selected).lower()
        child, end = log.make(parent, trial.name, tags, begin), begin + trial.seconds
        ends = [(name, value, trial.end, end) for name, value in finite.items()]
        log.write(child, metrics=[*_metrics(trial, begin), *ends], params=trial.genes)
        log.end(child, end, failed=trial.failure is not None)
        log.write(parent, tags={f"{_TRIAL}.clone-{number}": child})


def _metrics(trial: TrainingView, begin: float) -> list[Metric]:
    """Return what was logged after each epoch of a training that began at some time."""
    found: list[Metric] = []
    for epoch, log in enumerate(trial.logs, start=trial.start + 1):
        begin += log.get("seconds", 0.0)
        values = {n: float(v) for n, v in log.items() if is_number(v) and math.isfinite(v)}
        found += [(name, value, epoch, begin) for name, value in values.items()]
    return found


class _Log:
    """One experiment of MLflow.

    Args:
        tracking_uri: Where it is kept.
        experiment: Its name.
    """

    def __init__(self, tracking_uri: str | None, experiment: str) -> None:
        self._entities = need("mlflow.entities", "mlflow")
        package = need("mlflow", "mlflow")
        try:
            self._client = package.MlflowClient(tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
        except package.exceptions.MlflowException as error:
            raise MihaError(
                "`tracking_uri` must be an address that MLflow takes, which a folder is no longer. "
                f"Received: {tracking_uri!r}: {str(error)[:LONGEST]} Use a file such as "
                "'sqlite:///mlflow.db', or the address of a server of MLflow's."
            ) from error
        self._experiment = found.experiment_id if found else None
        if self._experiment is None:
            self._experiment = self._client.create_experiment(experiment)

    def find_or_make(self, result: Result, description: Mapping[str, Any], start: float) -> str:
        """Return the id of the run's run, which is made where it is not there."""
        # The same run of the same folder; one that has replaced it began at another time.
        key = f"{result.run_dir.absolute()} {description.get('started')}"
        quoted = key.replace("'", "\\'")
        found = self._client.search_runs([self._experiment], f"tags.`{_RUN}` = '{quoted}'")
        if found:
            return str(found[0].info.run_id)
        name = result.run_dir.absolute().name
        tags = {_RUN: key, "mlflow.runName": name, "miha.folder": str(result.run_dir.absolute())}
        made = self._client.create_run(self._experiment, _time(start), tags).info.run_id
        told = {**flat(description["arguments"]), "seed": description.get("seed")}
        genes = {f"start.{n}": v for n, v in flat(description.get("genome", {})).items()}
        self.write(made, params={**told, **genes})
        return str(made)

    def there(self, parent: str) -> dict[str, str]:
        """Return which trainings are logged already."""
        tags = self._client.get_run(parent).data.tags
        return {n.removeprefix(f"{_TRIAL}."): v for n, v in tags.items() if n.startswith(_TRIAL)}

    def make(self, parent: str, name: str, tags: Mapping[str, str], start: float) -> str:
        """Return the id of a new nested run."""
        told = {**tags, "mlflow.parentRunId": parent, "mlflow.runName": name}
        return str(self._client.create_run(self._experiment, _time(start), told).info.run_id)

    def write(
        self,
        run: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write values into a run, as many at once as MLflow takes."""
        kinds = self._entities
        values: dict[str, list[Any]] = {
            "metrics": [kinds.Metric(_name(n), v, _time(t), step) for n, v, step, t in metrics],
            "params": [kinds.Param(_name(n), _text(v)) for n, v in (params or {}).items()],
            "tags": [kinds.RunTag(name, value) for name, value in (tags or {}).items()],
        }
        while any(values.values()):
            batch = {kind: items[: BATCH[kind]] for kind, items in values.items()}
            values = {kind: items[BATCH[kind] :] for kind, items in values.items()}
            self._client.log_batch(run, **batch)

    def end(self, run: str, time: float, failed: bool = False) -> None:
        """Say that a run has ended."""
        self._client.set_terminated(run, "FAILED" if failed else "FINISHED", _time(time))

    def finish(self, run: str, result: Result | None, time: float) -> None:
        """Log the archives that are there, and say that the run has ended."""
        archives = set(result.archives) if result is not None else set()
        for archive in sorted(archives):
            path = result.run_dir / archive if result is not None else None
            if path is not None and path.exists():
                self._client.log_artifact(run, str(path), "networks")
        self.end(run, time)


def _time(seconds: float) -> int:
    """Return a time as MLflow has it."""
    return int(1000 * seconds)


def _name(name: str) -> str:
    """Return a name as MLflow takes it."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)


def _text(value: Any) -> str:
    return str(value)[:LONGEST]
