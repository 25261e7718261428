"""Runs that many tests look at, each made once."""

from importlib.util import find_spec

import pytest
from runs import failing, hostile, make_run, rested, spoilt

collect_ignore_glob = [] if find_spec("plotly") else ["test_*.py"]


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), c=5, pop_size=5)


@pytest.fixture(scope="session")
def long_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("long"), c=30)


@pytest.fixture(scope="session")
def rested_run(tmp_path_factory):
    return rested(tmp_path_factory.mktemp("rested"))


@pytest.fixture(scope="session")
def spoilt_run(tmp_path_factory):
    return spoilt(tmp_path_factory.mktemp("spoilt"))


@pytest.fixture(scope="session")
def failed_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("failed"), failing("batch_size"), c=4, pop_size=5)


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory):
    # With this seed, a stranger's text is in every figure: one of its layers has the best network.
    return make_run(tmp_path_factory.mktemp("hostile"), hostile(), c=3, pop_size=6, seed=2)
