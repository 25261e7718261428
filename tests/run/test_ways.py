"""Ways: by the user, by memory, by measurement; and kept by a run that goes on."""

from __future__ import annotations

import json

import pytest
from fakes import FakePopulationTrainer, FakeTrainer

from miha.errors import ArgumentError, RunExistsError
from miha.executors.factory import make_population_executor
from miha.executors.fused import FusedExecutor
from miha.executors.sequential import SequentialExecutor
from miha.executors.training import Training
from miha.options import Execution
from miha.run.identity import check_same
from miha.run.ways import Request, Ways, decide, with_recorded_ways
from miha.storage.folder import RunFolder


class Device(FakePopulationTrainer):
    """A trainer on a device where several clones may train at once."""

    compiler = "graph"

    def __init__(self, room=8, together=1.5, is_parallel=True, obstacle=None, xla=(2.0, 1.0, 3.5)):
        super().__init__()
        self.room, self.together, self.is_parallel = room, together, is_parallel
        self.xla = xla
        self.why, self.measured = obstacle, []

    def obstacle(self, way):
        return self.why

    def measure_xla(self):
        names = ("graph epoch", "xla epoch", "xla compilation")
        self.measured.append("xla")
        return dict(zip(names, self.xla, strict=True))

    def clones_at_once(self, most):
        return min(self.room, 8)

    def measure(self, clones):
        self.measured.append(clones)
        return super().measure(clones)


RUN = {"format": 2, "seed": 0, "versions": {"python": "3.11.0"}}


def choose(folder, trainer, population="auto", pop_size=5, compiler=None):
    return decide(folder, RUN, Request(population, compiler), trainer, pop_size)


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    return folder


@pytest.mark.parametrize(
    ("trainer", "population", "pop_size", "expected"),
    [
        (FakeTrainer(), "auto", 5, 1),
        (FakeTrainer(), "sequential", 5, 1),
        (Device(), "auto", 5, 8),
        (Device(), "sequential", 5, 1),
        (Device(), "fused", 5, 8),
        (Device(room=2), "fused", 5, 2),
        (Device(room=1), "auto", 5, 1),
        (Device(together=5.5), "auto", 5, 1),
        (Device(together=5.5), "fused", 5, 8),
        (Device(is_parallel=False), "auto", 5, 1),
        (Device(is_parallel=False), "fused", 5, 8),
        (Device(obstacle="it rains"), "auto", 5, 1),
        (Device(), "fused", 1, 1),
    ],
)
def test_clones_train_together_where_that_is_possible_and_faster_or_asked_for(
    folder, trainer, population, pop_size, expected
):
    found = choose(folder, trainer, population, pop_size)
    assert found["choices"]["clones_at_once"] == expected
    assert found["choices"]["population"] == ("fused" if expected > 1 else "sequential")
    assert Ways.from_dict(found).clones_at_once == expected


def test_what_was_measured_is_told(folder):
    trainer = Device(together=1.25)
    found = choose(folder, trainer)
    assert found["measured"] == {"alone": 1.0, "together": 1.25}
    assert trainer.measured == [5]
    assert str(Ways.from_dict(found)) == (
        "Clones train up to 8 together. Trainings are compiled by: graph. "
        "Measured: alone 1 s, together 1.25 s."
    )


def test_a_measurement_that_fails_leaves_clones_one_after_another(folder):
    class Small(Device):
        def measure(self, clones):
            raise RuntimeError("RESOURCE_EXHAUSTED")

    with pytest.warns(UserWarning, match="RESOURCE_EXHAUSTED"):
        assert choose(folder, Small())["choices"]["clones_at_once"] == 1


@pytest.mark.parametrize(
    ("trainer", "compiler", "expected"),
    [
        (Device(), None, ("graph", None)),
        (Device(), "graph", ("graph", None)),
        (Device(), "xla", ("xla", 1)),
        (Device(), "auto", ("xla", 4)),  # 3.5 s of compilation, 1 s saved in an epoch.
        (Device(xla=(2.0, 1.7, 0.1)), "auto", ("graph", None)),
        (Device(xla=(2.0, 1.0, 0.0)), "auto", ("xla", 1)),
        (Device(obstacle="a convolution"), "auto", ("graph", None)),
        (FakeTrainer(), None, ("eager", None)),
    ],
)
def test_xla_compiles_trainings_that_are_long_enough_for_it_or_as_asked_for(
    folder, trainer, compiler, expected
):
    found = choose(folder, trainer, "sequential", compiler=compiler)
    assert (found["choices"]["compiler"], found["choices"]["xla_from"]) == expected
    assert bool(found["measured"]) == (compiler == "auto" and trainer.obstacle("xla") is None)
    assert Ways.from_dict(found).xla_from == expected[1]


def test_a_measurement_of_xla_that_fails_leaves_the_graph(folder):
    class Broken(Device):
        def measure_xla(self):
            raise ValueError("no such operation")

    with pytest.warns(UserWarning, match="not compiled by XLA: ValueError: no such operation"):
        found = choose(folder, Broken(), "sequential", compiler="auto")
    assert found["choices"]["compiler"] == "graph"


def begin(folder, **changes):
    description = choose(folder, Device(), **changes)
    folder.write_description(description)
    return json.loads(json.dumps(description))


def test_a_run_that_goes_on_keeps_its_choices_and_measures_nothing(folder):
    begun = begin(folder)
    slow = Device(room=2, together=9.0)
    for population in ("auto", "fused"):
        found = choose(folder, slow, population)
        assert (found["choices"], found["measured"]) == (begun["choices"], begun["measured"])
    assert slow.measured == []


@pytest.mark.parametrize(("first", "then"), [("fused", "sequential"), ("sequential", "fused")])
def test_a_run_does_not_go_on_the_other_way(folder, first, then):
    begin(folder, population=first)
    with pytest.raises(RunExistsError, match=f"choices.population is '{first}' and not '{then}'"):
        check_same(folder, with_recorded_ways(folder, RUN, Request(then)))


def test_a_run_that_had_no_choice_goes_on_as_it_was_begun(folder):
    folder.write_description(RUN)
    found = choose(folder, Device())
    assert Ways.from_dict(found).clones_at_once == 1
    assert Ways.from_dict(found).xla_from is None
    with pytest.raises(RunExistsError, match="choices is None and not"):
        check_same(folder, with_recorded_ways(folder, RUN, Request("fused")))


def test_a_run_of_an_earlier_version_does_not_go_on(folder):
    folder.write_description(RUN | {"format": 1})
    with pytest.raises(RunExistsError, match="of an earlier version"):
        check_same(folder, RUN)


def test_a_run_that_goes_on_with_another_backend_trains_as_that_can():
    trainers = (Device(), Device(obstacle="another backend"), FakeTrainer())
    executors = [make_population_executor(Training(None, t, ()), 8) for t in trainers]
    kinds = [FusedExecutor, SequentialExecutor, SequentialExecutor]
    assert [type(executor) for executor in executors] == kinds


def test_another_run_in_the_folder_chooses_again(folder):
    begin(folder)
    found = decide(folder, RUN | {"seed": 1}, Request(), Device(room=2), 5)
    assert found["choices"]["clones_at_once"] == 2


def test_a_run_does_not_go_on_with_another_compiler(folder):
    begin(folder, compiler="auto")
    slow = Device(xla=(1.0, 2.0, 3.0))
    for compiler in (None, "auto", "xla"):
        assert choose(folder, slow, compiler=compiler)["choices"]["xla_from"] == 4
    with pytest.raises(RunExistsError, match="choices.compiler is 'xla' and not 'graph'"):
        check_same(folder, with_recorded_ways(folder, RUN, Request(compiler="graph")))


def test_a_compiler_that_the_backend_has_not_is_refused():
    with pytest.raises(ArgumentError, match="compiler='xla', but a test's trainer"):
        Request(compiler="xla").check(FakeTrainer())


def test_a_request_is_read_off_an_execution():
    assert Request.of(Execution()) == Request("auto", None)
    assert Request.of(Execution(population="fused", compiler="xla")) == Request("fused", "xla")
    # Clones that train together round otherwise than those of workers.
    assert Request.of(Execution(executor="ray")) == Request("sequential", None)


def test_what_one_program_cannot_train_is_refused_by_its_reason():
    with pytest.raises(ArgumentError, match="Received: population='fused', but it rains"):
        Request("fused").check(Device(obstacle="it rains"))
    Request("auto").check(Device(obstacle="it rains"))


def test_too_little_memory_for_two_is_refused(folder):
    with pytest.raises(ArgumentError, match="memory for at least two"):
        choose(folder, Device(room=1), "fused")
