from __future__ import annotations

import pytest

from miha.search.ancestry import stages


def clone(number, parent, gene="batch_size"):
    return {
        "clone": number,
        "archive": f"population/1_{number}_model.zip",
        "parent": parent,
        "change": {"gene": gene},
    }


INITIAL = "model/model_init.zip"
CLONES = [
    clone(0, INITIAL, "none"),
    clone(1, INITIAL),
    clone(2, "population/1_1_model.zip", "none"),
    clone(3, ["population/1_2_model.zip", "population/1_0_model.zip"], "soup"),
    clone(4, None),
]


@pytest.mark.parametrize(
    ("number", "way"),
    [(0, [0]), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [4]), (None, []), (9, [])],
)
def test_a_clone_has_gone_through_those_that_it_goes_on_from(number, way):
    assert [stage["clone"] for stage in stages(CLONES, number)] == way
