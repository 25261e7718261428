"""Activations that are blended from old ones to new ones over an epoch.

Where an exchanged activation cannot be folded into the weights around it (see `folding`), the
network changes from one function to the other in stages instead of at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from miha.trainer.genes.activations import Switch
from miha.trainer.genes.switches import Choice

STAGES = 8
"""Shares of the new activation that an epoch goes through: an eighth, two eighths, to all."""


class Blend:
    """How far the activations of a live network have gone from old ones to new ones.

    Old activations and the stage are read at run time: one program serves all exchanges.

    Args:
        switches: Those that may blend, by slot.
    """

    def __init__(self, switches: Mapping[str, Switch]) -> None:
        self._switches = switches
        self._old = {name: Choice(switch.options) for name, switch in switches.items()}
        self._stage = Choice(range(STAGES))
        self._is_begun = False
        self._done = 0
        for switch in switches.values():
            switch.share = self._share

    @property
    def is_on(self) -> bool:
        """Whether a step that is traced now mixes activations."""
        return any(switch.past is not None for switch in self._switches.values())

    @property
    def choices(self) -> list[Choice]:
        """What a mixing step reads from the device."""
        return [self._stage, *self._old.values()] if self._switches else []

    def begin(self, old: Mapping[str, str]) -> None:
        """Let the next epoch begin with other activations than the chosen ones.

        Args:
            old: Those of the slots that have changed; other than the blend's own are left out.
        """
        self._is_begun, self._done = bool(self.changed(old)), 0
        for name, choice in self._old.items():
            choice.choose(old.get(name, self._switches[name].chosen))

    def changed(self, old: Mapping[str, str]) -> list[str]:
        """Return which of some slots may blend."""
        return [name for name in old if name in self._switches]

    def end(self) -> None:
        """Let all activations be the chosen ones."""
        self._is_begun = False
        self.pause()

    def parts(self, order: np.ndarray, batch_size: int, steps: int) -> Iterator[np.ndarray]:
        """Split an order of samples where the stage changes, which is set before each part.

        Args:
            order: Places of the samples.
            batch_size: Samples a step.
            steps: How many an epoch has.
        """
        if not self._is_begun:
            yield order
            return
        numbers = self._done + np.arange(-(-len(order) // batch_size))
        stages = np.minimum(numbers * STAGES // steps, STAGES - 1)
        borders = np.flatnonzero(np.diff(stages)) + 1
        for first, part in zip((0, *borders), np.split(order, borders * batch_size), strict=True):
            self._go_to(int(stages[first]))
            yield part
        self._done += len(numbers)

    def pause(self) -> None:
        """Let steps that are traced or taken now mix nothing."""
        self._mix(False)

    def _go_to(self, stage: int) -> None:
        self._stage.choose(stage)
        # In the last stage nothing of the old ones is left.
        self._mix(stage < STAGES - 1)

    def _mix(self, is_on: bool) -> None:
        for name, switch in self._switches.items():
            switch.past = self._old[name] if is_on else None

    def _share(self, dtype: Any) -> Any:
        """Return the share of the new activations."""
        stage = keras.ops.convert_to_tensor(self._stage.index)
        return keras.ops.cast((stage + 1) / STAGES, dtype)
