"""The TensorFlow trainer: the epoch compiled once for each optimizer class."""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from miha.records import Epoch
from miha.trainer.base import KerasTrainer, Kind, goes_on
from miha.trainer.genes.optimizers import name_of
from miha.trainer.network.admission import held
from miha.trainer.pace import Pace
from miha.trainer.programs import Programs
from miha.trainer.protocol import Way
from miha.trainer.tensorflow.lookup import GraphNumber
from miha.trainer.tensorflow.loops import Step, leaves, loop_over, mapped, xla_loop_over
from miha.trainer.transitions.blended import Blend
from miha.utils.warn import warn

MEASURED = 64
"""Steps that are taken to measure which way is the faster one."""

CONVOLUTIONS = tuple(
    getattr(keras.layers, name)
    for name in dir(keras.layers)
    if "Conv" in name and isinstance(getattr(keras.layers, name), type)
)


class TensorFlowTrainer(KerasTrainer):
    """Trains one live Keras network on TensorFlow.

    The epoch is a graph loop over Keras' own `train_step`, so whatever `fit` honours is
    honoured, and its weights are those of `fit`, bit for bit. Activations and their like are
    chosen at run time; each optimizer class has a trace of its own, made when it is first needed.
    Long trainings can be compiled by XLA instead, which rounds otherwise: a program for each
    genome. Where the user's `compile` asked for XLA, it compiles each step, as in `fit`.
    """

    number = GraphNumber

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loops = Programs(lambda loop: getattr(loop, "experimental_get_tracing_count", int)())
        self._xla = Programs(lambda loop: loop.experimental_get_tracing_count())
        self._xla_from: float = math.inf
        self._is_xla = False
        self._specs: dict[Kind, Any] = {}
        self._paces: dict[Kind, Pace] = defaultdict(Pace)
        self._is_jit = self._obeys_jit()
        if self._is_jit:  # Each genome has a program, and each blend would need two.
            self._blend = Blend({})

    @property
    def device(self) -> str:
        """See `Trainer`."""
        gpus = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        names = [detail.get("device_name", "GPU") for detail in details]
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
        layers = self._network._flatten_layers()
        if not all(layer.supports_jit for layer in layers):
            return "a layer of the network does not support it (`supports_jit=False`)"
        return self._slow()

    def _slow(self) -> str | None:
        """Tell what XLA takes too long to compile."""
        layers = self._network._flatten_layers()
        slow = [layer.name for layer in layers if isinstance(layer, CONVOLUTIONS)]
        if not slow or tf.config.list_physical_devices("GPU"):
            return None
        return f"it takes minutes to compile a convolution ({slow[0]!r}) for the CPU"

    def _obeys_jit(self) -> bool:
        """Tell whether XLA compiles each step, as the user's `compile` asked; else say why not.

        On a GPU nobody need have asked: it is Keras' own choice there, made for one network.
        """
        network, has_gpu = self._network, tf.config.list_physical_devices("GPU")
        if has_gpu or network.run_eagerly or not network.jit_compile:
            return False
        slow = self._slow()
        if slow:
            warn(
                f"`jit_compile=True` of {network.name!r} is not followed: {slow}, and each genome "
                "needs a program of its own. The weights are those of `fit` without it."
            )
        return not slow

    def compile_from(self, epochs: int) -> None:
        """See `XlaTrainer`."""
        obstacle = self.obstacle("xla")
        if obstacle is None:
            self._xla_from = epochs
        else:  # The run was begun where there was none: its data was held, say.
            warn(f"XLA is not used as before: {obstacle}.")

    def measure_xla(self) -> dict[str, float]:
        """See `XlaTrainer`."""
        size = self._batch_size
        order = np.arange(min(self._samples // size, MEASURED) * size)
        epochs = self._samples / len(order)
        first, seconds = {}, {}
        for way, self._is_xla in (("graph", False), ("xla", True)):
            first[way], *rest = (self._seconds(order) for _ in range(4))
            seconds[way] = min(rest)
        self._is_xla = False
        return {
            "graph epoch": seconds["graph"] * epochs,
            "xla epoch": seconds["xla"] * epochs,
            "xla compilation": max(first["xla"] - seconds["xla"], 0.0),
        }

    def train(
        self,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator | None,
        on_epoch: Callable[[Epoch], None],
        rates: Sequence[float] | None = None,
    ) -> tuple[Epoch, ...]:
        """See `Trainer`."""
        self._is_xla = epochs >= self._xla_from
        return super().train(epochs, order, noise, on_epoch, rates)

    def _seconds(self, order: np.ndarray) -> float:
        begun = time.perf_counter()
        self._steps("train", order, self._batch_size)
        return time.perf_counter() - begun

    @classmethod
    def foreign_state(cls, network: keras.Model) -> list[str]:
        """See `KerasTrainer`; Keras neither knows nor archives TensorFlow's own variables."""
        layers = network._flatten_layers()
        named = ((layer.name, *found) for layer in layers for found in held(layer))
        return [f"{layer}.{name} of TensorFlow" for layer, name, v in named if _is_foreign(v)]

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Mapping[str, Any]:
        loop, size, pace = self._loop(kind), tf.constant(batch_size, tf.int64), self._paces[kind]
        data = leaves(self._sources[kind])
        done, logs = 0, dict[str, Any]()
        if kind == "train" and self._is_xla and not self._blend.is_on:
            done, logs = self._xla_steps(order, batch_size)
        while done < len(order) and _GOES_ON[kind](logs):
            part = order[done : done + pace.steps * batch_size]
            with pace.measured(len(part) / batch_size):
                logs = loop(data, tf.constant(part, tf.int64), size)
            done += len(part)
        return logs

    def _xla_steps(self, order: np.ndarray, batch_size: int) -> tuple[int, dict[str, Any]]:
        """Take the steps whose batches are full; return how many samples that were."""
        places, full = tf.constant(order, tf.int64), len(order) // batch_size
        key = (name_of(self._network.optimizer), batch_size, self._chosen, len(order))
        loop = self._xla.get(key, lambda: self._xla_loop(batch_size))
        pace, done, logs = self._xla.pace(key), 0, dict[str, Any]()
        with self._fixed():  # For the first call, which traces.
            while done < full and _GOES_ON["train"](logs):
                steps = min(pace.steps, full - done)
                with pace.measured(steps):
                    logs = loop(places, tf.constant(done), tf.constant(done + steps))
                done += steps
        return done * batch_size, logs

    def _xla_loop(self, batch_size: int) -> Any:
        step, data = self._network.train_step, self._sources["train"]
        return xla_loop_over(step, data, _GOES_ON["train"], batch_size)

    @property
    def _chosen(self) -> tuple[str, ...]:
        return tuple(switch.chosen for switch in self._switches.values())

    @contextlib.contextmanager
    def _fixed(self) -> Iterator[None]:
        """Have activations be the chosen ones only: XLA takes long to compile a choice."""
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
        spec, optimizer = self._spec(kind), name_of(self._network.optimizer)
        # XLA takes long to compile a choice: there, each genome has a program.
        fixed = self._chosen if self._is_jit else ()
        key = (kind, optimizer if kind == "train" else None, fixed, self._blend.is_on)
        loop = self._loops.get(key, lambda: self._made_loop(kind, spec))
        if self._network.run_eagerly:
            return loop
        # Called as a whole, TensorFlow would warn of many functions of one name being traced.
        with self._fixed() if self._is_jit else contextlib.nullcontext():
            return loop.get_concrete_function()

    def _made_loop(self, kind: Kind, spec: list[tf.TensorSpec]) -> Any:
        network = self._network
        return loop_over(
            network.train_step if kind == "train" else network.test_step,
            self._structure(kind),
            spec,
            _GOES_ON[kind],
            network.run_eagerly,
            self._is_jit,
        )

    def _structure(self, kind: Kind) -> Any:
        return mapped(lambda _: True, self._sources[kind])

    def _spec(self, kind: Kind) -> list[tf.TensorSpec]:
        """Return what the data of that kind may look like; the longer a stream, the wider."""
        found = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in leaves(self._sources[kind])]
        known = self._specs.get(kind, found)
        wider = [a.most_specific_common_supertype([b]) for a, b in zip(known, found, strict=True)]
        if wider != known:  # Batches of another shape: traced anew, for any shape.
            self._loops.forget(lambda key: key[0] == kind)
        self._specs[kind] = wider
        return wider


def _is_foreign(item: Any) -> bool:
    return isinstance(item, tf.Variable) or (isinstance(item, tf.Module) and bool(item.variables))


# A training that has diverged stops at once; an evaluation is one of all samples, as in Keras.
_GOES_ON: dict[Kind, Step] = {"train": goes_on, "test": lambda logs: True}
