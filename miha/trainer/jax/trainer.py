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
from miha.trainer.base import KerasTrainer, Kind, Logs, should_continue
from miha.trainer.genes.inputs import InputChanges
from miha.trainer.genes.optimizers import inner, name_of
from miha.trainer.jax import loops, memory
from miha.trainer.jax.cache import keep_programs
from miha.trainer.jax.fused import Clones, padded, stack
from miha.trainer.jax.loops import State
from miha.trainer.live_network import assign
from miha.trainer.network.keras_internals import all_iterations, build_for
from miha.trainer.programs import Programs
from miha.trainer.protocol import Origin, Trained, Way

MEASURED = 32
"""Steps that are taken to measure which way is the faster one."""


class JaxTrainer(KerasTrainer):
    """Trains one live Keras network on JAX, or several clones in one program.

    The epoch is a compiled loop over Keras' own stateless `train_step`. JAX compiles for fixed
    shapes: there is a program for each optimizer class and batch size, and one more where
    the last batch is smaller, made when it is first needed. Activations and other genes are
    chosen at run time.
    """

    is_padded = True

    def __init__(
        self,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._sharding: loops.Sharding | None = None
        distribution = keras.distribution.distribution()
        if distribution is not None:
            self._sharding = loops.Sharding(distribution)
        super().__init__(*args, **kwargs)
        keep_programs()
        self._programs = Programs(_traces_of)
        for switch in self._switches.values():
            switch.choose_by = loops.switch_elementwise

    @property
    def device(self) -> str:
        """See `Trainer`."""
        kinds = dict.fromkeys(device.device_kind for device in jax.devices())
        names = ", ".join(kinds)
        if names == "cpu":
            names = "CPU"
        name = f"JAX {jax.__version__} on {names}"
        if self._sharding is None or self._sharding.devices == 1:
            return name
        return f"{name}, batches shared out to {self._sharding.devices} devices"

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
    def probe(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """See `KerasTrainer`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        logs: Logs = network.test_on_batch(x, y, sample_weight, return_dict=True)
        return logs

    @classmethod
    def probe_training(
        cls,
        network: keras.Model,
        batch: Any,
    ) -> Logs:
        """See `KerasTrainer`."""
        # Not `train_on_batch`, which gives a step parts that are None, as `fit` does not.
        build_for(network, batch)
        groups = (
            network.trainable_variables,
            network.non_trainable_variables,
            network.optimizer.variables,
            network.metrics_variables,
        )
        state = tuple([variable.value for variable in group] for group in groups)
        logs: Logs
        logs, _ = network.train_step(state, batch)
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
        except Exception as error:
            # What a custom layer cannot do is its author's affair.
            return f"a step of {self._network.name!r} cannot be taken for several: {error}"
        return None

    def clones_at_once(self, most: int) -> int:
        """See `PopulationTrainer`."""
        number = padded(most)
        while number > 1:
            limit = memory.SHARE * memory.free_bytes()
            if number * self._clone_bytes <= limit:
                break
            number //= 2
        return number

    def goes_alone(
        self,
        parent: Genome,
        genome: Genome,
        transition: Transition,
    ) -> bool:
        """See `PopulationTrainer`; in a group, a clone would take the steps of every activation."""
        if transition != "keep_function":
            return False
        old = set(parent.activations) - set(genome.activations)
        return bool(self._blend.changed(dict(old)))

    def measure(
        self,
        clones: int,
    ) -> dict[str, float]:
        """See `PopulationTrainer`."""
        genomes = [self.genome] * clones
        noise = np.random.default_rng(0)
        stacked = self._stacked(genomes, self.snapshot(), noise)
        stacked.begin(_values(self._network.metrics_variables))

        size = self._batch_size
        steps = min(self._samples // size, MEASURED)
        order = np.arange(self._samples)
        alone = partial(self._take, "train", order, size, 0, steps)
        together = partial(self._take_of, stacked, "train", order, size, 0, steps)
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
        trained: list[Trained] = []
        for place, curve in enumerate(curves):
            snapshot = partial(self._snapshot_of, clones, place, optimizer)
            trained.append(Trained(tuple(curve), snapshot))
        return trained

    def _train_step_on(self, inputs: InputChanges, train_step: Any) -> Any:
        """See `LiveNetwork`; the number of the step is a part of the state."""

        def step(state: State, batch: Any) -> Any:
            optimizer = self._network.optimizer
            counter = all_iterations(inner(optimizer))
            places = [id(variable) for variable in optimizer.variables]
            steps = state[2][places.index(id(counter))]
            return train_step(state, inputs(batch, steps))

        return step

    def _steps(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        key = self._key(kind, batch_size)
        pace = self._programs.pace(key)

        def is_next(logs: Logs) -> Any:
            return kind == "test" or should_continue(logs)

        take = partial(self._take, kind)
        return loops.in_batches(order, batch_size, pace, take, is_next)

    def _take(
        self,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
        start: int,
        stop: int,
    ) -> Logs:
        """Take the steps from one to another, and give their values to the network."""
        loop = self._loop(kind, batch_size)
        data = self._spread(self._sources[kind])
        # One program for all parts of a stream: the places after the last are not looked at.
        missing = _samples(data) - len(order)
        places = np.pad(order, (0, missing))

        variables = self._variables(kind)
        state = tuple(map(_values, variables))
        indices = self._indices
        places = jnp.asarray(places)
        logs: Logs
        logs, state = loop(state, data, indices, places, start, stop)
        for group, values in zip(variables, state, strict=True):
            assign(group, values)
        return logs

    def _add_source(
        self,
        kind: Kind,
        source: Data | Stream,
    ) -> None:
        super()._add_source(kind, source)
        if kind in self._sources:
            self._sources[kind] = self._spread(self._sources[kind])

    def _spread(self, data: Any) -> Any:
        """Bring data to every device that takes a part of each batch."""
        return data if self._sharding is None else self._sharding.spread(data)

    @property
    def _indices(self) -> list[Any]:
        """What is chosen now, in the order of the choices."""
        return [choice.index.value for choice in self._choices]

    def _variables(
        self,
        kind: Kind,
    ) -> tuple[list[Any], ...]:
        """Return the variables of a step's state, in Keras' order."""
        network = self._network
        groups = [network.trainable_variables, network.non_trainable_variables]
        if kind == "train":
            groups.append(network.optimizer.variables)
        return (*groups, network.metrics_variables)

    def _key(
        self,
        kind: Kind,
        batch_size: int,
        clones: int = 0,
    ) -> Any:
        """Return what a program is made for; the network alone is no clone."""
        name: str = kind
        if kind == "train":
            name += f" {name_of(self._network.optimizer)}"
        if self._blend.is_on:
            name += " blending"
        return name, batch_size, clones

    def _loop(
        self,
        kind: Kind,
        batch_size: int,
        clones: int = 0,
    ) -> Any:
        """Return the compiled loop; `train_step` binds the optimizer when it is traced."""
        is_training = kind == "train"
        step = self._network.train_step if is_training else self._network.test_step
        arguments = (step, self._choices, batch_size, not is_training)

        def make() -> Any:
            if clones:
                return loops.fused_loop(*arguments)
            if self._is_eager:
                return loops.eager_loop(*arguments, self._sharding)
            return loops.compiled_loop(*arguments, self._sharding)

        key = self._key(kind, batch_size, clones)
        return self._programs.get(key, make)

    def _stacked(
        self,
        genomes: Sequence[Genome],
        values: Snapshot,
        noise: np.random.Generator,
        origins: Sequence[Origin] | None = None,
    ) -> Clones:
        """Express each genome in the live network, and stack the values that it then has."""
        # On the device, once for all of them.
        start = Snapshot(
            variables=tuple(map(jnp.asarray, values.variables)),
            optimizer=values.optimizer,
            slots=tuple(map(jnp.asarray, values.slots)),
        )
        found: list[State] = []
        for place, genome in enumerate(genomes):
            self.restore(start)
            if origins is None:
                self.express(genome)
            else:
                origin = origins[place]
                self.express(origin.parent)
                self.express(genome, origin.transition, origin.rng)
            self._reseed(copy.deepcopy(noise))
            groups = self._variables("train")[:3]
            found.append((*map(_values, groups), self._indices))

        number = padded(len(found))
        padding = [found[-1]] * (number - len(found))
        *state, indices = stack([*found, *padding])
        alive = np.arange(number) < len(found)
        return Clones(tuple(state), indices, alive)

    def _epoch_of(
        self,
        clones: Clones,
        order: np.random.Generator,
    ) -> Iterator[tuple[int, Epoch]]:
        """Train the living clones for an epoch; yield what each of them has logged."""
        start = time.perf_counter()
        places = np.flatnonzero(clones.alive).tolist()
        if not places:
            return
        logs = self._epoch_logs(order, partial(self._steps_of, clones))
        seconds = time.perf_counter() - start
        share = seconds / len(places)
        for place in places:
            yield place, Epoch(_of_one(logs, place), share)

    def _steps_of(
        self,
        clones: Clones,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
    ) -> Logs:
        """Do to clones what `_steps` does to the network."""
        clones.begin(_values(self._network.metrics_variables))
        key = self._key(kind, batch_size, clones.number)
        pace = self._programs.pace(key)

        def is_next(logs: Logs) -> Any:
            return kind == "test" or clones.alive.any()

        take = partial(self._take_of, clones, kind)
        return loops.in_batches(order, batch_size, pace, take, is_next)

    def _take_of(
        self,
        clones: Clones,
        kind: Kind,
        order: np.ndarray,
        batch_size: int,
        start: int,
        stop: int,
    ) -> Logs:
        """Do to clones what `_take` does to the network."""
        loop = self._loop(kind, batch_size, clones.number)
        indices = clones.indices
        if kind == "test" and self._loss is not None:
            # The user's loss is chosen in the live network meanwhile.
            own = jnp.full(clones.number, self._loss.number.index.value)
            indices = [*indices[:-1], own]
        data = self._sources[kind]
        places = jnp.asarray(order)
        return clones.take(kind, loop, data, indices, places, start, stop)

    @cached_property
    def _clone_bytes(self) -> int:
        """The estimated memory of one clone in a population: its values, and those of a step."""
        state = tuple(map(_values, self._variables("train")))
        samples = 4 * self._batch_size
        batch = loops.rows(self._sources["train"], slice(samples))
        step = loops.step_of_many(self._network.train_step, self._choices)
        *two, indices = stack([(*state, self._indices)] * 2)
        program = jax.make_jaxpr(step)(tuple(two), indices, batch)

        trainable, others, slots, _ = map(memory.bytes_of, state)
        # Most optimizers have two slots for each weight, if not the user's.
        values = trainable + others + max(slots, 2 * trainable)
        return values + memory.peak_bytes(program.jaxpr) // 2

    def _snapshot_of(
        self,
        clones: Clones,
        place: int,
        optimizer: str,
    ) -> Snapshot:
        *values, slots = clones.values_of(place)
        # Keras' order of all variables is another than that of a step's state.
        found: dict[int, np.ndarray] = {}
        groups = self._variables("train")[:2]
        for group, arrays in zip(groups, values, strict=True):
            keys = [id(variable) for variable in group]
            found |= zip(keys, arrays, strict=True)
        variables = [found[id(variable)] for variable in self._network.variables]
        return Snapshot(tuple(variables), optimizer, tuple(slots))


def _traces_of(loop: Any) -> int:
    # A loop that is not compiled is a plain function.
    count = getattr(loop, "_cache_size", None)
    return 0 if count is None else int(count())


def _values(
    variables: Sequence[Any],
) -> list[Any]:
    return [variable.value for variable in variables]


def _samples(data: Any) -> int:
    """Return for how many samples data has room, all of them used or not."""
    return len(jax.tree.leaves(data)[0])


def _of_one(
    logs: Logs,
    place: int,
) -> dict[str, Any]:
    """Return what one clone has logged; a custom step may log structures."""

    def is_list(value: Any) -> bool:
        return isinstance(value, list)

    def pick(values: Any) -> Any:
        return values[place]

    # The first axis of each list counts the clones.
    found: dict[str, Any] = jax.tree.map(pick, dict(logs), is_leaf=is_list)
    return found


def _seconds(
    steps: Callable[[], Any],
) -> float:
    """Measure some steps when their program has been compiled."""
    steps()
    start = time.perf_counter()
    jax.block_until_ready(steps())
    return time.perf_counter() - start
