"""The members of an archive: which there may be, and what the genome in it may be.

What `miha.load` and `miha.describe` make of damaged archives is tested in test_archive.py.
"""

from __future__ import annotations

import io
import os
import zipfile

import pytest
from strangers import GENOME

from miha.archive.members import (
    CONFIG,
    FORMAT,
    MEMBER,
    checksums,
    genome,
    open_members,
    parse,
    read_description,
    read_file,
)
from miha.records import Genome


def zipped(contents, **how) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **how) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return buffer.getvalue()


def test_members_come_back_as_they_were_written():
    contents = {CONFIG: b"{}", "assets/words/a.txt": b"a", MEMBER: b"{}"}
    assert open_members(zipped(contents)) == contents


@pytest.mark.parametrize(
    "name",
    ["other.json", "assets/../up", "assets/a/..", "assets/ . /a", "assets//a", "assets/",
     "assets/c:a", "assets/a\\b", "/assets/a", "../assets/a"],
)  # fmt: skip
def test_a_member_of_another_name_is_refused(name):
    with pytest.raises(ValueError, match="none that an archive of MIHA's has"):
        open_members(zipped({name: b""}))


def test_a_member_is_stored_as_it_is():
    with pytest.raises(ValueError, match="but is compressed"):
        open_members(zipped({CONFIG: b"{}" * 99}, compression=zipfile.ZIP_DEFLATED))


def test_a_link_is_refused():
    info = zipfile.ZipInfo(CONFIG)
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="must be a regular file"):
        open_members(buffer.getvalue())


def test_the_checksums_are_those_of_all_members_but_miha_json():
    sums = checksums({CONFIG: b"a", MEMBER: b"b"})
    assert list(sums) == [CONFIG]
    assert sums[CONFIG] == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"[" * 100_000, "nested this deeply"),
        (b"{", "must be JSON"),
        (b"[1]", "but holds a list"),
        (b"null", "but holds a NoneType"),
    ],
)
def test_a_member_that_is_no_json_object_is_refused(text, rule):
    with pytest.raises(ValueError, match=rule):
        parse(text, CONFIG)


@pytest.mark.parametrize("format", [None, True, "1", 1.0, 0, -1, FORMAT + 1])
def test_another_format_is_refused(format):
    text = f'{{"format": {"null" if format is None else str(format).lower()}}}'
    if isinstance(format, str):
        text = f'{{"format": "{format}"}}'
    with pytest.raises(ValueError, match="is not known to this version, which reads 1"):
        read_description({MEMBER: text.encode()})


def test_a_genome_comes_back():
    assert genome({"genome": GENOME.to_dict()}) == GENOME


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": None},
        {"learning_rate": 0},
        {"learning_rate": -0.1},
        {"learning_rate": True},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
        {"learning_rate": "0.1"},
        {"batch_size": 0},
        {"batch_size": 2.0},
        {"batch_size": True},
        {"batch_size": None},
        {"activations": []},
        {"activations": {"dense": None}},
        {"dropout": [0.1]},
        {"dropout": {"a": -0.1}},
        {"noise": {"a": "much"}},
        {"noise": {"a": True}},
        {"noise": {"a": None}},
        {"weight_decay": -1},
        {"weight_decay": float("nan")},
        {"label_smoothing": "0.1"},
        {"augmentation": "all"},
        {"augmentation": -0.5},
        {"input_noise": [0.5]},
        {"input_noise": {"x": -0.5}},
        {"input_noise": {"x": None}},
    ],
    ids=str,
)
def test_a_genome_that_no_network_can_have_is_refused(change):
    with pytest.raises(ValueError, match="its 'genome' must have"):
        genome({"genome": GENOME.to_dict() | change})


@pytest.mark.parametrize("values", [None, [], "adam", {}])
def test_what_is_no_genome_is_refused(values):
    with pytest.raises(ValueError, match="its 'genome' must have"):
        genome({"genome": values})


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": None},
        {"learning_rate": 1},
        {"weight_decay": None},
        {"weight_decay": 0},
        {"dropout": {"a": 0.0, "b": 1}},
        {"augmentation": None},
        {"augmentation": 0},
        {"input_noise": {}},
        {"input_noise": {"x[0]": 0.5}},
    ],
    ids=str,
)
def test_a_gene_that_the_network_has_not_may_be_null(change):
    values = GENOME.to_dict() | change
    assert genome({"genome": values}) == Genome.from_dict(values)


def test_only_a_regular_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_file(tmp_path / "file") == read_file(tmp_path / "link") == b"data"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a regular file"):
        read_file(tmp_path / "pipe")
    with pytest.raises(OSError):
        read_file(tmp_path / "gone")
