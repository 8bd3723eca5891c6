"""The grid of patches (section 2.3 of the paper)."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PatchConfig, Rule
from napari_harm3.wsi.contours import Contour, grid_points_in
from napari_harm3.wsi.slide import Pair, Slide
from napari_harm3.wsi.tissue import Tissue

COARSER = 1.10
"""A slide coarser than the patches by more than this would invent pixels."""

MOST_PATCHES = 20_000_000
"""No slide holds as many that show anything."""

FOUR_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))
POINTS: dict[Rule, tuple[tuple[float, float], ...]] = {
    "corners_any": FOUR_CORNERS,
    "corners_all": FOUR_CORNERS,
    "center": ((0.5, 0.5),),
    "top_left": ((0, 0),),
}
"""Where each rule looks, in sides of a patch."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The patches of a slide that count as tissue, row by row."""

    coords: Int64[np.ndarray, "N 2"]
    """Upper left corner, level-0 x and y."""

    tissue: UInt8[np.ndarray, "N"]
    """Fraction of each patch in tissue, 0 to 255."""

    level0_px: Pair
    """Side of a patch at level 0, along x and y."""

    size: int
    """Side of a patch in delivered pixels."""


def lay_patches(slide: Slide, tissue: Tissue, config: PatchConfig) -> Patches:
    """Return the patches that a rule takes for tissue.

    The grid begins at the slide's bounds, its stride is the patch, and a patch that
    would leave the slide is dropped. CLAM's rules begin a grid at every piece of
    tissue and drop nothing.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or does not suit the patches.
    """
    side = patch_side(slide, config)
    if config.rule.startswith("clam"):
        kept = clam_patches(tissue, side, every=config.rule == "clam_four_pt_hard")
    else:
        coords = grid(slide.bounds, side)
        kept = coords[taken(tissue, coords, side, config.rule)]
    return Patches(
        coords=kept,
        tissue=tissue_fractions(tissue, kept, side),
        level0_px=side,
        size=config.patch,
    )


def patch_side(slide: Slide, config: PatchConfig) -> Pair:
    """Return the side of a patch in level-0 pixels, along x and y.

    Raises
    ------
    SlideError
        If the slide's resolution is not known or coarser than asked, or patches would
        be smaller than a pixel or too many.
    """
    mpp = slide.require_mpp()
    if max(mpp) > config.mpp * COARSER and not config.allow_upsampling:
        raise SlideError(
            f"{slide.name} has {max(mpp):.3g} microns per pixel, coarser than the "
            f"{config.mpp:.3g} asked: ask for coarser patches, or allow up-sampling."
        )
    side = config.patch * config.mpp / mpp[0], config.patch * config.mpp / mpp[1]
    count = slide.width / side[0] * slide.height / side[1]
    if min(side) < 1 or count > MOST_PATCHES:
        raise SlideError(
            f"{slide.name} would fall into {count:.0f} patches of {min(side):.3g} "
            "pixels: ask for larger or coarser ones."
        )
    return side


def grid(bounds: tuple[int, int, int, int], side: Pair) -> Int64[np.ndarray, "N 2"]:
    """Return the corners of all patches that lie within bounds, row by row."""
    x0, y0, width, height = bounds
    # Floats are rounded only at the end, so that the grid does not drift.
    columns = x0 + np.arange(int((width + 1e-6) // side[0])) * side[0]
    rows = y0 + np.arange(int((height + 1e-6) // side[1])) * side[1]
    # What rounding would push over the edge stays within.
    columns = np.minimum(np.rint(columns), np.floor(x0 + width - side[0] + 1e-6))
    rows = np.minimum(np.rint(rows), np.floor(y0 + height - side[1] + 1e-6))
    x, y = np.meshgrid(columns, rows)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)


def taken(
    tissue: Tissue, coords: Int64[np.ndarray, "N 2"], side: Pair, rule: Rule
) -> Bool[np.ndarray, "N"]:
    """Return which patches a rule takes, by the pixels that it looks at.

    A corner is a pixel's centre: x and x + w - 1, y and y + h - 1.
    """
    far = np.rint(np.array(side)).astype(np.int64) - 1
    rows, columns = tissue.mask.shape
    hits = []
    for share in POINTS[rule]:
        point = (coords + np.floor(far * share) + 0.5) / tissue.level0_per_pixel
        column = np.clip(point[:, 0].astype(int), 0, columns - 1)
        row = np.clip(point[:, 1].astype(int), 0, rows - 1)
        hits.append(tissue.mask[row, column])
    found = np.stack(hits)
    return np.asarray(found.all(axis=0) if rule == "corners_all" else found.any(axis=0))


def clam_patches(
    tissue: Tissue, side: Pair, *, every: bool
) -> Int64[np.ndarray, "N 2"]:
    """Return the patches that CLAM lays, each once, row by row.

    Every piece has a grid of its own that begins at its bounding box. Four points, a
    quarter of the side in from the edges, are tested against the piece's outline at
    level 0, and the middle against its holes.

    Parameters
    ----------
    tissue
        With its contours.
    side
        Of a patch at level 0; CLAM knows whole pixels.
    every
        All four points must lie within, not one.
    """
    whole = round(side[0]), round(side[1])
    pieces = [
        _clam_piece(contour.scaled(tissue.level0_per_pixel), whole, every=every)
        for contour in tissue.contours
    ]
    if not pieces:
        return np.zeros((0, 2), np.int64)
    x, y = np.concatenate(pieces).T
    places = np.unique(y << 32 | x)
    return np.stack([places & 0xFFFFFFFF, places >> 32], axis=1)


def _clam_piece(
    contour: Contour, side: tuple[int, int], *, every: bool
) -> Int64[np.ndarray, "n 2"]:
    left, top, width, height = cv2.boundingRect(contour.outer)
    x = np.arange(left, left + width, side[0], dtype=float)
    y = np.arange(top, top + height, side[1], dtype=float)
    half = side[0] // 2, side[1] // 2
    shift = half[0] // 2, half[1] // 2
    # The four points are a grid too, of twice the rows and columns.
    points_x = np.sort(np.concatenate([x + half[0] - shift[0], x + half[0] + shift[0]]))
    points_y = np.sort(np.concatenate([y + half[1] - shift[1], y + half[1] + shift[1]]))
    inside = grid_points_in(contour.outer, points_x, points_y) >= 0
    four = np.stack([inside[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    kept = np.asarray(four.all(axis=0) if every else four.any(axis=0))
    middle_x, middle_y = x + side[0] / 2, y + side[1] / 2
    for hole in contour.holes:
        columns, rows = _between(middle_x, hole[:, 0]), _between(middle_y, hole[:, 1])
        kept[rows, columns] &= (
            grid_points_in(hole, middle_x[columns], middle_y[rows]) <= 0
        )
    row, column = np.nonzero(kept)
    return np.stack([x[column], y[row]], axis=1).astype(np.int64)


def _between(points: Float[np.ndarray, "n"], corners: Int64[np.ndarray, "m"]) -> slice:
    """Return which ascending points an outline spans."""
    return slice(
        int(np.searchsorted(points, corners.min())),
        int(np.searchsorted(points, corners.max(), side="right")),
    )


def batches(count: int, size: int, begin: int = 0) -> Iterator[slice]:
    """Yield the rows of each batch."""
    for start in range(begin, count, size):
        yield slice(start, min(start + size, count))


def tissue_fractions(
    tissue: Tissue, coords: Int64[np.ndarray, "N 2"], side: Pair
) -> UInt8[np.ndarray, "N"]:
    """Return the tissue under each patch, 0 to 255, by a summed-area table."""
    rows, columns = tissue.mask.shape
    scale = np.array(tissue.level0_per_pixel)
    low = np.rint(coords / scale).astype(int).clip(0, (columns, rows))
    high = np.rint((coords + side) / scale).astype(int).clip(0, (columns, rows))
    high = np.maximum(high, np.minimum(low + 1, (columns, rows)))
    area = np.maximum((high - low).prod(axis=1), 1)
    inside = sums(tissue.mask.astype(np.uint8), low, high)
    return np.asarray(np.rint(255 * inside / area), dtype=np.uint8)


def sums(
    mask: UInt8[np.ndarray, "rows columns"],
    low: Int64[np.ndarray, "N 2"],
    high: Int64[np.ndarray, "N 2"],
) -> Int64[np.ndarray, "N"]:
    """Return the pixels set from each x and y to before another."""
    table = cv2.integral(mask)
    end = table.shape[1] - 1, table.shape[0] - 1
    (left, top), (right, bottom) = low.clip(0, end).T, high.clip(0, end).T
    total = (
        table[bottom, right]
        - table[top, right]
        - table[bottom, left]
        + table[top, left]
    )
    return np.asarray(total, dtype=np.int64)
