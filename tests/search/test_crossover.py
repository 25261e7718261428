from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_loop, make_network, run

from miha.errors import MihaError
from miha.mutations import resolve
from miha.records import Change, Snapshot
from miha.search.crossover import joined, mean, offspring

FASTER = GENOME.replace(learning_rate=0.01)
LARGER = GENOME.replace(batch_size=8)
ADAM = GENOME.replace(optimizer="adam", learning_rate=0.001)
GELU = GENOME.with_activation("hidden", "gelu")
RELU = GENOME.with_activation("last", "relu")


@pytest.mark.parametrize(
    ("fitter", "other", "child"),
    [
        (LARGER, FASTER, LARGER.replace(learning_rate=0.01)),
        (GELU, RELU, GELU.with_activation("last", "relu")),
        (GELU, ADAM, ADAM.with_activation("hidden", "gelu")),
        # A learning rate is one of its optimizer.
        (ADAM, FASTER, ADAM),
        (FASTER, ADAM, FASTER),
        (LARGER, GENOME.replace(batch_size=2), LARGER),
        (GENOME, ADAM, ADAM),
    ],
)
def test_a_child_has_both_clones_changes_where_they_are_compatible(fitter, other, child):
    assert joined(fitter, other, GENOME) == child


def clone(number, genome, change="something", transition="inherit"):
    network = make_network(clone=number)
    task = replace(network.task, genome=genome, change=Change("gene", change, transition))
    return replace(network, task=task)


def children(fitter, other):
    """Return what two clones make that did not race."""
    return offspring(fitter, other, GENOME, [c.task.change.transition for c in (fitter, other)])


def test_both_go_on_and_their_child_and_their_mean_compete():
    fitter, other = clone(2, LARGER, "larger"), clone(1, FASTER, "faster")
    goes_on, other_goes_on, child, soup = children(fitter, other)
    assert (goes_on.base, goes_on.genome, goes_on.change.gene) == (fitter, LARGER, "none")
    assert (other_goes_on.base, other_goes_on.genome) == (other, FASTER)
    assert (child.base, child.genome) == (fitter, LARGER.replace(learning_rate=0.01))
    assert child.change.mate == other.task.archive and child.change.gene == "crossover"
    assert "learning rate 0.005 -> 0.01" in child.change.text
    assert (soup.base, soup.genome, soup.is_soup) == (fitter, LARGER, True)
    assert soup.change.mate == other.task.archive


def test_networks_of_other_activations_have_no_mean():
    found = list(children(clone(2, GELU), clone(1, LARGER)))
    assert [child.is_soup for child in found] == [False, False, False]


def test_a_child_keeps_the_function_where_the_others_activation_was_exchanged_so():
    *_, child = children(clone(1, LARGER), clone(2, GELU, transition="keep_function"))
    assert child.change.transition == "keep_function"


def test_a_restart_and_a_mutant_have_nothing_to_join():
    assert len(list(children(clone(1, ADAM, transition="restart"), clone(2, GELU)))) == 2


@pytest.mark.parametrize("began", ["restart", "perturb"])
def test_nor_has_one_that_raced(began):
    both = clone(1, ADAM, transition="inherit"), clone(2, GELU)
    assert len(list(offspring(*both, GENOME, [began, "inherit"]))) == 2


def test_a_child_of_clones_that_raced_keeps_the_function_as_they_did(tmp_path):
    loop = make_loop(
        tmp_path, pop_size=6, n=2, c=6, racing=True, crossover=True,
        mutations=resolve(["activation", "batch_size"]),
    )  # fmt: skip
    run(loop)
    clones = {e["archive"]: e for e in loop.log.trainings if e["phase"] == "clone"}
    children = [e for e in clones.values() if e["change"]["gene"] == "crossover"]
    found = set()
    for child in children:
        mate = clones[child["change"]["mate"]]
        began = clones.get(mate["parent"], mate)["change"]
        assert child["change"]["transition"] == began["transition"]
        found.add(began["transition"])
    assert "keep_function" in found


def test_the_mean_is_of_floats_only():
    first, second = (
        Snapshot((np.full(3, v, "float32"), np.array([s])), "sgd", (np.array(s),))
        for v, s in ((1.0, 4), (2.0, 8))
    )
    found = mean(first, second)
    np.testing.assert_array_equal(found.variables[0], np.full(3, 1.5, "float32"))
    assert found.variables[0].dtype == np.float32
    assert (found.variables[1][0], found.slots[0]) == (4, 4)


def test_a_run_with_crossover_tells_both_parents(tmp_path):
    loop = make_loop(tmp_path, pop_size=4, c=3, crossover=True)
    run(loop)
    clones = [e for e in loop.log.trainings if e["phase"] == "clone"]
    joined = [e for e in clones if e["change"]["mate"]]
    assert joined and all(e["clone"] >= 4 for e in joined)
    archives = {e["archive"] for e in clones}
    for entry in joined:
        assert {entry["parent"], entry["change"]["mate"]} <= archives
        assert entry["parent"] != entry["change"]["mate"]
        assert entry["first_epoch"] == clones[0]["first_epoch"] + 2 or entry["cycle"] > 1
    for cycle in (1, 2, 3):
        rows = [e for e in clones if e["cycle"] == cycle]
        best = max(rows[4:], key=lambda e: e["fitness"])
        assert loop.log.winners[cycle] == best["clone"]


def test_those_that_join_train_from_the_values_that_they_are_said_to_have(tmp_path):
    loop = make_loop(tmp_path, pop_size=4, c=1, crossover=True)
    run(loop)
    clones = [e for e in loop.log.trainings if e["phase"] == "clone"]
    ends = {
        e["archive"]: t.end for e, t in zip(loop.log.trainings, loop.trainer.trainings, strict=True)
    }
    for place, entry in enumerate(clones[4:], 5):
        training = loop.trainer.trainings[place]
        parents = [ends[entry["parent"]]]
        if entry["change"]["gene"] == "soup":
            parents.append(ends[entry["change"]["mate"]])
        assert training.start == pytest.approx(np.mean(parents))


@pytest.mark.parametrize("stop", range(1, 15))
def test_a_run_with_crossover_that_died_goes_on_as_if_it_had_not(tmp_path, stop):
    class Dies(FakeTrainer):
        def train(self, *args, **kwargs):
            if len(self.trainings) == stop:
                raise KeyboardInterrupt
            return super().train(*args, **kwargs)

    arguments = {"pop_size": 4, "c": 2, "crossover": True, "adaptive": True, "restarts": 1}
    whole = make_loop(tmp_path / "whole", **arguments)
    run(whole)
    loop = make_loop(tmp_path / "died", Dies(), **arguments)
    with pytest.raises((KeyboardInterrupt, MihaError)):
        run(loop)
    again = make_loop(tmp_path / "died", **arguments)
    run(again)

    def without_seconds(log):
        return [
            {**e, "seconds": 0, "epochs": [{**row, "seconds": 0} for row in e["epochs"]]}
            for e in log.trainings
        ]

    assert without_seconds(again.log) == without_seconds(whole.log)
    assert again.log.winners == whole.log.winners
