"""A population: the control, mutants that differ, and in the first cycles a restart."""

from __future__ import annotations

import pytest
from fakes import GENOME, SPACE, make_plan, make_record

from miha.mutations import ActivationMutation, LearningRateMutation, resolve
from miha.records import UNCHANGED, Change
from miha.search.population import draw_population, recently_lost

NAMES = ["optimizer", "activation", "batch_size", "learning_rate"]
MUTANT = Change("activation", "an activation")
RESTART = Change("restart", "fresh weights", "restart")
SMALL = {"m": 1, "n": 1, "k": 1, "c": 4, "pop_size": 6, "restarts": 2}


def draw(cycle=1, records=(), **changes):
    plan = make_plan(**({"mutations": resolve(NAMES)} | SMALL | changes))
    parent = make_record("initial", None, None, genome=GENOME, parent=None)
    return draw_population(plan, parent, SPACE, cycle, records)


def test_a_population_is_the_control_mutants_and_a_restart():
    clones = draw()
    assert len(clones) == 6
    assert clones[0] == (GENOME, UNCHANGED)
    assert [change.is_restart for _, change in clones] == [False] * 5 + [True]
    assert not any(change.is_control for _, change in clones[1:])
    assert len({genome for genome, _ in clones[:5]}) == 5


def test_without_a_control_all_are_mutants_and_a_restart():
    kinds = [change.kind for _, change in draw(control=False)]
    assert kinds == ["mutation"] * 5 + ["restart"]
    assert [change.kind for _, change in draw(control=False, pop_size=1)] == ["mutation"]


@pytest.mark.parametrize(("cycle", "restarts"), [(1, 1), (2, 1), (3, 0)])
def test_restarts_end_after_the_first_cycles(cycle, restarts):
    assert sum(change.is_restart for _, change in draw(cycle)) == restarts


@pytest.mark.parametrize(("value", "restarts"), [(0.1, 1), (9.0, 0)])
def test_another_restart_follows_only_one_that_was_promising(value, restarts):
    initial = make_record("initial", None, None, genome=GENOME, values=(0.5, 0.4, 0.3), parent=None)
    fresh = make_record(cycle=1, clone=5, values=(9.0, value), change=RESTART)
    plan = make_plan(**({"mutations": resolve(NAMES)} | SMALL))
    clones = draw_population(plan, initial, SPACE, 2, [initial, fresh])
    assert sum(change.is_restart for _, change in clones) == restarts


def test_a_change_that_won_goes_one_step_further():
    parent = make_record("initial", None, None, genome=GENOME, parent=None)
    faster = GENOME.replace(learning_rate=0.006)
    control = make_record(clone=0, genome=GENOME, parent=parent.archive)
    clone = make_record(
        clone=1, genome=faster, change=Change("learning_rate", "x"), parent=parent.archive
    )
    winner = make_record("winner", 1, None, genome=faster, parent=clone.archive)
    records = [parent, control, clone, winner]
    plan = make_plan(**({"mutations": resolve(NAMES)} | SMALL))
    genome, change = draw_population(plan, winner, SPACE, 2, records)[1]
    expected = 0.006**2 / GENOME.learning_rate
    assert genome.learning_rate == pytest.approx(expected, rel=0.01)
    assert change.gene == "learning_rate"
    # Of a cycle before the last nothing follows.
    later = draw_population(plan, winner, SPACE, 3, records)[1]
    assert later[0].learning_rate != genome.learning_rate


def learning(cycle, names=NAMES, records=(), **changes):
    """Return the population of a network whose losses fall."""
    slow = GENOME.replace(learning_rate=0.001)
    falls = (0.9, 0.7, 0.5, 0.3)
    initial = make_record("initial", None, None, falls, genome=slow, parent=None)
    plan = make_plan(**(SMALL | {"mutations": resolve(names)} | changes))
    return draw_population(plan, initial, SPACE, cycle, [initial, *records])


def test_the_first_mutant_of_a_network_that_learns_has_a_larger_learning_rate():
    genome, change = learning(1)[1]
    assert (genome.learning_rate, change.gene) == (0.0025, "learning_rate")
    assert 0.0025 not in [clone.learning_rate for clone, _ in learning(1, ["optimizer"])]


def test_a_control_that_learns_stays_alone_where_it_is_all_of_a_population():
    [(genome, change)] = learning(1, pop_size=1)
    assert change.is_control
    assert genome.learning_rate == 0.001


def test_what_a_network_asks_for_and_has_lost_is_not_tried_again_at_once():
    slow = GENOME.replace(learning_rate=0.001)
    control = make_record(cycle=1, clone=0, genome=slow)
    lost = make_record(cycle=1, clone=1, genome=slow.replace(learning_rate=0.0025))
    genomes = [genome for genome, _ in learning(2, records=[control, lost])]
    assert lost.genome not in genomes


def test_the_only_mutant_of_a_population_is_no_restart():
    assert not any(change.is_restart for _, change in draw(pop_size=2))


def test_a_restart_takes_the_place_of_a_mutant_and_leaves_the_others_as_they_are():
    assert draw()[:5] == draw(restarts=0)[:5]


def test_a_population_is_drawn_from_seed_and_cycle_alone():
    assert draw() == draw()
    assert draw()[1:5] != draw(seed=1)[1:5]
    assert draw()[1:5] != draw(cycle=2)[1:5]


def lost_in(cycle, genomes, parent=GENOME, change=MUTANT):
    """Return the records of a cycle in which all clones but the control have lost."""
    control = make_record(cycle=cycle, clone=0, genome=parent)
    clones = [
        make_record(cycle=cycle, clone=number, genome=genome, change=change)
        for number, genome in enumerate(genomes, 1)
    ]
    return [control, *clones]


def genomes_of(clones):
    return [genome for genome, _ in clones[1:]]


def test_what_was_made_of_a_genome_and_lost_is_not_made_of_it_again():
    first = genomes_of(draw(3))
    again = genomes_of(draw(3, lost_in(2, first)))
    assert not {*again} & {*first}


@pytest.mark.parametrize("cycle", [1, 7, 8])
def test_what_lost_long_ago_may_be_made_again_and_what_is_to_come_does_not_count(cycle):
    first = genomes_of(draw(7))
    assert genomes_of(draw(7, lost_in(cycle, first))) == first


def test_what_lost_beside_another_genome_may_be_made():
    first = genomes_of(draw(3))
    other = GENOME.replace(batch_size=2)
    assert genomes_of(draw(3, lost_in(2, first, other))) == first


def test_what_a_restart_lost_with_may_be_made_by_mutation():
    first = genomes_of(draw(3))
    assert genomes_of(draw(3, lost_in(2, first, change=RESTART))) == first


def test_a_population_without_a_control_is_not_remembered():
    first = genomes_of(draw(3))
    assert genomes_of(draw(3, lost_in(2, first)[1:])) == first


def test_what_failed_has_lost_too_and_the_parent_has_not():
    larger, smaller = GENOME.replace(batch_size=8), GENOME.replace(batch_size=2)
    records = lost_in(2, [larger, smaller])
    records[2] = records[2].replace(archive=None, fitness=None, failure="no memory")
    assert recently_lost(records, GENOME, 3) == {larger, smaller}
    assert recently_lost(records, GENOME, 2) == set()
    assert recently_lost(records, larger, 3) == set()


def test_a_small_population_tries_one_gene_but_once():
    alike = [LearningRateMutation(weight=1.0), ActivationMutation(weight=1.0)]
    mutations = resolve(["optimizer", "batch_size", *alike])
    for seed in range(20):
        clones = draw(3, seed=seed, mutations=mutations, pop_size=5)
        genes = [change.gene for _, change in clones]
        assert sorted(genes[1:]) == ["activation", "batch_size", "learning_rate", "optimizer"]
