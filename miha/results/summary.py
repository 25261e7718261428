"""A run in a few sentences: what it started from, what it ended with, what changed the course."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from miha.results.trials import NO_GENE, Genes, RunView, TrainingView, flat
from miha.storage.folder import RunFolder

if TYPE_CHECKING:
    from miha.results.result import Result

MOST_GENES = 8
"""Hyperparameters that a sentence names."""

MOST_TURNS = 5
"""Selected mutations that a summary names."""


def summarize(result: Result, view: RunView | None = None) -> list[str]:
    """Return a run in sentences.

    Args:
        result: A run, finished, running or interrupted.
        view: Its view, where there is one already.

    Returns:
        Plain text, a paragraph each; what a page shows must be escaped.
    """
    view = view or RunView.of(result)
    description = RunFolder(result.run_dir).description()
    paragraphs = [_progress(result, view, description)]
    if view.trials:
        paragraphs.append(_ends(view, description))
        paragraphs.append(_course(view))
    return [text for text in paragraphs if text]


def starting_genes(
    view: RunView,
    description: Mapping[str, Any],
) -> Genes:
    """Return the hyperparameters that a run began with."""
    first: Genes = {}
    if view.trials:
        first = dict(view.trials[0].genes)
    described = flat(description.get("genome") or {}) or first
    # In the order of the trainings, as in every table.
    names = [name for name in first if name in described]
    return {name: described[name] for name in names} | described


def last_genes(view: RunView) -> Genes:
    """Return the hyperparameters of the network that a run has now."""
    if view.resulting is None:
        return {}
    return dict(view.resulting.genes)


def short(value: Any) -> str:
    """Return a hyperparameter's value as text."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.3g} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _progress(
    result: Result,
    view: RunView,
    description: Mapping[str, Any],
) -> str:
    cycles = description["arguments"].get("schedule", {}).get("c")
    of_cycles = "" if cycles is None else f" of {cycles}"
    epochs = [len(trial.record.epochs) for trial in view.trials]
    seconds = [trial.seconds for trial in view.trials]
    text = (
        f"The run is {result.state}: {view.cycles_done}{of_cycles} cycles and "
        f"{len(view.trials)} trainings, {sum(epochs)} epochs, "
        f"which took {duration(sum(seconds))} of training."
    )
    aside = sum(len(record.epochs) for record in result.log.set_aside)
    if aside:
        text += f" {aside} epochs of an earlier end are not among them."
    if result.stopped is None:
        return text
    reason = result.stopped.removesuffix(".")
    return f"{text} Why it ended before its last cycle: {reason}."


def _ends(
    view: RunView,
    description: Mapping[str, Any],
) -> str:
    """Return what the run started from, and what its network is now."""
    own = [trial for trial in view.trials if not trial.is_clone]
    last = view.resulting
    if not own or last is None:
        return ""

    start = starting_genes(view, description)
    end = last_genes(view)
    names = {*start, *end}
    changed = {name for name in names if start.get(name) != end.get(name)}
    text = (
        f"It started from {_genes(start, changed)} ({_value(view, own[0])}) "
        f"after its first {len(own[0].logs)} epochs"
    )
    if len(own) == 1:
        return f"{text}."

    verb = "ended with" if own[-1].phase == "final" else "now has"
    what = "the same hyperparameters"
    if changed:
        what = _genes(end, changed)
    if last is not own[-1]:
        what = f"its best network, that of {last.name}: {what}"
    return f"{text}, and {verb} {what} ({_value(view, last)})."


def _genes(
    genes: Mapping[str, Any],
    changed: set[str],
) -> str:
    """Return hyperparameters in words: those that changed first, those of layers last."""
    ranked = sorted(genes, key=lambda name: (name not in changed, "." in name))
    shown = [f"{name} {short(genes[name])}" for name in ranked[:MOST_GENES]]
    text = ", ".join(shown)
    left_out = len(genes) - len(shown)
    return f"{text} and {left_out} more" if left_out else text


def _value(view: RunView, trial: TrainingView) -> str:
    return f"{view.monitor} {trial.value_in_words}"


def _course(view: RunView) -> str:
    """Return which mutations won and what they gained, and where nothing did."""
    winners = list(view.winners.values())
    turns = [winner for winner in winners if winner.gene != NO_GENE]
    clones = len(view.clones)
    sentences = []
    if turns:
        # The sort is stable: of equal gains, the first one comes first.
        ranked = sorted(turns, key=lambda clone: -(clone.gain or 0.0))
        named = [_turn(clone) for clone in ranked[:MOST_TURNS]]
        sentences.append(f"What changed the course most: {'; '.join(named)}.")
    if clones:
        unchanged = len(winners) - len(turns)
        # A cycle that was interrupted has no winner yet.
        decided = "1 cycle" if len(winners) == 1 else f"{len(winners)} cycles"
        sentences.append(f"In {unchanged} of {decided} the control won.")
    if view.rests:
        rests = _times(len(view.rests))
        sentences.append(f"{rests} the network trained alone for a whole cycle.")
    if view.returns:
        returns = _times(len(view.returns))
        sentences.append(f"{returns} the run went back to its best network.")

    failed = sum(clone.fitness == -math.inf for clone in view.clones)
    if failed:
        sentences.append(f"{failed} of {clones} clones failed.")
    return " ".join(sentences)


def _times(count: int) -> str:
    return {1: "Once", 2: "Twice"}.get(count, f"{count} times")


def _turn(clone: TrainingView) -> str:
    why = "gain unknown" if clone.gain is None else f"gain {clone.gain:+.3g}"
    # A restart wins by what it promises: it may be behind the control yet.
    if clone.record.change.is_restart and clone.reason:
        why = clone.reason
    return f"{clone.change} in cycle {clone.cycle} ({why})"
