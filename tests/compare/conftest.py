from __future__ import annotations

import sys

import pytest
import rivals


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take seconds: tests do without Kaleido."""
    monkeypatch.setitem(sys.modules, "kaleido", None)


@pytest.fixture
def nothing_has_run(no_pictures):
    rivals.RAN.clear()
    rivals.INTERRUPTIONS.clear()
