"""From the user's network, data and search space to a trainer: everything is checked here."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import Model

from miha.data import arrays as data
from miha.data.feed import first_inputs
from miha.data.stream import Stream
from miha.errors import ArgumentError
from miha.space import AUGMENTED_SHARES, SearchSpace, Space, batch_size_bounds, values_of
from miha.trainer.base import KerasTrainer, Settings
from miha.trainer.exporter import Exporter
from miha.trainer.genes.activations import Slot, check_activations
from miha.trainer.genes.images import usual_augmentation
from miha.trainer.genes.inputs import (
    MOST_SAMPLES,
    Augmentation,
    InputChanges,
    NoisyInput,
    make_augmentation,
    noisy_inputs,
)
from miha.trainer.genes.losses import LossSlot
from miha.trainer.genes.mutable import choose_noise, choose_slots
from miha.trainer.genes.noise import Noise
from miha.trainer.genes.optimizers import Optimizers, check_names
from miha.trainer.labels import check_labels
from miha.trainer.network import copies
from miha.trainer.network.admission import check_network
from miha.trainer.network.compilation import nameless, words
from miha.trainer.network.fingerprint import fingerprint
from miha.trainer.network.keras_internals import has_slots
from miha.trainer.network.replicas import check_divisible, replicas, strategy_of
from miha.trainer.network.survey import Survey
from miha.trainer.probing import (
    Batch,
    Metrics,
    first_batch,
    has_no_test_step,
    has_own,
    probe_evaluation,
    probe_training,
)
from miha.trainer.protocol import Trainer
from miha.trainer.transitions.fresh import FreshValues
from miha.utils.warn import warn

Source = data.Data | Stream
"""Training or validation data."""

TRAINERS = {
    "tensorflow": ("tensorflow.trainer", "TensorFlowTrainer"),
    "jax": ("jax.trainer", "JaxTrainer"),
    "torch": ("torch", "TorchTrainer"),
    "mirrored": ("tensorflow.mirrored", "MirroredTrainer"),
}
"""Module and class of the trainer for each backend of Keras; imported when it is needed.

"mirrored" is for networks that were built in a `tf.distribute.MirroredStrategy`.
"""


def make_trainer(
    model: Model,
    training: Source,
    validation: Source | None,
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
    final: data.Data | None = None,
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
        genes: Genes that may mutate. What trains with an own loss, or with noise on its inputs,
            is prepared only where it is one of them.
        slots_named: Names of the activation slots that may change, instead of the user's choice
            of layers.
        with_mirror: Whether callbacks of Keras will want a network to look at.
        batch_multiple: What every batch size is a multiple of; by default the number of devices
            that share the user's batches.
        final: What the last training takes, where that is not ``training`` alone.

    Returns:
        A trainer for the backend that Keras runs on.

    Raises:
        ArgumentError: The network, or the search space for it, breaks a rule.
    """
    kind = _trainer_class(model)
    multiple = batch_multiple or replicas(model)
    check_divisible("batch_size", batch_size, multiple)
    check_divisible("validation_batch_size", validation_batch_size, multiple)
    original = Survey(model)
    check_network(original, kind.foreign_state)
    check_names(space.optimizers)
    space = replace(space, activations=check_activations(space.activations))

    wants_evaluation = evaluate_training or validation is not None
    copied = _copy(original, kind, first_batch(training), seed)
    try:
        logged = _logged(copied, kind, validation, wants_evaluation)
    finally:
        # Also where a step fails: by a label, it says so in words of the backend.
        check_labels(copied.live.network, training, validation, copied.batch[0])
    chosen = _choose(copied, space, slots_named)
    parts = _parts(copied.live, chosen, training, batch_size, space, genes)
    sizes = _Sizes(batch_size, training.samples, multiple)
    space = _for_batches(space, training)
    resolved = _resolve(space, copied.live.network, parts, sizes)

    can_evaluate = logged.evaluated is not None
    evaluation, prefix = _evaluation(training, validation, evaluate_training and can_evaluate)
    plain = copied.plain
    exporter = _exporter(plain, chosen)
    fresh = FreshValues(plain.network, copied.batch[0], plain.custom_objects)
    seen = _mirror(copied, logged.batch, kind) if with_mirror else None
    mirror = None if seen is None else _exporter(seen, chosen)
    with _scope(model):
        inputs = InputChanges(
            parts.inputs,
            resolved.input_noise,
            parts.augmentation,
            resolved.augmentation,
            kind.number,
        )
        return kind(
            network=copied.live.network,
            slots=parts.slots,
            noise=parts.noise,
            loss=parts.loss,
            inputs=inputs,
            space=resolved,
            data=training,
            evaluation=evaluation,
            settings=Settings(
                batch_size,
                validation_batch_size,
                prefix,
                shuffle,
                () if parts.augmentation is None else parts.augmentation.description,
            ),
            metrics=_all_metrics(logged, None if evaluation is None else prefix),
            exporter=exporter,
            fresh=fresh,
            fingerprint=_fingerprint(original, copied.built, training, validation),
            mirror=mirror,
            final=final,
        )


def _all_metrics(
    logged: _Logged,
    prefix: str | None,
) -> Metrics:
    """Return what training and evaluation log; without a prefix there is no evaluation."""
    found = dict(logged.trained)
    if prefix is not None and logged.evaluated is not None:
        for name, mode in logged.evaluated.items():
            found[prefix + name] = mode
    return found


def _fingerprint(
    original: Survey,
    built: Survey,
    training: Source,
    validation: Source | None,
) -> dict[str, str]:
    # A copy that was built of a network without weights has other functions in it.
    known = original.custom_objects if built is original else None
    return fingerprint(built.network, training, validation, known)


def _trainer_class(model: Model) -> type[KerasTrainer]:
    """Return the trainer for a network on the backend that Keras runs on."""
    backend = keras.backend.backend()
    if backend not in TRAINERS:
        raise ArgumentError(
            f"Keras must run on one of {list(TRAINERS)}. "
            f"Received: the backend {backend!r}. "
            "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )

    is_mirrored = strategy_of(model) is not None
    module, name = TRAINERS["mirrored" if is_mirrored else backend]
    found: type[KerasTrainer] = getattr(import_module(f"miha.trainer.{module}"), name)
    return found


def _scope(model: Model) -> Any:
    """Return what the trained copy is made in: the strategy that the user's was made in."""
    strategy = strategy_of(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def _evaluation(
    training: Source, validation: Source | None, evaluate_training: bool
) -> tuple[Source | None, str]:
    """Return what the network is evaluated on after each epoch, and the prefix of its values."""
    if validation is not None:
        return validation, "val_"
    return training.for_evaluation() if evaluate_training else None, "eval_"


@dataclass(frozen=True)
class _Copies:
    """The user's network, and copies of it.

    Attributes:
        built: The user's, or a copy with weights where it had none yet.
        live: The copy that is trained.
        plain: The copy that is saved.
        batch: A few samples.
    """

    built: Survey
    live: Survey
    plain: Survey
    batch: Batch


def _copy(
    original: Survey,
    kind: type[KerasTrainer],
    batch: Batch,
    seed: int,
) -> _Copies:
    """Copy the user's network."""
    model = original.network
    known = original.custom_objects
    built = original
    _warn_of_compilation(model)
    if not model.built:
        twin = copies.build_from(model, batch[0], seed, known)
        built = Survey(twin, known)

    with _scope(model):
        live = built.copy()
        copies.check_same_function(built.network, live.network, batch[0])
    with keras.device("cpu"):
        plain = built.copy()
    return _Copies(built, live, plain, batch)


@dataclass(frozen=True)
class _Logged:
    """What steps of a network log, with the direction in which each value is better.

    Attributes:
        trained: By a training step.
        evaluated: By a test step; None: the network has none, and needs none.
        batch: What the test step was taken on, or None.
    """

    trained: Metrics
    evaluated: Metrics | None
    batch: Batch | None


def _logged(
    copied: _Copies,
    kind: type[KerasTrainer],
    validation: Source | None,
    wants_evaluation: bool,
) -> _Logged:
    """Take steps, to learn what is logged and whether network and data fit together.

    Raises:
        ArgumentError: They do not, or the network cannot be evaluated as it has to be.
    """
    network = copied.live.network
    with _scope(network):
        trains_itself = has_own(network, "train_step")
        if trains_itself:
            trained = probe_training(copied.built, copied.batch, kind)
        else:
            trained = probe_evaluation(network, copied.batch, kind)

        if validation is not None:
            if has_no_test_step(network, copied.batch):
                raise _without_test_step(network)
            batch = first_batch(validation)
            evaluated = probe_evaluation(network, batch, kind, " of the validation data")
            return _Logged(trained, evaluated, batch)
        if not trains_itself:
            return _Logged(trained, trained, copied.batch)
        return _evaluated_on_training(copied, kind, trained, wants_evaluation)


def _evaluated_on_training(
    copied: _Copies,
    kind: type[KerasTrainer],
    trained: Metrics,
    wants_evaluation: bool,
) -> _Logged:
    """Return what a network with a `train_step` of its own logs, where it trains alone.

    As in `fit`, it need not be one that can be evaluated.
    """
    network = copied.live.network
    if has_no_test_step(network, copied.batch):
        return _Logged(trained, None, None)
    try:
        evaluated = probe_evaluation(network, copied.batch, kind)
    except ArgumentError:
        if wants_evaluation and has_own(network, "test_step"):
            raise
        return _Logged(trained, None, None)
    return _Logged(trained, evaluated, copied.batch)


def _without_test_step(network: Model) -> ArgumentError:
    return ArgumentError(
        "A network with a `train_step` of its own must have a `test_step` as well, or a loss in "
        f"`compile`, to be evaluated on validation data. Received: {network.name!r}, which has "
        "neither. Write one, or leave validation data out: then what `train_step` logs is "
        "monitored."
    )


def _warn_of_compilation(model: Model) -> None:
    """Say what of a network's compilation its copies begin without, or its archives lack."""
    if model.optimizer.built and model.trainable_variables and not has_slots(model.optimizer):
        warn(
            f"The optimizer of {model.name!r} has no state, as Keras reads networks from .h5: it "
            "begins as a new one with the same settings."
        )
    functions = nameless(model)
    if functions:
        warn(
            f"Archives hold {model.name!r} without {words(functions)}, since Keras cannot store "
            "what has no name. `result.model` is compiled with it; a network that is loaded "
            "later must be compiled before it is evaluated or trained. Write a named function "
            "with `@keras.saving.register_keras_serializable()` to have it archived."
        )


def _mirror(
    copied: _Copies,
    batch: Batch | None,
    kind: type[KerasTrainer],
) -> Survey:
    """Return the copy that callbacks of Keras look at; a step builds the metrics they ask for."""
    with keras.device("cpu"):
        mirror = copied.built.copy()
    if batch is not None:
        probe_evaluation(mirror.network, batch, kind)
    return mirror


class _Chosen(NamedTuple):
    """Which slots and which noise may mutate: the place of each in a network, and its name."""

    slots: dict[int, str]
    noise: dict[int, str]


def _choose(
    copied: _Copies,
    space: SearchSpace,
    slots_named: Sequence[str] | None,
) -> _Chosen:
    with keras.device("cpu"):
        slots = choose_slots(copied.plain, space, copied.batch[0], slots_named)
        return _Chosen(slots, choose_noise(copied.plain))


class _Parts(NamedTuple):
    """The parts of one network that may mutate."""

    slots: list[Slot]
    noise: list[Noise]
    loss: LossSlot | None
    inputs: list[NoisyInput]
    augmentation: Augmentation | None


def _parts(
    survey: Survey,
    chosen: _Chosen,
    training: Source,
    batch_size: int,
    space: SearchSpace,
    genes: Collection[str],
) -> _Parts:
    inputs = []
    if "input_noise" in genes:
        # The same samples whether the data is in memory or streamed.
        first = first_inputs(training, batch_size, MOST_SAMPLES)
        inputs = noisy_inputs(first, survey.padding, survey.scales_its_input)
    layers = _augmenting(survey, training, space) if "augmentation" in genes else ()
    return _Parts(
        slots=survey.slots_at(chosen.slots),
        noise=survey.noise_at(chosen.noise),
        loss=survey.loss if "label_smoothing" in genes else None,
        inputs=inputs,
        augmentation=make_augmentation(layers, training.few().x),
    )


def _augmenting(
    survey: Survey,
    training: Source,
    space: SearchSpace,
) -> Sequence[Any]:
    """Return the layers that may change inputs: the user's, or the usual ones for images."""
    if space.augmentation != "auto":
        return space.augmentation
    few = training.few()
    # A shift moves what a target per pixel, or a place in the image, is about.
    has_classes = survey.loss is not None and np.ndim(few.y) <= 2
    return usual_augmentation(few.x) if has_classes else ()


def _exporter(
    survey: Survey,
    chosen: _Chosen,
) -> Exporter:
    slots = survey.slots_at(chosen.slots)
    return Exporter(survey.network, slots, chosen.noise, survey.custom_objects)


class _Sizes(NamedTuple):
    """The batch size to begin with, the samples of an epoch, and what batch sizes divide by."""

    batch_size: int
    samples: int
    multiple: int


def _for_batches(space: SearchSpace, training: Source) -> SearchSpace:
    """Leave no other batch size where the batches are the data's own."""
    own = training.batch_size
    if own is None or training.rebatches:
        return space
    return replace(space, batch_size=(own, own))


def _resolve(
    space: SearchSpace,
    live: Model,
    parts: _Parts,
    sizes: _Sizes,
) -> Space:
    """Return what each gene of this network may become."""
    optimizers = Optimizers(live)
    names = [optimizers.own_name]
    names += [name.lower() for name in space.optimizers]
    rates = {}
    decays = {}
    for name in dict.fromkeys(names):
        rates[name] = optimizers.learning_rate(name, space.learning_rate)
        first = optimizers.first_weight_decay(name)
        if first is not None:
            decays[name] = values_of(first, space.weight_decay)

    slots = {}
    for slot in parts.slots:
        slots[slot.name] = tuple(slot.branches(space.activations))

    smoothings: tuple[float, ...] = ()
    if parts.loss is not None:
        smoothings = values_of(parts.loss.label_smoothing, space.label_smoothing)
    return Space(
        optimizers=rates,
        slots=slots,
        batch_size=batch_size_bounds(space.batch_size, *sizes),
        learning_rate=space.learning_rate,
        weight_decay=decays,
        dropout=_amounts("dropout", parts.noise, space.dropout),
        noise=_amounts("noise", parts.noise, space.noise),
        label_smoothing=smoothings,
        input_noise={each.name: values_of(0.0, space.input_noise) for each in parts.inputs},
        augmentation=AUGMENTED_SHARES if parts.augmentation is not None else (),
        batch_multiple=sizes.multiple,
    )


def _amounts(
    gene: str,
    places: list[Noise],
    others: Sequence[float],
) -> dict[str, tuple[float, ...]]:
    """Return what the noise of each layer of a gene may become."""
    found = {}
    for noise in places:
        if noise.gene == gene:
            found[noise.name] = values_of(noise.amount, others)
    return found
