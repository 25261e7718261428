"""Which of Keras' own callbacks a run can call; Keras is not imported to tell."""

from __future__ import annotations

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
"""Attributes that tell how often a callback acts: a number of batches, or else by epochs, in which
case its batch hooks do nothing."""


def is_keras_callback(callback: Any) -> bool:
    """Tell whether an object is a `keras.callbacks.Callback`."""
    return any(
        base.__name__ == "Callback" and base.__module__.split(".")[0] == "keras"
        for base in type(callback).__mro__
    )


def check_keras_callback(callback: Any) -> None:
    """Raise if a callback of Keras cannot do in a run what it does in `fit`; warn if in part.

    Raises:
        ArgumentError: It cannot.
    """
    for base in type(callback).__mro__:
        if base.__module__.split(".")[0] == "keras" and base.__name__ in REFUSED:
            raise ArgumentError(
                f"`callbacks` of Keras must only watch. Received: {base.__name__}: "
                f"{REFUSED[base.__name__]}."
            )
    often = {name: getattr(callback, name) for name in FREQUENCIES if hasattr(callback, name)}
    for name, value in often.items():
        if value == "batch" or isinstance(value, int):
            raise ArgumentError(
                "`callbacks` of Keras must act by epochs, since an epoch is one compiled program. "
                f"Received: {type(callback).__name__} with {name}={value!r}. Set {name}='epoch'."
            )
    hooks = [name for name in BATCH_HOOKS if _is_overridden(callback, name)]
    if hooks and not often:
        warn(
            f"The epochs of a run are compiled: {', '.join(hooks)} of "
            f"{type(callback).__name__} will not be called."
        )


def _is_overridden(callback: Any, name: str) -> bool:
    """Tell whether a hook does something: Keras marks its own, which do not."""
    hook = getattr(callback, name, None)
    return hook is not None and not getattr(hook, "_is_default", False)
