"""A comparison before it has run: starts, what is left out, circumstances."""

from __future__ import annotations

import os

import pytest
import rivals
from compared import MIHA, run
from rivals import START, Absent

from miha.compare import plan
from miha.compare.plan import circumstances

pytestmark = pytest.mark.usefixtures("nothing_has_run")


def test_strategies_of_a_seed_get_the_same_start_and_other_seeds_another(tmp_path):
    run(tmp_path, seeds=3, starts={"random": None}, space=rivals.SPACE)
    starts = {(name, seed): start for name, seed, start in rivals.RAN}
    assert all(starts["MIHA", seed] == starts["rival", seed] for seed in range(3))
    assert len({starts["MIHA", seed] for seed in range(3)}) == 3


def test_a_named_start_is_the_users(tmp_path):
    run(tmp_path, starts={"mine": START})
    assert {start for _, _, start in rivals.RAN} == {START}


def test_a_strategy_that_lacks_its_package_is_left_out_with_a_line_that_says_so(tmp_path, capsys):
    comparison = run(tmp_path, [Absent(), MIHA], verbose=1)
    assert comparison.strategies == ["MIHA"]
    output = capsys.readouterr().out
    assert "absent is left out: no_such_package_anywhere is not installed; pip install" in output
    assert "absent: left out" in comparison.to_markdown()


def test_cells_that_ran_under_other_circumstances_are_told(tmp_path, monkeypatch):
    comparison = run(tmp_path, [MIHA], starts={"mine": START}, seeds=1)
    assert not comparison.differing
    monkeypatch.setattr(plan, "circumstances", lambda: {**circumstances(), "keras": "9.9"})
    comparison = run(tmp_path, [MIHA], starts={"mine": START}, seeds=2)
    assert list(comparison.differing) == ["keras"]
    assert "Not all cells ran alike: keras was 3" in comparison.to_markdown()
    assert ", 9.9 in 1." in comparison.to_markdown()


@pytest.mark.skipif(os.name == "nt", reason="it is a script of a shell")
def test_gpus_belong_to_the_circumstances(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100'\necho 'NVIDIA H200'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert circumstances()["gpu"] == "NVIDIA H100, NVIDIA H200"
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert "gpu" not in circumstances()
