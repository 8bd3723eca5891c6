"""The pixels of patches, brought to their resolution."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.patches import Patches, sums
from napari_harm3.wsi.slide import Pair, Slide

ROUNDING = 0.0025
"""A patch may be read from whole pixels if that changes its scale by less."""

SPILL = 2
"""Pixels of a level by which rounding alone can bring a patch beyond the slide."""


def read_patch(
    slide: Slide, x: int, y: int, *, level0_px: Pair, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Return a patch, down-sampled by area from the next finer level.

    Raises
    ------
    SlideError
        If the file is damaged there.
    """
    patch = np.empty((size, size, 3), np.uint8)
    _PatchReader(slide, level0_px, size).read_into(patch, x, y)
    return patch


def read_patches(
    slide: Slide, patches: Patches, rows: slice
) -> tuple[UInt8[np.ndarray, "n size size 3"], Bool[np.ndarray, "m"]]:
    """Return the pixels of those patches that can be read, and which those are.

    A damaged patch is left out, never white.
    """
    coords, size = patches.coords[rows], patches.size
    reader = _PatchReader(slide, patches.level0_px, size)
    pixels = np.empty((len(coords), size, size, 3), np.uint8)
    whole = np.zeros(len(coords), dtype=bool)
    for number, (x, y) in enumerate(coords.tolist()):
        try:
            reader.read_into(pixels[number], x, y)
            whole[number] = True
        except SlideError:
            continue
    return (pixels if whole.all() else pixels[whole]), whole


class _PatchReader:
    """Reads patches of one size from the level that is just fine enough.

    Whole pixels of the level are averaged by area where they are so many that their
    number is as good as exact; elsewhere the patch is resampled at its exact scale.
    """

    def __init__(self, slide: Slide, level0_px: Pair, size: int) -> None:
        self._slide, self._size = slide, size
        self.level = slide.level_for(min(level0_px) / size)
        self._bounds = slide.level_dimensions[self.level]
        self._down = slide.width / self._bounds[0], slide.height / self._bounds[1]
        self._extent = level0_px[0] / self._down[0], level0_px[1] / self._down[1]
        columns, rows = (max(round(length), 1) for length in self._extent)
        exact = all(
            abs(count - length) <= ROUNDING * length
            for count, length in zip((columns, rows), self._extent, strict=True)
        )
        self._native = exact and columns == rows == size
        if exact and min(columns, rows) >= size:
            self._resample = self._averaged
        elif max(self._extent) > size * (1 + ROUNDING):
            self._resample = self._weighted
            columns, rows = (int(np.ceil(length)) for length in self._extent)
        else:
            self._resample = self._enlarged
            columns, rows = (int(np.ceil(length)) + 1 for length in self._extent)
        self.pixels = columns, rows
        """Of the level, that a patch is made of, along x and y."""

    def first(self, coords: Int64[np.ndarray, "N 2"]) -> Int64[np.ndarray, "N 2"]:
        """Return the pixel of the level at which patches begin."""
        return np.rint(coords / self._down).astype(np.int64)

    def read_into(
        self, patch: UInt8[np.ndarray, "size size 3"], x: int, y: int
    ) -> None:
        if self._native:
            self._slide.read_into(patch, self.level, x, y)
            self._end_with_slide(patch, x, y)
        else:
            pixels = self._slide.read(self.level, x, y, *self.pixels)
            self._end_with_slide(pixels, x, y)
            self._resample(pixels, patch)

    def _end_with_slide(
        self, pixels: UInt8[np.ndarray, "rows columns 3"], x: int, y: int
    ) -> None:
        """Repeat the slide's last pixels where only rounding makes a patch go on."""
        for line, start, down, count, bound in zip(
            (pixels.swapaxes(0, 1), pixels),
            (x, y),
            self._down,
            self.pixels,
            self._bounds,
            strict=True,
        ):
            beyond = round(start / down) + count - bound
            if 0 < beyond <= min(SPILL, count - 1):
                line[-beyond:] = line[-beyond - 1]

    def _averaged(
        self,
        pixels: UInt8[np.ndarray, "rows columns 3"],
        patch: UInt8[np.ndarray, "size size 3"],
    ) -> None:
        cv2.resize(pixels, patch.shape[1::-1], patch, interpolation=cv2.INTER_AREA)

    def _weighted(
        self,
        pixels: UInt8[np.ndarray, "rows columns 3"],
        patch: UInt8[np.ndarray, "size size 3"],
    ) -> None:
        across, down = (area_weights(length, self._size) for length in self._extent)
        mean = np.einsum("rh,hwc,kw->rkc", down, pixels, across, optimize=True)
        patch[:] = np.rint(mean)

    def _enlarged(
        self,
        pixels: UInt8[np.ndarray, "rows columns 3"],
        patch: UInt8[np.ndarray, "size size 3"],
    ) -> None:
        step_x, step_y = (length / self._size for length in self._extent)
        to_source = np.array(
            [[step_x, 0, step_x / 2 - 0.5], [0, step_y, step_y / 2 - 0.5]]
        )
        patch[:] = cv2.warpAffine(
            pixels,
            to_source,
            (self._size, self._size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def area_weights(length: float, size: int) -> Float[np.ndarray, "size pixels"]:
    """Return how much of each source pixel every target pixel covers, summing to one.

    Parameters
    ----------
    length
        Source pixels that the target spans, not whole.
    size
        Target pixels.
    """
    edges = np.arange(size + 1) * length / size
    pixel = np.arange(int(np.ceil(length)))
    covered = np.clip(edges[:, None] - pixel, 0, 1)
    weights: Float[np.ndarray, "size pixels"] = np.diff(covered, axis=0) * size / length
    return weights


def lost_patches(slide: Slide, patches: Patches) -> Bool[np.ndarray, "N"]:
    """Return which patches touch a tile that the file does not hold.

    Of a slide that OpenSlide reads nothing is known before it is read.
    """
    if slide.tiff is None:
        return np.zeros(len(patches.coords), dtype=bool)
    reader = _PatchReader(slide, patches.level0_px, patches.size)
    level = slide.tiff.levels[reader.level]
    broken = np.zeros(len(level.offsets), np.uint8)
    broken[slide.tiff.broken(reader.level)] = 1
    tile = level.tile_width, level.tile_height
    first = reader.first(patches.coords)
    last = first + reader.pixels - 1
    found = sums(broken.reshape(-1, level.columns), first // tile, last // tile + 1)
    return np.asarray(found > 0)
