"""What the tests of replays share: trained once."""

from __future__ import annotations

import pytest
from networks import dense
from schedules import DATA, RATES

from miha import replay


@pytest.fixture(scope="package")
def rates_replayed():
    """A replay in which only the learning rate changes, and samples keep their order."""
    return replay(dense(), *DATA, RATES, shuffle=False, verbose=0)
