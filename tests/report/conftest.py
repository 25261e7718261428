"""Runs that many tests look at and a browser, each made once."""

from importlib.util import find_spec

import pytest
from browser import chromium, errors, requests
from runs import make_run

NEED_PLOTLY = [
    "test_browser.py",
    "test_content.py",
    "test_old_runs.py",
    "test_page.py",
    "test_server.py",
]
collect_ignore_glob = [] if find_spec("plotly") else NEED_PLOTLY


@pytest.fixture(scope="session")
def result(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "mnist", c=3)


@pytest.fixture(scope="session")
def opened():
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(opened):
    """A browser that shows nothing, and has forgotten what other tests did with it."""
    opened.get("about:blank")
    requests(opened), errors(opened)
    return opened
