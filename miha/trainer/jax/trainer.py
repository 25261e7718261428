"""The JAX trainer: Keras' stateless `train_step` in a compiled loop."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from miha.data.arrays import Data
from miha.data.stream import Stream
from miha.records import Epoch, Genome, Snapshot, Transition
from miha.trainer.base import KerasTrainer, Kind, goes_on
from miha.trainer.genes.optimizers import name_of
from miha.trainer.jax import loops
from miha.trainer.jax import memory as room
from miha.trainer.jax.cache import keep_programs
from miha.trainer.jax.elementwise import choose
from miha.trainer.jax.fused import Clones, padded, stack
from miha.trainer.jax.loops import Logs, in_batches
from miha.trainer.jax.sharding import Sharding
from miha.trainer.programs import Programs
from miha.trainer.protocol import Origin, Trained, Way

MEASURED = 32
"""Steps that are taken to measure which way is the faster one."""


class JaxTrainer(KerasTrainer):
    """Trains one live Keras network on JAX, or several clones in one program.

    The epoch is a compiled loop over Keras' own stateless `train_step`. JAX compiles for fixed
    shapes: there is a program for each optimizer class and batch size, and one more where
    the last batch is smaller, made when it is first needed. Activations and their like are
    chosen at run time.
    """

    is_padded = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        distribution = keras.distribution.distribution()
        self._sharding = None if distribution is None else Sharding(distribution)
        super().__init__(*args, **kwargs)
        keep_programs()
        self._programs = Programs(lambda loop: getattr(loop, "_cache_size", int)())
        for switch in self._switches.values():
            switch.choose_by = choose

    @property
    def device(self) -> str:
        """See `Trainer`."""
        kinds = ", ".join(dict.fromkeys(device.device_kind for device in jax.devices()))
        name = f"JAX {jax.__version__} on {'CPU' if kinds == 'cpu' else kinds}"
        parts = 1 if self._sharding is None else self._sharding.devices
        return f"{name}, batches shared out to {parts} devices" if parts > 1 else name

    @property
    def traces(self) -> int:
        """See `Trainer`."""
        return self._programs.compiled

    @property
    def _is_eager(self) -> bool:
        """Whether `fit` compiles nothing, as the user's `compile` asked or a layer demands."""
        return bool(self._network.run_eagerly or not self._network.jit_compile)

    @property
    def compiler(self) -> str:
        """See `Trainer`."""
        return "eager" if self._is_eager else "xla"

    @property
    def is_parallel(self) -> bool:
        """See `Trainer`."""
        return bool(jax.default_backend() != "cpu")

    @classmethod
    def probe(cls, network: keras.Model, batch: Any) -> Logs:
        """See `KerasTrainer`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        logs: Logs = network.test_on_batch(x, y, sample_weight, return_dict=True)
        return logs

    def obstacle(self, way: Way) -> str | None:
        """See `Trainer`."""
        if way != "fused":
            return super().obstacle(way)
        if self._sharding is not None:
            return "its batches are shared out to several devices (`keras.distribution`)"
        if self._streams:
            return "the data is streamed"
        if self._is_eager:
            return "the network is not compiled (`run_eagerly=True` or `jit_compile=False`)"
        try:
            _ = self._clone_bytes
        except Exception as error:  # What a layer of the user's own cannot do is theirs.
            return f"a step of {self._network.name!r} cannot be taken for several: {error}"
        return None

    def clones_at_once(self, most: int) -> int:
        """See `PopulationTrainer`."""
        number = padded(most)
        while number > 1 and number * self._clone_bytes > room.SHARE * room.free_bytes():
            number //= 2
        return number

    def goes_alone(self, parent: Genome, genome: Genome, transition: Transition) -> bool:
        """See `PopulationTrainer`; in a group, a clone would take the steps of every activation."""
        old = dict(set(parent.activations) - set(genome.activations))
        return transition == "keep_function" and bool(self._blend.changed(old))

    def measure(self, clones: int) -> dict[str, float]:
        """See `PopulationTrainer`."""
        size, order = self._batch_size, np.arange(self._samples)
        stacked = self._stacked([self.genome] * clones, self.snapshot(), np.random.default_rng(0))
        stop = min(self._samples // size, MEASURED)
        alone = partial(self._take, "train", order, size, 0, stop)
        together = partial(self._take_of, stacked, "train", order, size, 0, stop)
        stacked.begin([variable.value for variable in self._network.metrics_variables])
        return {"alone": _seconds(alone), "together": _seconds(together)}

    def train_population(
        self,
        genomes: Sequence[Genome],
        values: Snapshot,
        epochs: int,
        order: np.random.Generator,
        noise: np.random.Generator,
        on_epoch: Callable[[int, Epoch], None],
        origins: Sequence[Origin] | None = None,
    ) -> list[Trained]:
        """See `PopulationTrainer`."""
        clones = self._stacked(genomes, values, noise, origins)
        curves: list[list[Epoch]] = [[] for _ in genomes]
        for _ in range(epochs):
            for place, epoch in self._epoch_of(clones, order):
                curves[place].append(epoch)
                on_epoch(place, epoch)
        optimizer = genomes[0].optimizer
        return [
            Trained(tuple(curve), partial(self._snapshot_of, clones, place, optimizer))
            for place, curve in enumerate(curves)
        ]

    def _steps(self, kind: Kind, order: np.ndarray, batch_size: int) -> Logs:
        return in_batches(
            order,
            batch_size,
            self._programs.pace(self._key(kind, batch_size)),
            partial(self._take, kind),
            lambda logs: kind == "test" or goes_on(logs),
        )

    def _take(self, kind: Kind, order: np.ndarray, batch_size: int, start: int, stop: int) -> Logs:
        """Take the steps from one to another, and give their values to the network."""
        indices = [choice.index.value for choice in self._choices]
        variables = self._variables(kind)
        state = tuple([variable.value for variable in group] for group in variables)
        loop, data = self._loop(kind, batch_size), self._spread(self._sources[kind])
        # One program for all parts of a stream: the places after the last are not looked at.
        places = jnp.asarray(np.pad(order, (0, _samples(data) - len(order))))
        logs: Logs
        logs, state = loop(state, data, indices, places, start, stop)
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return logs

    def _hold(self, kind: Kind, source: Data | Stream) -> None:
        super()._hold(kind, source)
        if kind in self._sources:
            self._sources[kind] = self._spread(self._sources[kind])

    def _spread(self, data: Any) -> Any:
        """Bring data to every device that takes a part of each batch; what is there, stays."""
        return data if self._sharding is None else self._sharding.spread(data)

    def _variables(self, kind: Kind) -> tuple[list[Any], ...]:
        """Return the variables of a step's state, in Keras' order."""
        network = self._network
        first = (network.trainable_variables, network.non_trainable_variables)
        optimizer = (network.optimizer.variables,) if kind == "train" else ()
        return (*first, *optimizer, network.metrics_variables)

    def _key(self, kind: Kind, batch_size: int, clones: int = 0) -> tuple[str, int, int]:
        """Return what a program is made for; the network alone is no clone."""
        name = f"train {name_of(self._network.optimizer)}" if kind == "train" else kind
        name += " blending" * self._blend.is_on
        return name, batch_size, clones

    def _loop(self, kind: Kind, batch_size: int, clones: int = 0) -> Any:
        """Return the compiled loop; `train_step` binds the optimizer when it is traced."""
        step = self._network.train_step if kind == "train" else self._network.test_step
        alone = loops.eager_loop if self._is_eager else loops.compiled_loop
        arguments = (step, self._choices, batch_size, kind == "test")
        key = self._key(kind, batch_size, clones)
        if clones:
            return self._programs.get(key, lambda: loops.fused_loop(*arguments))
        return self._programs.get(key, lambda: alone(*arguments, self._sharding))

    def _stacked(
        self,
        genomes: Sequence[Genome],
        values: Snapshot,
        noise: np.random.Generator,
        origins: Sequence[Origin] | None = None,
    ) -> Clones:
        """Express each genome in the live network, and stack the values that it then has."""
        # On the device, once for all of them.
        variables, slots = (tuple(map(jnp.asarray, v)) for v in (values.variables, values.slots))
        start, found = Snapshot(variables, values.optimizer, slots), []
        inherited = [None] * len(genomes)
        for genome, origin in zip(genomes, origins or inherited, strict=True):
            self.restore(start)
            self._express_from(genome, origin)
            self._reseed(copy.deepcopy(noise))
            groups = self._variables("train")[:3]
            indices = [choice.index.value for choice in self._choices]
            found.append((*([v.value for v in group] for group in groups), indices))
        number = padded(len(found))
        *state, indices = stack(found + found[-1:] * (number - len(found)))
        return Clones(tuple(state), indices, np.arange(number) < len(found))

    def _express_from(self, genome: Genome, origin: Origin | None) -> None:
        if origin is None:
            self.express(genome)
            return
        self.express(origin.parent)
        self.express(genome, origin.transition, origin.rng)

    def _epoch_of(self, clones: Clones, order: np.random.Generator) -> Iterator[tuple[int, Epoch]]:
        """Train the clones that go on for an epoch; yield what each of them has logged."""
        begun, before = time.perf_counter(), np.flatnonzero(clones.alive).tolist()
        if before:
            logs = self._epoch_logs(order, partial(self._steps_of, clones))
            share = (time.perf_counter() - begun) / len(before)
            for place in before:
                yield place, Epoch(_of_one(logs, place), share)

    def _steps_of(self, clones: Clones, kind: Kind, order: np.ndarray, batch_size: int) -> Logs:
        """Do to clones what `_steps` does to the network."""
        clones.begin([variable.value for variable in self._network.metrics_variables])
        pace = self._programs.pace(self._key(kind, batch_size, clones.number))
        return in_batches(
            order,
            batch_size,
            pace,
            partial(self._take_of, clones, kind),
            lambda _: kind == "test" or clones.alive.any(),
        )

    def _take_of(
        self, clones: Clones, kind: Kind, order: np.ndarray, size: int, start: int, stop: int
    ) -> Logs:
        """Do to clones what `_take` does to the network."""
        loop, indices = self._loop(kind, size, clones.number), clones.indices
        if kind == "test" and self._loss is not None:
            # Its own loss is chosen in the live network meanwhile.
            indices = [*indices[:-1], jnp.full(clones.number, self._loss.index.value)]
        places = jnp.asarray(order)
        return clones.take(kind, loop, self._sources[kind], indices, places, start, stop)

    @cached_property
    def _clone_bytes(self) -> int:
        """The estimated memory of one clone in a population: its values, and those of a step."""
        network = self._network
        state = tuple([variable.value for variable in group] for group in self._variables("train"))
        batch = jax.tree.map(lambda a: a[: 4 * self._batch_size], self._sources["train"])
        indices = [choice.index.value for choice in self._choices]
        step = loops.step_of_many(network.train_step, self._choices)
        two = jax.tree.map(lambda a: jnp.stack([a, a]), (state, indices))
        program = jax.make_jaxpr(step)(*two, batch)
        # Most optimizers have two slots for each weight, if not the user's own.
        slots = max(room.bytes_of(state[2]), 2 * room.bytes_of(state[0]))
        held = room.bytes_of(state[:2]) + slots
        return held + room.peak_bytes(program.jaxpr) // 2

    def _snapshot_of(self, clones: Clones, place: int, optimizer: str) -> Snapshot:
        trainable, fixed, slots = clones.values_of(place)
        network = self._network
        variables = (*network.trainable_variables, *network.non_trainable_variables)
        found = {id(v): value for v, value in zip(variables, (*trainable, *fixed), strict=True)}
        return Snapshot(tuple(found[id(v)] for v in network.variables), optimizer, tuple(slots))


def _samples(data: Any) -> int:
    """Return for how many samples data has room, all of them used or not."""
    return len(jax.tree.leaves(data)[0])


def _of_one(logs: Logs, place: int) -> dict[str, Any]:
    """Return what one clone has logged; a step of the user's own may log structures."""
    found: dict[str, Any] = jax.tree.map(
        lambda value: value[place], dict(logs), is_leaf=lambda value: isinstance(value, list)
    )
    return found


def _seconds(steps: Callable[[], Any]) -> float:
    """Measure some steps when their program has been compiled."""
    steps()
    begun = time.perf_counter()
    jax.block_until_ready(steps())
    return time.perf_counter() - begun
