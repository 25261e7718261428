"""Corrupted archives, by the hundred: each loads as it was or is refused, fast and small.

Where only the file is damaged, what loads is the same network. Where a stranger changes a member
and its checksum, an archive may rightly hold another network: then it is the one that it
describes.
"""

from __future__ import annotations

import json

import pytest
from forked import run_script
from paths import SUPPORT

pytest.importorskip("resource", reason="this system does not tell how much memory was taken")

FUZZER = SUPPORT / "fuzzer.py"


def fuzzed(seed: int, count: int, timeout: int) -> dict:
    """Fuzz in a process of its own, whose death would be noticed; return what became of all."""
    done = run_script(FUZZER, seed, count, timeout=timeout)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout)
    print(f"seed {seed}: {found}")
    return found


def check(found: dict, count: int) -> None:
    results = found["results"]
    assert sum(results.values()) == count
    kinds = {"the same network", "the network that it describes", "refused"}
    assert {name.partition(": ")[2] for name in results} == kinds
    assert results["outside: refused"] > results["outside: the same network"] > 0
    assert results["inside: refused"] > results["inside: the network that it describes"] > 0
    assert found["seconds"] < 2
    assert found["kib"] < 2**20


def test_corrupted_archives_load_as_they_were_or_are_refused():
    check(fuzzed(seed=0, count=20, timeout=300), 20)


@pytest.mark.slow
def test_hundreds_of_corrupted_archives_load_as_they_were_or_are_refused():
    check(fuzzed(seed=0, count=600, timeout=300), 600)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_thousands_of_corrupted_archives_load_as_they_were_or_are_refused(seed):
    check(fuzzed(seed, count=2500, timeout=1500), 2500)
