"""A simulation of a population on 4 to 1,024 workers. Nothing is trained: times are computed.

    python benchmarks/cluster_model.py                       # with assumed times
    python benchmarks/cluster_model.py --measured ray.json   # with those of workers.py

A cycle is: the parent's values go to every machine; clones are handed out one at a time; each
outcome comes back to the driver, which judges and archives it, one after another; the winner
trains. The times of clones are drawn from a lognormal distribution around the measured mean.
Printed is the time of a cycle, against the same on one worker, and the share of the workers' time
that they wait until the population is in, by the order in which clones are handed out. Then the
share that they have nothing to do over a run of ten cycles, the winners' time included.
"""

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORKERS = (4, 16, 64, 256, 1024)
CYCLES = 10


@dataclass(frozen=True)
class Costs:
    """What a cycle is made of; seconds, and bytes.

    Attributes:
        clone: Mean time of a clone's epochs.
        spread: Standard deviation of that, as a share of it.
        overhead: A worker's time for a clone beside its epochs.
        driver: The driver's time for a clone: to take its values, judge and archive it.
        winner: Time of the winner's epochs, in the driver.
        values: Bytes of a network's values, optimizer included.
        bandwidth: Bytes a second between the driver and the machines.
        per_machine: Workers on a machine.
    """

    clone: float = 60.0
    spread: float = 0.5
    overhead: float = 0.05
    driver: float = 0.05
    winner: float = 60.0
    values: float = 15e6
    bandwidth: float = 1.25e9
    per_machine: int = 16

    def machines(self, workers: int) -> int:
        return -(-workers // self.per_machine)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Return when the last clone ends, each handed to the worker that is free first."""
    free = [0.0] * workers
    for duration in seconds:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def waiting(seconds: Sequence[float], workers: int) -> float:
    """Return the share of the workers' time that they have nothing to do."""
    return 1 - sum(seconds) / (workers * makespan(seconds, workers))


def idle(cycles: Sequence[Sequence[float]], workers: int, winner: float = 0.0) -> float:
    """Return the share of the workers' time over a run that they have nothing to do.

    Args:
        cycles: The times of each cycle's clones, in the order in which they are handed out.
        workers: How many there are.
        winner: Time of a winner's epochs, in which no clone trains; that of the last one is left
            out.
    """
    trained = sum(map(sum, cycles))
    wall = sum(makespan(seconds, workers) for seconds in cycles)
    wall += winner * (len(cycles) - 1)
    return 1 - trained / (workers * wall)


def cycle(costs: Costs, seconds: Sequence[float], workers: int) -> float:
    """Return the time of a cycle: sending, the population or the driver's work, the winner."""
    clones = [s + costs.overhead for s in seconds]
    sending = costs.values * costs.machines(workers) / costs.bandwidth
    returning = costs.values * len(seconds) / costs.bandwidth
    # The driver takes clones in while others train, but no faster than it can.
    population = max(makespan(clones, workers), len(seconds) * costs.driver, returning)
    return sending + population + costs.driver + costs.winner


def draw(costs: Costs, clones: int, rng: np.random.Generator) -> list[float]:
    """Draw the times of clones."""
    sigma = np.sqrt(np.log1p(costs.spread**2))
    return (costs.clone * rng.lognormal(-(sigma**2) / 2, sigma, clones)).tolist()


def row(costs: Costs, workers: int, per_worker: int, repeats: int) -> dict[str, float]:
    """Return the means of some simulated cycles."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(repeats):
        seconds = draw(costs, workers * per_worker, rng)
        longest_first = sorted(seconds, reverse=True)
        one, many = (cycle(costs, longest_first, number) for number in (1, workers))
        waits = (waiting(order, workers) for order in (seconds, longest_first))
        cycles = [sorted(draw(costs, len(seconds), rng), reverse=True) for _ in range(CYCLES)]
        rows.append((many, one / many, *waits, idle(cycles, workers, costs.winner)))
    means = np.mean(rows, axis=0).tolist()
    names = ("seconds", "speed-up", "waiting, as they come", "waiting, longest first")
    names += ("idle over a run",)
    gigabytes = costs.values * (costs.machines(workers) + workers * per_worker) / 1e9
    return dict(zip(names, means, strict=True)) | {"GB": gigabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measured", type=Path, help="what workers.py --json wrote")
    parser.add_argument("--per-worker", type=int, default=2, help="clones of a cycle a worker")
    parser.add_argument("--repeats", type=int, default=20, help="cycles that are simulated")
    for name, value in vars(Costs()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=None)
    args = parser.parse_args()
    measured = json.loads(args.measured.read_text())["costs"] if args.measured else {}
    told = {name: getattr(args, name) for name in vars(Costs())}
    costs = Costs(**{**measured, **{k: v for k, v in told.items() if v is not None}})
    print("A SIMULATION, from", args.measured or "assumed times:", costs)
    for workers in WORKERS:
        found = row(costs, workers, args.per_worker, args.repeats)
        print(f"{workers:>5} workers:", ", ".join(f"{k} {v:.3g}" for k, v in found.items()))


if __name__ == "__main__":
    main()
