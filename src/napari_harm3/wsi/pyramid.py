"""A slide at any resolution: its overview, and levels that the viewer asks for.

Files hold levels a factor of 2, 4 or more apart. What lies between is made of the next
finer one, by area.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.slide import Pair, Slide

Pixels = UInt8[np.ndarray, "rows columns 3"]
Read = tuple[int, int]
"""Blocks that could be read, and that could not."""

BLOCK = 2048
"""Side of the blocks that a large level is shrunk by."""

WHOLE_PIXELS = 32_000_000
"""A larger picture is never held whole."""

SMALLEST_BLOCK = 128
DAMAGED_COLOUR = 204
"""Grey: what cannot be read looks like neither glass nor tissue."""

SLOW_PIXELS = 64_000_000
"""Decoding more than this at once is noticed, even at a fraction of its size."""

KEPT_PIXELS = 16_000_000
"""A coarse picture that is kept is no larger."""

MOST_PIXELS = 100_000_000
"""A larger overview would not fit into memory."""

COARSEST = 512
"""A level smaller than this along both axes is the last."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A whole slide on one small picture."""

    picture: Pixels
    level0_per_pixel: Pair
    """Level-0 pixels that one of its pixels spans, along x and y."""

    damaged: int
    """Blocks that could not be read; they are grey."""


def overview(slide: Slide, um_per_pixel: float) -> Overview:
    """Return a slide at a resolution, averaged by area.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or makes it too large to be seen
        whole, or none of it can be read.
    """
    mpp_x, mpp_y = slide.require_mpp()
    columns = max(round(slide.width * mpp_x / um_per_pixel), 1)
    rows = max(round(slide.height * mpp_y / um_per_pixel), 1)
    if columns * rows > MOST_PIXELS:
        raise SlideError(
            f"{slide.name} would be {columns} x {rows} pixels of {um_per_pixel:g} "
            "microns, too many to seek tissue on: correct its resolution "
            "(--source-mpp, or in the Slide panel), or seek on larger pixels."
        )
    down = min(slide.width / columns, slide.height / rows)
    # From twice as fine a level: JPEG smears colour over the edges of a coarse one.
    source = _Source.of(slide, down / 2)
    # Boxes no larger than memory asks for: the last one stands for a whole one.
    box = math.ceil(math.sqrt(source.width * source.height / WHOLE_PIXELS))
    box = max(min(box, int(down / source.down)), 1)
    picture = _canvas(source, box)
    read, damaged = np.sum(list(_blocks(picture, source, box)), axis=0).tolist()
    if not read:
        raise SlideError(
            f"{slide.name} is damaged: nothing of it can be read. Copy it again."
        )
    scaled = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return Overview(
        picture=np.asarray(scaled, dtype=np.uint8),
        level0_per_pixel=(slide.width / columns, slide.height / rows),
        damaged=damaged,
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The level and reduction that pixels of a coarser picture are made of."""

    slide: Slide
    level: int
    reduction: int

    @classmethod
    def of(cls, slide: Slide, down: float) -> "_Source":
        level = slide.level_for(down)
        left = down / slide.level_downsamples[level] * 1.001
        reduction = max(r for r in slide.reductions(level) if r <= max(left, 1))
        return cls(slide=slide, level=level, reduction=reduction)

    @property
    def down(self) -> float:
        return self.slide.level_downsamples[self.level] * self.reduction

    @property
    def width(self) -> int:
        return -(-self.slide.level_dimensions[self.level][0] // self.reduction)

    @property
    def height(self) -> int:
        return -(-self.slide.level_dimensions[self.level][1] // self.reduction)

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        return self.slide.read_reduced(self.level, self.reduction, x, y, width, height)

    @property
    def smallest(self) -> int:
        """Side of the smallest part that is damaged as a whole: of a tile, if known."""
        if self.slide.tiff is None:
            return SMALLEST_BLOCK
        at = self.slide.tiff.levels[self.level]
        return max(min(at.tile_width, at.tile_height) // self.reduction, 16)

    @property
    def slow(self) -> bool:
        """Whether seeing all of it means to decode for seconds."""
        width, height = self.slide.level_dimensions[self.level]
        return width * height > SLOW_PIXELS


class CoarsePicture:
    """A slide that has no coarse level of its own, shrunk once and kept.

    Parameters
    ----------
    source
        What it is made of.
    box
        Pixels of the source that one of its pixels spans.
    """

    smallest = SMALLEST_BLOCK

    def __init__(self, source: _Source, box: int) -> None:
        self.down = source.down * box
        self._picture = _canvas(source, box)
        self.height, self.width = self._picture.shape[:2]
        self._blocks = _blocks(self._picture, source, box)
        self._count = math.prod(
            -(-length // max(BLOCK // box, 1)) for length in self._picture.shape[:2]
        )
        self._done = 0
        self._lock = Lock()

    @property
    def made(self) -> bool:
        """Whether it can be seen without waiting."""
        return self._done == self._count

    def make(self) -> Iterator[tuple[int, int]]:
        """Go on making it; yield blocks done and blocks in all."""
        while not self.made:
            with self._lock:
                self._done += sum(1 for _ in islice(self._blocks, 1))
            yield self._done, self._count

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a part of it, made whole first if need be."""
        for _ in self.make():
            pass
        return self._picture[y : y + height, x : x + width]


def _canvas(source: _Source, box: int) -> Pixels:
    return np.empty((-(-source.height // box), -(-source.width // box), 3), np.uint8)


def _blocks(picture: Pixels, source: _Source, box: int) -> Iterator[Read]:
    """Fill a picture block by block; yield how much of each could be read."""
    side = max(BLOCK // box, 1)
    for top in range(0, picture.shape[0], side):
        for left in range(0, picture.shape[1], side):
            part = picture[top : top + side, left : left + side]
            yield _fill(part, source, left * box, top * box, box)
        # Each tile was needed once, and a row of them fills the cache for nothing.
        source.slide.forget_tiles()


def _fill(
    part: Pixels, source: "_Source | CoarsePicture", x: int, y: int, box: int
) -> Read:
    """Fill a part of a picture from its source; return how much could be read."""
    width = min(part.shape[1] * box, source.width - x)
    height = min(part.shape[0] * box, source.height - y)
    pixels, read = _mended(source, x, y, width, height)
    if box > 1:
        # The last pixels of a level stand for a whole box.
        pixels = cv2.copyMakeBorder(
            pixels,
            0,
            part.shape[0] * box - height,
            0,
            part.shape[1] * box - width,
            cv2.BORDER_REPLICATE,
        )
        pixels = cv2.resize(pixels, part.shape[1::-1], interpolation=cv2.INTER_AREA)
    part[:] = pixels
    return read


def _mended(
    source: _Source | CoarsePicture, x: int, y: int, width: int, height: int
) -> tuple[Pixels, Read]:
    """Return a region in which what cannot be read is grey, and how much was read."""
    try:
        return source.read(x, y, width, height), (1, 0)
    except SlideError:
        smallest = source.smallest
        if max(width, height) <= smallest:
            return np.full((height, width, 3), DAMAGED_COLOUR, np.uint8), (0, 1)
    region = np.empty((height, width, 3), np.uint8)
    whole = damaged = 0
    for top, rows in _halves(y, height, smallest):
        for left, columns in _halves(x, width, smallest):
            part, (good, bad) = _mended(source, left, top, columns, rows)
            region[top - y :, left - x :][:rows, :columns] = part
            whole, damaged = whole + good, damaged + bad
    return region, (whole, damaged)


def _halves(start: int, length: int, smallest: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of halves that meet where tiles do, most likely."""
    if length <= smallest:
        yield start, length
        return
    middle = (start + length // 2) // smallest * smallest
    if middle <= start:
        middle += smallest
    yield start, middle - start
    yield middle, start + length - middle


class SlideLevel:
    """One level of a slide as an array of shape (rows, columns, 3), read on demand.

    Parameters
    ----------
    slide
        An open slide.
    down
        Level-0 pixels that one of its pixels spans.
    coarse
        What it is made of instead of the slide's next finer level.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self, slide: Slide, down: float, coarse: CoarsePicture | None = None
    ) -> None:
        self.source = coarse or _Source.of(slide, down)
        self._box = max(round(down / self.source.down), 1)
        self.down = self.source.down * self._box
        self.shape = (
            -(-self.source.height // self._box),
            -(-self.source.width // self._box),
            3,
        )
        self.size = self.shape[0] * self.shape[1] * 3

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Return a region by slices, reading only what it covers; damage is grey."""
        parts = key if isinstance(key, tuple) else (key,)
        for place, part in enumerate(parts):
            if part is Ellipsis:
                whole = (slice(None),) * (self.ndim + 1 - len(parts))
                parts = (*parts[:place], *whole, *parts[place + 1 :])
                break
        rows, columns, *rest = (*parts, slice(None), slice(None))[: max(len(parts), 2)]
        top, bottom, rows = _window(rows, self.shape[0])
        left, right, columns = _window(columns, self.shape[1])
        region = np.empty((bottom - top, right - left, 3), np.uint8)
        if region.size:
            _fill(region, self.source, left * self._box, top * self._box, self._box)
        return region[(rows, columns, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        """Return the whole level."""
        if copy is False:
            raise ValueError("A level of a slide is read, so it is always a copy.")
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


def pyramid(slide: Slide) -> list[SlideLevel]:
    """Return levels a factor of two apart, the file's own among them.

    Between two levels of the file, and beyond its coarsest, levels are made of the
    next finer one. Where that would take seconds every time, they are made of one
    picture, which `coarse_picture` returns.
    """
    own = sorted(slide.level_downsamples)
    levels = [SlideLevel(slide, 1.0)]
    kept: CoarsePicture | None = None
    while max(levels[-1].shape[:2]) > COARSEST:
        down = levels[-1].down * 2
        # A level of the file that is nearly there is taken as it is.
        down = min([d for d in own if 0.75 < d / down < 1.5], default=down)
        source = _Source.of(slide, down)
        small = slide.width * slide.height / down**2 <= KEPT_PIXELS
        if kept is None and source.slow and small:
            kept = CoarsePicture(source, max(round(down / source.down), 1))
        levels.append(SlideLevel(slide, down, kept))
    return levels


def coarse_picture(levels: Sequence[SlideLevel]) -> CoarsePicture | None:
    """Return the picture that coarse levels are made of, if they need one."""
    source = levels[-1].source
    return source if isinstance(source, CoarsePicture) else None


def _window(part: Any, size: int) -> tuple[int, int, Any]:
    """Return where an index begins and ends, and the index of what lies between."""
    covered = range(size)[part]
    if isinstance(covered, int):
        return covered, covered + 1, 0
    if not covered:
        return 0, 0, slice(None)
    ends = covered[0], covered[-1]
    return min(ends), max(ends) + 1, slice(None, None, covered.step)
