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
        self._tiles: OrderedDict[Hashable, Tile] = OrderedDict()
        self._coming: dict[Hashable, Future[Tile]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, decode: Callable[[], Tile]) -> Tile:
        """Return a tile, decoding it if it is not here; an error is not kept."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile
            coming = self._coming.get(key)
            if coming is None:
                ours = self._coming[key] = Future[Tile]()
        if coming is not None:
            return coming.result()
        try:
            tile = decode()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            ours.set_exception(error)
            raise
        self._keep(key, tile)
        ours.set_result(tile)
        return tile

    @property
    def bytes(self) -> int:
        """What the decoded tiles take."""
        with self._lock:  # not between a tile that came and one that goes
            return self._bytes

    def clear(self) -> None:
        """Forget every tile."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, tile: Tile) -> None:
        with self._lock:
            del self._coming[key]
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self._limit:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= oldest.nbytes
