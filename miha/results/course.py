"""How the monitored value of a run's network went: where it was best, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miha.records import Epoch, Judge, Mode, TrainingRecord, as_loss, gain, is_better
from miha.results.trials import as_number
from miha.search.ancestry import main_line
from miha.search.best import NOISES
from miha.search.selection import WINDOW, noise

if TYPE_CHECKING:
    from miha.results.result import Result

SHARE = 0.02
"""A value is clearly worse by more than this share, and by more than twice its noise."""


AT_THE_END = "at the end"
"""When the last epoch was, as a rule."""


@dataclass(frozen=True)
class Course:
    """How the monitored value of the main line went: where it was best, and what became of it.

    Attributes:
        monitor: Its name.
        training: The name of the same value on training data.
        mode: Whether it is better small or large.
        judge: What the best network is the best in.
        best_age: Epochs of the network at its best.
        best: Its epoch then.
        now: Its last epoch.
        is_worse: Whether the value is clearly worse now than it was at its best.
        tolerance: By how much the judged value may differ without a meaning, 0 or more.
        still_learns: Whether its last epoch was the best, and clearly better than that before
            the last training.
        is_given_up: Whether the run ends with an earlier network.
        end: When its last epoch was, in words.
    """

    monitor: str
    training: str
    mode: Mode
    judge: Judge
    best_age: int
    best: Epoch
    now: Epoch
    is_worse: bool
    tolerance: float
    still_learns: bool
    is_given_up: bool
    end: str

    @classmethod
    def of(cls, result: Result) -> Course | None:
        """Return the course of a run's main line; None without validation data."""
        last = result.log.last
        monitor = result.monitor
        if last is None or not monitor.startswith("val_"):
            return None
        line = main_line(result.log.trainings, last)
        end = AT_THE_END
        if last.has_seen_validation:
            end = "before the validation data joined"
            # What it learned of the validation data is no progress on new data.
            line.pop()
            last = line[-1] if line else last
        epochs = _aged_epochs(line)
        values = [epoch.value(monitor) for _, epoch in epochs]
        finite = [number for number, value in enumerate(values) if math.isfinite(value)]
        if not finite or finite[-1] != len(values) - 1:
            return None
        # Of equals the last one: what has stayed as good has not become worse.
        place = min(reversed(finite), key=lambda number: as_loss(values[number], result.mode))
        age, best = epochs[place]
        least = _clear_difference(values, place)
        judged = [epoch.value(result.judge.name) for _, epoch in epochs]
        is_at_its_best = place == len(values) - 1
        # A run of one training has nothing before it.
        has_past = len(last.epochs) < len(values)
        before = values[-1 - len(last.epochs)] if has_past else math.nan
        lately = gain(values[-1], before, result.mode)
        return cls(
            monitor=monitor,
            training=monitor.removeprefix("val_"),
            mode=result.mode,
            judge=result.judge,
            best_age=age,
            best=best,
            now=epochs[-1][1],
            is_worse=gain(values[place], values[-1], result.mode) > least,
            tolerance=NOISES * noise(judged),
            still_learns=is_at_its_best and lately > least,
            is_given_up=last.restored is not None,
            end=end,
        )

    @property
    def overfits(self) -> bool:
        """Whether the value became worse on validation data while it got better in training."""
        return self.is_worse and self._has_learned

    @property
    def _has_learned(self) -> bool:
        then = as_number(self.best.logs.get(self.training))
        now = as_number(self.now.logs.get(self.training))
        return is_better(now, then, self.mode)

    def in_words(self) -> str:
        """Return whether the network overfitted, and since when."""
        best = self.best.value(self.monitor)
        now = self.now.value(self.monitor)
        if self.best is self.now:
            return f"No overfitting: {self.monitor} was the best {self.end}, {now:.4g}."
        if not self.is_worse:
            return (
                f"No overfitting: {self.monitor} was {best:.4g} at its best, after epoch "
                f"{self.best_age}, and is {now:.4g} {self.end}."
            )
        worse = "risen" if self.mode == "min" else "fallen"
        end = "now" if self.end == AT_THE_END else self.end
        if self.is_given_up:
            end = f"{self.end}, which was given up"
        text = (
            f"{self.monitor} has {worse} since epoch {self.best_age}: "
            f"{best:.4g} then, {now:.4g} {end}"
        )
        if not self.overfits:
            return f"{text}; so has {self.training} in training, which is no overfitting."
        return f"The network overfitted: {text}.{self._judged()}"

    def _judged(self) -> str:
        """Return that the metric did not suffer, where the best network is judged by one."""
        then = as_number(self.best.logs.get(self.judge.name))
        now = as_number(self.now.logs.get(self.judge.name))
        if self.judge.name == self.monitor or not math.isfinite(then + now):
            return ""
        if gain(then, now, self.judge.mode) > self.tolerance:
            return f" {self.judge.name} suffered, too: {then:.4g} then, {now:.4g} {self.end}."
        verb = "did not suffer"
        if is_better(then, now, self.judge.mode):
            verb += " more than its noise"
        return f" {self.judge.name} {verb}: {then:.4g} then, {now:.4g} {self.end}."


def _clear_difference(values: Sequence[float], place: int) -> float:
    """Return by how much a value must differ from the best one to be clearly another.

    At the end the learning rate falls, and the noise with it. The best epoch may be a lucky one
    of those before.

    Args:
        values: Of all epochs.
        place: That of the best one.
    """
    first = max(0, place - WINDOW // 2)
    around = noise(values[first : first + WINDOW])
    lately = noise(values[-WINDOW:])
    return max(NOISES * around, NOISES * lately, SHARE * abs(values[place]))


def _aged_epochs(line: Sequence[TrainingRecord]) -> list[tuple[int, Epoch]]:
    """Return the epochs of a main line, each with the number that the history gives it."""
    found: list[tuple[int, Epoch]] = []
    for record in line:
        found += enumerate(record.epochs, record.first_epoch)
    return found
