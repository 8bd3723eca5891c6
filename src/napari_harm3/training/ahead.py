"""Make the next batch while the network works on this one."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
_END = object()


class Ahead(Generic[Item]):
    """Items, the next of which is made in a thread of its own.

    What an item is may not depend on when it is made.

    Parameters
    ----------
    items
        Made one at a time, in order.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self.waited = 0.0
        """Seconds for which whoever asked had to wait."""

    def __iter__(self) -> Iterator[Item]:
        """Yield the items; an error in making one is raised in its place."""
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, self._items, _END)
            while True:
                began = time.perf_counter()
                item = coming.result()
                self.waited += time.perf_counter() - began
                if item is _END:
                    return
                coming = thread.submit(next, self._items, _END)
                yield item  # type: ignore[misc]
