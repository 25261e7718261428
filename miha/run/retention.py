"""Which archives a run still needs: what it goes on from, returns to, or may end with."""

from __future__ import annotations

from miha.records import TrainingRecord
from miha.search.best import best_network, may_become_best
from miha.search.plan import Plan
from miha.storage.folder import START
from miha.storage.logbook import Logbook

FEW = 8
"""Archives beside those of a population that a run needs at once, as a rule."""


def latest_networks(log: Logbook) -> list[TrainingRecord]:
    """Return the network's last own training, and the clones after it."""
    found: list[TrainingRecord] = []
    for record in log.trainings:
        # The network's own training replaces all that came before it.
        if not record.is_clone:
            found.clear()
        found.append(record)
    return found


def networks_to_return_to(log: Logbook, plan: Plan) -> list[TrainingRecord]:
    """Return the networks that a run may go back to, or end with, as it stands."""
    best = []
    if plan.search.restore_best:
        best.append(best_network(log.trainings, plan.judge_of_best))
    if plan.budget.target is not None:
        best.append(log.best(plan.mode))
    if plan.search.backtrack is not None:
        best.append(log.best_of_main_line(plan.mode))
    return [record for record in best if record is not None]


def archives_to_keep(log: Logbook, plan: Plan) -> set[str | None]:
    """Return the archives that a run needs, whatever happens to it from now on.

    A run that goes on needs its latest networks and those to return to. Of networks to return to,
    the best in the monitored value stays the best until another one is better. The best in the
    metric depends on a noise that changes: each network that may become it is kept.

    Args:
        log: What has happened, up to a training of the network itself.
        plan: What the run does.
    """
    needed = [
        *latest_networks(log),
        *networks_to_return_to(log, plan),
        # `result.best_model` is one of them, also where a run does not end with it.
        *may_become_best(log.trainings, plan.judge_of_best),
    ]
    archives = {START, *(record.archive for record in needed)}
    failed = log.failed_since
    if failed is not None:
        # A run that gives up tries again from before the first of these cycles.
        archives |= archives_to_keep(log.before(failed), plan)
    return archives
