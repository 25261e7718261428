"""The compiled programs of JAX are kept in the user's cache folder, unless the user decides it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import platformdirs
import pytest
from paths import SUPPORT
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows, get_win_folder_from_env_vars

from miha.trainer.jax.cache import cache_folder, keep_programs


@pytest.fixture
def setting(monkeypatch):
    """JAX as a fresh process has it."""
    found = {
        "jax_compilation_cache_dir": None,
        "jax_compilation_cache_max_size": -1,
        "jax_persistent_cache_min_compile_time_secs": 1.0,
    }
    before = {name: getattr(jax.config, name) for name in found}
    for name, value in found.items():
        jax.config.update(name, value)
    monkeypatch.delenv("MIHA_CACHE_DIR")
    yield lambda: jax.config.jax_compilation_cache_dir
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        (Unix, {}, "/home/.cache/miha/jax"),
        (Unix, {"XDG_CACHE_HOME": "/caches"}, "/caches/miha/jax"),
        (MacOS, {}, "/home/Library/Caches/miha/jax"),
        (Windows, {"LOCALAPPDATA": "local"}, "local/miha/jax"),
        (Unix, {"MIHA_CACHE_DIR": "mine"}, "mine"),
        (Unix, {"MIHA_CACHE_DIR": ""}, None),
    ],
)
def test_the_folder_is_the_platforms_or_the_users(monkeypatch, platform, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "MIHA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platformdirs, "PlatformDirs", platform)
    monkeypatch.setattr("platformdirs.windows.get_win_folder", get_win_folder_from_env_vars)
    assert cache_folder() == (None if expected is None else Path(expected))


def test_programs_are_kept_for_the_user_alone(setting, monkeypatch, tmp_path):
    monkeypatch.setenv("MIHA_CACHE_DIR", str(tmp_path / "a" / "b"))
    keep_programs()
    assert setting() == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_max_size == 2**30
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.2


def test_a_folder_that_jax_was_told_stays(setting, monkeypatch, tmp_path):
    monkeypatch.setenv("MIHA_CACHE_DIR", str(tmp_path / "ours"))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    keep_programs()
    assert setting() == str(tmp_path / "theirs")
    assert not (tmp_path / "ours").exists()


def test_nothing_is_kept_where_others_can_write_or_nothing_can_be_made(
    setting, monkeypatch, tmp_path
):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "file").touch()
    for name in (tmp_path / "shared", tmp_path / "file" / "below", ""):
        monkeypatch.setenv("MIHA_CACHE_DIR", str(name))
        keep_programs()
        assert setting() is None


def test_a_later_process_takes_the_programs_of_an_earlier_one_and_gets_the_same_bits(tmp_path):
    code = """
import jax
from contract import make_contract_trainer, rng
from networks import dense, images
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
trainer = make_contract_trainer(dense(), images(), batch_size=24, activations=["relu"])
epochs = trainer.train(2, rng(0), rng(1), lambda epoch: None)
hits = found.count("/jax/compilation_cache/cache_hits")
print(hits > 0, [epoch.logs for epoch in epochs])
"""
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    variables = {"PYTHONPATH": path, "MIHA_CACHE_DIR": str(tmp_path / "cache")}
    variables["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        ).stdout.split(maxsplit=1)
        for _ in range(2)
    ]
    assert [hit for hit, _ in said] == ["False", "True"]
    assert said[0][1] == said[1][1]
