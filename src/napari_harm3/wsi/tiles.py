"""Decoded tiles, kept while they are likely to be asked for again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock

import numpy as np
from jaxtyping import UInt8

CACHE_BYTES = 160 << 20
"""Two rows of tiles of a slide 100,000 pixels wide."""

Tile = UInt8[np.ndarray, "rows columns 3"]


class TileCache:
    """A bound on bytes, the least recently used goes first; any thread may ask.

    A tile that two threads ask for at once is decoded once.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._tiles: OrderedDict[Hashable, Future[Tile]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, decode: Callable[[], Tile]) -> Tile:
        """Return a tile, decoding it if it is not here; an error is not kept."""
        with self._lock:
            held = self._tiles.get(key)
            if held is not None:
                self._tiles.move_to_end(key)
            else:
                made = self._tiles[key] = Future[Tile]()
        if held is not None:
            return held.result()
        try:
            tile = decode()
        except BaseException as error:
            with self._lock:
                self._tiles.pop(key, None)
            made.set_exception(error)
            raise
        made.set_result(tile)
        self._account(tile.nbytes)
        return tile

    @property
    def bytes(self) -> int:
        """What the decoded tiles take."""
        return self._bytes

    def clear(self) -> None:
        """Forget every tile."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _account(self, added: int) -> None:
        with self._lock:
            self._bytes += added
            for key in list(self._tiles):
                if self._bytes <= self._limit:
                    break
                if self._tiles[key].done():
                    self._bytes -= self._tiles.pop(key).result().nbytes
