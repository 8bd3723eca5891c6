"""A slide at any resolution: its overview, and levels that the viewer asks for.

Files hold levels a factor of 2, 4 or more apart. What lies between is made of the next
finer one, by area.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.slide import Pair, Slide

Pixels = UInt8[np.ndarray, "rows columns 3"]

BLOCK = 2048
"""Side of the blocks that a large level is shrunk by."""

WHOLE_PIXELS = 32_000_000
"""A larger picture is never held whole."""

SMALLEST_BLOCK = 128
DAMAGED_COLOUR = 204
"""Grey: what cannot be read looks like neither glass nor tissue."""

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
        If the slide's resolution is not known.
    """
    mpp_x, mpp_y = slide.require_mpp()
    columns = max(round(slide.width * mpp_x / um_per_pixel), 1)
    rows = max(round(slide.height * mpp_y / um_per_pixel), 1)
    down = min(slide.width / columns, slide.height / rows)
    source = _Source.of(slide, down)
    # Box means of whole pixels bring a huge level down to a few million pixels.
    box = 1
    if source.width * source.height > WHOLE_PIXELS:
        box = max(int(down / source.down), 1)
    picture = np.empty((-(-source.height // box), -(-source.width // box), 3), np.uint8)
    damaged = 0
    side = max(BLOCK // box, 1)
    for top in range(0, picture.shape[0], side):
        for left in range(0, picture.shape[1], side):
            part = picture[top : top + side, left : left + side]
            bad = _fill(part, source, left * box, top * box, box)
            damaged += bad
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


def _fill(part: Pixels, source: _Source, x: int, y: int, box: int) -> int:
    """Fill a part of a picture from its source; return how many blocks are damaged."""
    width = min(part.shape[1] * box, source.width - x)
    height = min(part.shape[0] * box, source.height - y)
    pixels, damaged = _mended(source, x, y, width, height)
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
    return damaged


def _mended(
    source: _Source, x: int, y: int, width: int, height: int
) -> tuple[Pixels, int]:
    """Return a region in which what cannot be read is grey, and how much that is."""
    try:
        return source.read(x, y, width, height), 0
    except SlideError:
        if max(width, height) <= SMALLEST_BLOCK:
            return np.full((height, width, 3), DAMAGED_COLOUR, np.uint8), 1
    region = np.empty((height, width, 3), np.uint8)
    damaged = 0
    for left, top, columns, rows in _quarters(width, height):
        part, bad = _mended(source, x + left, y + top, columns, rows)
        region[top : top + rows, left : left + columns] = part
        damaged += bad
    return region, damaged


def _quarters(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    half_x = width if width <= SMALLEST_BLOCK else (width + 1) // 2
    half_y = height if height <= SMALLEST_BLOCK else (height + 1) // 2
    for top in range(0, height, half_y):
        for left in range(0, width, half_x):
            yield left, top, min(half_x, width - left), min(half_y, height - top)


class SlideLevel:
    """One level of a slide as an array of shape (rows, columns, 3), read on demand.

    Parameters
    ----------
    slide
        An open slide.
    down
        Level-0 pixels that one of its pixels spans.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, slide: Slide, down: float) -> None:
        self._source = _Source.of(slide, down)
        self._box = max(round(down / self._source.down), 1)
        self.down = self._source.down * self._box
        self.shape = (
            -(-self._source.height // self._box),
            -(-self._source.width // self._box),
            3,
        )
        self.size = self.shape[0] * self.shape[1] * 3

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Return a region by slices, reading only what it covers; damage is grey."""
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns = (*parts, slice(None), slice(None))[:2]
        top, bottom, row_step = _span(rows, self.shape[0])
        left, right, column_step = _span(columns, self.shape[1])
        region = np.empty((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
        _fill(region, self._source, left * self._box, top * self._box, self._box)
        region = region[::row_step, ::column_step]
        rest = parts[2:] if len(parts) > 2 else ()
        squeezed = region[
            0 if isinstance(rows, int | np.integer) else slice(None),
            0 if isinstance(columns, int | np.integer) else slice(None),
        ]
        return squeezed[(..., *rest)] if rest else squeezed

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        """Return the whole level."""
        del copy
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


def pyramid(slide: Slide) -> list[SlideLevel]:
    """Return levels a factor of two apart, the file's own among them.

    Between two levels of the file, and beyond its coarsest, levels are made of the
    next finer one.
    """
    own = sorted(slide.level_downsamples)
    levels = [SlideLevel(slide, 1.0)]
    while max(levels[-1].shape[:2]) > COARSEST:
        down = levels[-1].down * 2
        # A level of the file that is nearly there is taken as it is.
        near = [d for d in own if 0.75 < d / down < 1.5]
        levels.append(SlideLevel(slide, min(near, default=down)))
    return levels


def _span(part: Any, size: int) -> tuple[int, int, int]:
    if isinstance(part, slice):
        return part.indices(size)
    index = int(part)
    index += size if index < 0 else 0
    return index, index + 1, 1
