"""The TensorFlow trainer: the epoch compiled once for each optimizer class."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.data.arrays import Data
from miha.data.stream import Stream
from miha.records import Genome, Transition
from miha.trainer.base import KerasTrainer, Kind, Logs, should_continue
from miha.trainer.genes.activations import ActivationSwitch
from miha.trainer.genes.optimizers import is_of_keras, name_of
from miha.trainer.genes.switches import Switch
from miha.trainer.network.admission import held
from miha.trainer.network.keras_internals import flat_layers
from miha.trainer.programs import Programs
from miha.trainer.protocol import Way, XlaScope
from miha.trainer.tensorflow import loops
from miha.trainer.tensorflow.choice import choose, choose_with_slope
from miha.trainer.tensorflow.draws import drawn_by_one_algorithm
from miha.trainer.transitions.blended import Blend
from miha.utils.warn import warn

CONVOLUTIONS: tuple[Any, ...] = tuple(
    kind
    for name, kind in vars(keras.layers).items()
    # A function could not be asked for by `isinstance`.
    if "Conv" in name and isinstance(kind, type)
)

# A training that has diverged stops at once; an evaluation is one of all samples, as in Keras.
SHOULD_CONTINUE: dict[Kind, loops.Step] = {
    "train": should_continue,
    "test": lambda logs: True,
}


class TensorFlowTrainer(KerasTrainer):
    """Trains one live Keras network on TensorFlow.

    The epoch is a graph loop over Keras' own `train_step`, so whatever `fit` honours is
    honoured, and its weights are those of `fit`, bit for bit. Activations and other genes are
    chosen at run time; each optimizer class has its trace, made when it is first needed.
    Whole epochs can be compiled by XLA instead, which rounds otherwise: a program for each
    optimizer class and batch size. Where the user's `compile` asked for XLA, and the values are
    to be those of `fit`, it compiles each step.
    """

    number = loops.GraphNumber

    def __init__(
        self,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._loops = Programs(_traces_of)
        self._xla = Programs(_traces_of)
        self._xla_scope: XlaScope | None = None
        self._is_trial = False
        self._specs: dict[Kind, Any] = {}
        for switch in self._switches.values():
            switch.choose_by = choose
        self._is_jit = self._obeys_jit()
        if self._is_jit:
            # Each genome has a program, and each blend would need two.
            self._blend = Blend({})

    @property
    def device(self) -> str:
        """See `Trainer`."""
        names: list[str] = []
        for gpu in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpu)
            names.append(details.get("device_name", "GPU"))
        return f"TensorFlow {tf.__version__} on " + (", ".join(names) or "CPU")

    @property
    def traces(self) -> int:
        """How many traces of epochs and evaluations there are."""
        return self._loops.compiled + self._xla.compiled

    @property
    def compiler(self) -> str:
        """See `Trainer`."""
        if self._network.run_eagerly:
            return "eager"
        return "xla" if self._is_jit else "graph"

    def obstacle(self, way: Way) -> str | None:
        """See `Trainer`."""
        if way == "fused":
            return super().obstacle(way)
        if self._network.run_eagerly:
            return "the network is not compiled (`run_eagerly=True`)"
        if self._streams:
            return "the data is streamed"
        layers = flat_layers(self._network)
        if not all(layer.supports_jit for layer in layers):
            return "a layer of the network does not support it (`supports_jit=False`)"
        return self._slow()

    def _slow(self) -> str | None:
        """Return what XLA takes too long to compile; None where there is no such thing."""
        layers = flat_layers(self._network)
        slow = [layer.name for layer in layers if isinstance(layer, CONVOLUTIONS)]
        if not slow or tf.config.list_physical_devices("GPU"):
            return None
        return f"it takes minutes to compile a convolution ({slow[0]!r}) for the CPU"

    def _obeys_jit(self) -> bool:
        """Return whether XLA compiles each step, as the user's `compile` asked."""
        network = self._network
        # On a GPU nobody need have asked: it is Keras' own choice there, made for one network.
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        if has_gpu or network.run_eagerly or not network.jit_compile:
            return False

        slow = self._slow()
        if slow is None:
            return True
        warn(
            f"`jit_compile=True` of {network.name!r} is not followed: {slow}, and each genome "
            "needs a program of its own. The weights are those of `fit` without it."
        )
        return False

    @classmethod
    def foreign_state(
        cls,
        network: keras.Model,
    ) -> list[str]:
        """See `KerasTrainer`; Keras neither knows nor archives TensorFlow's own variables."""
        found: list[str] = []
        for layer in flat_layers(network):
            for name, item in held(layer):
                if _is_foreign(item):
                    found.append(f"{layer.name}.{name} of TensorFlow")
        return found

    @property
    def steps_per_epoch(self) -> int:
        """See `XlaTrainer`."""
        return math.ceil(self._samples / self._batch_size)

    def use_xla(self, scope: XlaScope) -> None:
        """See `XlaTrainer`."""
        obstacle = self.obstacle("xla")
        if obstacle is None:
            self._xla_scope = scope
        else:
            # The run began where there was none: its data was in memory, say.
            warn(f"XLA is not used as before: {obstacle}.")

    def compile_xla(self) -> None:
        """See `XlaTrainer`."""
        nothing = tf.constant(0)
        order = tf.range(self._samples, dtype=tf.int64)
        _, program = self._xla_program(self._batch_size)
        with self._traced_for_xla():
            program(order, nothing, nothing)

    def express(
        self,
        genome: Genome,
        transition: Transition = "inherit",
        rng: np.random.Generator | None = None,
    ) -> None:
        """See `Trainer`."""
        before = (name_of(self._network.optimizer), self._batch_size)
        super().express(genome, transition, rng)
        # The network had its parent's genome before.
        self._is_trial = before != (genome.optimizer, genome.batch_size)

    def _train_on(self, data: Data | Stream | None) -> None:
        before = self._structure("train")
        super()._train_on(data)
        # The programs of XLA contain the samples themselves.
        self._xla.forget(lambda key: True)
        if self._structure("train") != before:
            self._loops.forget(lambda key: key[0] == "train")
            self._specs.pop("train", None)

    def _structure(self, kind: Kind) -> Any:
        """Return something in place of each tensor that a step takes."""
        return loops.mapped(lambda _: True, self._sources[kind])

    @property
    def _is_xla(self) -> bool:
        """Whether XLA compiles the next training: a trial may be too short for its program."""
        if self._xla_scope == "network":
            return not self._is_trial
        return self._xla_scope == "all"

    def _steps(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        loop = self._loop(kind)
        data = loops.leaves(self._sources[kind])
        size = tf.constant(batch_size, tf.int64)
        pace = self._loops.pace(kind)

        done = 0
        logs: Logs = {}
        # Activations that blend go through an epoch in parts.
        is_epoch = len(order) == self._samples and not self._blend.is_on
        if kind == "train" and is_epoch and self._is_xla:
            done, logs = self._xla_steps(order, batch_size)

        while done < len(order) and SHOULD_CONTINUE[kind](logs):
            part = order[done : done + pace.steps * batch_size]
            with pace.measure(len(part) / batch_size):
                places = tf.constant(part, tf.int64)
                logs = loop(data, places, size)
            done += len(part)
        return logs

    def _xla_steps(
        self,
        order: np.ndarray,
        batch_size: int,
    ) -> tuple[int, Logs]:
        """Take the steps whose batches are full; return how many samples that were."""
        key, program = self._xla_program(batch_size)
        pace = self._xla.pace(key)
        places = tf.constant(order, tf.int64)
        full = len(order) // batch_size

        done = 0
        logs: Logs = {}
        # The first call traces the program.
        with self._traced_for_xla():
            while done < full and SHOULD_CONTINUE["train"](logs):
                steps = min(pace.steps, full - done)
                with pace.measure(steps):
                    stop = tf.constant(done + steps)
                    logs = program(places, tf.constant(done), stop)
                done += steps
        return done * batch_size, logs

    def _xla_program(self, batch_size: int) -> tuple[Any, Any]:
        """Return the program of an optimizer class and a batch size, and its key."""
        optimizer = name_of(self._network.optimizer)
        fixed = () if self._has_slopes else self._chosen
        key = (optimizer, batch_size, fixed)
        return key, self._xla.get(key, lambda: self._xla_loop(batch_size))

    @contextlib.contextmanager
    def _traced_for_xla(self) -> Iterator[None]:
        """Trace what XLA compiles quickly to what is quick."""
        with drawn_by_one_algorithm(), self._as_xla_chooses():
            yield

    def _as_xla_chooses(self) -> Any:
        switches = list(self._switches.values())
        if self._has_slopes:
            return _traced_with_slopes(switches)
        return _traced_for_chosen(switches)

    def _xla_loop(self, batch_size: int) -> Any:
        step = self._network.train_step
        data = self._sources["train"]
        return loops.xla_loop_over(step, data, SHOULD_CONTINUE["train"], batch_size)

    @cached_property
    def _has_slopes(self) -> bool:
        """Whether nobody but Keras' own step takes gradients, and none of second order."""
        return self._has_kerass_step and all(map(is_of_keras, flat_layers(self._network)))

    @property
    def _has_kerass_step(self) -> bool:
        """Whether the user has written no training step."""
        return type(self._network).train_step is keras.Model.train_step

    @property
    def _chosen(self) -> tuple[str, ...]:
        return tuple(switch.chosen for switch in self._switches.values())

    def _loop(self, kind: Kind) -> Any:
        """Return the steps of an epoch; `train_step` binds the optimizer when it is traced."""
        spec = self._spec(kind)
        optimizer = name_of(self._network.optimizer) if kind == "train" else None
        fixed = self._fixed
        traced_for = tuple(switch.chosen for switch in fixed)
        key = (kind, optimizer, traced_for, self._blend.is_on)
        loop = self._loops.get(key, lambda: self._make_loop(kind, spec))
        if self._network.run_eagerly:
            return loop

        # Called as a whole, TensorFlow would warn of many functions of one name being traced.
        with _traced_for_chosen(fixed):
            return loop.get_concrete_function()

    @property
    def _fixed(self) -> list[Switch]:
        """The activations that a step is traced for, instead of for all that they may be.

        A choice within the loop of a recurrent layer multiplies the graph of its gradient. Where
        XLA compiles each step, any choice takes long. A step or a layer of the user's own may take
        derivatives itself, and TensorFlow has no second ones of a choice.
        """
        fixes_all = self._is_jit or not self._has_kerass_step
        fixed: list[Switch] = []
        for name, switch in self._switches.items():
            slot = self._slots[name]
            may_be_chosen = is_of_keras(slot.layer) and not slot.is_recurrent
            if may_be_chosen and not fixes_all:
                continue
            fixed.append(switch)
            if switch.past is not None:
                fixed.append(switch.past)
        return fixed

    def _make_loop(
        self,
        kind: Kind,
        spec: list[Any],
    ) -> Any:
        network = self._network
        return loops.loop_over(
            step=network.train_step if kind == "train" else network.test_step,
            structure=self._structure(kind),
            spec=spec,
            should_continue=SHOULD_CONTINUE[kind],
            run_eagerly=network.run_eagerly,
            jit_compile=self._is_jit,
        )

    def _spec(
        self,
        kind: Kind,
    ) -> list[tf.TensorSpec]:
        """Return what the data of that kind may look like; the longer a stream, the wider."""
        arrays = loops.leaves(self._sources[kind])
        found = [loops.spec_of(array, None) for array in arrays]
        known = self._specs.get(kind, found)
        pairs = zip(known, found, strict=True)
        wider = [old.most_specific_common_supertype([new]) for old, new in pairs]

        # Batches of another shape: traced once more, for any shape.
        if wider != known:
            self._loops.forget(lambda key: key[0] == kind)
        self._specs[kind] = wider
        return wider


@contextlib.contextmanager
def _traced_for_chosen(switches: Iterable[Switch]) -> Iterator[None]:
    """Trace the chosen options only."""
    # A graph that is traced cannot read what is chosen.
    for switch in switches:
        switch.traced = switch.chosen
    try:
        yield
    finally:
        for switch in switches:
            switch.traced = None


@contextlib.contextmanager
def _traced_with_slopes(switches: Iterable[ActivationSwitch]) -> Iterator[None]:
    """Trace choices whose gradient is no choice."""
    for switch in switches:
        switch.choose_by = choose_with_slope
    try:
        yield
    finally:
        for switch in switches:
            switch.choose_by = choose


def _traces_of(loop: Any) -> int:
    # A loop that is not compiled is a plain function.
    count = getattr(loop, "experimental_get_tracing_count", None)
    return 0 if count is None else int(count())


def _is_foreign(item: Any) -> bool:
    if isinstance(item, tf.Module):
        return bool(item.variables)
    return isinstance(item, tf.Variable)
