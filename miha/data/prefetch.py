"""Reading ahead in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")

AHEAD = 2
"""How many parts are read ahead."""


def prefetched(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield items that a thread gets ahead; it is gone when this is closed or exhausted.

    Args:
        items: Got one at a time, in order. What getting one raises, this raises in its place.
    """
    end: Any = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="miha-data")
    try:
        ahead = deque(pool.submit(next, items, end) for _ in range(AHEAD))
        while (item := ahead.popleft().result()) is not end:
            ahead.append(pool.submit(next, items, end))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(items, "close", None)
        if close is not None:
            close()
