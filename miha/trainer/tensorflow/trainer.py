"""The TensorFlow trainer: the epoch compiled once for each optimizer class."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.records import Epoch
from miha.trainer.base import KerasTrainer, Kind, Logs, should_continue
from miha.trainer.genes.optimizers import name_of
from miha.trainer.network.admission import held
from miha.trainer.network.keras_internals import flat_layers
from miha.trainer.programs import Programs
from miha.trainer.protocol import Way
from miha.trainer.tensorflow import loops
from miha.trainer.transitions.blended import Blend
from miha.utils.warn import warn

MEASURED = 64
"""Steps that are taken to measure which way is the faster one."""

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
    Long trainings can be compiled by XLA instead, which rounds otherwise: a program for each
    genome. Where the user's `compile` asked for XLA, it compiles each step, as in `fit`.
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
        self._xla_from: float = math.inf
        self._is_xla = False
        self._specs: dict[Kind, Any] = {}
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
        if self._is_jit:
            return "XLA compiles the network (`jit_compile=True`)"
        if way == "graph":
            return None
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

    def compile_from(self, epochs: int) -> None:
        """See `XlaTrainer`."""
        obstacle = self.obstacle("xla")
        if obstacle is None:
            self._xla_from = epochs
        else:
            # The run began where there was none: its data was in memory, say.
            warn(f"XLA is not used as before: {obstacle}.")

    def measure_xla(self) -> dict[str, float]:
        """See `XlaTrainer`."""
        batches = min(self._samples // self._batch_size, MEASURED)
        order = np.arange(batches * self._batch_size)
        self._is_xla = False
        _, graph = self._measure(order)
        self._is_xla = True
        first, xla = self._measure(order)
        self._is_xla = False

        parts_an_epoch = self._samples / len(order)
        return {
            "graph epoch": graph * parts_an_epoch,
            "xla epoch": xla * parts_an_epoch,
            "xla compilation": max(first - xla, 0.0),
        }

    def _measure(
        self,
        order: np.ndarray,
    ) -> tuple[float, float]:
        """Return the seconds of steps the first time, with their compilation, and later."""
        seconds: list[float] = []
        for _ in range(4):
            start = time.perf_counter()
            self._steps("train", order, self._batch_size)
            seconds.append(time.perf_counter() - start)
        return seconds[0], min(seconds[1:])

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], bool | None],
        rates: Sequence[float] | None = None,
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        self._is_xla = epochs >= self._xla_from
        return super().train(epochs, order, noise, on_epoch, rates)

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
        if kind == "train" and self._is_xla and not self._blend.is_on:
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
        optimizer = name_of(self._network.optimizer)
        key = (optimizer, batch_size, self._chosen, len(order))
        loop = self._xla.get(key, lambda: self._xla_loop(batch_size))
        pace = self._xla.pace(key)
        places = tf.constant(order, tf.int64)
        full = len(order) // batch_size

        done = 0
        logs: Logs = {}
        # The first call traces the program.
        with self._fixed():
            while done < full and SHOULD_CONTINUE["train"](logs):
                steps = min(pace.steps, full - done)
                with pace.measure(steps):
                    stop = tf.constant(done + steps)
                    logs = loop(places, tf.constant(done), stop)
                done += steps
        return done * batch_size, logs

    def _xla_loop(self, batch_size: int) -> Any:
        step = self._network.train_step
        data = self._sources["train"]
        return loops.xla_loop_over(step, data, SHOULD_CONTINUE["train"], batch_size)

    @property
    def _chosen(self) -> tuple[str, ...]:
        return tuple(switch.chosen for switch in self._switches.values())

    @contextlib.contextmanager
    def _fixed(self) -> Iterator[None]:
        """Compile the chosen activations only: XLA takes long to compile a choice."""
        switches = list(self._switches.values())
        for switch in switches:
            function = switch.functions[switch.options.index(switch.chosen)]
            switch.choose_by = lambda index, functions, values, f=function: f(values)
        try:
            yield
        finally:
            for switch in switches:
                switch.choose_by = keras.ops.switch

    def _loop(self, kind: Kind) -> Any:
        """Return the steps of an epoch; `train_step` binds the optimizer when it is traced."""
        spec = self._spec(kind)
        optimizer = name_of(self._network.optimizer) if kind == "train" else None
        # XLA takes long to compile a choice: there, each genome has a program.
        fixed = self._chosen if self._is_jit else ()
        key = (kind, optimizer, fixed, self._blend.is_on)
        loop = self._loops.get(key, lambda: self._make_loop(kind, spec))
        if self._network.run_eagerly:
            return loop

        # Called as a whole, TensorFlow would warn of many functions of one name being traced.
        with self._fixed() if self._is_jit else contextlib.nullcontext():
            return loop.get_concrete_function()

    def _make_loop(
        self,
        kind: Kind,
        spec: list[Any],
    ) -> Any:
        network = self._network
        return loops.loop_over(
            step=network.train_step if kind == "train" else network.test_step,
            structure=loops.mapped(lambda _: True, self._sources[kind]),
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


def _traces_of(loop: Any) -> int:
    # A loop that is not compiled is a plain function.
    count = getattr(loop, "experimental_get_tracing_count", None)
    return 0 if count is None else int(count())


def _is_foreign(item: Any) -> bool:
    if isinstance(item, tf.Module):
        return bool(item.variables)
    return isinstance(item, tf.Variable)
