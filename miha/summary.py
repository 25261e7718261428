"""A run in a few sentences: what it started from, what it ended with, what changed the course."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from miha.folder import RunFolder
from miha.story import Story
from miha.trials import NO_GENE, Trial, flat, is_number

if TYPE_CHECKING:
    from miha.result import Result

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
    story, description = Story.of(result), RunFolder(result.run_dir).description()
    paragraphs = [_progress(result, story, description)]
    if story.trials:
        paragraphs += [_ends(story, description), *_best(result, story), _course(story)]
    return [text for text in paragraphs if text]


def starting_genes(story: Story, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that a run began with."""
    first = dict(story.trials[0].genes) if story.trials else {}
    found = flat(description.get("genome") or {}) or first
    return {name: found[name] for name in [*first, *found] if name in found}  # In their order.


def last_genes(story: Story) -> dict[str, Any]:
    """Return the hyperparameters that the network has after its last own training."""
    return dict(next((t.genes for t in reversed(story.trials) if not t.is_clone), {}))


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


def _progress(result: Result, story: Story, description: Mapping[str, Any]) -> str:
    cycles = description["arguments"].get("schedule", {}).get("c")
    # A rest, in which the network alone trains, selects no clone.
    rested = [e["cycle"] for e in result._log.trainings if e["phase"] == "winner"]
    done = max([*result._log.winners, *rested], default=0)
    of = "" if cycles is None else f" of {cycles}"
    epochs = sum(len(trial.logs) for trial in story.trials)
    time = duration(sum(trial.seconds for trial in story.trials))
    return (
        f"The run is {result.state}: {done}{of} cycles and {len(story.trials)} trainings, "
        f"{epochs} epochs, which took {time} of training."
    )


def _ends(story: Story, description: Mapping[str, Any]) -> str:
    start, end = starting_genes(story, description), last_genes(story)
    first = next((trial for trial in story.trials if not trial.is_clone), None)
    last = next((trial for trial in reversed(story.trials) if not trial.is_clone), None)
    changed = {name for name in {*start, *end} if start.get(name) != end.get(name)}
    if first is None or last is None:
        return ""
    told = f"It started from {_genes(start, changed)} ({_value(story, first)})"
    if last is first:
        return f"{told} after its first {len(first.logs)} epochs."
    verb = "ended with" if last.phase == "final" else "now has"
    what = _genes(end, changed) if changed else "the same hyperparameters"
    return f"{told} after its first {len(first.logs)} epochs, and {verb} {what} " + (
        f"({_value(story, last)})."
    )


def _genes(genes: Mapping[str, Any], changed: set[str]) -> str:
    """Return hyperparameters in words: those of the whole network, then those that changed."""
    ranked = sorted(genes, key=lambda name: (name not in changed, "." in name))
    shown = [f"{name} {short(genes[name])}" for name in ranked[:MOST_GENES]]
    more = len(genes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _value(story: Story, trial: Trial) -> str:
    return f"{story.monitor} {trial.value:.4g}"


def _best(result: Result, story: Story) -> list[str]:
    best = story.best
    if best is None:
        return []
    return [f"The best {story.monitor} was {best.value:.4g}, after {best.name}."]


def _course(story: Story) -> str:
    """Say which mutations were selected, and what they gained."""
    won = [clone for clone in story.clones if clone.selected]
    turns = [clone for clone in won if clone.gene != NO_GENE]
    failed = sum(clone.fitness == -math.inf for clone in story.clones)
    if not story.clones:
        return ""
    ranked = sorted(turns, key=lambda clone: -(clone.gain or 0.0))[:MOST_TURNS]
    told = [f"{c.change} in cycle {c.cycle} ({_gain(c)})" for c in ranked]
    course = "What changed the course most: " + "; ".join(told) + "." if told else ""
    rest = f"In {len(won) - len(turns)} of {len(story.cycles)} cycles the unchanged clone won."
    lost = f" {failed} of {len(story.clones)} clones failed." if failed else ""
    return f"{course} {rest}{lost}".strip()


def _gain(clone: Trial) -> str:
    return "gain unknown" if not is_number(clone.gain) else f"gain {clone.gain:+.3g}"
