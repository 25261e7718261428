"""Which activation slots of a network may mutate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from miha.errors import ArgumentError
from miha.space import SearchSpace
from miha.trainer.genes import activations as surgery
from miha.trainer.genes.activations import Slot
from miha.trainer.network import copies
from miha.trainer.network import custom_layers as custom
from miha.utils.warn import warn


def choose_slots(
    plain: keras.Model,
    space: SearchSpace,
    known: dict[str, Any],
    x: Any,
    named: Sequence[str] | None = None,
) -> dict[int, str]:
    """Choose the slots that may mutate: those that the user names, or all but the outputs'.

    Args:
        plain: A copy of the user's network.
        space: The user's wishes.
        known: The network's custom objects.
        x: A few inputs.
        named: Names of slots to choose, whatever the user's wishes.

    Returns:
        Place of each slot in the network, and its name. Copies of a subclassed network name
        their layers anew, so that only the place is sure.

    Raises:
        ArgumentError: A layer was named that has no slot.
    """
    slots = surgery.find_slots(plain)
    if named is not None:
        chosen = [_exactly(name, slots) for name in named]
    elif space.layers is None:
        _warn_of_unknown_outputs(plain, slots)
        chosen = [slot for slot in slots if slot.is_chosen_by_default]
    else:
        chosen = [slot for name in space.layers for slot in _named(name, slots)]
    wanted = {i: slot.name for i, slot in enumerate(slots) if slot in chosen}
    archived = _archived(plain, wanted, known, x)
    kept = {i: name for i, name in wanted.items() if i in archived}
    if kept != wanted:
        _warn(
            f"The activations of {[name for i, name in wanted.items() if i not in kept]} do not "
            f"mutate: the configuration of {type(plain).__name__} does not tell them one by one, "
            "so that an archive could not hold them. Let `get_config` return each to change that."
        )
    return kept


def slots_in(network: keras.Model, chosen: dict[int, str]) -> list[Slot]:
    """Return the chosen slots of a copy of the network."""
    slots = surgery.find_slots(network, with_outputs=False)
    return [replace(slots[i], name=name) for i, name in chosen.items()]


def check_activations(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that Keras itself has for elementwise activations.

    Raises:
        ArgumentError: A name is unknown, or its function mixes elements.
    """
    functions = {name: _activation(name) for name in names}
    for name, function in functions.items():
        if function is None or not surgery.is_elementwise(function):
            raise ArgumentError(
                "An activation must be the name of an elementwise function of "
                f"`keras.activations`. Received: {name!r}. Examples: 'relu', 'tanh', 'gelu'."
            )
    return tuple(dict.fromkeys(function.__name__ for function in functions.values()))


def _activation(name: str) -> Any:
    try:
        return keras.activations.get(name)
    except ValueError:
        return None


def _named(name: str, slots: list[Slot]) -> list[Slot]:
    found = [slot for slot in slots if slot.layer.name == name]
    found = found or [slot for slot in slots if slot.name == name]
    if not found:
        raise ArgumentError(
            "`layers` must name layers with an elementwise activation. "
            f"Received: {name!r}. The network has {[slot.name for slot in slots]}."
        )
    return found


def _exactly(name: str, slots: list[Slot]) -> Slot:
    for slot in slots:
        if slot.name == name:
            return slot
    raise ArgumentError(
        "The network must have a layer with an activation for each that the schedule names. "
        f"Received: {name!r}, where the network has {[slot.name for slot in slots]}. "
        "Build the network as it was in the run that the schedule is of."
    )


def _archived(
    plain: keras.Model, wanted: dict[int, str], known: dict[str, Any], x: Any
) -> set[int]:
    """Return the slots that an archive holds as they are trained."""
    if not custom.has_custom_layers(plain):
        # Keras' own layers each tell their own activation: one look at all of them will do.
        return _told(plain, wanted, known)
    return {
        place for place, name in wanted.items() if _is_alone(plain, {place: name}, wanted, known, x)
    }


def _told(plain: keras.Model, wanted: dict[int, str], known: dict[str, Any]) -> set[int]:
    """Mark all slots and return those whose mark is found in a network rebuilt from it."""
    with _Marked(slots_in(plain, wanted)) as marks:
        found = slots_in(copies.rebuild(plain, known), wanted)
    pairs = zip(wanted, found, marks, strict=True)
    return {place for place, slot, mark in pairs if slot.own_name == mark}


def _is_alone(
    plain: keras.Model, one: dict[int, str], wanted: dict[int, str], known: dict[str, Any], x: Any
) -> bool:
    """Tell whether marking one slot changes what is computed, and a rebuilt network alike."""
    before = copies.call(plain, x)
    expected = {name: slot.own_name for name, slot in _by_name(plain, wanted).items()}
    with _Marked(slots_in(plain, one)) as marks:
        marked = copies.call(plain, x)
        twin = copies.rebuild(plain, known)
    found = {name: slot.own_name for name, slot in _by_name(twin, wanted).items()}
    expected |= dict(zip(one.values(), marks, strict=True))
    changes = not copies.is_same(marked, before)
    return found == expected and changes and copies.is_same(copies.call(twin, x), marked)


def _by_name(network: keras.Model, wanted: dict[int, str]) -> dict[str, Slot]:
    return {slot.name: slot for slot in slots_in(network, wanted)}


class _Marked:
    """Within it, slots hold an activation other than their own.

    Args:
        slots: The slots to mark.
    """

    def __init__(self, slots: list[Slot]) -> None:
        self._slots = slots

    def __enter__(self) -> list[str]:
        marks = ["tanh" if slot.own_name != "tanh" else "relu" for slot in self._slots]
        for slot, mark in zip(self._slots, marks, strict=True):
            slot.put(keras.activations.get(mark))
        return marks

    def __exit__(self, *error: object) -> None:
        for slot in self._slots:
            slot.put(None)


def _warn_of_unknown_outputs(plain: keras.Model, slots: list[Slot]) -> None:
    if slots and surgery.output_layers(plain) is None:
        _warn(
            f"No activation mutates: which layer of {type(plain).__name__} gives its output cannot "
            "be told. Name the layers that may mutate: space=miha.SearchSpace(layers=[...])."
        )


def _warn(text: str) -> None:
    warn(text)
