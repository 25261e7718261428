"""Which of Keras' own callbacks a run can call; Keras is not imported for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from miha.errors import ArgumentError
from miha.utils.warn import warn

BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)

REFUSED = {
    "ReduceLROnPlateau": "the learning rate is a gene, and only mutations change it. Leave the "
    "callback out; mutations=['learning_rate', ...] lets it mutate",
    "LearningRateScheduler": "the learning rate is a gene, and only mutations change it. Compile "
    "the network with a `keras.optimizers.schedules.LearningRateSchedule`, which is kept",
    "EarlyStopping": "it would end the search in a cycle, and could not restore the best weights, "
    "which are in `result.best_model` in any case. Leave it out; budget=miha.Budget(patience=3) "
    "ends a run after three cycles without a better value",
    "BackupAndRestore": "a run goes on by itself after an interruption. Leave the callback out, "
    "and run the same script again with the same `logs`",
    "SwapEMAWeights": "it changes the network between epochs. Leave it out: averaged weights are "
    "taken over at the end, as in `fit`",
    "TerminateOnNaN": "it looks at batches, and a training ends by itself at a loss that is not "
    "finite. Leave it out",
    "ProgbarLogger": "it looks at batches. Leave it out: verbose=1 shows a bar",
}
"""Classes of Keras that make no sense in a run, why, and what to do instead."""

FREQUENCIES = ("save_freq", "update_freq", "log_freq")
"""Attributes that say how often a callback acts: after a number of batches, or else by epochs. By
epochs, its batch hooks do nothing."""


def is_keras_callback(callback: Any) -> bool:
    """Return whether an object is a `keras.callbacks.Callback`."""
    return "Callback" in _keras_classes(callback)


def check_keras_callback(callback: Any) -> None:
    """Raise if a callback of Keras cannot do in a run what it does in `fit`; warn if in part.

    Raises:
        ArgumentError: It cannot.
    """
    for name in _keras_classes(callback):
        if name in REFUSED:
            raise ArgumentError(
                f"`callbacks` of Keras must only watch. Received: {name}: {REFUSED[name]}."
            )

    kind = type(callback).__name__
    frequencies = [name for name in FREQUENCIES if hasattr(callback, name)]
    for name in frequencies:
        value = getattr(callback, name)
        if value == "batch" or isinstance(value, int):
            raise ArgumentError(
                "`callbacks` of Keras must act by epochs, since an epoch is one compiled program. "
                f"Received: {kind} with {name}={value!r}. Set {name}='epoch'."
            )

    hooks = [name for name in BATCH_HOOKS if is_overridden(callback, name)]
    if hooks and not frequencies:
        warn(f"The epochs of a run are compiled: {', '.join(hooks)} of {kind} will not be called.")


def _keras_classes(callback: Any) -> Iterator[str]:
    """Yield the names of the classes of Keras that an object is of."""
    for base in type(callback).__mro__:
        package = base.__module__.split(".")[0]
        if package == "keras":
            yield base.__name__


def is_overridden(callback: Any, name: str) -> bool:
    """Return whether a hook does something."""
    hook = getattr(callback, name, None)
    # Keras marks its own hooks, which do nothing.
    return hook is not None and not getattr(hook, "_is_default", False)
