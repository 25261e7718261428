"""What a figure says of a training when it is pointed at."""

from __future__ import annotations

from miha.results.story import Story
from miha.results.trials import Trial
from miha.visualization.theme import number, safe, signed


def describe(story: Story, trial: Trial) -> str:
    """Return a training in words, one thing a line."""
    lines = [
        f"<b>{safe(trial.name)}</b>{_mark(trial)}",
        safe(trial.change) if trial.is_clone else f"{len(trial.logs)} epochs",
        f"{safe(story.monitor)} {number(trial.value)}",
    ]
    if trial.fitness is not None:
        lines.append(f"fitness {number(trial.fitness)}, gain {signed(trial.gain)}")
    if trial.failure:
        lines.append(safe(trial.failure, 100))
    return "<br>".join(lines)


def _mark(trial: Trial) -> str:
    late = " (late: it did not compete)" if trial.late else ""
    return " (selected)" if trial.selected else late
