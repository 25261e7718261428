from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from entries import entry
from fakes import GENOME, SPACE

from miha.mutations import ActivationMutation, LearningRateMutation, resolve
from miha.records import UNCHANGED, Schedule
from miha.search.fitness import LevelAndSlope
from miha.search.plan import Plan
from miha.search.population import ADAPTIVE, population, restarted


def plan(**changes):
    arguments = {
        "schedule": Schedule(1, 1, 1, 4, 6),
        "mutations": resolve(["optimizer", "activation", "batch_size", "learning_rate"]),
        "fitness": LevelAndSlope(),
        "monitor": "val_loss",
        "mode": "min",
        "control": True,
        "seed": 0,
        "restarts": 2,
    }
    return Plan(**(arguments | changes))


def draw(cycle=1, done=(), **changes):
    return population(plan(**changes), GENOME, SPACE, cycle, done)


def test_a_population_is_the_control_mutants_and_a_restart():
    clones = draw()
    assert len(clones) == 6
    assert clones[0] == (GENOME, UNCHANGED)
    assert [change.transition == "restart" for _, change in clones] == [False] * 5 + [True]
    assert len({genome for genome, _ in clones[:5]}) == 5


@pytest.mark.parametrize(("cycle", "restarts"), [(1, 1), (2, 1), (3, 0)])
def test_restarts_end_after_the_first_cycles(cycle, restarts):
    assert sum(change.transition == "restart" for _, change in draw(cycle)) == restarts


def test_the_only_mutant_of_a_population_is_no_restart():
    changes = [c for _, c in draw(schedule=Schedule(1, 1, 1, 4, 2))]
    assert "restart" not in [change.transition for change in changes]


def test_a_restart_takes_the_place_of_a_mutant_and_leaves_the_others_as_they_are():
    assert draw()[:5] == draw(restarts=0)[:5]


def restart(seed=0, parent=GENOME, space=SPACE, cycle=2):
    return restarted(parent, space, cycle, np.random.default_rng(seed))


def test_a_restart_has_an_adaptive_optimizer_at_its_default_rate_and_one_rectifier():
    for seed in range(20):
        genome, change = restart(seed)
        assert (genome.optimizer in ADAPTIVE, genome.learning_rate) == (True, 0.001)
        name = dict(genome.activations)["hidden"]
        assert name in ("relu", "gelu")
        assert all(
            held == name or name not in SPACE.slots[slot] for slot, held in genome.activations
        )
        assert change.gene == "restart" and str(genome) in change.text


TEXTBOOK = replace(SPACE, optimizers=SPACE.optimizers | {"adam": 0.3}, batch_size=(8, 128))


def test_the_first_restart_begins_as_a_textbook_does():
    found = {restart(seed, space=TEXTBOOK, cycle=1)[0] for seed in range(20)}
    (genome,) = found
    assert (genome.optimizer, genome.learning_rate, genome.batch_size) == ("adam", 0.001, 32)
    assert dict(genome.activations)["hidden"] == "relu"
    assert len({restart(seed, space=TEXTBOOK)[0] for seed in range(20)}) > 5


def test_a_network_that_begins_as_a_textbook_does_is_not_begun_so_again():
    parent = restart(space=TEXTBOOK, cycle=1)[0]
    found = {restart(seed, parent, TEXTBOOK, cycle=1)[0] for seed in range(20)}
    assert len(found) > 5


def test_a_restart_keeps_to_the_space():
    space = replace(TEXTBOOK, learning_rate=(0.01, 0.1), batch_size=(48, 80))
    found = [restart(seed, space=space, cycle=cycle)[0] for seed in range(9) for cycle in (1, 2)]
    assert {(genome.learning_rate, genome.batch_size) for genome in found} == {(0.01, 64)}


def test_a_restart_under_a_schedule_has_no_rate():
    space = replace(SPACE, optimizers=dict.fromkeys(SPACE.optimizers))
    assert restart(parent=GENOME.replace(learning_rate=None), space=space)[0].learning_rate is None


def test_a_restart_without_rectifiers_takes_any_activation():
    space = replace(SPACE, slots={"hidden": ("tanh", "softsign"), "last": ("tanh",)})
    parent = GENOME.with_activation("hidden", "tanh").with_activation("last", "tanh")
    drawn = (restart(seed, parent, space)[0] for seed in range(20))
    assert {dict(genome.activations)["hidden"] for genome in drawn} == {"tanh", "softsign"}


def test_a_restart_without_adaptive_optimizers_takes_any():
    space = replace(SPACE, optimizers={"sgd": 0.005, "lion": 0.0005})
    assert {restart(seed, space=space)[0].optimizer for seed in range(20)} == {"sgd", "lion"}


def test_what_paid_is_drawn_more_often_where_choice_learns():
    done = [entry("none", 0.0, cycle) for cycle in range(1, 9)]
    done += [entry("batch_size", 1.0, cycle) for cycle in range(1, 9)]
    done += [entry("activation", -1.0, cycle) for cycle in range(1, 9)]
    counts = {}
    for adaptive in (False, True):
        genes = [
            change.gene
            for seed in range(60)
            for _, change in draw(9, done, adaptive=adaptive, seed=seed)
        ]
        counts[adaptive] = {gene: genes.count(gene) for gene in ("batch_size", "activation")}
    assert counts[True]["batch_size"] > 1.2 * counts[False]["batch_size"]
    assert counts[True]["activation"] < 0.8 * counts[False]["activation"]


def lost_in(cycle, genomes, parent=GENOME):
    control = [entry("none", 0.0, cycle, parent)]
    return [*control, *(entry("activation", -1.0, cycle, genome) for genome in genomes)]


def test_what_was_made_of_a_genome_and_lost_is_not_made_of_it_again():
    first = [genome for genome, _ in draw(3)[1:]]
    again = {genome for genome, _ in draw(3, lost_in(2, first))[1:]}
    assert not again & set(first)


@pytest.mark.parametrize("cycle", [1, 7, 8])
def test_what_lost_long_ago_may_be_made_again_and_what_is_to_come_does_not_count(cycle):
    first = [genome for genome, _ in draw(7)[1:]]
    assert [genome for genome, _ in draw(7, lost_in(cycle, first))[1:]] == first


def test_what_lost_beside_another_genome_may_be_made():
    first = [genome for genome, _ in draw(3)[1:]]
    other = GENOME.replace(batch_size=2)
    assert [genome for genome, _ in draw(3, lost_in(2, first, other))[1:]] == first


def test_a_small_population_tries_one_gene_but_once():
    alike = [LearningRateMutation(weight=1.0), ActivationMutation(weight=1.0)]
    changes = {
        "mutations": resolve(["optimizer", "batch_size", *alike]),
        "schedule": Schedule(1, 1, 1, 4, 5),
    }
    for seed in range(20):
        genes = [change.gene for _, change in draw(3, seed=seed, **changes)]
        assert sorted(genes[1:]) == ["activation", "batch_size", "learning_rate", "optimizer"]


def test_what_a_restart_lost_with_may_be_made_by_mutation():
    first = [genome for genome, _ in draw(3)[1:]]
    done = [
        {**e, "change": {"gene": "restart"}} if e["change"]["gene"] != "none" else e
        for e in lost_in(2, first)
    ]
    assert [genome for genome, _ in draw(3, done)[1:]] == first


def test_a_clone_that_goes_on_is_no_control():
    """Of a crossing: its genome is one that the parent's clones had."""
    first = [genome for genome, _ in draw(3)[1:]]
    other = GENOME.replace(batch_size=2)
    done = [{**e, "archive": f"{i}.zip"} for i, e in enumerate(lost_in(2, first, other))]
    done.append(entry("none", 0.0, 2, GENOME, parent="1.zip"))
    assert [genome for genome, _ in draw(3, done)[1:]] == first
