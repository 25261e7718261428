"""A run in a few sentences: what it started from, what it ended with, what changed the course."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from miha.results.trials import NO_GENE, RunView, TrainingView, flat, is_number
from miha.storage.folder import RunFolder

if TYPE_CHECKING:
    from miha.results.result import Result

MOST_GENES = 8
"""Hyperparameters that a sentence names."""

MOST_TURNS = 5
"""Selected mutations that a summary names."""


def summarize(result: Result) -> list[str]:
    """Return a run in sentences.

    Args:
        result: A run, finished, running or interrupted.

    Returns:
        Plain text, a paragraph each; what a page shows must be escaped.
    """
    view, description = RunView.of(result), RunFolder(result.run_dir).description()
    paragraphs = [_progress(result, view, description)]
    if view.trials:
        paragraphs += [_ends(view, description), *_best(result, view), _course(view)]
    return [text for text in paragraphs if text]


def starting_genes(view: RunView, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that a run began with."""
    first = dict(view.trials[0].genes) if view.trials else {}
    found = flat(description.get("genome") or {}) or first
    return {name: found[name] for name in [*first, *found] if name in found}  # In their order.


def last_genes(view: RunView) -> dict[str, Any]:
    """Return the hyperparameters of the network that a run has now."""
    return dict(view.resulting.genes) if view.resulting is not None else {}


def short(value: Any) -> str:
    """Return a hyperparameter's value as text."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.3g} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _progress(result: Result, view: RunView, description: Mapping[str, Any]) -> str:
    cycles = description["arguments"].get("schedule", {}).get("c")
    of = "" if cycles is None else f" of {cycles}"
    epochs = sum(len(trial.logs) for trial in view.trials)
    time = duration(sum(trial.seconds for trial in view.trials))
    stopped = (
        ""
        if result.stopped is None
        else f" Why it ended before its last cycle: {_said(result.stopped)}"
    )
    return (
        f"The run is {result.state}: {view.cycles_done}{of} cycles and {len(view.trials)} "
        f"trainings, {epochs} epochs, which took {time} of training.{stopped}"
    )


def _said(reason: str) -> str:
    return reason if reason.endswith(".") else f"{reason}."


def _ends(view: RunView, description: Mapping[str, Any]) -> str:
    start, end = starting_genes(view, description), last_genes(view)
    own = [trial for trial in view.trials if not trial.is_clone]
    changed = {name for name in {*start, *end} if start.get(name) != end.get(name)}
    if not own or view.resulting is None:
        return ""
    told = f"It started from {_genes(start, changed)} ({_value(view, own[0])})"
    if len(own) == 1:
        return f"{told} after its first {len(own[0].logs)} epochs."
    verb = "ended with" if own[-1].phase == "final" else "now has"
    restored = (
        "" if view.resulting is own[-1] else f"its best network, that of {view.resulting.name}: "
    )
    what = _genes(end, changed) if changed else "the same hyperparameters"
    return (
        f"{told} after its first {len(own[0].logs)} epochs, and {verb} {restored}{what} "
        f"({_value(view, view.resulting)})."
    )


def _genes(genes: Mapping[str, Any], changed: set[str]) -> str:
    """Return hyperparameters in words: those of the whole network, then those that changed."""
    ranked = sorted(genes, key=lambda name: (name not in changed, "." in name))
    shown = [f"{name} {short(genes[name])}" for name in ranked[:MOST_GENES]]
    more = len(genes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _value(view: RunView, trial: TrainingView) -> str:
    return f"{view.monitor} {trial.value:.4g}"


def _best(result: Result, view: RunView) -> list[str]:
    best = view.best
    if best is None:
        return []
    return [f"The best {view.monitor} was {best.value:.4g}, after {best.name}."]


def _course(view: RunView) -> str:
    """Say which mutations were selected, and what they gained; and where none was."""
    won = list(view.winners.values())
    turns = [clone for clone in won if clone.gene != NO_GENE]
    failed = sum(clone.fitness == -math.inf for clone in view.clones)
    ranked = sorted(turns, key=lambda clone: -(clone.gain or 0.0))[:MOST_TURNS]
    told = [f"{c.change} in cycle {c.cycle} ({_gain(c)})" for c in ranked]
    said = []
    if told:
        said.append(f"What changed the course most: {'; '.join(told)}.")
    if view.clones:
        unchanged = len(won) - len(turns)
        said.append(f"In {unchanged} of {len(view.cycles)} cycles the control won.")
    if view.rests:
        said.append(f"{_times(len(view.rests))} the network trained alone for a whole cycle.")
    if view.returns:
        said.append(f"{_times(len(view.returns))} the run went back to its best network.")
    if failed:
        said.append(f"{failed} of {len(view.clones)} clones failed.")
    return " ".join(said)


def _times(count: int) -> str:
    return {1: "Once", 2: "Twice"}.get(count, f"{count} times")


def _gain(clone: TrainingView) -> str:
    return "gain unknown" if not is_number(clone.gain) else f"gain {clone.gain:+.3g}"
