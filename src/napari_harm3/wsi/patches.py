"""The grid of patches, and their pixels (section 2.3 of the paper)."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int64, UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PatchConfig
from napari_harm3.wsi.slide import Pair, Slide
from napari_harm3.wsi.tissue import Tissue

COARSER = 1.10
"""A slide coarser than the patches by more than this would invent pixels."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The patches of a slide that count as tissue, row by row."""

    coords: Int64[np.ndarray, "N 2"]
    """Upper left corner, level-0 x and y."""

    tissue: UInt8[np.ndarray, "N"]
    """Fraction of each patch in tissue, 0 to 255."""

    level0_px: Pair
    """Side of a patch at level 0, along x and y."""


def lay_patches(slide: Slide, tissue: Tissue, config: PatchConfig) -> Patches:
    """Return the patches of which at least one corner lies in tissue.

    The grid begins at the slide's bounds, its stride is the patch, and a patch that
    would leave the slide is dropped.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or it is coarser than asked.
    """
    mpp = slide.require_mpp()
    if max(mpp) > config.mpp * COARSER and not config.allow_upsampling:
        raise SlideError(
            f"{slide.name} has {max(mpp):.3g} microns per pixel, coarser than the "
            f"{config.mpp:.3g} asked: ask for coarser patches, or allow up-sampling."
        )
    side_x, side_y = (config.patch * config.mpp / one for one in mpp)
    x0, y0, width, height = slide.bounds
    # Floats are rounded only at the end, so that the grid does not drift.
    columns = np.arange(int((width + 1e-6) // side_x)) * side_x
    rows = np.arange(int((height + 1e-6) // side_y)) * side_y
    x, y = (part.ravel() for part in np.meshgrid(x0 + columns, y0 + rows))
    coords = np.stack([np.rint(x), np.rint(y)], axis=1).astype(np.int64)
    inside = (coords[:, 0] + side_x <= x0 + width + 0.5) & (
        coords[:, 1] + side_y <= y0 + height + 0.5
    )
    coords = coords[inside]
    kept = coords[any_corner_in(tissue, coords, (side_x, side_y))]
    return Patches(
        coords=kept,
        tissue=_fractions(tissue, kept, (side_x, side_y)),
        level0_px=(side_x, side_y),
    )


def any_corner_in(
    tissue: Tissue, coords: Int64[np.ndarray, "N 2"], side: Pair
) -> Bool[np.ndarray, "N"]:
    """Return which patches have at least one of their four corners in tissue.

    A corner is a pixel's centre: x and x + w - 1, y and y + h - 1.
    """
    far = np.rint(np.array(side)).astype(np.int64) - 1
    hit = np.zeros(len(coords), dtype=bool)
    rows, columns = tissue.mask.shape
    for step in ((0, 0), (1, 0), (0, 1), (1, 1)):
        corner = (coords + far * step + 0.5) / tissue.level0_per_pixel
        column = np.clip(corner[:, 0].astype(int), 0, columns - 1)
        row = np.clip(corner[:, 1].astype(int), 0, rows - 1)
        hit |= tissue.mask[row, column]
    return hit


def read_patch(
    slide: Slide, x: int, y: int, *, level0_px: Pair, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Return a patch, down-sampled by area from the next finer level.

    Raises
    ------
    SlideError
        If the file is damaged there.
    """
    level = slide.level_for(min(level0_px) / size)
    width, height = (
        max(round(side * part / whole), 1)
        for side, part, whole in zip(
            level0_px,
            slide.level_dimensions[level],
            (slide.width, slide.height),
            strict=True,
        )
    )
    pixels = slide.read(level, x, y, width, height)
    if (width, height) == (size, size):
        return pixels
    finer = width >= size and height >= size
    how = cv2.INTER_AREA if finer else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=how), np.uint8)


def _fractions(
    tissue: Tissue, coords: Int64[np.ndarray, "N 2"], side: Pair
) -> UInt8[np.ndarray, "N"]:
    """Return the tissue under each patch by a summed-area table."""
    table = np.pad(tissue.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows, columns = tissue.mask.shape
    scale = np.array(tissue.level0_per_pixel)
    low = np.rint(coords / scale).astype(int).clip(0, (columns, rows))
    high = np.rint((coords + side) / scale).astype(int).clip(0, (columns, rows))
    high = np.maximum(high, np.minimum(low + 1, (columns, rows)))
    (left, top), (right, bottom) = low.T, high.T
    inside = (
        table[bottom, right]
        - table[top, right]
        - table[bottom, left]
        + table[top, left]
    )
    area = np.maximum((right - left) * (bottom - top), 1)
    return np.asarray(np.rint(255 * inside / area), dtype=np.uint8)
