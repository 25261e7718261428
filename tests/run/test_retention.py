"""`keep` acts during a run: what nothing can need any more is deleted, and nothing else."""

from __future__ import annotations

import math
import random
import shutil

import pytest
from fakes import GENOME, FakeTrainer, make_plan, make_record, make_session
from faults import Crash, Disk

from miha.callbacks import Callback
from miha.errors import MihaError, MihaWarning, RunExistsError, StorageError
from miha.mutations import BatchSizeMutation
from miha.records import Judge
from miha.results.reader import load_run
from miha.run.retention import archives_to_keep
from miha.search import best
from miha.search.best import best_network, may_become_best
from miha.storage.folder import FINAL, INITIAL, START
from miha.storage.logbook import Logbook
from miha.storage.past import Past

# A run that goes back, rests and takes its best network.
RUN = {"c": 5, "rest": True, "restarts": 2, "backtrack": 0.05, "anneal": True, "seed": 3}
RUN["judge"] = Judge("loss", "min")


SLOW = GENOME.replace(learning_rate=1e-4)
"""With it, a network learns to the end of a run."""


def story(path):
    """Return what runs have in common, whatever they keep."""
    result = load_run(path)
    records = [record.replace(seconds=0, epochs=()) for record in result.log.trainings]
    history = result.history.drop(columns="seconds").to_dict("split")
    trainer = FakeTrainer()
    values = [trainer.load((path / name).read_bytes()) for name in result.archives]
    return repr((result.state, records, history, result.archives, result.log.returns, values))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The story of a run that keeps all archives."""
    path = tmp_path_factory.mktemp("whole") / "run"
    result = make_session(path, keep="all", **RUN).run()
    assert min(result.log.returns) < 5
    return story(path)


def test_a_run_that_dies_at_any_moment_has_kept_what_it_needs(tmp_path, expected):
    path = tmp_path / "run"
    for at in range(10, 1000, 19):
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at)
            try:
                make_session(path, keep="final", **RUN).run()
            except (Crash, StorageError):
                pass
        if len(disk.operations) <= at:
            break
        # Nothing that it goes on from is missing: that would be warned of, which is an error.
        make_session(path, keep="final", **RUN).run()
        assert story(path) == expected
        shutil.rmtree(path)
    assert at > 200
    assert {archive.name for archive in path.rglob("*.zip")} <= {"model_final.zip"} | {
        name.rpartition("/")[2] for name in load_run(path).archives
    }


class Counting(Callback):
    """Counts the archives on the disk whenever a training begins."""

    def __init__(self, path):
        self.path, self.counts = path, []

    def on_training_begin(self, task):
        self.counts.append(len([*self.path.rglob("*.zip")]))


def counts(path, **changes):
    counting = Counting(path)
    learning = {"mutations": [BatchSizeMutation()], "trainer": FakeTrainer(genome=SLOW)}
    make_session(path, callbacks=[counting], c=10, **(learning | changes)).run()
    assert len(counting.counts) == 42
    return max(counting.counts)


def test_a_run_of_ten_cycles_has_few_archives_at_once(tmp_path):
    # The start, the network, its best, the clones; and the writer may be two archives behind.
    assert counts(tmp_path / "final", keep="final") <= 9
    assert counts(tmp_path / "model", keep="model") <= 9 + 10
    assert counts(tmp_path / "all") >= 40


def test_where_networks_get_worse_each_may_become_the_best(tmp_path):
    made = [make_record("winner", n, None, (0.1 * n,)) for n in range(1, 9)]
    assert may_become_best(made, Judge("val_loss", "min")) == made[::-1]


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, set()),
        ({"backtrack": 0.5}, {"population/1_1_model.zip"}),
        ({"target": 0.01}, {"population/2_0_model.zip"}),
        ({"restore_best": True}, set()),
    ],
)
def test_what_a_run_needs_is_what_it_goes_on_from_and_may_return_to(changes, needed):
    values = {
        ("initial", None, None): 1.0,
        ("clone", 1, 0): 0.4,
        ("clone", 1, 1): 0.2,
        ("winner", 1, None): 0.3,
        ("clone", 2, 0): 0.05,
        ("clone", 2, 1): 0.6,
        ("winner", 2, None): 0.7,
    }
    log = Logbook(
        [make_record(*place, (value,), parent=START) for place, value in values.items()],
        {1: 1, 2: 1},
    )
    # By another measure than the monitor, the first network and the last one may be the best.
    plan = make_plan(judge=Judge("loss", "max"), **changes)
    always = {START, INITIAL, "model/model_2.zip"}
    assert archives_to_keep(log, plan) == always | needed
    # In a cycle, its clones are needed, too, and the network that they were made of.
    log.trainings.pop()
    del log.winners[2]
    names = {"model/model_1.zip", "population/2_0_model.zip", "population/2_1_model.zip"}
    assert names <= archives_to_keep(log, plan)


def test_a_network_is_kept_as_long_as_it_may_become_the_best():
    rng = random.Random(0)
    judge = Judge("val_loss", "min")
    for _ in range(200):
        values = [rng.choice([rng.random(), 0.5, math.nan]) for _ in range(9)]
        records = [
            make_record("winner", number, None, (value,)) for number, value in enumerate(values, 1)
        ]
        known = rng.randrange(1, 9)
        kept = may_become_best(records[:known], judge)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(best, "noise", lambda values: rng.random() / 2)
            found = best_network(records, judge)
        assert found is None or found in kept or found in records[known:]


def test_each_network_that_is_kept_is_the_best_at_some_noise():
    records = [make_record("winner", n, None, (value,)) for n, value in enumerate([3, 1, 2, 2, 4])]
    judge = Judge("val_loss", "min")
    kept = may_become_best(records, judge)
    assert [record.value for record in kept] == [4, 2, 1]
    # Of the two equal ones, the later one.
    assert kept[1] is records[3]
    for record in kept:
        noise = (record.value - 1) / best.NOISES
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(best, "noise", lambda values, noise=noise: noise)
            assert best_network(records, judge) is record


def test_a_run_that_has_given_up_can_try_its_cycles_again(tmp_path):
    ill = {"c": 6, "restarts": 0, "backtrack": 0.05, "control": False}
    is_ill = [False]
    trainer = FakeTrainer(fails=lambda genome: ValueError("ill") if is_ill[0] else None)

    class Falling(Callback):
        def on_training_begin(self, task):
            is_ill[0] = task.phase == "clone" and task.cycle >= 3

    with pytest.warns(MihaWarning), pytest.raises(MihaError, match="in which every clone failed"):
        make_session(tmp_path / "run", trainer, [Falling()], keep="final", **ill).run()
    make_session(tmp_path / "run", keep="final", **ill).run()
    make_session(tmp_path / "whole", keep="final", **ill).run()
    assert story(tmp_path / "run") == story(tmp_path / "whole")


def test_cycles_without_a_winner_are_counted_from_the_last():
    log = Logbook(winners={1: None, 2: 0, 3: None, 4: None})
    assert log.failed_since == 3
    assert Logbook(winners={1: None, 2: 0}).failed_since is None
    records = [make_record("initial", None, None), make_record("winner", 3, None)]
    log.trainings = Past([*records, make_record("final", None, None)])
    assert log.before(3).trainings == records[:1]
    assert [*log.before(3).winners] == [1, 2]


def test_needed_space_is_that_of_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.storage.folder.free_bytes", lambda path: 100_000)
    padded = FakeTrainer(padding=5_000)
    with pytest.raises(StorageError, match="for 42 archives"):
        make_session(tmp_path / "all", padded, c=10).run()
    make_session(tmp_path / "final", FakeTrainer(padding=5_000), c=10, keep="final").run()


def test_a_run_that_was_interrupted_is_not_given_more_cycles_without_its_networks(tmp_path):
    make_session(tmp_path, keep="final", c=2).run()
    assert {path.name for path in tmp_path.rglob("*.zip")} >= {FINAL.rpartition("/")[2]}
    assert not (tmp_path / START).exists()
    with pytest.raises(RunExistsError, match="where its networks are there"):
        make_session(tmp_path, c=3).run()
