"""The weights of an archive that a stranger may have written, vetted before libhdf5 reads them.

HDF5 can link to other files, declare arrays of any size, and make libhdf5 itself run in circles:
with one wrong byte in a group's tree it takes gigabytes. Keras writes little of what HDF5 can do,
always in its first format. Here that little is parsed, and everything else is refused.

Source: HDF5 File Format Specification Version 3.0, https://support.hdfgroup.org/documentation/
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

_START = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0"
"""Signature, versions of the first format, sizes of numbers and of nodes."""
_NOWHERE = 2**64 - 1
_END_OF_FREE_LIST = 1

# Kinds of messages in the header of an object.
_SHAPE = 0x01
_TYPE = 0x03
_LAYOUT = 0x08
_ATTRIBUTE = 0x0C
_MORE = 0x10
_GROUP = 0x11
_KNOWN = (_SHAPE, _TYPE, _LAYOUT, _GROUP)
_HARMLESS = (0x00, 0x04, 0x05, 0x12)
"""Nothing, fill values (old and new) and the time of change."""
_REFUSED = {
    0x02: "a group that may link to other files",
    0x06: "a group that may link to other files",
    0x07: "an array in other files",
    0x0B: "a compressed array",
}
_SHARED = 0x02
_CONTIGUOUS = b"\x03\x01"
_HARD_LINKS = (0, 1)

_LARGEST_ITEM = {
    0: 8,  # Integers.
    1: 8,  # Floats.
    5: 2,  # Opaque: bfloat16, float8.
    6: 16,  # Compound: complex numbers.
    8: 1,  # Enumerations: booleans.
}
"""Most bytes of one number, by the class of its type."""


def check_weights(data: bytes) -> None:
    """Raise unless an HDF5 file is what Keras writes: groups of plain arrays, and no more.

    Args:
        data: The file's bytes.

    Raises:
        ValueError: It reads other files, declares more than it holds, or holds other things.
        struct.error: It is cut off.
    """
    _File(data).check()


class _File:
    """A file in HDF5's first format, of which every part may be reached once only."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._seen: set[int] = set()
        self._declared = 0

    def check(self) -> None:
        """Raise unless all that can be reached from the root is allowed."""
        _require(self._data.startswith(_START), "be an HDF5 file of the format that Keras writes")
        base, free, end, driver = self._unpack("<4Q", 24)
        is_one_file = base == 0 and free == driver == _NOWHERE
        _require(is_one_file, "be one file")
        _require(end <= len(self._data), f"have {end} bytes, but has {len(self._data)}")
        entries = [self._unpack("<8xQII16s", 56)]
        while entries:
            header, kind, _, cached = entries.pop()
            _require(kind in _HARD_LINKS, "not link elsewhere")
            messages = self._messages(header)
            group = messages.get(_GROUP)
            if group is None:
                self._check_array(messages)
                continue
            # A link may repeat where the group's tree and heap are.
            _require(kind == 0 or cached == group, "describe a group one way")
            tree, heap = struct.unpack("<QQ", group)
            entries.extend(self._links(tree, heap))

    def _unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        # A number that is too large for an offset lies behind the end, too.
        offset = min(offset, len(self._data))
        return struct.unpack_from(layout, self._data, offset)

    def _once(self, address: int) -> None:
        _require(address not in self._seen, f"hold each part once, but the one at {address} twice")
        self._seen.add(address)

    def _messages(self, header: int) -> dict[int, bytes]:
        """Return what an object's header says, by kind of message."""
        version, size = self._unpack("<B7xI", header)
        _require(version == 1, "be of the format that Keras writes")
        found: dict[int, bytes] = {}
        blocks = [(header + 16, size)]
        while blocks:
            start, length = blocks.pop()
            for kind, body in self._block(start, length):
                if kind == _MORE:
                    blocks.append(struct.unpack("<QQ", body))
                elif kind == _ATTRIBUTE:
                    _check_attribute(body)
                elif kind not in _HARMLESS:
                    _require(kind in _KNOWN, f"be plain arrays, but hold {_name(kind)}")
                    _require(kind not in found, "say everything of a part once")
                    found[kind] = body
        return found

    def _block(self, start: int, size: int) -> Iterator[tuple[int, bytes]]:
        self._once(start)
        end = start + size
        _require(end <= len(self._data), "hold what it declares, but a header is cut off")
        while start + 8 <= end:
            kind, length, flags = self._unpack("<HHB", start)
            _require(not flags & _SHARED, "hold every part where it is described")
            start += 8 + length
            _require(start <= end, "hold what it declares, but a header is cut off")
            yield kind, self._data[start - length : start]

    def _links(self, tree: int, heap: int) -> Iterator[tuple[Any, ...]]:
        """Yield a group's links; their names lie in its heap."""
        start, end = self._names(heap)
        for leaf in self._leaves(tree):
            self._once(leaf)
            signature, count = self._unpack("<4s2xH", leaf)
            _require(signature == b"SNOD", "have groups of the format that Keras writes")
            for number in range(count):
                place = leaf + 8 + 40 * number
                name, *link = self._unpack("<QQII16s", place)
                terminator = self._data.find(b"\0", start + name, end)
                _require(terminator >= 0, "hold the names of parts")
                yield tuple(link)

    def _leaves(self, tree: int) -> Iterator[int]:
        """Yield the leaves of a tree, in which every node is below one other."""
        nodes: list[tuple[int, int | None]] = [(tree, None)]
        while nodes:
            node, expected = nodes.pop()
            self._once(node)
            signature, kind, level, count = self._unpack("<4sBBH", node)
            _require(signature == b"TREE" and kind == 0, "have groups that are trees")
            _require(expected in (None, level), "have groups that are trees")
            # Keys and children take turns.
            fields = self._unpack(f"<{2 * count}Q", node + 24)
            children = fields[1::2]
            if not level:
                yield from children
                continue
            for child in children:
                nodes.append((child, level - 1))

    def _names(self, heap: int) -> tuple[int, int]:
        """Return where a heap of names begins and ends; its list of free places must end."""
        self._once(heap)
        signature, size, free, start = self._unpack("<4s4xQQQ", heap)
        _require(signature == b"HEAP", "have groups of the format that Keras writes")
        self._claim(start, size)
        met: set[int] = set()
        while free != _END_OF_FREE_LIST:
            is_new = free + 16 <= size and free not in met
            _require(is_new, "have heaps of names that end")
            met.add(free)
            (free,) = self._unpack("<Q", start + free)
        return start, start + size

    def _claim(self, start: int, size: int) -> None:
        """Count bytes that libhdf5 will read at once."""
        self._declared += size
        available = len(self._data)
        is_inside = not size or start + size <= available
        _require(is_inside and self._declared <= available, "not declare more than it holds")

    def _check_array(self, messages: dict[int, bytes]) -> None:
        """Raise unless an array is numeric and the file holds all of it."""
        is_array = messages.keys() == {_SHAPE, _TYPE, _LAYOUT}
        _require(is_array, "be arrays with a shape and a type")
        kind, item = struct.unpack_from("<B3xI", messages[_TYPE])
        largest = _LARGEST_ITEM.get(kind & 0x0F, 0)
        _require(item <= largest, "be numbers")
        layout = messages[_LAYOUT]
        is_plain = layout.startswith(_CONTIGUOUS)
        _require(is_plain, "be stored as they are: not virtual, chunked or compressed")
        start, size = struct.unpack_from("<QQ", layout, 2)
        declared = item * math.prod(_shape(messages[_SHAPE]))
        _require(size == declared, f"hold the {declared} bytes that an array declares, not {size}")
        self._claim(start, size)


def _name(kind: int) -> str:
    return _REFUSED.get(kind, f"a part of kind {kind}")


def _shape(message: bytes) -> tuple[int, ...]:
    version, rank = struct.unpack_from("<BB", message)
    _require(version == 1, "be of the format that Keras writes")
    return struct.unpack_from(f"<{rank}Q", message, 8)


def _check_attribute(message: bytes) -> None:
    """Raise unless an attribute is one value: many could each be as long as the file."""
    version, name, kind, _ = struct.unpack_from("<BxHHH", message)
    # Only the first version fills name and type up to whole words.
    if version == 1:
        name = _padded(name)
        kind = _padded(kind)
    begin = 9 if version == 3 else 8
    shape = message[begin + name + kind :]
    _require(_shape(shape) == (), "have attributes of one value each")


def _padded(size: int) -> int:
    return (size + 7) // 8 * 8


def _require(is_met: bool, rule: str) -> None:
    if not is_met:
        raise ValueError(f"the weights must {rule}.")
