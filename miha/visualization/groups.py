"""Clones in groups: those of one kind of mutation, and those that got one value by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miha.results.story import Story
from miha.results.trials import Trial, is_number
from miha.visualization.theme import safe

MOST_VALUES = 25
"""New values that are shown, those tried most often."""

DRAWS = 1000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Group:
    """The clones that one kind of mutation made, or those that got one value.

    Attributes:
        label: What they have in common.
        kind: The kind of mutation.
        clones: They; those that failed have no gain.
    """

    label: str
    kind: str
    clones: Sequence[Trial]

    @property
    def gains(self) -> list[float]:
        """Their gains; those that failed have none."""
        return [clone.gain for clone in self.clones if clone.gain is not None]

    @property
    def middle(self) -> float:
        """The median gain; minus infinity where all failed."""
        return float(np.median(self.gains)) if self.gains else -math.inf

    def interval(self) -> tuple[float, float] | None:
        """Return a 95 % interval of the median gain; None of fewer than three.

        Source: the percentile bootstrap of B. Efron, "Bootstrap Methods: Another Look at the
        Jackknife" (1979).
        """
        if len(self.gains) < 3:
            return None
        draws = np.random.default_rng(0).choice(self.gains, (DRAWS, len(self.gains)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        return float(low), float(high)

    def describe(self) -> str:
        """Return label and counts."""
        better = sum(gain > 0 for gain in self.gains)
        won = sum(clone.selected for clone in self.clones)
        return f"{safe(self.label, 40)} ({len(self.clones)} tried, {better} better, {won} won)"


def by_kind(story: Story) -> list[Group]:
    """Group the clones by the kind of mutation that made them, the unchanged aside."""
    groups: dict[str, list[Trial]] = defaultdict(list)
    for clone in story.mutations:
        groups[clone.gene].append(clone)
    return _sorted([Group(kind, kind, clones) for kind, clones in groups.items()])


def by_value(story: Story) -> list[Group]:
    """Group the clones by what a mutation brought: a word, or a larger or smaller number."""
    before = {trial.archive: trial.genes for trial in story.trials if trial.archive}
    start = story.trials[0].genes if story.trials else {}
    groups: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for clone in story.mutations:
        parent = before.get(clone.parents[0] if clone.parents else "", start)
        for label in dict.fromkeys(_news(clone.gene, parent, clone.genes)):
            groups[clone.gene, label].append(clone)
    most = sorted(groups.items(), key=lambda item: -len(item[1]))[:MOST_VALUES]
    return _sorted([Group(label, kind, clones) for (kind, label), clones in most])


def _news(kind: str, parent: Mapping[str, Any], child: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a mutation brought; a learning rate that comes with an optimizer is not said."""
    new = {name: value for name, value in child.items() if value != parent.get(name)}
    words = {name: value for name, value in new.items() if not is_number(value)}
    for name, value in words.items():
        yield f"{_called(kind, name.split('.')[0])} → {value}"
    for name, value in new.items() if not words else ():
        old = parent.get(name)
        larger = not is_number(old) or value > old
        yield f"{_called(kind, name)} {'larger' if larger else 'smaller'}"


def _called(kind: str, name: str) -> str:
    """Return the name of a hyperparameter, and what changed it where that says more."""
    head = name.split(".")[0]
    if kind == head:
        return name
    # "activation" changes one of the "activations".
    return kind if head == f"{kind}s" else f"{kind}: {name}"


def _sorted(groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: group.middle)
