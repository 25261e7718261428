"""The nearest of some names."""

from __future__ import annotations

import pytest

from miha.utils.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("batchsize", "batch_size"),
        ("Batch Size", "batch_size"),
        ("adm", "Adam"),
        ("ADAM", "Adam"),
        ("colour", None),
        (3, None),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case(name, expected):
    known = ["batch_size", "Adam"]
    assert nearest(name, known) == expected
    assert did_you_mean(name, known) == (f" Did you mean {expected!r}?" if expected else "")
