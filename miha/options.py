"""The policies of a run: how it searches, what it may cost, where its clones train."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Any, Literal, get_args

from miha.errors import ArgumentError
from miha.records import FinalData, Mode, as_loss
from miha.utils.keywords import explains_keywords
from miha.validation import check_integer, check_number, check_one_of, check_share

PopulationWay = Literal["auto", "fused", "sequential"]
Compiler = Literal["auto", "exact", "xla"]
WorkersChoice = int | Literal["auto"] | None


@explains_keywords(
    "miha.Search",
    {
        "prune": "Pruning is gone: it made no difference. Leave it out.",
        "racing": "Racing is gone: it did not pay. Leave it out.",
        "adaptive": "Choice that learns is gone: it made no difference. Leave it out.",
        "recovery": "Write fitness=miha.LevelAndSlope(recovery=True) in `miha.MIHA`.",
    },
)
@dataclass(frozen=True)
class Search:
    """Who is in a population, and who wins.

    Args:
        control: Whether clone 0 of each population stays unchanged.
        restarts: In how many cycles, from the first, the last clone is a restart: fresh weights,
            an adaptive optimizer and one rectifier for all layers. A cycle that rests has none,
            and neither has one where that would leave no mutant. The first one is Adam at
            0.001, relu and batches of 32; the others are drawn.
        margin: The fittest mutant must be better than the control by this many times the noise
            of the monitored value, else the control wins. The noise is estimated from the epochs
            before. 0: the fittest wins, however small its lead.
        rest: Whether a cycle trains the network alone, for all epochs of its population, after a
            population that was not worth its epochs. After each further one, more cycles rest.
        backtrack: The share by which the network's monitored value may be worse than the best
            one of the run before the run goes back to that one. 1: twice as large. None: never.
        anneal: Whether the learning rate falls along a cosine in the last m epochs.
        crossover: Whether the two fittest clones are joined. Their child is evaluated, not
            trained, and wins where it is better than the winner by the margin.
        restore_best: Whether the run ends with its best network, where that is not the last one.
            Networks that differ by less than twice the noise of a value are equally good.
        final_data: What the last m epochs train on: ``"train"``, or ``"all"``: the validation
            data, too. The run then ends with its last network, whose values on validation data
            say nothing any more: it takes ``restore_best=False``, no target, and arrays.

    Raises:
        ArgumentError: An option breaks its rule.
    """

    control: bool = True
    restarts: int = 4
    margin: float = 1.0
    rest: bool = True
    backtrack: float | None = 1.0
    anneal: bool = True
    crossover: bool = False
    restore_best: bool = True
    final_data: FinalData = "train"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "bool":
                _set(self, field.name, bool(getattr(self, field.name)))
        _set(self, "restarts", check_integer("restarts", self.restarts, 0))
        _set(self, "margin", check_share("margin", self.margin) or 0.0)
        _set(self, "backtrack", check_share("backtrack", self.backtrack))
        check_one_of("final_data", self.final_data, get_args(FinalData))
        if self.final_data == "all" and self.restore_best:
            raise ArgumentError(
                "`final_data` must not be 'all' where a run ends with its best network: the last "
                "one is trained on the data that would tell which is the best. Received: "
                "final_data='all' and restore_best=True. Write "
                "miha.Search(final_data='all', restore_best=False)."
            )

    @classmethod
    def of_2021(cls) -> Search:
        """Return the method as it was published: the fittest clone wins, whatever it is."""
        return cls(
            control=False,
            restarts=0,
            margin=0.0,
            rest=False,
            backtrack=None,
            anneal=False,
            restore_best=False,
        )


@explains_keywords(
    "miha.Budget",
    {
        "max_seconds": "Write seconds=...",
        "max_epochs": "Write miha.MIHA(epochs=...).",
        "epochs": "Write miha.MIHA(epochs=...).",
    },
)
@dataclass(frozen=True)
class Budget:
    """What a run may cost, and when it is good enough. Each may be None: no limit.

    Args:
        seconds: Seconds that the run may train, of all its processes. A cycle is begun only if,
            by the epochs measured so far, enough is left for it and for the last m epochs.
        patience: Cycles in a row without a better monitored value after which the last m epochs
            follow.
        target: The monitored value that ends the run after the cycle in which any network has
            reached it. The run ends with that network, without the last m epochs.

    Raises:
        ArgumentError: A limit is no number, or too small.
    """

    seconds: float | None = None
    patience: int | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None:
            _set(self, "seconds", _check_seconds("seconds", self.seconds))
        if self.patience is not None:
            _set(self, "patience", check_integer("patience", self.patience, 1))
        if self.target is not None:
            _set(self, "target", check_number("target", self.target))

    @property
    def is_open(self) -> bool:
        """Whether the run may end before its last cycle."""
        return bool(self.limits)

    def is_at_least(self, other: Budget, mode: Mode) -> bool:
        """Return whether none of its limits ends a run earlier than another budget does.

        Args:
            other: The budget to compare it with.
            mode: Whether the target is better small or large.
        """
        lengths = zip(
            self._lengths(mode),
            other._lengths(mode),
            strict=True,
        )
        return all(own >= than for own, than in lengths)

    def _lengths(self, mode: Mode) -> list[float]:
        """Return the limits as numbers of which the larger one ends a run later."""
        target = None if self.target is None else -as_loss(self.target, mode)
        limits = (
            self.seconds,
            self.patience,
            target,
        )
        return [inf if limit is None else limit for limit in limits]

    @property
    def limits(self) -> str:
        """What may end the run before its last cycle, in words; empty where nothing may."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name}={v:g}" for name, v in values.items() if v is not None)


@explains_keywords("miha.Execution", {"asynchronous": "A population is always waited for."})
@dataclass(frozen=True)
class Execution:
    """Where and how clones train. The numbers of a run do not depend on the executor.

    Args:
        executor: ``"local"``: in this process; ``"ray"`` or a `miha.RayExecutor`: on workers of
            Ray, on this machine or on a cluster; or an executor of your own.
        workers: How many clones train at once in processes of this machine, where the executor is
            local. Worth it where clones train for seconds. By default, as with 1, they train one
            after another in this process. ``"auto"``: one for each core, where there is more than
            a minute of clones to train and the first populations show that it is faster.
        population: ``"fused"``: clones of one optimizer class and batch size train together, in
            one program, on Keras' JAX backend; ``"sequential"``: one after another; ``"auto"``:
            together on a GPU with enough memory where that is measured to be faster.
        compiler: What compiles an epoch on TensorFlow. ``"exact"``: weights are those of `fit` bit
            for bit; ``"xla"``: one program for a whole epoch, which is faster and rounds otherwise,
            for each optimizer class and batch size; ``"auto"``: in a run of 20,000 steps and more,
            XLA for the network and for clones that need no other program, else ``"exact"``.
            Convolutions on a CPU, streams and layers that XLA cannot compile stay exact.
        data_memory: Bytes of arrays to keep on the device. Larger arrays are read in parts, with
            the same result. A quarter of the device's free memory by default.
        checkpoint_seconds: How often a long training notes how far it has come, where an epoch
            ends: a run that is killed in it goes on from there. 0: after each epoch. None: never.
            At most 1 % of the time is spent on it. Clones on workers and in one program begin
            again.
        check_finite: Whether data that is NaN or infinite is refused. `fit` does not look: False
            is for what is missing, where a layer fills it or the loss leaves it out.

    Raises:
        ArgumentError: An option breaks its rule.
    """

    executor: Any = "local"
    workers: WorkersChoice = None
    population: PopulationWay = "auto"
    compiler: Compiler = "auto"
    data_memory: int | None = None
    checkpoint_seconds: float | None = 60.0
    check_finite: bool = True

    def __post_init__(self) -> None:
        check_one_of("population", self.population, ("auto", "fused", "sequential"))
        check_one_of("compiler", self.compiler, ("auto", "exact", "xla"))
        _set(self, "check_finite", bool(self.check_finite))
        if self.data_memory is not None:
            check_integer("data_memory", self.data_memory, 0)
        if self.workers is not None:
            self._check_workers(self.workers)
        if self.checkpoint_seconds is not None:
            name = "checkpoint_seconds"
            _set(self, name, _check_seconds(name, self.checkpoint_seconds, is_zero_allowed=True))
        if self.population == "fused" and self.is_remote:
            raise ArgumentError(
                "`population` must not be 'fused' where clones train on workers, one on each. "
                "Received: both. Leave `population` out, or let the clones train in this process."
            )

    @property
    def is_remote(self) -> bool:
        """Whether clones train in other processes."""
        return not self._is_local or self.workers not in (None, 1, "auto")

    @property
    def _is_local(self) -> bool:
        return isinstance(self.executor, str) and self.executor == "local"

    def _check_workers(self, workers: Any) -> None:
        if workers != "auto":
            check_integer("workers", workers, 1)
        if not self._is_local:
            raise ArgumentError(
                "`workers` says how many processes of this machine train clones, where no other "
                f"executor does. Received: workers={workers!r} beside executor={self.executor!r}. "
                "On Ray, write executor=miha.RayExecutor(workers=...)."
            )


def _check_seconds(
    name: str,
    value: Any,
    is_zero_allowed: bool = False,
) -> float:
    number = check_number(name, value)
    is_large_enough = number >= 0 if is_zero_allowed else number > 0
    if not (is_large_enough and number < inf):
        rule = "finite and not negative" if is_zero_allowed else "positive"
        raise ArgumentError(
            f"`{name}` must be {rule}. Received: {name}={value!r}. "
            "Give a number of seconds, or None."
        )
    return number


def _set(policy: Any, name: str, value: Any) -> None:
    """Set a field of a frozen object while it is made."""
    object.__setattr__(policy, name, value)
