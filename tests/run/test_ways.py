"""Ways: by the user, by memory, by measurement; and kept by a run that goes on."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from fakes import FakePopulationTrainer, FakeTrainer

from miha.errors import ArgumentError, RunExistsError
from miha.executors.factory import make_population_executor
from miha.executors.fused import FusedExecutor
from miha.executors.sequential import SequentialExecutor
from miha.executors.training import Training
from miha.options import Execution, Search
from miha.records import Schedule
from miha.run.identity import check_same
from miha.run.ways import Request, Ways, decide, with_recorded_ways
from miha.storage.folder import RunFolder


class Device(FakePopulationTrainer):
    """A trainer on a device where several clones may train at once."""

    compiler = "graph"

    def __init__(self, room=8, together=1.5, is_parallel=True, obstacle=None):
        super().__init__()
        self.room, self.together, self.is_parallel = room, together, is_parallel
        self.why, self.measured = obstacle, []

    def obstacle(self, way):
        return self.why

    steps_per_epoch = 1000

    def compile_xla(self):
        self.measured.append("xla")

    def use_xla(self, scope):
        """Nothing is trained here."""

    def clones_at_once(self, most):
        return min(self.room, 8)

    def measure(self, clones):
        self.measured.append(clones)
        return super().measure(clones)


ARGUMENTS = {"search": asdict(Search())}
RUN = {"format": 2, "seed": 0, "versions": {"python": "3.11.0"}, "arguments": ARGUMENTS}


def choose(folder, trainer, population="auto", pop_size=5, compiler="auto", m=1):
    schedule = Schedule(m=m, n=1, k=1, c=0, pop_size=pop_size)
    return decide(folder, RUN, Request(population, compiler), trainer, schedule)


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
        "Clones train up to 8 together. Compiled by: graph. Measured: alone 1 s, together 1.25 s."
    )


def test_a_measurement_that_fails_leaves_clones_one_after_another(folder):
    class Small(Device):
        def measure(self, clones):
            raise RuntimeError("RESOURCE_EXHAUSTED")

    with pytest.warns(UserWarning, match="RESOURCE_EXHAUSTED"):
        assert choose(folder, Small())["choices"]["clones_at_once"] == 1


@pytest.mark.parametrize(
    ("trainer", "compiler", "m", "expected"),
    [
        (Device(), "auto", 9, None),  # 18,000 steps.
        (Device(), "auto", 10, "network"),
        (Device(), "exact", 10, None),
        (Device(), "xla", 1, "all"),
        (Device(obstacle="a convolution"), "auto", 10, None),
        (FakeTrainer(), "auto", 10, None),
    ],
)
def test_xla_compiles_a_run_that_is_long_enough_for_it_or_as_asked_for(
    folder, trainer, compiler, m, expected
):
    found = choose(folder, trainer, "sequential", compiler=compiler, m=m)
    assert found["choices"]["xla"] == expected
    assert Ways.from_dict(found).xla == expected
    if isinstance(trainer, Device):
        assert trainer.measured == (["xla"] if expected else [])


def test_a_network_that_xla_cannot_compile_stays_as_it_is_and_a_warning_says_why(folder):
    class Broken(Device):
        def compile_xla(self):
            raise ValueError("no such operation")

    with pytest.warns(UserWarning, match="cannot compile the network: ValueError: no such op"):
        found = choose(folder, Broken(), "sequential", compiler="xla")
    assert found["choices"]["xla"] is None


def test_what_compiles_is_told():
    texts = [str(Ways(1, "graph", xla, {})) for xla in (None, "network", "all")]
    ends = [text.partition("Compiled by: ")[2] for text in texts]
    assert ends[::2] == ["graph.", "xla."]
    assert ends[1] == "xla; graph where a clone has another optimizer or batch size."


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
    assert Ways.from_dict(found).xla is None
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
    found = decide(folder, RUN | {"seed": 1}, Request(), Device(room=2), Schedule(1, 1, 1, 0, 5))
    assert found["choices"]["clones_at_once"] == 2


def test_a_run_does_not_go_on_with_another_compiler(folder):
    begin(folder, m=10)
    assert choose(folder, Device(), m=10)["choices"]["xla"] == "network"
    for compiler, scope in (("exact", "None"), ("xla", "'all'")):
        with pytest.raises(RunExistsError, match=f"choices.xla is 'network' and not {scope}"):
            check_same(folder, with_recorded_ways(folder, RUN, Request(compiler=compiler)))


def test_a_run_of_version_0_3_whose_long_trainings_were_compiled_by_xla_is_read():
    choices = {"population": "sequential", "clones_at_once": 1, "compiler": "xla", "xla_from": 4}
    assert Ways.from_dict({"choices": choices, "measured": {}}).xla == "all"


def test_a_compiler_that_the_backend_has_not_is_refused():
    with pytest.raises(ArgumentError, match="compiler='xla', but a test's trainer"):
        Request(compiler="xla").check(FakeTrainer())


def test_a_request_is_read_off_an_execution():
    assert Request.of(Execution()) == Request("auto", "auto", False, 60.0)
    execution = Execution(population="fused", compiler="xla", checkpoint_seconds=None)
    assert Request.of(execution) == Request("fused", "xla", False, None)
    assert Request.of(Execution(workers="auto")).tries_workers
    # Clones that train together round otherwise than those of workers.
    assert Request.of(Execution(executor="ray")) == Request("sequential", "auto", False, 60.0)


def test_what_one_program_cannot_train_is_refused_by_its_reason():
    with pytest.raises(ArgumentError, match="Received: population='fused', but it rains"):
        Request("fused").check(Device(obstacle="it rains"))
    Request("auto").check(Device(obstacle="it rains"))


def test_too_little_memory_for_two_is_refused(folder):
    with pytest.raises(ArgumentError, match="memory for at least two"):
        choose(folder, Device(room=1), "fused")
