"""Corrupts real archives, loads each, and says what became of it.

A program of its own, so that the test sees when one of them ends the whole process:
``python tests/fuzzer.py SEED COUNT``.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from networks import ALL
from strangers import CONFIG, WEIGHTS, archive, members, packed

import miha
from miha.errors import ArchiveError
from miha.trainer.network.copies import from_bytes

SLOWEST, LARGEST = 2.0, 2**20
"""Seconds, and KiB: one archive may take no more."""

NUMBERS = (0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**9, 1e300)
TEXTS = ("", "..", "../x", "/etc/passwd", "relu", "keras", "keras.layers", "Lambda", "function",
         "os", "system", "__lambda__", "__tensor__", "Dense", "StringLookup", "float64", "\ud800",
         "config", "class_name", "a" * 5000)  # fmt: skip


def lookup() -> keras.Model:
    layer = keras.layers.StringLookup(output_mode="multi_hot")
    layer.adapt(np.array([["a"], ["b"], ["c"]]))
    parts = keras.Input((2,), dtype="string"), layer, keras.layers.Dense(2, dtype="bfloat16")
    model = keras.Sequential(parts)
    model.compile("adam", "mse")
    return model


# Corruptions of the file: the checksums stay as they were.


def flip_bits(r: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 10, 100))):
        changed[r.randrange(len(data))] ^= 1 << r.randrange(8)
    return bytes(changed)


def truncate(r: random.Random, data: bytes) -> bytes:
    return data[: r.randrange(len(data))]


def lose_the_beginning(r: random.Random, data: bytes) -> bytes:
    return data[r.randrange(1, len(data)) :]


def zero(r: random.Random, data: bytes) -> bytes:
    start = r.randrange(len(data))
    length = min(r.choice((1, 16, 512, 4096)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def splice(r: random.Random, data: bytes) -> bytes:
    start, source = r.randrange(len(data)), r.randrange(len(data))
    piece = data[source : source + r.choice((4, 64, 1024))]
    kept = start + len(piece) * r.randrange(2)
    return data[:start] + piece + data[kept:]


def append(r: random.Random, data: bytes) -> bytes:
    piece = r.choice((b"\0", b"PK\x05\x06" + bytes(18), r.randbytes(100), data))
    return data + piece if r.randrange(2) else piece + data


def edit_header(r: random.Random, data: bytes) -> bytes:
    """Write a number into a field of one of the zip's own records."""
    changed = bytearray(data)
    records = [i for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for i in places(data, mark)]
    start = r.choice(records) + r.randrange(4, 46)
    width = r.choice((2, 4))
    number = int(r.choice(NUMBERS[:8])) % 256**width
    changed[start : start + width] = number.to_bytes(width, "little")
    return bytes(changed[: len(data)])


def places(data: bytes, mark: bytes) -> list[int]:
    found = [data.find(mark)]
    while found[-1] >= 0:
        found.append(data.find(mark, found[-1] + 1))
    return found[:-1]


def rename(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    name = r.choice(list(contents))
    new = r.choice((*contents, name + "x", "../" + name, "/" + name, "assets/" + name, "assets/"))
    return zipped([(new if n == name else n, c) for n, c in contents.items()])


def swap(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    a, b = r.sample(list(contents), 2)
    return zipped((contents | {a: contents[b], b: contents[a]}).items())


def double(r: random.Random, data: bytes) -> bytes:
    contents = list(members(data).items())
    return zipped([*contents, r.choice(contents)])


def compress(r: random.Random, data: bytes) -> bytes:
    return zipped(members(data).items(), r.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)))


def leave_out(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    del contents[r.choice(list(contents))]
    return zipped(contents.items())


def zipped(contents, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in contents:
            file.writestr(name, content)
    return buffer.getvalue()


# Corruptions inside a member, after which the checksums are made right again.


def change_tree(r: random.Random, data: bytes) -> bytes:
    """Change the configuration where it is still JSON."""
    contents = members(data)
    config = json.loads(contents[CONFIG])
    for _ in range(r.choice((1, 1, 1, 3))):
        change_node(r, config)
    return packed(contents | {CONFIG: json.dumps(config).encode()})


def change_node(r: random.Random, config) -> None:
    nodes = [node for node in walk(config) if node]
    node = r.choice(nodes)
    key = r.choice(list(node)) if isinstance(node, dict) else r.randrange(len(node))
    kind = r.randrange(8)
    if kind == 0:
        del node[key]
    elif kind == 1:
        node[key] = json.loads(json.dumps(r.choice(nodes)))
    elif kind == 2 and isinstance(node, dict):
        node[r.choice(TEXTS)] = node.pop(key)
    elif kind == 3:
        node[key] = r.choice((None, True, False, [], {}, [None], float("nan")))
    elif kind == 4 and isinstance(node, list):
        node.extend(node * r.choice((1, 10)))
    elif kind == 5 or isinstance(node[key], str):
        node[key] = r.choice(TEXTS)
    else:
        node[key] = r.choice(NUMBERS)


def walk(item):
    if isinstance(item, (dict, list)):
        yield item
        for inner in item.values() if isinstance(item, dict) else item:
            yield from walk(inner)


def change_text(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    how = r.choice((flip_bits, truncate, zero, splice))
    return packed(contents | {CONFIG: how(r, contents[CONFIG])})


def change_weights(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    how = r.choice((flip_bits, truncate, zero, splice, append, *[edit_weights] * 5))
    return packed(contents | {WEIGHTS: how(r, contents[WEIGHTS])})


def edit_weights(r: random.Random, weights: bytes) -> bytes:
    """Write a number over one of the structures of HDF5."""
    changed = bytearray(weights)
    marks = (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"\1\0\4\0", b"\1\0\5\0", b"\x89HDF")
    for _ in range(r.choice((1, 1, 2, 5))):
        near = r.choice([i for mark in marks for i in places(weights, mark)] or [0])
        start = near + r.randrange(0, 128, r.choice((1, 4, 8)))
        width = r.choice((1, 2, 4, 8))
        number = r.choice((*map(int, NUMBERS[:10]), r.choice(places(weights, b"\1\0")), near))
        piece = (number % 256**width).to_bytes(width, "little")
        changed[start : start + width] = piece
    return bytes(changed[: len(weights)])


def change_asset(r: random.Random, data: bytes) -> bytes:
    contents = members(data)
    name = r.choice([n for n in contents if n.startswith("assets/")] or ["metadata.json"])
    return packed(contents | {name: r.choice((b"", b"a\na", r.randbytes(50), b"\n" * 9999))})


OUTSIDE: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    flip_bits, truncate, lose_the_beginning, zero, splice, append, edit_header, edit_header,
    rename, swap, double, compress, leave_out,
)  # fmt: skip
INSIDE: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *[change_tree] * 7, *[change_weights] * 5, change_text, change_asset,
)  # fmt: skip


def exchange(r: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Take a member from another archive, and make the checksums right."""
    contents = members(data)
    name = r.choice((CONFIG, WEIGHTS))
    return packed(contents | {name: members(r.choice(others))[name]})


def same(first: keras.Model, second: keras.Model) -> bool:
    return told(first) == told(second)


def told(model: keras.Model) -> tuple[str, list[bytes], list[list[str]]]:
    """Return a network's configuration, weights and vocabularies."""
    config = json.dumps(model.get_config(), default=repr, sort_keys=True)
    # Keras numbers shared parts by their place in memory.
    config = re.sub(r'"shared_object_id": \d+', "", config)
    weights = [keras.ops.convert_to_numpy(v).tobytes() for v in model.weights]
    lookups = [layer for layer in model._flatten_layers() if hasattr(layer, "get_vocabulary")]
    return config, weights, [layer.get_vocabulary() for layer in lookups]


def outcome(path: Path, data: bytes, original: keras.Model | None) -> str:
    """Load an archive; `original` is what it must be unless a stranger wrote it on purpose."""
    path.write_bytes(data)
    keras.backend.clear_session(free_memory=False)  # It counts the names that Keras gives itself.
    before, began = peak(), time.perf_counter()
    try:
        model, _ = miha.load(path)
    except ArchiveError:
        model = None
    seconds, taken = time.perf_counter() - began, peak() - before
    if seconds > SLOWEST or taken > LARGEST:
        return f"WRONG: {seconds:.1f} s, {taken} KiB"
    times.append(seconds)
    sizes.append(taken)
    if model is None:
        return "refused"
    keras.backend.clear_session(free_memory=False)
    if not same(model, original or from_bytes(data)):
        return "WRONG: another network"
    return "the same network" if original else "the network that it describes"


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


times: list[float] = []
sizes: list[int] = []


def main(seed: int, count: int) -> None:
    models = [make() for make, _ in ALL.values()] + [lookup()]
    archives = [packed(members(archive(model))) for model in models]
    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        models = [from_bytes(data) for data in archives]
        for original, data in zip(models, archives, strict=True):
            if (found := outcome(path, data, original)) != "the same network":
                raise SystemExit(f"an honest archive: {found}")
        for i in range(count):
            r = random.Random(f"{seed} {i}")
            which = r.randrange(len(models))
            inside = i % 2 == 1
            how = r.choice((*INSIDE, exchange) if inside else OUTSIDE)
            more = (archives,) if how is exchange else ()
            print(f"seed {seed}, archive {i}: {how.__name__}", file=sys.stderr, flush=True)
            data = how(r, archives[which], *more)
            found = outcome(path, data, None if inside else models[which])
            if found.startswith("WRONG"):
                raise SystemExit(f"{found}, after {how.__name__} of network {which}")
            results[f"{'inside' if inside else 'outside'}: {found}"] += 1
    print(json.dumps({"results": results, "seconds": max(times), "kib": max(sizes)}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]), int(sys.argv[2]))
