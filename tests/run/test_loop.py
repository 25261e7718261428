"""The method, with a trainer that has no network."""

from __future__ import annotations

import inspect
import math
import weakref

import numpy as np
import pandas as pd
import pytest
from fakes import GENOME, SPACE, FakeTrainer, make_loop, run, until

from miha.archive.archive import describe
from miha.callbacks import Callback
from miha.errors import MihaError, MihaWarning, StorageError
from miha.mutations import BatchSizeMutation, Mutation
from miha.randomness import generator
from miha.records import UNCHANGED, TrainingRecord
from miha.search.fitness import LOSES
from miha.storage.folder import START
from miha.storage.journal import Journal
from miha.trainer.protocol import Trainer
from miha.utils.json_values import plain

NAN = {"loss": math.nan}


def journal(loop) -> list[dict]:
    return Journal(loop.folder.path / "journal.jsonl").read()


def archives(loop) -> list[str]:
    """Names of the archives of all trainings; that of the start is always there."""
    path = loop.folder.path
    found = sorted(found.relative_to(path).as_posix() for found in path.rglob("*.zip"))
    assert START in found
    return [name for name in found if name != START]


def values_of(loop, **where) -> list[float]:
    history = loop.log.history
    for column, wanted in where.items():
        history = history[history[column] == wanted]
    return history["val_loss"].tolist()


def weight(loop, record) -> float:
    """Return the weight that a training has archived."""
    return loop.trainer.load((loop.folder.path / record.archive).read_bytes())["weight"]


def test_the_fake_trainer_has_all_that_a_trainer_must_have():
    for name, member in inspect.getmembers(Trainer):
        if not name.startswith("_"):
            assert hasattr(FakeTrainer, name) or hasattr(FakeTrainer(), name)
            if inspect.isfunction(member):
                ours = inspect.signature(getattr(FakeTrainer, name))
                assert list(ours.parameters) == list(inspect.signature(member).parameters)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"m": 1, "n": 1, "k": 0, "c": 1, "pop_size": 2},
        {"m": 3, "c": 0},
        {"m": 1, "n": 3, "k": 2, "c": 3, "pop_size": 4},
    ],
)
def test_as_many_epochs_are_trained_as_announced(tmp_path, numbers):
    loop = make_loop(tmp_path, **numbers)
    run(loop)
    assert loop.trainer.epochs == loop.schedule.epochs == len(loop.log.history)


def test_every_network_is_archived_under_its_name(tmp_path):
    loop = make_loop(tmp_path, c=2, pop_size=3)
    run(loop)
    assert archives(loop) == [
        "model/model_1.zip",
        "model/model_2.zip",
        "model/model_final.zip",
        "model/model_init.zip",
        "population/1_0_model.zip",
        "population/1_1_model.zip",
        "population/1_2_model.zip",
        "population/2_0_model.zip",
        "population/2_1_model.zip",
        "population/2_2_model.zip",
    ]


def test_an_archive_holds_the_values_and_the_story_of_its_network(tmp_path):
    loop = make_loop(tmp_path)
    final = run(loop)
    for record, training in zip(loop.log.trainings[:-1], loop.trainer.trainings, strict=False):
        path = tmp_path / record.archive
        loaded = loop.trainer.load(path.read_bytes())
        assert loaded == {"weight": training.end, "genome": record.genome.to_dict()}
        assert TrainingRecord.from_json(describe(path)) == record
    assert final.archive == "model/model_final.zip"
    assert weight(loop, final) == float(loop.recorder.values(final).variables[0][0])


def test_the_control_is_the_unchanged_parent(tmp_path):
    loop = make_loop(tmp_path, c=3)
    run(loop)
    genomes = {record.archive: record.genome for record in loop.log.trainings}
    controls = [record for record in loop.log.trainings if record.clone == 0]
    assert len(controls) == 3
    for control in controls:
        assert control.change == UNCHANGED
        assert control.genome == genomes[control.parent]


def test_every_other_clone_is_a_mutant_of_its_own(tmp_path):
    loop = make_loop(tmp_path, c=3, pop_size=5)
    run(loop)
    for cycle in (1, 2, 3):
        clones = loop.log.clones(cycle)
        assert len({clone.genome for clone in clones}) == 5
        assert not any(clone.change.is_control for clone in clones[1:])


def test_without_a_control_every_clone_is_a_mutant(tmp_path):
    loop = make_loop(tmp_path, control=False, pop_size=1)
    run(loop)
    assert len(loop.log.lineage) == 2
    assert "none" not in loop.log.lineage["gene"].tolist()


def test_a_network_trains_with_the_genome_that_its_record_has(tmp_path):
    loop = make_loop(tmp_path, c=3, pop_size=5)
    run(loop)
    recorded = [record.genome for record in loop.log.trainings]
    assert [training.genome for training in loop.trainer.trainings] == recorded


def test_the_run_begins_with_the_networks_own_values_and_genome(tmp_path):
    loop = make_loop(tmp_path)
    run(loop)
    first = loop.trainer.trainings[0]
    assert (first.start, first.genome) == (4.0, GENOME)


def test_every_training_goes_on_from_the_values_of_its_parent(tmp_path):
    loop = make_loop(tmp_path, c=3)
    run(loop)
    pairs = list(zip(loop.log.trainings, loop.trainer.trainings, strict=True))
    ends = {record.archive: training.end for record, training in pairs}
    for record, training in pairs[1:]:
        assert training.start == ends[record.parent]


def test_the_lineage_leads_from_the_last_network_to_the_first(tmp_path):
    loop = make_loop(tmp_path, c=2)
    run(loop)
    parents = {record.archive: record.parent for record in loop.log.trainings}
    line = ["model/model_final.zip"]
    while parents[line[-1]] != START:
        line.append(parents[line[-1]])
    assert line == [
        "model/model_final.zip",
        "model/model_2.zip",
        f"population/2_{loop.log.winners[2]}_model.zip",
        "model/model_1.zip",
        f"population/1_{loop.log.winners[1]}_model.zip",
        "model/model_init.zip",
    ]


def test_the_epochs_of_a_network_are_counted_along_its_lineage(tmp_path):
    loop = make_loop(tmp_path, m=2, n=2, k=1, c=2, pop_size=2)
    final = run(loop)
    found = loop.log.history["epoch"].tolist()
    assert found == [1, 2, *[3, 4] * 2, 5, *[6, 7] * 2, 8, 9, 10]
    assert final.age == 10


def test_the_fittest_clone_becomes_the_network(tmp_path):
    loop = make_loop(tmp_path, c=4, pop_size=5)
    run(loop)
    lineage = loop.log.lineage
    for cycle, rows in lineage.groupby("cycle"):
        assert rows["selected"].sum() == 1
        assert rows.loc[rows["selected"], "fitness"].item() == rows["fitness"].max()
        assert rows.loc[rows["selected"], "clone"].item() == loop.log.winners[cycle]


def test_a_winner_trains_on_with_the_genome_that_has_won(tmp_path):
    trainer = FakeTrainer(script={2: {"val_loss": 0.0}})
    loop = make_loop(tmp_path, trainer, c=1)
    final = run(loop)
    assert loop.log.winners == {1: 1}
    mutant = trainer.trainings[2].genome
    assert mutant != GENOME
    assert trainer.trainings[4].genome == final.genome == mutant


def test_the_mutated_genes_add_up_from_cycle_to_cycle(tmp_path):
    script = {2: {"val_loss": 0.0}, 6: {"val_loss": 0.0}}
    trainer = FakeTrainer(script=script)
    final = run(make_loop(tmp_path, trainer, c=2, mutations=[BatchSizeMutation(step=1)], seed=4))
    assert [trainer.trainings[i].genome.batch_size - 4 for i in (2, 6)] != [0, 0]
    assert abs(trainer.trainings[6].genome.batch_size - trainer.trainings[2].genome.batch_size) == 1
    assert final.genome == trainer.trainings[6].genome


def test_all_clones_of_a_cycle_see_the_same_samples_in_the_same_order(tmp_path):
    loop = make_loop(tmp_path, c=2, pop_size=4)
    run(loop)
    first, second = loop.trainer.trainings[1:5], loop.trainer.trainings[6:10]
    for clones in (first, second):
        assert all(clone.orders == clones[0].orders for clone in clones)
        assert all(clone.noise == clones[0].noise for clone in clones)
    assert first[0].orders != second[0].orders
    assert first[0].noise != second[0].noise


def test_no_two_phases_see_the_same_order(tmp_path):
    loop = make_loop(tmp_path, m=1, n=1, k=1, c=2, pop_size=2)
    run(loop)
    trainings = loop.trainer.trainings
    orders = {tuple(trainings[i].orders[0]) for i in (0, 1, 3, 4, 6, 7)}
    assert len(orders) == 6


def test_each_epoch_of_a_training_has_an_order_of_its_own(tmp_path):
    loop = make_loop(tmp_path, m=3, c=0)
    run(loop)
    for training in loop.trainer.trainings:
        assert len({tuple(order) for order in training.orders}) == 3


def tables(path, seed):
    loop = make_loop(path, seed=seed, c=3)
    final = run(loop)
    history = loop.log.history.drop(columns="seconds")
    return history, loop.log.lineage, final, loop.recorder.values(final)


def test_the_same_seed_gives_the_same_run(tmp_path):
    history, lineage, final, snapshot = tables(tmp_path / "a", 5)
    np.random.default_rng().random(100)
    again = tables(tmp_path / "b", 5)
    pd.testing.assert_frame_equal(again[0], history, check_exact=True)
    pd.testing.assert_frame_equal(again[1], lineage, check_exact=True)
    assert again[2].genome == final.genome
    ours = (*again[3].variables, *again[3].slots)
    theirs = (*snapshot.variables, *snapshot.slots)
    for array, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_another_seed_gives_another_run(tmp_path):
    history, lineage, final, _ = tables(tmp_path / "a", 0)
    other = tables(tmp_path / "b", 1)
    assert not history.equals(other[0])
    assert lineage["change"].tolist() != other[1]["change"].tolist()
    assert final.value != other[2].value


def test_another_seed_gives_another_order_and_other_noise(tmp_path):
    zero, one = (make_loop(tmp_path / str(seed), seed=seed, c=1) for seed in (0, 1))
    run(zero)
    run(one)
    for ours, theirs in zip(zero.trainer.trainings, one.trainer.trainings, strict=True):
        assert ours.orders != theirs.orders
        assert ours.noise != theirs.noise


def test_the_noise_is_not_drawn_with_the_numbers_of_the_order(tmp_path):
    loop = make_loop(tmp_path, c=0)
    run(loop)
    numbers = generator(loop.plan.seed, "initial", 0, 0, "order").integers(2**31)
    assert loop.trainer.trainings[0].noise != numbers


def test_where_the_trainings_of_a_trainer_have_left_it_does_not_matter(tmp_path):
    trainer = FakeTrainer()
    loop = make_loop(tmp_path / "used", trainer)
    trainer.train(3, np.random.default_rng(9), None, lambda epoch: None)
    trainer.trainings.clear()
    fresh = make_loop(tmp_path / "fresh")
    assert weight(loop, run(loop)) == weight(fresh, run(fresh))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_clone_whose_loss_is_nan_always_loses(tmp_path, lost):
    loop = make_loop(tmp_path, FakeTrainer(script={1 + lost: NAN}), c=1)
    final = run(loop)
    row = loop.log.lineage.iloc[lost]
    assert (row["fitness"], row["selected"]) == (LOSES, False)
    assert math.isnan(row["value"])
    assert loop.log.winners[1] not in (lost, None)
    assert math.isfinite(weight(loop, final))


@pytest.mark.parametrize("survivor", [0, 1, 2])
def test_the_only_clone_that_has_not_diverged_wins(tmp_path, survivor):
    script = {1 + clone: NAN for clone in range(3) if clone != survivor}
    loop = make_loop(tmp_path, FakeTrainer(script=script), c=1)
    run(loop)
    assert loop.log.winners == {1: survivor}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_clone_whose_monitored_value_is_not_finite_loses(tmp_path, mode, value):
    trainer = FakeTrainer(script={1: {"val_loss": value}})
    loop = make_loop(tmp_path, trainer, c=1, mode=mode)
    run(loop)
    assert loop.log.winners[1] in (1, 2)


def test_a_clone_whose_loss_is_nan_loses_even_with_a_finite_monitored_value(tmp_path):
    trainer = FakeTrainer(script={1: {"loss": math.nan, "val_loss": 0.0}})
    loop = make_loop(tmp_path, trainer, c=1)
    run(loop)
    assert loop.log.winners[1] in (1, 2)


def test_a_diverged_clone_is_archived_and_journalled_too(tmp_path):
    loop = make_loop(tmp_path, FakeTrainer(script={2: NAN}), c=1)
    run(loop)
    [entry] = [entry for entry in journal(loop) if entry.get("clone") == 1 and "value" in entry]
    assert (entry["value"], entry["fitness"]) == ("nan", "-inf")
    assert (entry["first_epoch"], len(entry["epochs"])) == (3, 1)
    assert describe(tmp_path / entry["archive"])["fitness"] == "-inf"


def test_genomes_that_diverge_never_become_the_network(tmp_path):
    trainer = FakeTrainer(diverges=lambda genome: genome.optimizer != "sgd")
    loop = make_loop(tmp_path, trainer, c=6, pop_size=4)
    final = run(loop)
    assert LOSES in loop.log.lineage["fitness"].tolist()
    assert final.genome.optimizer == "sgd"


def test_the_network_goes_on_unchanged_when_every_clone_has_diverged(tmp_path):
    trainer = FakeTrainer(script={1: NAN, 2: NAN, 3: NAN})
    loop = make_loop(tmp_path, trainer, c=2)
    with pytest.warns(MihaWarning, match="Every clone of cycle 1 has failed"):
        run(loop)
    initial, winner = trainer.trainings[0], trainer.trainings[4]
    assert (winner.start, winner.genome) == (initial.end, GENOME)
    assert loop.log.winners[1] is None
    assert not loop.log.lineage["selected"][:3].any()
    [selection] = [e for e in journal(loop) if e["event"] == "selection" and e["cycle"] == 1]
    assert selection["clone"] is None
    [record] = [r for r in loop.log.trainings if r.archive == "model/model_1.zip"]
    assert (record.parent, record.first_epoch) == ("model/model_init.zip", 3)


def test_a_network_without_epochs_goes_on_unchanged_when_every_clone_has_diverged(tmp_path):
    trainer = FakeTrainer(script={1: NAN, 2: NAN, 3: NAN})
    loop = make_loop(tmp_path, trainer, c=1, k=0)
    with pytest.warns(MihaWarning, match="Every clone"):
        run(loop)
    assert trainer.trainings[5].start == trainer.trainings[0].end


def test_a_network_that_diverges_returns_to_the_values_before(tmp_path):
    trainer = FakeTrainer(script={4: NAN})
    loop = make_loop(tmp_path, trainer, c=2)
    with pytest.warns(MihaWarning, match="diverged in its winner training.*values before"):
        run(loop)
    fittest = trainer.trainings[1 + loop.log.winners[1]]
    assert math.isnan(trainer.trainings[4].end)
    assert all(trainer.trainings[i].start == fittest.end for i in (5, 6, 7))
    archived = trainer.load((tmp_path / "model/model_1.zip").read_bytes())
    assert archived["weight"] == fittest.end
    [record] = [r for r in loop.log.trainings if r.archive == "model/model_1.zip"]
    assert record.value == values_of(loop, cycle=1, clone=loop.log.winners[1])[-1]


def test_a_network_that_diverges_at_the_end_ends_with_the_values_before(tmp_path):
    trainer = FakeTrainer(script={5: NAN})
    loop = make_loop(tmp_path, trainer, c=1)
    with pytest.warns(MihaWarning, match="diverged in its final training"):
        final = run(loop)
    assert weight(loop, final) == trainer.trainings[4].end
    assert final.value == values_of(loop, phase="winner")[-1]


def test_a_network_that_diverges_at_once_is_rescued_by_its_clones(tmp_path):
    trainer = FakeTrainer(script={0: NAN})
    loop = make_loop(tmp_path, trainer, c=1, n=1)
    with pytest.warns(MihaWarning, match="diverged in its initial training"):
        final = run(loop)
    assert [training.start for training in trainer.trainings[1:4]] == [4.0] * 3
    assert loop.log.winners[1] is not None
    assert math.isfinite(final.value)
    assert math.isfinite(loop.best.value)


def test_a_run_in_which_everything_diverges_still_ends(tmp_path):
    loop = make_loop(tmp_path, FakeTrainer(diverges=lambda genome: True), c=2)
    with pytest.warns(MihaWarning) as warned:
        final = run(loop)
    assert len(warned) == 6  # Initial, final, and clones and winner of both cycles.
    assert weight(loop, final) == 4.0
    assert len(archives(loop)) == 10


def test_a_network_that_was_not_trained_is_not_said_to_have_diverged(tmp_path):
    loop = make_loop(tmp_path, FakeTrainer(diverges=lambda genome: True), c=1, k=0)
    with pytest.warns(MihaWarning) as warned:
        run(loop)
    assert [str(warning.message).split(" (")[0] for warning in warned] == [
        "The network diverged in its initial training",
        "Every clone of cycle 1 has failed; the network goes on unchanged. "
        "Narrow the search space or lower the learning rate.",
        "The network diverged in its final training",
    ]


def test_with_one_epoch_a_clone_is_measured_from_its_parent(tmp_path):
    seen = []
    loop = make_loop(tmp_path, n=1, c=1, fitness=lambda curve: seen.append(curve) or 0.0)
    run(loop)
    parent = values_of(loop, phase="initial")[-1]
    clones = values_of(loop, phase="clone")
    assert [(curve.first, curve.last) for curve in seen] == [(parent, value) for value in clones]


def test_with_more_epochs_a_clone_is_measured_from_its_first(tmp_path):
    seen = []
    loop = make_loop(tmp_path, n=3, c=1, fitness=lambda curve: seen.append(curve) or 0.0)
    run(loop)
    assert [curve.values for curve in seen] == [
        tuple(values_of(loop, phase="clone", clone=clone)) for clone in range(3)
    ]
    assert {curve.start for curve in seen} == {values_of(loop, phase="initial")[-1]}
    assert {curve.mode for curve in seen} == {"min"}


def test_without_epochs_of_its_own_the_winner_is_archived_as_it_won(tmp_path):
    loop = make_loop(tmp_path, k=0, c=1)
    run(loop)
    winner, clone = (
        loop.trainer.load((tmp_path / name).read_bytes())
        for name in ("model/model_1.zip", f"population/1_{loop.log.winners[1]}_model.zip")
    )
    assert winner == clone
    [record] = [r for r in loop.log.trainings if r.phase == "winner"]
    assert record.epochs == ()
    assert record.value == values_of(loop, clone=loop.log.winners[1])[-1]


def test_without_cycles_the_network_trains_twice_m_epochs(tmp_path):
    loop = make_loop(tmp_path, c=0, m=3)
    run(loop)
    assert archives(loop) == ["model/model_final.zip", "model/model_init.zip"]
    assert [len(training.orders) for training in loop.trainer.trainings] == [3, 3]
    assert len(loop.log.lineage) == 0


def test_a_larger_value_wins_where_larger_is_better(tmp_path):
    script = {i: {"val_accuracy": a} for i, a in enumerate([0.5, 0.6, 0.8, 0.7, 0.75, 0.7])}
    loop = make_loop(
        tmp_path, FakeTrainer(script=script), n=1, c=1, monitor="val_accuracy", mode="max"
    )
    final = run(loop)
    assert loop.log.winners == {1: 1}
    assert loop.best.archive == "population/1_1_model.zip"
    assert (loop.best.value, final.value) == (0.8, 0.7)


def test_the_best_network_is_the_one_with_the_best_value(tmp_path):
    script = {i: {"val_loss": v} for i, v in enumerate([5.0, 4.0, 3.0, 2.0, 1.0, 1.5])}
    trainer = FakeTrainer(script=script)
    loop = make_loop(tmp_path, trainer, c=1)
    run(loop)
    assert (loop.best.archive, loop.best.value) == ("model/model_1.zip", 1.0)
    best = trainer.load((tmp_path / "model/model_1.zip").read_bytes())
    assert best["weight"] == trainer.trainings[4].end
    assert loop.best.genome == trainer.trainings[4].genome


def test_of_equally_good_networks_the_first_is_the_best(tmp_path):
    script = {i: {"val_loss": 1.0} for i in range(6)}
    loop = make_loop(tmp_path, FakeTrainer(script=script), c=1)
    run(loop)
    assert loop.best.archive == "model/model_init.zip"


@pytest.mark.parametrize(("mode", "value"), [("min", -math.inf), ("max", math.inf)])
def test_a_value_that_is_not_finite_is_never_the_best(tmp_path, mode, value):
    sign = 1.0 if mode == "min" else -1.0
    script = {i: {"val_loss": sign * v} for i, v in enumerate([0.1, 2.0, 3.0, 4.0, 5.0, 6.0])}
    script[1] = {"val_loss": value}
    loop = make_loop(tmp_path, FakeTrainer(script=script), c=1, mode=mode)
    run(loop)
    assert (loop.best.archive, loop.best.value) == ("model/model_init.zip", sign * 0.1)


def test_the_weights_are_finalized_once_at_the_end(tmp_path):
    loop = make_loop(tmp_path)
    final = run(loop)
    assert loop.trainer.finalized == 1
    assert weight(loop, final) == round(loop.trainer.trainings[-1].end, 2)


def test_the_journal_has_a_line_for_each_training_and_each_selection(tmp_path):
    loop = make_loop(tmp_path, c=2, pop_size=3)
    run(loop)
    entries = journal(loop)
    cycle = ["training"] * 3 + ["selection", "training"]
    assert [entry["event"] for entry in entries] == ["training", *cycle * 2, "training", "end"]


def test_the_journal_has_what_the_logbook_has(tmp_path):
    loop = make_loop(tmp_path, FakeTrainer(script={2: NAN}))
    run(loop)
    trainings = [entry for entry in journal(loop) if entry["event"] == "training"]
    recorded = [{"event": "training", **record.to_json()} for record in loop.log.trainings]
    assert trainings == plain(recorded)
    selections = {e["cycle"]: e["clone"] for e in journal(loop) if e["event"] == "selection"}
    assert selections == loop.log.winners


def test_the_journal_tells_only_of_archives_that_are_there(tmp_path, monkeypatch):
    class Witness(Journal):
        def append(self, entry):
            if entry["event"] == "training" and not (tmp_path / entry["archive"]).exists():
                raise FileNotFoundError(entry["archive"])
            super().append(entry)

    monkeypatch.setattr("miha.run.resume.Journal", Witness)
    loop = make_loop(tmp_path)
    run(loop)
    assert len(journal(loop)) == 13


def test_the_tables_are_written_after_each_cycle(tmp_path, monkeypatch):
    monkeypatch.setattr("miha.storage.tables.Tables.are_due", True)
    loop = make_loop(tmp_path, m=2, n=2, k=1, c=2, pop_size=3)
    loop.run(loop.trainer.genome, loop.start)
    # The last selection comes before the last winner and the final training.
    check_tables(tmp_path, loop.log.history[: -(1 + 2)], loop.log.lineage)


def test_the_tables_are_whole_at_the_end(tmp_path):
    loop = make_loop(tmp_path)
    run(loop)
    check_tables(tmp_path, loop.log.history, loop.log.lineage)


def check_tables(path, history, lineage):
    for name, table in (
        ("history", history),
        ("lineage", lineage.fillna({"failure": math.nan, "mate": math.nan})),
    ):
        written = pd.read_csv(path / f"{name}.csv", dtype={"cycle": "Int64", "clone": "Int64"})
        pd.testing.assert_frame_equal(written, table, check_dtype=False)


def test_the_log_of_a_run_has_a_line_for_each_training_and_each_selection(tmp_path):
    loop = make_loop(tmp_path, c=1)
    run(loop)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert "Cycle 1: " in lines.pop(4)
    assert len(lines) == 6
    assert all(
        line.endswith(record.archive)
        for line, record in zip(lines, loop.log.trainings, strict=True)
    )
    assert "clone cycle 1 clone 0: unchanged, 2 epochs, val_loss " in lines[1]


def test_the_log_of_a_run_tells_why_it_stopped(tmp_path):
    loop = make_loop(tmp_path, callbacks=[Raising()])
    with pytest.raises(MihaError):
        run(loop)
    assert "The run stopped: MihaError" in (tmp_path / "run.log").read_text()


def test_the_snapshots_alive_do_not_grow_with_the_population(tmp_path):
    alive = []

    class Counting(FakeTrainer):
        references: list = []

        def snapshot(self):
            snapshot = super().snapshot()
            self.references.append(weakref.ref(snapshot))
            alive.append(sum(reference() is not None for reference in self.references))
            return snapshot

    run(
        make_loop(tmp_path, Counting(), m=1, n=1, c=1, pop_size=40, mutations=[BatchSizeMutation()])
    )
    # Start, parent, fittest, best, last and new one, and three on their way to the disk.
    assert len(alive) == 44
    assert max(alive) <= 10


def test_only_the_winner_keeps_its_values_after_its_cycle(tmp_path):
    counts = []

    class Watch(Callback):
        def __init__(self):
            self.clones = {}

        def on_training_end(self, network):
            if network.record.is_clone:
                self.clones[network.record.clone] = weakref.ref(network.snapshot)

        def on_training_begin(self, task):
            if task.phase == "winner":
                until(lambda: len(self.alive()) == 1)
                counts.append(self.alive())

        def alive(self):
            return [clone for clone, reference in self.clones.items() if reference() is not None]

    script = {0: {"val_loss": 0.0}}  # The best network is not one of the clones.
    loop = make_loop(tmp_path, FakeTrainer(script=script), c=1, pop_size=6, callbacks=[Watch()])
    run(loop)
    assert counts == [[loop.log.winners[1]]]


class Raising(Callback):
    def on_training_end(self, network):
        if network.record.is_clone:
            raise ZeroDivisionError


def test_a_callback_that_raises_ends_the_run_and_is_named(tmp_path):
    loop = make_loop(tmp_path, callbacks=[Raising()])
    with pytest.raises(MihaError, match=r"Raising\.on_training_end raised ZeroDivisionError"):
        run(loop)
    assert loop.trainer.epochs == 2 + 2


def test_what_was_trained_before_an_error_is_on_the_disk(tmp_path):
    loop = make_loop(tmp_path, callbacks=[Raising()])
    with pytest.raises(MihaError):
        run(loop)
    assert archives(loop) == ["model/model_init.zip", "population/1_0_model.zip"]
    assert [entry["archive"] for entry in journal(loop)] == archives(loop)


def test_a_callback_that_raises_within_a_training_is_named(tmp_path):
    class Impatient(Callback):
        def on_epoch_end(self, task, epoch):
            raise TimeoutError

    with pytest.raises(MihaError, match=r"Impatient\.on_epoch_end raised TimeoutError"):
        run(make_loop(tmp_path, callbacks=[Impatient()]))


def test_a_fitness_that_raises_ends_the_run_and_is_named(tmp_path):
    def steepest(curve):
        raise IndexError("no slope")

    with pytest.raises(MihaError, match="steepest raised IndexError"):
        run(make_loop(tmp_path, fitness=steepest))


def test_a_mutation_that_raises_ends_the_run_and_is_named(tmp_path):
    class Wild(Mutation):
        gene = "wild"

        def mutate(self, genome, space, rng):
            raise RuntimeError("too wild")

    with pytest.raises(MihaError, match="mutation Wild raised RuntimeError"):
        run(make_loop(tmp_path, mutations=[Wild()]))


def test_a_mutation_of_ones_own_changes_the_network(tmp_path):
    class Tiny(Mutation):
        gene = "tiny"

        def mutate(self, genome, space, rng):
            return genome.replace(batch_size=1)

    loop = make_loop(tmp_path, mutations=[Tiny()], c=1, pop_size=2)
    run(loop)
    assert loop.log.lineage["gene"].tolist() == ["none", "tiny"]
    assert loop.log.lineage["change"].tolist()[1] == "batch size 4 -> 1"
    assert loop.trainer.trainings[2].genome.batch_size == 1


def test_an_archive_that_cannot_be_written_ends_the_run(tmp_path):
    loop = make_loop(tmp_path, c=4)
    (tmp_path / "population").rmdir()
    with pytest.raises(StorageError, match="1_0_model.*No such file"):
        run(loop)
    assert [entry["archive"] for entry in journal(loop)] == ["model/model_init.zip"]


def test_the_last_archive_that_cannot_be_written_ends_the_run(tmp_path):
    loop = make_loop(tmp_path, c=1)
    (tmp_path / "model/model_final.zip").mkdir()
    with pytest.raises(StorageError, match="model_final.zip.*[Ii]s a directory"):
        run(loop)
    assert journal(loop)[-1]["archive"] == "model/model_1.zip"


def test_a_network_that_cannot_be_exported_ends_the_run(tmp_path):
    class Unwilling(FakeTrainer):
        def export(self, snapshot, genome):
            raise MihaError("no archive of this network")

    with pytest.raises(MihaError, match="no archive of this network"):
        run(make_loop(tmp_path, Unwilling()))


def test_an_interruption_ends_the_run_with_the_disk_in_order(tmp_path):
    class Interrupting(Callback):
        def on_epoch_end(self, task, epoch):
            if task.phase == "winner":
                raise KeyboardInterrupt

    loop = make_loop(tmp_path, callbacks=[Interrupting()])
    with pytest.raises(KeyboardInterrupt):
        run(loop)
    selection = {"event": "selection", "cycle": 1, "clone": loop.log.winners[1]}
    assert selection.items() <= journal(loop)[-1].items()
    assert not list(tmp_path.rglob("*.part"))


def test_the_space_of_the_trainer_bounds_every_genome_of_a_run(tmp_path):
    loop = make_loop(tmp_path, c=8, pop_size=4)
    run(loop)
    for training in loop.trainer.trainings:
        genome = training.genome
        assert genome.optimizer in SPACE.optimizers
        assert SPACE.batch_size[0] <= genome.batch_size <= SPACE.batch_size[1]
        assert all(activation in SPACE.slots[slot] for slot, activation in genome.activations)


def test_a_monitor_that_is_not_logged_costs_one_epoch(tmp_path):
    seen = []
    loop = make_loop(tmp_path / "run", m=5, monitor="val_f1", callbacks=[Watching(seen)])
    with pytest.raises(MihaError, match="`monitor` must name a value that is logged"):
        run(loop)
    assert seen == []


class Watching(Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_epoch_end(self, task, epoch):
        self.seen.append(epoch)


def test_a_transition_begins_from_what_the_parent_is(tmp_path):
    class Watched(FakeTrainer):
        before = []

        def express(self, genome, transition="inherit", rng=None):
            if transition == "keep_function":
                self.before.append(self.genome)
            super().express(genome, transition, rng)

    loop = make_loop(tmp_path, Watched(), c=12, pop_size=6)
    run(loop)
    genomes = {record.archive: record.genome for record in loop.log.trainings}
    kept = [r for r in loop.log.trainings if r.change.transition == "keep_function"]
    assert len(kept) > 2
    assert Watched.before == [genomes[record.parent] for record in kept]


@pytest.mark.parametrize("anneal", [False, True])
def test_the_learning_rate_is_annealed_in_the_last_training_only(tmp_path, anneal):
    loop = make_loop(tmp_path, m=4, anneal=anneal)
    run(loop)
    *others, last = [training.rates for training in loop.trainer.trainings]
    assert not any(others)
    expected = [0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert last == (pytest.approx(expected) if anneal else None)


def test_one_cosine_goes_over_the_rests_that_end_a_run(tmp_path):
    # No mutant is ever better by so much: populations in cycles 1 and 3, then only rests.
    numbers = {"m": 4, "n": 1, "k": 1, "c": 6, "pop_size": 3}
    loop = make_loop(tmp_path, rest=True, anneal=True, margin=1e9, **numbers)
    run(loop)
    falling = {record.cycle: record.rates for record in loop.log.trainings if record.rates}
    assert list(falling) == [4, 5, 6, None]
    factors = [factor for rates in falling.values() for factor in rates]
    assert len(factors) == 3 * 4 + 4
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1.0 and 0 < factors[-1] < 0.1

    # It is read again from the journal: the same run goes on to the same end.
    again = make_loop(tmp_path, rest=True, anneal=True, margin=1e9, **numbers)
    assert [r.rates for r in again.recorder.past.trainings] == [r.rates for r in loop.log.trainings]
