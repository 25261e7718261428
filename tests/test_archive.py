"""Archives: what they say of their network, and that damage is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile

import pytest
from fakes import GENOME, FakeTrainer, make_network

from miha.archive import MEMBER, describe, pack
from miha.errors import ArchiveError
from miha.records import Genome


def network_archive() -> bytes:
    trainer = FakeTrainer()
    return trainer.export(trainer.snapshot(), trainer.genome)


def packed() -> bytes:
    return pack(network_archive(), make_network(fitness=0.5).describe())


def write(tmp_path, data: bytes):
    path = tmp_path / "model.zip"
    path.write_bytes(data)
    return path


def rewritten(data: bytes, **members: bytes | None) -> bytes:
    """Return an archive, some members replaced, added, or (None) left out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        contents = {name: old.read(name) for name in old.namelist()} | members
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def refused(path) -> bool:
    try:
        describe(path)
    except ArchiveError:
        return True
    return False


def test_an_archive_tells_what_it_was_told(tmp_path):
    description = make_network(fitness=0.5).describe()
    found = describe(write(tmp_path, pack(network_archive(), description)))
    assert {key: found[key] for key in description} == description
    assert Genome.from_dict(found["genome"]) == GENOME


def test_an_archive_is_named_by_a_string_or_a_path(tmp_path):
    path = write(tmp_path, packed())
    assert describe(str(path)) == describe(path)


def test_the_networks_own_members_stay_as_they_were():
    with (
        zipfile.ZipFile(io.BytesIO(network_archive())) as before,
        zipfile.ZipFile(io.BytesIO(packed())) as after,
    ):
        assert after.namelist() == [*before.namelist(), MEMBER]
        assert all(after.read(name) == before.read(name) for name in before.namelist())
        assert after.testzip() is None


def test_the_checksums_are_those_of_the_members(tmp_path):
    sums = describe(write(tmp_path, packed()))["sha256"]
    with zipfile.ZipFile(io.BytesIO(network_archive())) as archive:
        assert sums == {
            name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
        }


def test_the_description_is_strict_json_even_where_a_value_is_not_finite(tmp_path):
    data = pack(network_archive(), {"genome": GENOME.to_dict(), "fitness": -math.inf})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        text = archive.read(MEMBER).decode()
    assert json.loads(text, parse_constant=pytest.fail)["fitness"] == "-inf"


def test_packing_leaves_the_bytes_it_was_given_alone():
    network = network_archive()
    before = bytes(network)
    pack(network, {})
    assert network == before


def test_a_missing_archive_is_refused_by_name(tmp_path):
    with pytest.raises(ArchiveError, match="nothing.zip.*FileNotFoundError"):
        describe(tmp_path / "nothing.zip")


def test_a_folder_is_no_archive(tmp_path):
    with pytest.raises(ArchiveError, match="`path` must name an archive"):
        describe(tmp_path)


@pytest.mark.parametrize("data", [b"", b"no zip at all"])
def test_a_file_that_is_no_zip_is_refused(tmp_path, data):
    with pytest.raises(ArchiveError, match="BadZipFile"):
        describe(write(tmp_path, data))


def test_a_plain_keras_archive_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match=MEMBER):
        describe(write(tmp_path, network_archive()))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"{}", b'{"format": 2}', b"\xff\xfe"])
def test_a_description_of_another_format_is_refused(tmp_path, text):
    with pytest.raises(ArchiveError, match="`path` must name an archive that MIHA wrote"):
        describe(write(tmp_path, rewritten(packed(), **{MEMBER: text})))


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(ArchiveError, match="format 2 is not known"):
        describe(write(tmp_path, rewritten(packed(), **{MEMBER: b'{"format": 2}'})))


@pytest.mark.parametrize(
    "members", [{"config.json": b"{}"}, {"weight.bin": None}, {"extra.txt": b"new"}]
)
def test_a_member_changed_removed_or_added_is_noticed(tmp_path, members):
    with pytest.raises(ArchiveError, match="checksums"):
        describe(write(tmp_path, rewritten(packed(), **members)))


def test_an_archive_cut_off_anywhere_is_refused(tmp_path):
    data = packed()
    for length in range(0, len(data), 7):
        assert refused(write(tmp_path, data[:length])), length


def test_one_wrong_byte_is_refused_or_harmless(tmp_path):
    data = pack(rewritten(network_archive(), **{"config.json": None}), {})
    expected = describe(write(tmp_path, data))
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 0xFF
        path = write(tmp_path, bytes(wrong))
        assert refused(path) or describe(path) == expected, place


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "compressed"])
def test_a_member_that_cannot_be_read_is_refused(tmp_path, offset, value):
    data = bytearray(packed())
    entry = data.index(b"PK\x01\x02")  # The first member's entry in the zip's directory.
    data[entry + offset] = value
    with pytest.raises(ArchiveError, match="`path` must name an archive that MIHA wrote"):
        describe(write(tmp_path, bytes(data)))
