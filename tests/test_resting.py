from __future__ import annotations

import pytest
from fakes import FakeTrainer, make_loop, run

from miha.resting import is_rest


def rests(outcomes: str) -> str:
    """Return what each cycle is, "r" for a rest, given what each population would come to."""
    won, told = {}, ""
    for cycle, outcome in enumerate(outcomes, 1):
        rest = is_rest(cycle, won)
        told += "r" if rest else outcome
        if not rest:
            won[cycle] = outcome == "c"
    return told


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ("mmmmmm", "mmmmmm"),
        ("cmcmcm", "cmcmcm"),
        ("cccccccccccccccc", "ccrcrrrcrrrrrrrc"),
        ("ccmcmm", "ccrcrr"),
        ("ccmmcc", "ccrmcc"),
    ],
)
def test_a_rest_follows_when_the_control_keeps_winning(outcomes, told):
    assert rests(outcomes) == told


def good_start(path, **changes):
    """Return a run whose mutants never win."""
    fitness = {0: 1.0}
    trainer = FakeTrainer()
    loop = make_loop(
        path,
        trainer,
        c=4,
        fitness=lambda curve: fitness.get(len(trainer.trainings), 0.0),
        **changes,
    )
    # Trainings 2, 6 and so on are the controls.
    per_cycle = loop.schedule.pop_size + 1
    fitness |= {2 + i * per_cycle: 1.0 for i in range(4)}
    run(loop)
    return loop


def test_a_run_that_rests_trains_as_many_epochs_as_announced(tmp_path):
    loop = good_start(tmp_path, rest=True)
    assert loop.log.winners == {1: 0, 2: 0, 4: loop.log.winners[4]}
    winner = [e for e in loop.log.trainings if e["phase"] == "winner" and e["cycle"] == 3]
    assert len(winner[0]["epochs"]) == loop.schedule.k + loop.schedule.pop_size * loop.schedule.n
    assert loop.trainer.epochs == loop.schedule.epochs


def test_a_run_that_shall_not_rest_does_not(tmp_path):
    assert list(good_start(tmp_path, rest=False).log.winners) == [1, 2, 3, 4]
