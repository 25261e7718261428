"""From the user's network, data and search space to a trainer: everything is checked here."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import keras
import numpy as np

from miha.data import arrays as data
from miha.data.feed import to_tensor
from miha.data.stream import Stream
from miha.errors import ArgumentError, first_line
from miha.records import Mode
from miha.space import OF_THE_LOSS, SearchSpace, Space, batch_size_bounds, values_of
from miha.trainer.base import KerasTrainer, Settings
from miha.trainer.exporter import Exporter
from miha.trainer.genes import optimizers, slots
from miha.trainer.genes.activations import Slot
from miha.trainer.genes.losses import LossSlot, find_loss, losses_for, smoothings_for
from miha.trainer.genes.noise import Noise, choose_noise, noise_in
from miha.trainer.network import copies
from miha.trainer.network.admission import check_network
from miha.trainer.network.custom_layers import custom_objects
from miha.trainer.network.fingerprint import fingerprint
from miha.trainer.network.replicas import check_divisible, replicas, strategy_of
from miha.trainer.protocol import Trainer
from miha.trainer.transitions.fresh import FreshValues

TRAINERS = {
    "tensorflow": ("tensorflow.trainer", "TensorFlowTrainer"),
    "jax": ("jax.trainer", "JaxTrainer"),
    "torch": ("torch", "TorchTrainer"),
    "mirrored": ("tensorflow.mirrored", "MirroredTrainer"),
}
"""Module and class of the trainer for each backend of Keras; imported when it is needed.

And of networks that were built in a `tf.distribute.MirroredStrategy`.
"""


def make_trainer(
    model: keras.Model,
    training: data.Data | Stream,
    validation: data.Data | Stream | None,
    batch_size: int,
    validation_batch_size: int,
    space: SearchSpace,
    shuffle: bool,
    evaluate_training: bool,
    seed: int,
    genes: Collection[str] = (),
    slots_named: Sequence[str] | None = None,
    with_mirror: bool = False,
    batch_multiple: int | None = None,
) -> Trainer:
    """Copy the user's network and make a trainer for the copy.

    Args:
        model: The user's network; it is not touched.
        training: Training data.
        validation: Validation data, or None.
        batch_size: The batch size to begin with.
        validation_batch_size: Batch size of evaluations.
        space: What the user lets each gene become.
        shuffle: Whether samples are shuffled.
        evaluate_training: Whether to evaluate on the training data where ``validation`` is None.
        seed: Decides the weights of a network that is not built yet.
        genes: Those of `OF_THE_LOSS` that shall be able to mutate; the others always are.
        slots_named: Names of the activation slots that may change, instead of the user's choice
            of layers.
        with_mirror: Whether callbacks of Keras will want a network to look at.
        batch_multiple: What every batch size is a multiple of; by default the number of devices
            that the user has batches shared out to.

    Returns:
        A trainer for the backend that Keras runs on.

    Raises:
        ArgumentError: The network, or the search space for it, breaks a rule.
    """
    kind, multiple = _trainer_class(model), batch_multiple or replicas(model)
    check_divisible("batch_size", batch_size, multiple)
    check_divisible("validation_batch_size", validation_batch_size, multiple)
    check_network(model, kind.foreign_state)
    optimizers.check_names(space.optimizers)
    space = replace(space, activations=slots.check_activations(space.activations))
    made = _copies(model, kind, _batch(training), space, slots_named, seed)
    loss = find_loss(made.live) if set(genes) & {*OF_THE_LOSS} else None
    evaluation, prefix = _evaluation(training, validation, evaluate_training)
    evaluated = made.metrics if evaluation is not None else {}
    mutable, noise = slots.slots_in(made.live, made.slots), noise_in(made.live, made.noise)
    own = mutable, batch_size, training.samples, multiple
    resolved = _resolve(_for_batches(space, training), made.live, *own)
    exporter = _exporter(made.plain, made, loss)
    fresh = FreshValues(made.plain, made.batch[0], made.known)
    mirror = _exporter(_seen(made, kind), made, loss) if with_mirror else None
    with _scope(model):
        return kind(
            network=made.live,
            slots=mutable,
            noise=noise,
            loss=loss,
            space=_with_amounts(resolved, space, noise, loss, genes),
            data=training,
            evaluation=evaluation,
            settings=Settings(batch_size, validation_batch_size, prefix, shuffle),
            metrics=made.metrics | {prefix + name: mode for name, mode in evaluated.items()},
            exporter=exporter,
            fresh=fresh,
            fingerprint=fingerprint(made.built, training, validation),
            mirror=mirror,
        )


@dataclass(frozen=True)
class _Copies:
    """The user's network, and copies of it.

    Attributes:
        built: The user's, or a copy with weights where it had none yet.
        live: The copy that is trained.
        metrics: What that logs, with the direction that is better.
        plain: The copy that is saved.
        known: Objects of the user's own that are needed to load a copy.
        batch: A few samples.
        slots: Places of the activations that may mutate, with their names.
        noise: The same of the layers whose noise may mutate.
    """

    built: keras.Model
    live: keras.Model
    metrics: dict[str, Mode | None]
    plain: keras.Model
    known: dict[str, Any]
    batch: tuple[Any, ...]
    slots: dict[int, str]
    noise: dict[int, str]


def _copies(
    model: keras.Model,
    kind: type[KerasTrainer],
    batch: tuple[Any, ...],
    space: SearchSpace,
    slots_named: Sequence[str] | None,
    seed: int,
) -> _Copies:
    known = custom_objects(model)
    built = model if model.built else copies.build_from(model, batch[0], seed)
    with _scope(model):
        live, metrics = _live(built, batch, kind, known)
    with keras.device("cpu"):
        plain = copies.copy(built, known)
        chosen = slots.choose_slots(plain, space, known, batch[0], slots_named)
        noisy = choose_noise(plain, known)
    return _Copies(built, live, metrics, plain, known, batch, chosen, noisy)


def _exporter(network: keras.Model, made: _Copies, loss: LossSlot | None) -> Exporter:
    return Exporter(network, slots.slots_in(network, made.slots), made.noise, loss, made.known)


def _live(
    built: keras.Model, batch: tuple[Any, ...], kind: type[KerasTrainer], known: dict[str, Any]
) -> tuple[keras.Model, dict[str, Mode | None]]:
    """Return the copy that is trained, and what it logs with the direction that is better."""
    live = copies.copy(built, known)
    copies.check_same_function(built, live, batch[0])
    return live, _probe(live, batch, kind)


def _seen(made: _Copies, kind: type[KerasTrainer]) -> keras.Model:
    """Return the copy that callbacks of Keras look at; they ask for metrics, which are built."""
    with keras.device("cpu"):
        seen = copies.copy(made.built, made.known)
    _probe(seen, made.batch, kind)
    return seen


def _evaluation(
    training: data.Data | Stream, validation: data.Data | Stream | None, evaluate_training: bool
) -> tuple[data.Data | Stream | None, str]:
    """Return what the network is evaluated on after each epoch, and how its values are named."""
    if validation is not None:
        return validation, "val_"
    return training.for_evaluation() if evaluate_training else None, "eval_"


def _scope(model: keras.Model) -> Any:
    """Return what the trained copy is made in: the strategy that the user's was made in."""
    strategy = strategy_of(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def _trainer_class(model: keras.Model) -> type[KerasTrainer]:
    """Return the trainer for a network on the backend that Keras runs on."""
    _check_backend()
    is_mirrored = strategy_of(model) is not None
    module, name = TRAINERS["mirrored" if is_mirrored else keras.backend.backend()]
    found: type[KerasTrainer] = getattr(import_module(f"miha.trainer.{module}"), name)
    return found


def _check_backend() -> None:
    if keras.backend.backend() not in TRAINERS:
        raise ArgumentError(
            f"Keras must run on one of {list(TRAINERS)}. "
            f"Received: the backend {keras.backend.backend()!r}. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )


def _for_batches(space: SearchSpace, training: data.Data | Stream) -> SearchSpace:
    """Leave no other batch size where the batches are the data's own."""
    own = training.batch_size
    if own is None or training.rebatches:
        return space
    return replace(space, batch_size=(own, own))


def _batch(training: data.Data | Stream) -> tuple[Any, ...]:
    """Return a few samples, as the tensors that a step takes."""
    few = training.few()
    return tuple(data.map_arrays(to_tensor, part) for part in (few.x, few.y, few.sample_weight))


def _probe(
    network: keras.Model, batch: tuple[Any, ...], kind: type[KerasTrainer]
) -> dict[str, Mode | None]:
    """Take a test step, to learn what is logged and whether network and data fit together."""
    try:
        with copies.untouched(network):
            logs = kind.probe(network, keras.utils.pack_x_y_sample_weight(*batch))
    except Exception as error:
        shapes = [tuple(array.shape) for array in keras.tree.flatten(batch) if array is not None]
        raise ArgumentError(
            f"The network must accept the data. Received: the first samples, of shapes {shapes}, "
            f"on which {network.name!r} fails: {first_line(error)} Check the shapes of `x` and "
            "`y`, and that the network leaves the batch size open."
        ) from error
    network.reset_metrics()
    # A vector (the F1 score of each class, say) can be logged but not monitored.
    return {name: _mode(network, name) for name, value in logs.items() if np.ndim(value) == 0}


def _mode(network: keras.Model, name: str) -> Mode | None:
    """Return the direction in which a logged value is better, as Keras' callbacks find it."""
    if name.endswith("loss"):
        return "min"
    metrics = [m for outer in network.metrics for m in (outer, *getattr(outer, "metrics", ()))]
    # With several outputs, a metric is logged under the output's name and its own.
    named = [m for m in metrics if name == m.name or name.endswith(f"_{m.name}")]
    closest = max(named, key=lambda m: len(m.name), default=None)
    modes: dict[Any, Mode] = {"up": "max", "down": "min"}
    return modes.get(getattr(closest, "_direction", None))


def _resolve(
    space: SearchSpace,
    live: keras.Model,
    chosen: list[Slot],
    batch_size: int,
    samples: int,
    multiple: int,
) -> Space:
    own = optimizers.Optimizers(live)
    names = dict.fromkeys([own.own_name, *(name.lower() for name in space.optimizers)])
    rates = {name: own.learning_rate(name, space.learning_rate) for name in names}
    begins = {name: own.beginning(name) for name in names}
    return Space(
        optimizers=rates,
        slots={slot.name: tuple(slot.branches(space.activations)) for slot in chosen},
        batch_size=batch_size_bounds(space.batch_size, batch_size, samples, multiple),
        learning_rate=space.learning_rate,
        momentum=_numbers("momentum", begins, space.momentum),
        weight_decay=_numbers("weight_decay", begins, space.weight_decay),
        batch_multiple=multiple,
    )


def _numbers(
    gene: str, begins: dict[str, dict[str, float]], others: Sequence[float]
) -> dict[str, tuple[float, ...]]:
    """Return the values of a number for each optimizer that has one."""
    return {n: values_of(own[gene], others) for n, own in begins.items() if gene in own}


def _with_amounts(
    resolved: Space,
    space: SearchSpace,
    noise: list[Noise],
    loss: LossSlot | None,
    genes: Collection[str],
) -> Space:
    """Return a resolved space with what noise and loss of the network may become."""
    return replace(
        resolved,
        dropout=_amounts("dropout", noise, space.dropout),
        noise=_amounts("noise", noise, space.noise),
        losses=losses_for(loss, space) if "loss" in genes else (),
        label_smoothing=smoothings_for(loss, space) if "label_smoothing" in genes else (),
    )


def _amounts(
    gene: str, places: list[Noise], others: Sequence[float]
) -> dict[str, tuple[float, ...]]:
    """Return what the noise of each layer of a gene may become."""
    return {p.name: values_of(p.amount, others) for p in places if p.gene == gene}
