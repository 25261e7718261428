"""How many epochs a run has: the rule that chooses m, n, k, c and pop_size from a total."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from miha.errors import ArgumentError
from miha.options import Budget
from miha.records import Schedule
from miha.validation import check_integer

DEFAULT = Schedule(m=10, n=3, k=3, c=10, pop_size=5)

SHARE_OF_ENDS = 2 * DEFAULT.m / DEFAULT.epochs
"""Share of a run's epochs that are its first and its last m: 2 x 10 of 200."""

FEWEST_CYCLES = 4
"""A few short cycles search more than a single long one."""

_LOWEST = {"m": 1, "n": 1, "k": 0, "c": 0, "pop_size": 1}


def choose_schedule(
    epochs: int | None = None,
    m: int | None = None,
    n: int | None = None,
    k: int | None = None,
    c: int | None = None,
    pop_size: int | None = None,
    control: bool = True,
) -> Schedule:
    """Return the schedule of a run, from its letters, its total, or both.

    Without a total, letters that are not given are 10, 3, 3, 10 and 5. With a total, letters that
    are given are kept, and the others are chosen: n and k are 3, 2 or 1, pop_size is 5, and c and
    m fill the total. The total is never exceeded. Of all schedules that fit, the one is taken
    that leaves the fewest epochs over and is nearest to the default's shares: one tenth of the
    epochs in the two ends, at least four cycles, n = k = 3. With ``epochs=200`` that is the
    default. A c that is given is cut only where the total has no room for so many cycles.

    Args:
        epochs: All epochs that the run may train, at least 2; None: what the letters make.
        m: Epochs of the first and of the last training, at least 1.
        n: Epochs of each clone, at least 1.
        k: Epochs of each winner, at least 0.
        c: Cycles, at least 0.
        pop_size: Clones in a cycle, at least 1; at least 2 with a control.
        control: Whether one of them is the unchanged control.

    Raises:
        ArgumentError: A letter is no integer or too small, or the total has no room for them.
    """
    given = {"m": m, "n": n, "k": k, "c": c, "pop_size": pop_size}
    for name, value in given.items():
        if value is not None:
            given[name] = check_integer(name, value, _LOWEST[name])
    if control and pop_size is not None and pop_size < 2:
        raise ArgumentError(
            "`pop_size` must be at least 2 when clone 0 is the unchanged control. "
            f"Received: pop_size={pop_size}. Raise it, or set search=miha.Search(control=False)."
        )

    if epochs is None:
        letters = {name: getattr(DEFAULT, name) for name in given}
        letters |= {name: value for name, value in given.items() if value is not None}
        return Schedule(**letters)
    return _fitting(check_integer("epochs", epochs, 2), given)


def _fitting(
    epochs: int,
    given: dict[str, int | None],
) -> Schedule:
    """Return the best schedule of at most so many epochs."""
    m = given["m"]
    ends = 2 * (1 if m is None else m)
    if epochs < ends:
        raise ArgumentError(
            f"`epochs` must be at least 2 m = {ends}: the first and the last training. "
            f"Received: epochs={epochs}. Raise it, or lower m."
        )
    wanted = given["c"]
    candidates = _candidates(epochs, given)
    return min(candidates, key=lambda schedule: _distance(schedule, epochs, wanted))


def _candidates(
    epochs: int,
    given: dict[str, int | None],
) -> Iterator[Schedule]:
    """Yield every schedule that keeps what is given and fits the total."""
    lengths = (3, 2, 1)
    all_n = lengths if given["n"] is None else (given["n"],)
    all_k = lengths if given["k"] is None else (given["k"],)
    pop_size = DEFAULT.pop_size if given["pop_size"] is None else given["pop_size"]
    least_ends = 2 * (1 if given["m"] is None else given["m"])

    for n, k in product(all_n, all_k):
        most_cycles = (epochs - least_ends) // (pop_size * n + k)
        if given["c"] is not None:
            most_cycles = min(most_cycles, given["c"])
        # A number of cycles that is given is kept as far as the total has room.
        fewest = 0 if given["c"] is None else most_cycles
        for c in range(fewest, most_cycles + 1):
            m = given["m"] or (epochs - c * (pop_size * n + k)) // 2
            yield Schedule(m, n, k, c, pop_size)


def _distance(
    schedule: Schedule,
    epochs: int,
    wanted: int | None,
) -> tuple[bool, int, int, float]:
    """Return how far a schedule is from what is wanted; the smallest is taken."""
    has_no_cycle = schedule.c == 0
    cut_cycles = 0 if wanted is None else wanted - schedule.c
    left_over = epochs - schedule.epochs
    share = 2 * schedule.m / schedule.epochs
    missing_cycles = max(0, FEWEST_CYCLES - schedule.c)
    # Ends that are too short cost double: the last m epochs are those that anneal.
    far_off = max(share - SHARE_OF_ENDS, 2 * (SHARE_OF_ENDS - share))
    oddity = far_off + 0.1 * missing_cycles
    # Longer trials tell more, but a share of the ends that is far off costs more.
    oddity += 0.04 * (DEFAULT.n - schedule.n) + 0.03 * (DEFAULT.k - schedule.k)
    return has_no_cycle, cut_cycles, left_over, oddity


def announcement(
    schedule: Schedule,
    folder: str,
    budget: Budget,
) -> str:
    """Say how many epochs there will be, or at most, before the first.

    Args:
        schedule: The run's.
        folder: Where it is written.
        budget: What may end it before its last cycle.
    """
    most = "at most " if budget.is_open else ""
    end = f", fewer where {budget.limits} ends it" if budget.is_open else ""
    return (
        f"MIHA trains {most}{schedule.epochs} epochs: 2 x m={schedule.m}, and c={schedule.c} "
        f"cycles of pop_size={schedule.pop_size} clones x n={schedule.n} and k={schedule.k}{end}. "
        f"Folder: {folder}"
    )
