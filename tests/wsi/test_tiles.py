"""The cache of decoded tiles: bounded, shared between threads, silent about nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_harm3.errors import SlideError
from napari_harm3.wsi.tiles import TileCache

PATIENCE = 20


def tile(kilobytes=1, value=0):
    return np.full((kilobytes, 1024, 1), value, np.uint8)


class Decoder:
    """Counts how often each tile is decoded."""

    def __init__(self):
        self.asked = []

    def __call__(self, key, kilobytes=1):
        def decode():
            self.asked.append(key)
            return tile(kilobytes, key)

        return decode


def test_a_tile_is_decoded_once_and_then_at_hand():
    cache, decoder = TileCache(), Decoder()

    first, again = (cache.get(7, decoder(7)) for _ in range(2))

    assert first is again
    assert decoder.asked == [7]
    assert cache.bytes == first.nbytes


def test_the_least_recently_used_goes_first():
    cache, decoder = TileCache(3 * 1024), Decoder()
    for key in (1, 2, 3, 1, 4):
        cache.get(key, decoder(key))
    assert decoder.asked == [1, 2, 3, 4]

    for key in (3, 4, 1, 2):
        cache.get(key, decoder(key))

    assert decoder.asked == [1, 2, 3, 4, 2]


@settings(max_examples=100, deadline=None)
@given(
    limit=st.integers(0, 12),
    asked=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=60),
)
def test_no_more_bytes_are_held_than_allowed_whatever_is_asked(limit, asked):
    cache, decoder = TileCache(limit * 1024), Decoder()
    sizes = {}
    for key, kilobytes in asked:
        sizes.setdefault(key, kilobytes)

        got = cache.get(key, decoder(key, sizes[key]))

        assert (got == key).all()
        assert got.nbytes == sizes[key] * 1024
        assert 0 <= cache.bytes <= limit * 1024


def test_a_tile_larger_than_the_bound_is_given_and_not_kept():
    cache, decoder = TileCache(1024), Decoder()

    assert (cache.get(5, decoder(5, 8)) == 5).all()

    assert cache.bytes == 0
    cache.get(5, decoder(5, 8))
    assert decoder.asked == [5, 5]


def test_nothing_is_left_after_clearing():
    cache, decoder = TileCache(), Decoder()
    cache.get(1, decoder(1))

    cache.clear()

    assert cache.bytes == 0
    cache.get(1, decoder(1))
    assert decoder.asked == [1, 1]


class Slow:
    """Decodes only when told to, so that others come meanwhile."""

    def __init__(self, outcome):
        self.outcome, self.calls = outcome, 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self):
        self.calls += 1
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def all_wait_for(cache, slow, count=6):
    """Return what threads get that ask while a tile is being decoded."""
    entered = threading.Barrier(count)

    def ask():
        entered.wait(PATIENCE)
        return cache.get("tile", slow)

    with ThreadPoolExecutor(count) as pool:
        first = pool.submit(cache.get, "tile", slow)
        assert slow.begun.wait(PATIENCE)
        others = [pool.submit(ask) for _ in range(count - 1)]
        entered.wait(PATIENCE)
        slow.go_on.set()
        return [first, *others]


def test_threads_that_ask_at_once_share_one_decoding():
    cache, slow = TileCache(), Slow(tile())

    answers = all_wait_for(cache, slow)

    assert all(answer.result(PATIENCE) is slow.outcome for answer in answers)
    assert slow.calls == 1
    assert cache.bytes == slow.outcome.nbytes


def test_an_error_is_told_to_all_who_wait_and_not_kept():
    cache, slow = TileCache(), Slow(SlideError("torn"))

    answers = all_wait_for(cache, slow)

    for answer in answers:
        with pytest.raises(SlideError, match="torn"):
            answer.result(PATIENCE)
    assert cache.bytes == 0
    assert (cache.get("tile", lambda: tile(value=3)) == 3).all()


def test_while_one_tile_is_decoded_others_are_given():
    cache, slow, decoder = TileCache(), Slow(tile()), Decoder()
    cache.get(1, decoder(1))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.get, "tile", slow)
        assert slow.begun.wait(PATIENCE)
        cache.get(1, decoder(1))
        cache.get(2, decoder(2))
        cache.clear()
        slow.go_on.set()
        assert waiting.result(PATIENCE) is slow.outcome

    assert decoder.asked == [1, 2]
    assert cache.bytes == slow.outcome.nbytes


def test_many_threads_get_the_right_tiles_within_the_bound():
    cache = TileCache(20 * 1024)

    def work(seed):
        rng = np.random.default_rng(seed)
        for key in rng.integers(0, 60, 400).tolist():
            got = cache.get(key, lambda key=key: tile(1 + key % 3, key))
            assert (got == key).all()
            assert cache.bytes <= 20 * 1024

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
