"""Selection: the fittest wins, and the three rules that stand above that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import FakeTrainer, make_loop, make_plan, make_record, run

from miha.records import Change
from miha.search.restarts import training_losses
from miha.search.selection import (
    WINDOW,
    contenders,
    find_control,
    find_restart,
    is_worse_than_at_first,
    margin,
    network_to_go_on_from,
    noise,
    rank,
    select,
    will_overtake,
)

MUTANT = Change("batch_size", "batch size 4 -> 8")
RESTART = Change("restart", "fresh weights", "restart")
PAST = [2.0, 2.2, 1.8, 2.1, 1.9, 2.2, 1.8, 2.0]
"""A network that goes up and down."""


def control(value=1.0, fitness=0.0, **changes):
    return make_record(clone=0, values=(value, value), fitness=fitness, **changes)


def mutant(number, value, fitness, **changes):
    values = (value, value)
    return make_record(clone=number, values=values, fitness=fitness, change=MUTANT, **changes)


def restart(value, fitness, number=9, **changes):
    values = (value, value)
    return make_record(clone=number, values=values, fitness=fitness, change=RESTART, **changes)


# Who is who in a population.


def test_the_control_and_the_restart_are_known_by_their_change():
    clones = [mutant(1, 0.5, 0.5), control(), restart(0.5, 0.5)]
    assert find_control(clones) is clones[1]
    assert find_restart(clones) is clones[2]
    assert find_control(clones[::2]) is find_restart(clones[:2]) is None


@pytest.mark.parametrize(
    ("fitness", "numbers"),
    [
        ([1.0, 3.0, 2.0], [1, 2, 0]),
        ([-5.0], [0]),
        ([2.0, 2.0, 1.0, 2.0], [0, 1, 3, 2]),
        ([-math.inf, -1e300, None, math.nan], [1]),
        ([-math.inf, None], []),
        ([], []),
    ],
)
def test_the_fittest_comes_first_and_of_equals_the_lower_number(fitness, numbers):
    clones = [mutant(number, 1.0, value) for number, value in enumerate(fitness)]
    assert [clone.clone for clone in rank(clones[::-1])] == numbers


def test_those_that_can_still_win_are_control_restart_and_the_two_fittest_mutants():
    mutants = [mutant(i, 1.0, float(i)) for i in range(1, 6)]
    clones = [control(fitness=-9.0), *mutants, restart(5.0, -9.0)]
    found = contenders(clones)
    assert [clone.clone for clone in found] == [0, 9, 5, 4]
    assert [clone.clone for clone in contenders(mutants)] == [5, 4]
    assert contenders([]) == []


# The margin.


def winner(clones, gap=0.1, past=PAST, cycle=1, **changes):
    """Return the clone that is selected where a mutant must be better by ``gap``."""
    values = [*past, *clones[0].values("val_loss")]
    changes["margin"] = gap / noise(values[-WINDOW:]) if gap else 0.0
    return select(clones, make_plan(**changes), past, cycle).winner


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.95], 0),
        ([0.95, 0.8], 0),  # The second fittest is not asked.
        ([0.8, 0.95], 1),
        ([1.2], 0),
        ([1.2, 0.8], 0),
        ([], 0),
    ],
)
def test_the_control_wins_where_the_fittest_mutant_is_not_clearly_better(values, expected):
    mutants = [mutant(i, value, 10.0 - i) for i, value in enumerate(values, 1)]
    assert winner([control(), *mutants]).clone == expected


def test_the_control_wins_where_it_is_the_fittest():
    clones = [control(fitness=1.0), mutant(1, 0.5, 0.9)]
    assert winner(clones) is clones[0]


def test_where_large_is_better_a_mutant_must_be_larger():
    clones = [control(), mutant(1, 1.2, 1.0)]
    assert winner(clones, mode="max") is clones[1]
    clones = [control(), mutant(1, 0.8, 1.0)]
    assert winner(clones, mode="max") is clones[0]


def test_without_a_margin_the_fittest_wins_even_with_a_worse_value():
    clones = [control(), mutant(1, 1.2, 1.0)]
    assert winner(clones, gap=0) is clones[1]


def test_a_control_that_has_diverged_keeps_nobody_back():
    lost = make_record(clone=0, values=(math.nan,), fitness=-math.inf)
    clones = [lost, mutant(1, 1.2, 1.0)]
    assert select(clones, make_plan(margin=5.0), PAST, 1).winner is clones[1]


def test_a_tie_goes_to_the_lower_number():
    clones = [mutant(2, 0.5, 1.0), mutant(1, 0.5, 1.0)]
    assert select(clones, make_plan(control=False), PAST, 1).winner is clones[1]
    clones = [control(fitness=1.0), mutant(1, 0.5, 1.0)]
    assert winner(clones) is clones[0]


def test_without_a_control_the_fittest_wins():
    clones = [mutant(0, 1.2, 1.0), mutant(1, 0.8, 0.5), restart(5.0, 2.0)]
    plan = make_plan(control=False, margin=5.0)
    assert select(clones, plan, PAST, 1).winner is clones[2]
    assert select(clones[:2], plan, PAST, 1).winner is clones[0]


@pytest.mark.parametrize("has_control", [True, False])
def test_nobody_wins_where_all_have_lost(has_control):
    clones = [control(math.nan, -math.inf), mutant(1, 0.5, None), mutant(2, 0.5, -math.inf)]
    assert select(clones[not has_control :], make_plan(margin=1.0), PAST, 1).winner is None


def test_the_margin_is_measured_in_the_noise_of_the_last_epochs():
    values = [100.0, -100.0, 100.0, -100.0, *PAST]
    plan = make_plan(margin=3.0)
    assert margin(values, plan) == 3.0 * noise(PAST) > 0
    assert margin(values, make_plan(margin=0.0)) == 0


@pytest.mark.parametrize(("times", "winning"), [(0.0, 1), (1.0, 0)])
def test_a_run_selects_a_mutant_only_when_its_gain_is_more_than_noise(tmp_path, times, winning):
    # The main line goes up and down by 1; the mutant ends 0.1 below the control.
    values = iter([5.0, 6.0, 4.0, 6.0])

    class Noisy(FakeTrainer):
        def _logs(self):
            logs = super()._logs()
            return logs | ({"val_loss": next(values)} if len(self.trainings) == 1 else {})

    trainer = Noisy(script={1: {"val_loss": 4.0}, 2: {"val_loss": 3.9}})
    loop = make_loop(tmp_path, trainer, m=4, n=1, c=1, pop_size=2, margin=times)
    run(loop)
    assert loop.log.winners == {1: winning}


# The noise of a value.


def test_a_steady_trend_is_no_noise():
    assert noise([5.0, 4.0, 3.0, 2.0, 1.0]) == 0


def test_the_noise_of_independent_values_is_their_standard_deviation():
    values = np.random.default_rng(0).normal(3.0, 0.5, 20_000)
    assert noise(values.tolist()) == pytest.approx(0.5, rel=0.02)


def test_a_fast_beginning_is_hardly_noise():
    assert noise([2.0, 0.6, 0.3, 0.2, 0.15, 0.12, 0.1, 0.09]) < 0.03


def test_a_single_leap_is_no_noise():
    assert noise([1.0, 0.9, 0.8, 0.7, 0.2, 0.1, 0.0, -0.1]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "values", [[], [1.0], [1.0, 2.0, 1.0, 2.0], [1.0, math.nan, 2.0, 1.0, 5.0]]
)
def test_a_few_values_tell_no_noise(values):
    assert noise(values) == 0


# A restart that will overtake.

LIFE = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25]


@pytest.mark.parametrize(
    ("value", "left", "expected"),
    [
        (0.2, 1, True),  # Better than the network ever was, at a fifth of its age.
        (0.4, 20, True),  # 3.5 times as fast: 7 + 20 * 3.5 / 2 > 10 + 20.
        (0.4, 4, False),  # The same, but too late.
        (0.8, 20, False),  # 1.5 times as fast, which is less than twice.
        (1.1, 20, False),
    ],
)
def test_a_restart_overtakes_where_it_learns_much_faster_and_time_is_left(value, left, expected):
    assert will_overtake(restart(value, 0.0), LIFE, left, make_plan()) is expected
    mirrored = [-v for v in LIFE]
    assert will_overtake(restart(-value, 0.0), mirrored, left, make_plan(mode="max")) is expected


def test_a_restart_that_is_better_than_the_network_ever_was_needs_no_pace():
    assert will_overtake(restart(0.7, 0.0), [1.0, 0.9, 0.8], 20, make_plan())
    assert not will_overtake(restart(0.8, 0.0), [1.0, 0.9, 0.8], 20, make_plan())


def test_a_network_whose_first_values_go_up_and_down_tells_of_no_pace():
    # As of a network with BatchNormalization, whose statistics are still those of its beginning.
    values = [2.26, 2.27, 2.38, 2.4, 2.14, 2.21, 1.96, 1.76]
    assert not will_overtake(restart(2.23, 0.0), values, 52, make_plan(margin=1.0))
    assert will_overtake(restart(2.23, 0.0), values, 52, make_plan(margin=0.0))


def test_a_pace_is_believed_where_the_training_loss_tells_of_it_too():
    # At a value of 0.4 and a loss of 0.8 the restart is where the network was after 7 epochs.
    clone = restart(0.4, 0.0)
    loss = training_losses([clone])[-1]
    slow = [2 * value for value in LIFE]
    assert loss == 0.8
    assert will_overtake(clone, LIFE, 20, make_plan(), slow)
    # Here the network had learned as much after 3 epochs, only its value did not show it.
    fast = [3.0, 1.0, 0.7, *slow[3:]]
    assert not will_overtake(clone, LIFE, 20, make_plan(), fast)
    # Where the loss was never as low, or is unknown, the value decides.
    assert will_overtake(clone, LIFE, 20, make_plan(), [3.0] * 10)
    assert will_overtake(clone, LIFE, 20, make_plan(), [math.nan] * 10)


def test_a_restart_that_is_better_than_the_network_ever_was_wins_by_its_value_alone():
    assert will_overtake(restart(0.2, 0.0), LIFE, 1, make_plan(), [0.0] * 10)


def test_a_selection_looks_at_the_losses_of_the_past_and_of_the_control():
    clones = [control(1.9), mutant(1, 0.9, 1.0), restart(2.15, -5.0)]
    past = [3.0, 2.8, 2.6, 2.4, 2.3, 2.2, 2.1, 2.0]
    loss = training_losses(clones[2:])[-1]
    plan = make_plan(margin=0.0, c=50)
    assert select(clones, plan, past, 1, [loss + 1] * 8).winner is clones[2]
    assert select(clones, plan, past, 1, [loss - 1] * 8).winner is not clones[2]


def test_values_that_diverged_are_never_as_good():
    assert will_overtake(restart(0.5, 0.0), [math.nan] * 10, 20, make_plan())


SLOW = [5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3]
CLONES = {1: 4.2, 2: 4.25}


def both(value):
    """Return the logs of an epoch whose two losses are the same."""
    return {"loss": value, "val_loss": value}


def scripted(path, values, c=5, n=1, first=SLOW, **changes):
    """Run a network with the values of its first epochs and of some trainings by their number."""
    beginning = iter(first)

    class Scripted(FakeTrainer):
        def _logs(self):
            logs = super()._logs()
            return logs | (both(next(beginning)) if len(self.trainings) == 1 else {})

    trainer = Scripted(script={number: both(value) for number, value in values.items()})
    loop = make_loop(path, trainer, m=8, n=n, c=c, restarts=1, **changes)
    run(loop)
    return loop.log


def test_a_restart_behind_is_selected_where_it_is_expected_to_overtake(tmp_path):
    assert scripted(tmp_path / "near", CLONES | {3: 4.35}).winners[1] == 2
    assert scripted(tmp_path / "far", CLONES | {3: 4.95}).winners[1] == 0


def test_a_restart_that_will_overtake_needs_no_margin():
    clones = [control(1.0), mutant(1, 0.9, 1.0), restart(2.15, -5.0)]
    past = [3.0, 2.8, 2.6, 2.4, 2.3, 2.2, 2.1, 2.0]
    assert select(clones, make_plan(margin=1.0, c=50), past, 1).winner is clones[2]
    assert select(clones, make_plan(margin=1.0, c=1), past, 1).winner is not clones[2]


def test_a_restart_that_has_lost_overtakes_nobody():
    lost = restart(0.1, -math.inf)
    clones = [control(1.0), mutant(1, 0.9, 1.0), lost]
    assert select(clones, make_plan(), LIFE, 1).winner is clones[1]


# A restart against a network that has not improved.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 0.5, 0.9], False),
        ([1.0, 0.5, 1.0], False),
        ([1.0, 0.5, 1.1], True),
        ([1.0, math.nan], True),
        ([math.nan, 1.0, 0.9], False),
        ([math.nan], True),
        ([], True),
    ],
)
def test_a_network_has_not_improved_where_it_is_worse_than_after_an_epoch(values, expected):
    assert is_worse_than_at_first(values, "min") is expected
    assert is_worse_than_at_first([-value for value in values], "max") is expected


@pytest.mark.parametrize(("epoch_1", "winning"), [(5.0, 0), (2.5, 2)])
def test_a_restart_wins_by_its_fitness_only_against_a_network_that_is_worse_than_at_first(
    tmp_path, epoch_1, winning
):
    """The network has overfitted: it was at 2.0, and is at 3.1."""
    first = [epoch_1, 2.0, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0]
    log = scripted(tmp_path, {1: 3.1, 2: 3.2, 3: 2.6}, first=first)
    fitness = [clone.fitness for clone in log.clones(1)]
    assert max(fitness) == fitness[2] and log.winners[1] == winning


def test_a_restart_against_a_network_that_has_not_improved_needs_the_margin():
    clones = [control(2.1, -3.0), restart(2.05, 0.0)]
    past = [2.0, *PAST]
    plan = {"gap": 0.1, "past": past, "c": 1}
    assert winner([*clones, mutant(1, 3.0, -9.0)], **plan) is clones[0]
    assert winner([*clones, mutant(1, 3.0, -9.0)], **(plan | {"gap": 0.01})) is clones[1]


def test_a_restart_wins_against_a_control_that_failed(tmp_path):
    """It is behind the network's past, and alone with a mutant that is worse."""
    log = scripted(tmp_path, {1: math.nan, 2: 4.9, 3: 4.8})
    assert log.winners[1] == 2


def test_a_control_that_never_trained_bars_no_restart():
    """The network's values end with its parent's, which do not tell that it goes on well."""
    failed = control().replace(epochs=(), value=math.nan, fitness=None)
    clones = [failed, mutant(1, 0.6, -0.6), restart(0.5, -0.5)]
    plan = make_plan(m=1, n=1, k=1, c=2)
    past = [1.0, 0.3, 0.4]
    assert not will_overtake(clones[2], past, plan.schedule.epochs_left(1), plan)
    assert select(clones, plan, past, 1).winner is clones[2]
    assert select([control(0.35, -0.9), *clones[1:]], plan, past, 1).winner is clones[1]


def test_a_restart_wins_where_all_others_have_lost():
    clones = [control(math.nan, -math.inf), mutant(1, 0.5, None), restart(9.0, -9.0)]
    assert select(clones, make_plan(margin=1.0), LIFE, 1).winner is clones[2]


# Going back to the best network.

BEST, SAME, WORSE = (make_record(values=(value,)) for value in (1.0, 1.04, 1.06))


@pytest.mark.parametrize(
    ("network", "share", "expected"),
    [(SAME, 0.05, SAME), (WORSE, 0.05, BEST), (WORSE, 0.1, WORSE), (WORSE, None, WORSE)],
)
def test_a_network_that_is_clearly_worse_is_given_up_for_the_best(network, share, expected):
    assert network_to_go_on_from(network, BEST, make_plan(backtrack=share)) is expected


def test_where_large_is_better_a_small_value_is_worse():
    low, high = make_record(values=(0.5,)), make_record(values=(0.9,))
    plan = make_plan(backtrack=0.05, mode="max")
    assert network_to_go_on_from(low, high, plan) is high
    assert network_to_go_on_from(high, low, plan) is high


def test_a_network_without_a_value_is_worse_than_any_that_has_one():
    lost = make_record(values=(math.nan,))
    plan = make_plan(backtrack=0.05)
    assert network_to_go_on_from(lost, BEST, plan) is BEST
    assert network_to_go_on_from(BEST, lost, plan) is BEST
    assert network_to_go_on_from(lost, make_record(values=(math.nan,)), plan) is lost


def test_of_equals_the_run_goes_on_from_the_later():
    network, best = make_record(values=(1.0,)), make_record(values=(1.0,))
    assert network_to_go_on_from(network, best, make_plan(backtrack=0.0)) is network


def spoilt(share, path):
    """Return a run whose network gets worse in the winner's training of cycle 1."""
    trainer = FakeTrainer(script={4: {"val_loss": 100.0}})
    loop = make_loop(path, trainer, backtrack=share)
    run(loop)
    return loop


def test_a_run_goes_on_from_its_best_network(tmp_path):
    log = spoilt(0.05, tmp_path).log
    [selected] = [clone for clone in log.clones(1) if log.is_selected(clone)]
    clones = log.clones(2)
    assert {clone.parent for clone in clones} == {selected.archive}
    assert clones[0].genome == selected.genome
    assert clones[0].first_epoch == selected.first_epoch + 2


def test_a_run_without_backtracking_goes_on_from_its_last_network(tmp_path):
    log = spoilt(None, tmp_path).log
    assert {clone.parent for clone in log.clones(2)} == {"model/model_1.zip"}
