"""A run goes on after its end: the same script with a larger `c` or `epochs`."""

from __future__ import annotations

import shutil

import pytest
from fakes import FakeTrainer, make_loop, make_record, make_session, run
from faults import Crash, Disk
from stories import story

from miha.callbacks import Callback
from miha.errors import MihaWarning, RunExistsError
from miha.records import Schedule
from miha.results.reader import RunReader, load_run
from miha.results.summary import summarize
from miha.results.verdict import ending
from miha.run.extension import schedule_in, warn_without_room
from miha.search.budgets import choose_schedule
from miha.storage.folder import FINAL, RunFolder, earlier_end
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

SEARCH = {"anneal": True, "backtrack": 0.5}
WORSE = {"monitor": "loss", "mode": "max"}
"""The more trained, the worse."""

RESTS = {**SEARCH, "rest": True, "restarts": 2}


class Told(Callback):
    """Notes the decisions that watchers are told."""

    def __init__(self):
        self.texts = []

    def on_decision(self, text):
        self.texts.append(text)


def resting(path, seed, c):
    return make_loop(path, seed=seed, c=c, **RESTS)


def extended_story(path, number):
    """Return the story of a run that was extended, without the archive of its earlier end."""
    (path / earlier_end(number)).unlink()
    return story(path)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The folder of a finished run of two cycles."""
    path = tmp_path_factory.mktemp("short") / "run"
    run(make_loop(path, c=2, **SEARCH))
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The story of a run of four cycles from the start."""
    path = tmp_path_factory.mktemp("long") / "run"
    run(make_loop(path, c=4, **SEARCH))
    return story(path)


def test_a_finished_run_with_more_cycles_equals_one_that_had_them_from_the_start(
    tmp_path, short, expected
):
    path = shutil.copytree(short, tmp_path / "run")
    end = (path / FINAL).read_bytes()
    trainer = FakeTrainer()
    run(make_loop(path, trainer, c=4, **SEARCH))
    assert len(trainer.trainings) == 2 * 4 + 1
    assert (path / earlier_end(1)).read_bytes() == end
    assert extended_story(path, 1) == expected
    # The journal has grown, and the earlier end is in it.
    before = (short / "journal.jsonl").read_bytes()
    assert (path / "journal.jsonl").read_bytes().startswith(before)
    schedules = RunFolder(path).description()["schedules"]
    assert [(schedule["c"], schedule["epochs"]) for schedule in schedules] == [(2, 18), (4, 32)]


def test_a_run_can_be_extended_twice_and_each_reader_sees_one_lineage(tmp_path, short, expected):
    path = shutil.copytree(short, tmp_path / "run")
    reader = RunReader(path)
    assert reader.read().state == "finished"
    for c in (3, 4):
        run(make_loop(path, c=c, **SEARCH))
        result = reader.read()
        assert result.history.equals(load_run(path).history)
        assert result.log.trainings == load_run(path).log.trainings
    assert [record.archive for record in result.log.set_aside] == [earlier_end(1), earlier_end(2)]
    (path / earlier_end(2)).unlink()
    assert extended_story(path, 1) == expected


@pytest.mark.parametrize("lines", [2, 4, 6, 11])
def test_an_interrupted_run_goes_on_with_more_cycles(tmp_path, short, expected, lines):
    path = shutil.copytree(short, tmp_path / "run")
    Journal(path / "journal.jsonl").cut(lines)
    run(make_loop(path, c=4, **SEARCH))
    assert story(path) == expected


def test_an_extension_that_dies_at_any_moment_can_be_done_again(tmp_path, short, expected):
    for at in [*range(0, 16, 2), 40]:
        path = shutil.copytree(short, tmp_path / f"{at}")
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at)
            with pytest.raises(Crash):
                run(make_loop(path, c=4, **SEARCH))
        run(make_loop(path, c=4, **SEARCH))
        assert extended_story(path, 1) == expected


def test_what_was_decided_with_fewer_cycles_in_mind_stays(tmp_path):
    path = tmp_path / "run"
    run(resting(path, seed=1, c=4))
    early = load_run(path).log
    run(resting(path, seed=1, c=9))
    whole = story(path)
    log = load_run(path).log
    assert log.trainings[: len(early.trainings) - 1] == early.trainings[:-1]
    # A run of nine cycles would have had a population where this one has a rest.
    run(resting(tmp_path / "fresh", seed=1, c=9))
    assert min(log.rests) not in load_run(tmp_path / "fresh").log.rests
    # And it does so again after an interruption, also one that loses the note of the extension.
    for lines in (-3, -8):
        Journal(path / "journal.jsonl").cut(len(Journal(path / "journal.jsonl").read()) + lines)
        run(resting(path, seed=1, c=9))
        assert story(path) == whole
    extension = [e["event"] for e in Journal(path / "journal.jsonl").read()].index("extension")
    Journal(path / "journal.jsonl").cut(extension + 3)
    archive = path / "model/model_4.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.warns(MihaWarning, match="missing or damaged"):
        run(resting(path, seed=1, c=9))
    # The note of the extension was cut off with what came after the damage, and is made again.
    [[found], [before]] = load_run(path).log.extensions, log.extensions
    assert (found.first_cycle, found.before) == (before.first_cycle, before.before) == (5, 4)
    assert load_run(path).state == "finished"


def test_rests_at_a_rate_that_fell_are_set_aside():
    fallen = [make_record("winner", cycle, None, rates=(1.0, 0.9)) for cycle in (7, 8)]
    whole = make_record("winner", 6, None, rates=(1.0, 1.0))
    log = Logbook([whole, *fallen, make_record("final", None, None)], rests={6: "", 7: "", 8: ""})
    log.extend_from(8, has_more_cycles=True)
    assert (log.trainings, [*log.rests]) == ([whole], [6])
    assert [extension.first_cycle for extension in log.extensions] == [7]
    assert (log.planned_cycles(6, 12), log.planned_cycles(7, 12)) == (8, 12)


def test_it_is_said_where_the_earlier_end_is(tmp_path):
    path = tmp_path / "run"
    make_session(path, c=2, restore_best=False).run()
    end = load_run(path).log.last
    told = Told()
    result = make_session(path, callbacks=[told], c=3, restore_best=False).run()
    text = f"val_loss {end.value:.4g} after 10 epochs"
    assert (
        f"The network of the earlier end, which is not part of the lineage, has {text}"
        in (ending(result)[-1])
    )
    log = (path / "run.log").read_text()
    goes_on = "goes on after its end, from the network of its last cycle: 2 epochs of the"
    assert goes_on in log
    assert goes_on in told.texts[0]
    assert "2 epochs of an earlier end are not among them." in summarize(result)[0]


def test_a_run_whose_networks_are_gone_is_not_extended(tmp_path):
    make_session(tmp_path, keep="final").run()
    journal = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(RunExistsError, match="`keep='all'` keeps them.*missing or damaged"):
        make_session(tmp_path, c=3).run()
    assert (tmp_path / "journal.jsonl").read_bytes() == journal
    assert RunFolder(tmp_path).description()["arguments"]["schedule"]["c"] == 2
    # What it was is still there.
    assert make_session(tmp_path, keep="final").run().state == "finished"


@pytest.mark.parametrize(
    "budgets",
    [
        [WORSE | {"patience": number} for number in (1, 3, 4)] + [WORSE],
        [{"target": 2.0}, {"target": 0.1}, {"target": 1e-9, "patience": None}],
        [{"patience": 9, "target": 2.0}, {"patience": 12, "target": 0.1}],
        [{"target": 2.0}, {"target": 0.1, "c": 7}, {"c": 9}],
    ],
)
def test_a_run_with_a_larger_budget_equals_one_that_had_it_from_the_start(tmp_path, budgets):
    path = tmp_path / "run"
    for number, given in enumerate(budgets):
        trainer = FakeTrainer()
        run(make_loop(path, trainer, **{"c": 6, **SEARCH, **given}))
        fresh = tmp_path / f"{number}"
        run(make_loop(fresh, **{"c": 6, **SEARCH, **given}))
        for end in path.glob("model/model_end_*"):
            end.unlink()
        assert story(path) == story(fresh)
        assert load_run(path).stopped == load_run(fresh).stopped
        log = load_run(path).log
        assert len(log.extensions) == number
        # What the journal had is not trained again, but for what was set aside.
        trained = len(log.trainings) - (log.extensions[-1].kept if number else 0)
        assert len(trainer.trainings) == trained


def test_an_ended_run_with_a_larger_budget_may_die_at_any_moment(tmp_path):
    short = tmp_path / "short"
    run(make_loop(short, c=6, **WORSE, patience=1, **SEARCH))
    run(make_loop(tmp_path / "long", c=6, **WORSE, patience=3, **SEARCH))
    expected = story(tmp_path / "long")
    for at in [*range(0, 16, 2), 30]:
        path = shutil.copytree(short, tmp_path / f"{at}")
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at)
            with pytest.raises(Crash):
                run(make_loop(path, c=6, **WORSE, patience=3, **SEARCH))
        run(make_loop(path, c=6, **WORSE, patience=3, **SEARCH))
        assert extended_story(path, 1) == expected


@pytest.mark.parametrize("lines", [2, 7, 12])
def test_an_interrupted_run_goes_on_with_a_larger_budget_and_not_with_a_smaller(tmp_path, lines):
    path = tmp_path / "run"
    run(make_loop(tmp_path / "long", c=6, **WORSE, patience=3, **SEARCH))
    run(make_loop(path, c=6, **WORSE, patience=1, **SEARCH))
    Journal(path / "journal.jsonl").cut(lines)
    run(make_loop(path, c=6, **WORSE, patience=3, **SEARCH))
    (path / earlier_end(1)).unlink(missing_ok=True)
    assert story(path) == story(tmp_path / "long")
    for smaller in ({"patience": 2}, {"patience": 3, "seconds": 1e9}, {"target": 0.0}):
        with pytest.raises(RunExistsError, match=r"arguments.budget.*none of its limits can be"):
            make_loop(path, c=6, **WORSE, **SEARCH, **smaller)


def test_rests_at_a_rate_that_fell_stay_under_a_larger_budget():
    fallen = [make_record("winner", cycle, None, rates=(1.0, 0.9)) for cycle in (7, 8)]
    log = Logbook([*fallen, make_record("final", None, None)], rests={7: "", 8: ""})
    log.extend_from(9, has_more_cycles=False)
    assert (log.trainings, [*log.rests]) == (fallen, [7, 8])


def test_a_run_that_would_end_where_it_has_ended_stays_as_it_is(tmp_path):
    make_session(tmp_path, c=4, patience=1, target=1e8, **WORSE).run()
    files = {p: p.read_bytes() for p in tmp_path.rglob("*.json*")}
    with pytest.raises(RunExistsError, match="c=5, for a run that would end where.*patience=1"):
        make_session(tmp_path, c=5, patience=1, target=1e8, **WORSE).run()
    with pytest.warns(MihaWarning, match="stays as it is, for its budget ends it.*patience=1"):
        make_session(tmp_path, c=4, patience=1, target=1e9, **WORSE).run()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.json*")} == files


def test_a_run_that_came_to_its_last_cycle_is_not_changed_by_a_larger_budget(tmp_path):
    make_session(tmp_path, c=2, seconds=1e6).run()
    files = {p: p.read_bytes() for p in tmp_path.rglob("*.json*")}
    trainer = FakeTrainer()
    assert make_session(tmp_path, trainer, c=2).run().state == "finished"
    assert not trainer.trainings
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.json*")} == files


@pytest.mark.parametrize(
    ("epochs", "letters", "c"),
    [
        (32, {}, 4),  # 2 m + 4 cycles of 7.
        (38, {}, 4),
        (32, {"c": 3}, 3),
        (18, {}, 2),
        (11, {}, 1),  # Which is refused where the run is opened.
    ],
)
def test_a_total_means_more_cycles_of_the_run_that_is_there(short, epochs, letters, c):
    wanted = choose_schedule(epochs, **letters)
    found = schedule_in(RunFolder(short), wanted, epochs, letters, True)
    assert found == Schedule(m=2, n=2, k=1, c=c, pop_size=3)


def test_a_total_without_room_for_a_cycle_is_said(short):
    folder, wanted = RunFolder(short), choose_schedule(20)
    chosen = schedule_in(folder, wanted, 20, {}, True)
    with pytest.warns(MihaWarning, match="no room for another cycle of 7 epochs.*total is 25"):
        warn_without_room(folder, wanted, chosen, 20)
    # Nobody asked for more, or there is room.
    warn_without_room(folder, chosen, chosen, 20)
    warn_without_room(folder, wanted, chosen.with_cycles(3), 25)


def test_a_total_alone_chooses_for_a_new_run(tmp_path):
    wanted = choose_schedule(32)
    assert schedule_in(RunFolder(tmp_path), wanted, 32, {}, True) == wanted
