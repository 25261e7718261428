"""Which activations and which noise of a network may mutate: those that an archive can hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from miha.errors import ArgumentError
from miha.space import SearchSpace
from miha.trainer.genes.activations import Slot, mark_outputs
from miha.trainer.genes.noise import Noise
from miha.trainer.network import copies
from miha.trainer.network.layer_tree import Chosen, output_layers
from miha.trainer.network.survey import Survey
from miha.utils.suggest import did_you_mean
from miha.utils.warn import warn

MARK = 0.0123
"""An amount of noise that nobody gives a layer."""

Amounts = list[float]
"""Amounts of noise, one for each layer that adds some."""


def choose_slots(
    plain: Survey,
    space: SearchSpace,
    x: Any,
    named: Sequence[str] | None = None,
) -> Chosen:
    """Choose the slots that may mutate: those that the user names, or all but the outputs'.

    Args:
        plain: A copy of the user's network.
        space: The user's wishes.
        x: A few inputs.
        named: Names of slots to choose, whatever the user's wishes.

    Returns:
        Place of each slot in the network, and its name. Only the place is sure: copies of a
        subclassed network give their layers other names.

    Raises:
        ArgumentError: A layer was named that has no slot.
    """
    names = {slot.name for slot in _wanted(plain, space, named)}
    wanted = {}
    for place, slot in enumerate(plain.slots):
        if slot.name in names:
            wanted[place] = slot.name

    archived = _archived(plain, wanted, x)
    lost = [wanted[place] for place in wanted if place not in archived]
    if lost:
        warn(
            f"The activations of {lost} do not "
            f"mutate: the configuration of {type(plain.network).__name__} does not tell them one "
            "by one, so that an archive could not hold them. Let `get_config` return each to "
            "change that."
        )
    return archived


def _wanted(
    plain: Survey,
    space: SearchSpace,
    named: Sequence[str] | None,
) -> list[Slot]:
    """Return the slots that the user or a schedule asks for."""
    if named is not None:
        return [_exactly(name, plain.slots) for name in named]

    if space.layers is not None:
        found: list[Slot] = []
        for name in space.layers:
            found += _named(name, plain.slots)
        return found

    outputs = output_layers(plain.network)
    if outputs is None and plain.slots:
        warn(
            f"No activation mutates: which layer of {type(plain.network).__name__} gives its "
            "output cannot be told. Name the layers that may mutate: "
            "space=miha.SearchSpace(layers=[...])."
        )
    slots = mark_outputs(plain.slots, outputs)
    return [slot for slot in slots if slot.is_chosen_by_default]


def _named(
    name: str,
    slots: list[Slot],
) -> list[Slot]:
    found = [slot for slot in slots if slot.layer.name == name]
    if not found:
        found = [slot for slot in slots if slot.name == name]
    if not found:
        names = [slot.name for slot in slots]
        raise ArgumentError(
            "`layers` must name layers with an elementwise activation. "
            f"Received: {name!r}.{did_you_mean(name, names)} The network has {names}."
        )
    return found


def _exactly(
    name: str,
    slots: list[Slot],
) -> Slot:
    for slot in slots:
        if slot.name == name:
            return slot
    raise ArgumentError(
        "The network must have a layer with an activation for each that the schedule names. "
        f"Received: {name!r}, where the network has {[slot.name for slot in slots]}. "
        "Build the network as it was in the run that the schedule is of."
    )


def _archived(
    plain: Survey,
    wanted: Chosen,
    x: Any,
) -> Chosen:
    """Return the slots that an archive holds as they are trained."""
    if not wanted:
        return {}
    if plain.has_custom_layers:
        trial = _Trial(plain, wanted, x)
        places = [place for place in wanted if trial.is_archived(place)]
        return {place: wanted[place] for place in places}

    # Each of Keras' own layers archives its activation: one look at all of them is enough.
    with _marked(plain.slots_at(wanted)) as marks:
        twin = _configured(plain)

    archived = {}
    for place, mark in zip(wanted, marks, strict=True):
        if twin.slots[place].own_name == mark:
            archived[place] = wanted[place]
    return archived


class _Trial:
    """Tries, slot by slot, whether an archive of a network with custom layers holds it."""

    def __init__(
        self,
        plain: Survey,
        wanted: Chosen,
        x: Any,
    ) -> None:
        self._plain = plain
        self._wanted = wanted
        self._x = x
        self._outputs = copies.call(plain.network, x)

    def is_archived(self, place: int) -> bool:
        """Return whether a mark in one slot changes the outputs, and a rebuilt network's alike."""
        network = self._plain.network
        slot = self._plain.slots[place]
        expected = self._names(self._plain)
        with _marked([slot]) as marks:
            outputs = copies.call(network, self._x)
            twin = self._rebuilt()
        expected[place] = marks[0]

        # A custom layer may give one activation to several layers, or archive none.
        if self._names(twin) != expected:
            return False
        if copies.is_same(outputs, self._outputs):
            return False
        found = copies.call(twin.network, self._x)
        return copies.is_same(found, outputs)

    def _rebuilt(self) -> Survey:
        known = self._plain.custom_objects
        twin = copies.rebuild(self._plain.network, known)
        return Survey(twin, known)

    def _names(
        self,
        survey: Survey,
    ) -> dict[int, str]:
        slots = survey.slots
        return {place: slots[place].own_name for place in self._wanted}


def _configured(plain: Survey) -> Survey:
    twin = copies.reconfigure(plain.network, plain.custom_objects)
    return Survey(twin, plain.custom_objects)


@contextlib.contextmanager
def _marked(
    slots: list[Slot],
) -> Iterator[list[str]]:
    """Give slots another activation than their own for a while; yield its names."""
    marks = ["relu" if slot.own_name == "tanh" else "tanh" for slot in slots]
    for slot, mark in zip(slots, marks, strict=True):
        slot.put(keras.activations.get(mark))
    try:
        yield marks
    finally:
        for slot in slots:
            slot.put(None)


def choose_noise(plain: Survey) -> Chosen:
    """Choose the layers whose noise may mutate: those whose amount an archive holds.

    Args:
        plain: A copy of the user's network.

    Returns:
        Place of each among all that add noise, and its name.
    """
    names = {place: noise.name for place, noise in enumerate(plain.noise)}
    if not names:
        return {}

    marks = [MARK + place / 10_000 for place in names]
    archived = _archived_amounts(plain, marks)
    if archived == marks:
        return names

    # The noise in an attention layer, say, goes by the configuration of that layer.
    chosen = {}
    for place, name in names.items():
        found = _archived_amounts(plain, _with_mark(marks, place))
        if found == _with_mark(archived, place):
            chosen[place] = name
    return chosen


def _archived_amounts(plain: Survey, amounts: Amounts) -> Amounts:
    """Return the amounts that an archive holds when the network has the given ones."""
    own = [noise.amount for noise in plain.noise]
    _put(plain.noise, amounts)
    twin = _configured(plain)
    _put(plain.noise, own)
    return [noise.amount for noise in twin.noise]


def _put(
    places: list[Noise],
    amounts: Amounts,
) -> None:
    for noise, amount in zip(places, amounts, strict=True):
        noise.put(amount)


def _with_mark(amounts: Amounts, place: int) -> Amounts:
    """Return amounts with another mark at one place."""
    changed = list(amounts)
    changed[place] = 2 * MARK
    return changed
