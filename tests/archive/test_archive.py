"""Archives: what they say of their network, and that damage is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import struct
import tracemalloc
import warnings
import zipfile
from functools import cache

import pytest
from fakes import GENOME, RICH, FakeTrainer, make_record

from miha.archive.archive import describe, pack, read
from miha.archive.members import LARGEST_JSON, MEMBER
from miha.errors import ArchiveError
from miha.records import Genome


@cache
def network_archive() -> bytes:
    trainer = FakeTrainer()
    return trainer.export(trainer.snapshot(), trainer.genome)


@cache
def packed() -> bytes:
    return pack(network_archive(), make_record(fitness=0.5).to_json())


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
    description = make_record(fitness=0.5).to_json()
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
    "members",
    [{"config.json": b"{}"}, {"model.weights.h5": None}, {"assets/extra.txt": b"new"}],
)
def test_a_member_changed_removed_or_added_is_noticed(tmp_path, members):
    with pytest.raises(ArchiveError, match="checksums"):
        describe(write(tmp_path, rewritten(packed(), **members)))


def test_an_archive_cut_off_anywhere_is_refused(tmp_path):
    data = packed()
    for length in range(0, len(data), 7):
        assert refused(write(tmp_path, data[:length])), length


def test_one_wrong_byte_is_refused_or_harmless(tmp_path):
    network = rewritten(network_archive(), **{"config.json": None})
    data = pack(network, {"genome": GENOME.to_dict()})
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


def crafted(*extra: tuple[zipfile.ZipInfo | str, bytes], compression: int = zipfile.ZIP_STORED):
    """Return an archive of MIHA's with further members: a stranger's checksums are right."""
    buffer = io.BytesIO(network_archive())
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of a name that is there twice.
        for name, content in extra:
            archive.writestr(name, content)
    return pack(buffer.getvalue(), make_record().to_json())


def described(data: bytes, **changes: object) -> bytes:
    """Return an archive whose description says something else."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        description = json.loads(archive.read(MEMBER)) | changes
    return rewritten(data, **{MEMBER: json.dumps(description).encode()})


def test_a_verified_archive_is_read_with_its_bytes(tmp_path):
    data = packed()
    description, found = read(write(tmp_path, data))
    assert found == data
    assert description == describe(write(tmp_path, data))


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/outside",
        "C:/outside",
        "assets/../../outside",
        "assets/./here",
        "assets//here",
        "assets/..\\..\\outside",
        "assets\\outside",
        "assets/C:outside",
        "assets/.. /outside",
        "assets/",
        "assets",
        "extra.txt",
        "model.weights.npz",
        "CONFIG.JSON",
        "config.json/inside",
    ],
)
def test_only_the_members_that_a_network_needs_are_let_in(tmp_path, name):
    with pytest.raises(ArchiveError, match="is none that an archive of MIHA's has"):
        describe(write(tmp_path, crafted((name, b"stranger"))))
    assert [path.name for path in tmp_path.parent.rglob("*outside*")] == []


def test_assets_are_let_in(tmp_path):
    data = crafted(("assets/layers/string_lookup/vocabulary.txt", b"a\nb"))
    assert len(describe(write(tmp_path, data))["sha256"]) == 3


def test_a_name_that_zipfile_would_cut_off_is_refused(tmp_path):
    data = crafted(("assets/a_b", b"stranger")).replace(b"assets/a_b", b"assets/a\0b")
    with pytest.raises(ArchiveError, match="is none that an archive of MIHA's has"):
        describe(write(tmp_path, data))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path, kind):
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (kind | 0o777) << 16
    with pytest.raises(ArchiveError, match="must be a regular file"):
        describe(write(tmp_path, crafted((link, b"/etc/passwd"))))


def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match="same name"):
        describe(write(tmp_path, crafted(("config.json", b"{}"))))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, compression):
    bomb = crafted(("assets/zeros", bytes(50 * 2**20)), compression=compression)
    assert len(bomb) < 2**20
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="must be stored as it is"):
        describe(write(tmp_path, bomb))
    assert tracemalloc.get_traced_memory()[1] < 2**20 * 5
    tracemalloc.stop()


def test_members_that_declare_more_than_the_file_holds_are_refused(tmp_path):
    data = bytearray(packed())
    entry = data.index(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    with pytest.raises(ArchiveError, match="must fit in"):
        describe(write(tmp_path, bytes(data)))


def test_members_that_share_their_bytes_are_refused(tmp_path):
    data = bytearray(crafted(*((f"assets/{i}", bytes(1000)) for i in range(2))))
    entry = data.index(b"PK\x01\x02", data.index(b"assets/0", data.index(b"PK\x01\x02")))
    first = data.index(b"PK\x03\x04", data.index(b"model.weights.h5"))
    data[entry + 42 : entry + 46] = struct.pack("<I", first)
    assert refused(write(tmp_path, bytes(data)))


def test_an_archive_of_too_many_members_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="at most 10000 members"):
        describe(write(tmp_path, packed() + b"PK\x01\x02" * 10_001))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(ArchiveError, match="must be a regular file"):
        describe(tmp_path / "pipe.zip")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no such device")
def test_a_device_is_refused():
    with pytest.raises(ArchiveError, match="must be a regular file"):
        describe("/dev/zero")


def test_a_link_to_an_archive_is_an_archive(tmp_path):
    path = write(tmp_path, packed())
    link = tmp_path / "link.zip"
    link.symlink_to(path)
    assert describe(link) == describe(path)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"format": ' + b"9" * 5000 + b"}", "must be JSON"),
        (b" " * (LARGEST_JSON + 1), "at most"),
        (b"3", "must hold a JSON object, but holds a int"),
    ],
    ids=["lists", "objects", "digits", "long", "number"],
)
def test_a_description_that_is_a_trap_is_refused(tmp_path, text, rule):
    with pytest.raises(ArchiveError, match=rule):
        describe(write(tmp_path, rewritten(packed(), **{MEMBER: text})))


@pytest.mark.parametrize("found", ["1", 1.0, True, None, [1], {"a": 1}, 0, -1])
def test_a_format_that_is_no_known_number_is_refused(tmp_path, found):
    with pytest.raises(ArchiveError, match="is not known"):
        describe(write(tmp_path, described(packed(), format=found)))


def test_a_newer_format_asks_for_a_newer_version(tmp_path):
    with pytest.raises(ArchiveError, match="load it with a newer version of MIHA"):
        describe(write(tmp_path, described(packed(), format=2)))


@pytest.mark.parametrize("sums", [None, [], "sums", {}, {"config.json": 1}, {"config.json": "0"}])
def test_checksums_of_another_kind_are_refused(tmp_path, sums):
    with pytest.raises(ArchiveError, match="checksums"):
        describe(write(tmp_path, described(packed(), sha256=sums)))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": 3},
        {"optimizer": None},
        {"learning_rate": "fast"},
        {"learning_rate": -0.1},
        {"learning_rate": True},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"batch_size": None},
        {"activations": None},
        {"activations": [["a", "b"]]},
        {"activations": {"slot": 3}},
        {"weight_decay": "0.004"},
        {"weight_decay": -0.1},
        {"label_smoothing": float("nan")},
        {"augmentation": float("inf")},
        {"input_noise": {"x": "0.5"}},
        {"dropout": [0.5]},
        {"dropout": {"drop": "0.5"}},
        {"noise": {"noise": float("inf")}},
    ],
    ids=str,
)
def test_a_genome_that_no_network_has_is_refused(tmp_path, changes):
    genome = GENOME.to_dict() | changes
    with pytest.raises(ArchiveError, match="'genome' must have"):
        describe(write(tmp_path, described(packed(), genome=genome)))


@pytest.mark.parametrize("genome", [None, 3, "adam", [], {}, {"optimizer": "adam"}])
def test_what_is_no_genome_is_refused(tmp_path, genome):
    with pytest.raises(ArchiveError, match="'genome' must have"):
        describe(write(tmp_path, described(packed(), genome=genome)))


def test_a_scheduled_learning_rate_is_no_number(tmp_path):
    genome = GENOME.replace(learning_rate=None).to_dict()
    assert describe(write(tmp_path, described(packed(), genome=genome)))["genome"] == genome


def test_a_genome_with_every_gene_is_taken(tmp_path):
    found = describe(write(tmp_path, described(packed(), genome=RICH.to_dict())))
    assert Genome.from_dict(found["genome"]) == RICH
