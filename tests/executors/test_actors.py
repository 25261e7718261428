"""Ray's actors as workers, with a Ray that runs in this process and breaks when it is asked to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_job

from miha.errors import ArgumentError, MihaError
from miha.executors import worker
from miha.executors.actors import RayWorkers
from miha.executors.protocol import CloneResult, WorkerLost
from miha.records import UNCHANGED, Snapshot, Task


class RayError(Exception):
    pass


class RayTaskError(RayError):
    """A worker lives, and has raised."""


class ObjectLostError(RayError):
    """A machine is lost."""


class ActorUnavailableError(RayError):
    """A machine is out of reach."""


class Call:
    """A call of an actor's method: the reference to what it will return."""

    def __init__(self, actor, name):
        self.actor, self.name = actor, name


class Method:
    def __init__(self, actor, name):
        self.actor, self.name = actor, name

    def remote(self, *arguments):
        return Call(self.actor, self.name)


class Actor:
    def __init__(self, number):
        self.number = number
        self.describe, self.ping, self.train = (
            Method(self, name) for name in ("describe", "ping", "train")
        )


class FakeRay:
    """What `RayWorkers` uses of Ray.

    Args:
        answer: Returns what a call of an actor returns, or raises.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayTaskError=RayTaskError,
        ObjectLostError=ObjectLostError,
        ActorUnavailableError=ActorUnavailableError,
    )

    def __init__(self, answer):
        self.answer = answer
        self.actors, self.killed, self.has_ended, self.is_slow = [], [], False, False

    def remote(self, kind):
        return self

    def options(self, **options):
        return SimpleNamespace(remote=self._start)

    def _start(self, sent):
        self.actors.append(Actor(len(self.actors)))
        return self.actors[-1]

    def wait(self, references, num_returns=1, timeout=None):
        return ([], references) if self.is_slow else (references[:num_returns], [])

    def get(self, reference, timeout=None):
        return self.answer(reference)

    def put(self, value):
        return value

    def kill(self, actor):
        self.killed.append(actor.number)

    def shutdown(self):
        self.has_ended = True


JOB = make_job()
RESULT = CloneResult((), FakeTrainer().snapshot())
TASK = Task("clone", 1, 0, 2, GENOME, UNCHANGED, "population/1_0_model.zip")


def answer(call, **changes):
    """Return what a worker does that nothing happens to."""
    usual = {"describe": (JOB.signature, JOB.device), "ping": 1, "train": RESULT}
    found = (usual | changes)[call.name]
    if isinstance(found, Exception):
        raise found
    return found


def workers_of(ray, number=2, start_timeout=60.0, timeout=None, is_started_here=False):
    workers = RayWorkers(ray, JOB, JOB, {}, is_started_here)
    workers.start(number, start_timeout, timeout)
    return workers


def accept_all(workers, number):
    while workers.free < number:
        workers.results()


def test_the_start_waits_for_one_worker_only():
    workers = workers_of(ray := FakeRay(answer), 3)
    assert len(ray.actors) == 3 and workers.free == 1
    assert workers.results() == [] and workers.free == 2


def test_a_clone_comes_back_and_its_worker_is_free():
    workers = workers_of(FakeRay(answer), 1)
    workers.submit(7, TASK, workers.share(GENOME, RESULT.snapshot))
    assert workers.free == 0
    [(number, result)] = workers.results()
    assert number == 7 and workers.free == 1
    assert repr(result) == repr(RESULT)


def test_values_that_come_back_may_be_written_to():
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    result = CloneResult((), Snapshot((frozen,), "sgd", (frozen,)))
    workers = workers_of(FakeRay(lambda call: answer(call, train=result)), 1)
    workers.submit(0, TASK, None)
    [(_, found)] = workers.results()
    assert found.snapshot.variables[0].flags.writeable
    assert found.snapshot.slots[0].flags.writeable


def test_a_worker_with_another_network_is_refused():
    other = {**JOB.signature, "data": "other"}
    ray = FakeRay(lambda call: answer(call, describe=(other, JOB.device)))
    with pytest.raises(ArgumentError, match=r"same network.*others, by \['data'\]"):
        workers_of(ray)


def test_another_device_is_worth_a_line_of_the_log(monkeypatch):
    lines = []
    monkeypatch.setattr(worker, "log_warning", lines.append)
    workers_of(FakeRay(lambda call: answer(call, describe=(JOB.signature, "a GPU"))), 1)
    assert lines == [f"Clones train on a GPU, and the network itself on {JOB.device}."]


def test_a_network_that_a_worker_cannot_build_is_refused():
    error = RayTaskError("Traceback\n  ...\nModuleNotFoundError: No module named 'mine'")
    with pytest.raises(ArgumentError, match="able to build the network.*No module named 'mine'"):
        workers_of(FakeRay(lambda call: answer(call, describe=error)))


def test_three_workers_in_a_row_that_die_before_they_are_ready_end_the_run():
    ray = FakeRay(lambda call: answer(call, describe=RayError("out of memory")))
    with pytest.raises(MihaError, match="3 in a row that did not: out of memory"):
        workers_of(ray, 1)
    assert len(ray.actors) == 3


def test_a_worker_that_dies_before_it_is_ready_is_replaced():
    def first_dies(call):
        is_first = call.actor.number == 0
        return answer(call, describe=RayError("killed")) if is_first else answer(call)

    ray = FakeRay(first_dies)
    assert workers_of(ray, 1).free == 1 and len(ray.actors) == 2


@pytest.mark.parametrize(
    ("error", "may_be_clones_fault"),
    [
        (RayError("The actor died.\nSIGKILL"), True),
        (RayError("The actor died because its node has died."), False),
        (ObjectLostError("lost"), False),
        (ActorUnavailableError("out of reach"), False),
    ],
)
def test_a_worker_that_is_lost_is_replaced_and_a_machine_is_no_fault_of_a_clone(
    error, may_be_clones_fault
):
    ray = FakeRay(lambda call: answer(call, train=error))
    workers = workers_of(ray, 1)
    workers.submit(3, TASK, None)
    reason = " ".join(str(error).splitlines())
    assert workers.results() == [(3, WorkerLost(reason, may_be_clones_fault))]
    assert ray.killed == [0] and len(ray.actors) == 2
    accept_all(workers, 1)


def test_a_worker_that_cannot_answer_ends_the_run():
    ray = FakeRay(lambda call: answer(call, train=RayTaskError("cannot pickle 'lock'")))
    workers = workers_of(ray, 1)
    workers.submit(0, TASK, None)
    with pytest.raises(MihaError, match="could not answer: cannot pickle 'lock'"):
        workers.results()


def test_workers_that_died_while_they_waited_are_replaced_before_they_get_a_clone():
    def dies(call):
        return answer(call, ping=RayError("gone")) if call.actor.number == 0 else answer(call)

    ray = FakeRay(dies)
    workers = workers_of(ray, 2)
    accept_all(workers, 2)
    workers.share(GENOME, RESULT.snapshot)
    assert ray.killed == [0] and workers.free == 1
    accept_all(workers, 2)


def test_a_worker_that_hangs_is_replaced_and_its_clone_comes_back_as_lost():
    ray = FakeRay(answer)
    workers = workers_of(ray, 1, timeout=1e-9)
    workers.submit(4, TASK, None)
    ray.is_slow = True
    assert workers.results() == [(4, WorkerLost("it took longer than timeout=1e-09 seconds."))]
    assert ray.killed == [0]


def test_workers_that_never_come_end_the_run():
    ray = FakeRay(answer)
    ray.is_slow = True
    with pytest.raises(MihaError, match="ready within `start_timeout`, 2 s"):
        workers_of(ray, 1, start_timeout=2)


@pytest.mark.parametrize("is_started_here", [True, False])
def test_all_workers_end_with_the_run_and_ray_where_it_was_started_for_it(is_started_here):
    ray = FakeRay(answer)
    workers = workers_of(ray, 3, is_started_here=is_started_here)
    accept_all(workers, 2)
    workers.submit(0, TASK, None)
    workers.close()
    assert sorted(ray.killed) == [0, 1, 2] and workers.free == 0
    assert ray.has_ended == is_started_here
