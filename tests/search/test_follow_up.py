"""Follow-up: a change that won is taken one step further."""

from __future__ import annotations

import pytest
from fakes import RICH, RICH_SPACE, make_record

from miha.records import UNCHANGED, Change
from miha.search.follow_up import follow_up


def after(parent, genome, gene):
    winner = make_record(genome=genome, change=Change(gene, "a change"))
    return follow_up(winner, parent, RICH_SPACE)


@pytest.mark.parametrize(
    ("gene", "before", "now", "further"),
    [
        ("dropout", (("drop", 0.5), ("drop_1", 0.2)), (("drop", 0.3), ("drop_1", 0.2)), 0.0),
        ("noise", (("noise", 0.0),), (("noise", 0.1),), 0.3),
        ("input_noise", (("x", 0.0), ("y", 0.5)), (("x", 0.0), ("y", 0.0)), None),
        ("label_smoothing", 0.0, 0.1, None),
        ("augmentation", 0.0, 0.5, None),
    ],
)
def test_a_step_is_the_next_value_of_the_list(gene, before, now, further):
    parent = RICH.replace(**{gene: before})
    clone = after(parent, RICH.replace(**{gene: now}), gene)
    if further is None:
        # The last value of the list has no next one.
        assert clone is None
        return
    genome, change = clone
    assert change.gene == gene
    value = getattr(genome, gene)
    assert value[0][1] == further
    assert value[1:] == now[1:]


def test_a_learning_rate_is_changed_by_the_same_factor_within_its_bounds():
    parent = RICH.replace(learning_rate=0.001)
    genome, change = after(parent, parent.replace(learning_rate=0.002), "learning_rate")
    assert genome.learning_rate == 0.004
    assert change.text == "learning rate 0.002 -> 0.004"
    highest = RICH_SPACE.learning_rate[1]
    assert after(parent, RICH.replace(learning_rate=highest), "learning_rate") is None


@pytest.mark.parametrize(
    "change", [UNCHANGED, Change("restart", "fresh weights", "restart"), Change("soup", "a mean")]
)
def test_only_a_mutation_is_followed_up(change):
    winner = make_record(genome=RICH.replace(noise=(("noise", 0.3),)), change=change)
    assert follow_up(winner, RICH, RICH_SPACE) is None
    assert follow_up(None, None, RICH_SPACE) is None


def test_names_have_no_next_one():
    assert after(RICH, RICH.replace(optimizer="sgd"), "optimizer") is None
