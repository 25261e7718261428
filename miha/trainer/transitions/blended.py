"""Activations that are blended from old ones to new ones over an epoch.

Where an exchanged activation cannot be folded into the weights around it (see `folded`), the
network changes from one function to the other in stages instead of at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from miha.trainer.genes.activations import ActivationSwitch
from miha.trainer.genes.switches import Switch

STAGES = 8
"""Shares of the new activation that an epoch goes through: an eighth, two eighths, to all."""


class Blend:
    """How far the activations of a live network have gone from old ones to new ones.

    Old activations and the stage are read at run time: one program serves all exchanges.

    Args:
        switches: Those that may blend, by slot.
    """

    def __init__(
        self,
        switches: Mapping[str, ActivationSwitch],
    ) -> None:
        self._switches = switches
        self._old: dict[str, Switch] = {}
        self._stage = Switch(range(STAGES))
        self._is_begun = False
        self._done = 0
        for name, switch in switches.items():
            self._old[name] = Switch(switch.options)
            switch.share = self._share

    @property
    def is_on(self) -> bool:
        """Whether a step that is traced now mixes activations."""
        switches = self._switches.values()
        return any(switch.past is not None for switch in switches)

    @property
    def choices(self) -> list[Switch]:
        """What a mixing step reads from the device."""
        if not self._switches:
            return []
        return [self._stage, *self._old.values()]

    def begin(
        self,
        old: Mapping[str, str],
    ) -> None:
        """Let the next epoch begin with other activations than the chosen ones.

        Args:
            old: Those of the slots that have changed; other than the blend's own are left out.
        """
        self._is_begun = bool(self.changed(old))
        self._done = 0
        for name, past in self._old.items():
            chosen = self._switches[name].chosen
            past.choose(old.get(name, chosen))

    def changed(
        self,
        old: Mapping[str, str],
    ) -> list[str]:
        """Return which of some slots may blend."""
        return [name for name in old if name in self._switches]

    def end(self) -> None:
        """Let all activations be the chosen ones."""
        self._is_begun = False
        self.pause()

    def parts(
        self,
        order: np.ndarray,
        batch_size: int,
        steps: int,
    ) -> Iterator[np.ndarray]:
        """Split an order of samples where the stage changes, which is set before each part.

        Args:
            order: Places of the samples.
            batch_size: Samples a step.
            steps: How many an epoch has.
        """
        if not self._is_begun:
            yield order
            return

        batches = -(-len(order) // batch_size)
        numbers = self._done + np.arange(batches)
        stages = numbers * STAGES // steps
        # An epoch may have more steps than expected: the last stage takes them.
        stages = np.minimum(stages, STAGES - 1)
        borders = np.flatnonzero(np.diff(stages)) + 1
        starts = [0, *borders]
        parts = np.split(order, borders * batch_size)
        for start, part in zip(starts, parts, strict=True):
            self._go_to(int(stages[start]))
            yield part
        self._done += batches

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
