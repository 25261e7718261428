"""The run's folder: what is not the run's stays, and a file is written whole or not at all."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from miha.errors import RunExistsError
from miha.storage.disk import write_whole
from miha.storage.folder import RunFolder, archive_name
from miha.utils.json_values import plain


def filled(path) -> RunFolder:
    folder = RunFolder(path)
    folder.create()
    for name in ("model_init", "model_1", "model_final"):
        folder.write_archive(f"model/{name}.zip", b"network")
    folder.write_archive("population/1_0_model.zip", b"clone")
    (path / "journal.jsonl").write_text("a line\n")
    return folder


def files(folder: RunFolder) -> list[str]:
    found = (path for path in folder.path.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder.path).as_posix() for path in found)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("initial", None, None), "model/model_init.zip"),
        (("clone", 3, 4), "population/3_4_model.zip"),
        (("winner", 3, None), "model/model_3.zip"),
        (("final", None, None), "model/model_final.zip"),
    ],
)
def test_archives_have_the_names_of_the_design(place, name):
    assert archive_name(*place) == name


def test_naming_a_folder_touches_nothing(tmp_path):
    RunFolder(tmp_path / "run").check_free()
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_made_with_its_parts(tmp_path):
    RunFolder(tmp_path / "deep" / "run").create()
    found = sorted(path.name for path in (tmp_path / "deep" / "run").iterdir())
    assert found == ["model", "population"]


def test_an_empty_folder_may_be_used(tmp_path):
    RunFolder(tmp_path).create()
    assert (tmp_path / "model").is_dir()


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for act in (RunFolder(tmp_path).check_free, RunFolder(tmp_path).create):
        with pytest.raises(RunExistsError, match="new or empty"):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_folders_place_is_refused_and_left_alone(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunExistsError, match="Received: logs="):
        RunFolder(tmp_path / "run").create()
    assert (tmp_path / "run").read_text() == "mine"


def test_an_existing_run_is_a_file_exists_error(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError):
        RunFolder(tmp_path).check_free()


def test_a_description_is_sorted_replaced_as_a_whole_and_read_as_it_was(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_description({"format": 1, "seed": 1, "other": "long " * 100})
    values = {"format": 1, "seed": 0, "arguments": {"m": np.int64(2), "fitness": math.nan}}
    folder.write_description(values)
    text = (tmp_path / "run.json").read_text()
    assert folder.description() == plain(values)
    assert text.index("arguments") < text.index("seed")
    assert text.endswith("}\n")


def test_hidden_files_of_the_system_are_no_reason_to_refuse_a_folder(tmp_path):
    (tmp_path / ".DS_Store").touch()
    RunFolder(tmp_path).create()
    assert {path.name for path in tmp_path.iterdir()} == {".DS_Store", "model", "population"}


@pytest.mark.parametrize("act", ["sweep", "clear", "keep"])
def test_what_somebody_else_put_into_the_folder_stays(tmp_path, act):
    folder = filled(tmp_path / "run")
    theirs = ("film.part", "photos/x.zip", "model/mine.zip", "more/y.part", "model/notes.part")
    for name in theirs:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).touch()
    getattr(folder, act)(*(("none", []) if act == "keep" else ()))
    assert set(theirs) <= set(files(folder))


def test_the_archives_of_the_result_stay_with_all_but_none(tmp_path):
    for what in ("model", "final"):
        folder = filled(tmp_path / what)
        folder.keep(what, ["population/1_0_model.zip"])
        assert "population/1_0_model.zip" in files(folder)


def test_a_file_is_written_under_its_final_name_only(tmp_path):
    write_whole(tmp_path / "a.zip", b"first")
    write_whole(tmp_path / "a.zip", b"second")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.zip": b"second"}


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    write_whole(tmp_path / "a.zip", b"first")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a.zip", "no bytes")
    assert (tmp_path / "a.zip").read_bytes() == b"first"


def test_a_write_that_fails_leaves_no_file_of_that_name(tmp_path):
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a.zip", "no bytes")
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("what", "archives"),
    [
        (
            "all",
            [
                "model/model_1.zip",
                "model/model_final.zip",
                "model/model_init.zip",
                "population/1_0_model.zip",
            ],
        ),
        ("model", ["model/model_1.zip", "model/model_final.zip", "model/model_init.zip"]),
        ("final", ["model/model_final.zip"]),
        ("none", []),
    ],
)
def test_keep_says_which_archives_stay_and_touches_nothing_else(tmp_path, what, archives):
    folder = filled(tmp_path / "run")
    folder.keep(what, [])
    assert files(folder) == ["journal.jsonl", *archives]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": (1, 2.5), 3: [None, True]}, {"a": [1, 2.5], "3": [None, True]}),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float64(0.5), 0.5),
        (np.float64("inf"), "inf"),
        ("nan", "nan"),
    ],
)
def test_plain_values_are_what_json_can_hold(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_plain_leaves_what_it_is_given_as_it_was():
    values = {"epochs": [{"loss": math.nan}]}
    plain(values)
    assert math.isnan(values["epochs"][0]["loss"])
