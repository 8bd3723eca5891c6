"""The grid of patches, and their pixels (section 2.3 of the paper)."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int64, UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PatchConfig, Rule
from napari_harm3.wsi.contours import Contour, grid_points_in
from napari_harm3.wsi.slide import Pair, Slide
from napari_harm3.wsi.tissue import Tissue

COARSER = 1.10
"""A slide coarser than the patches by more than this would invent pixels."""

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
        If the slide's resolution is not known, or it is coarser than asked.
    """
    mpp = slide.require_mpp()
    if max(mpp) > config.mpp * COARSER and not config.allow_upsampling:
        raise SlideError(
            f"{slide.name} has {max(mpp):.3g} microns per pixel, coarser than the "
            f"{config.mpp:.3g} asked: ask for coarser patches, or allow up-sampling."
        )
    side = config.patch * config.mpp / mpp[0], config.patch * config.mpp / mpp[1]
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


def grid(bounds: tuple[int, int, int, int], side: Pair) -> Int64[np.ndarray, "N 2"]:
    """Return the corners of all patches that lie within bounds, row by row."""
    x0, y0, width, height = bounds
    # Floats are rounded only at the end, so that the grid does not drift.
    columns = x0 + np.arange(int((width + 1e-6) // side[0])) * side[0]
    rows = y0 + np.arange(int((height + 1e-6) // side[1])) * side[1]
    x, y = (part.ravel() for part in np.meshgrid(columns, rows))
    coords = np.stack([np.rint(x), np.rint(y)], axis=1).astype(np.int64)
    end = np.array([x0 + width, y0 + height]) + 0.5
    return coords[(coords + side <= end).all(axis=1)]


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
    kept = four.all(axis=0) if every else four.any(axis=0)
    for hole in contour.holes:
        kept &= grid_points_in(hole, x + side[0] / 2, y + side[1] / 2) <= 0
    row, column = np.nonzero(kept)
    return np.stack([x[column], y[row]], axis=1).astype(np.int64)


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
    dimensions = slide.level_dimensions[level]
    across = level0_px[0] * dimensions[0] / slide.width
    down = level0_px[1] * dimensions[1] / slide.height
    width, height = max(round(across), 1), max(round(down), 1)
    if min(width, height) < size:
        return _enlarged(slide, level, (x, y), (across, down), size)
    pixels = slide.read(level, x, y, width, height)
    if (width, height) == (size, size):
        return pixels
    shrunk = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)


def _enlarged(
    slide: Slide, level: int, corner: tuple[int, int], extent: Pair, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Return a patch that has fewer pixels than asked, at its exact scale.

    Whole pixels of a coarse slide would be off by up to a hundredth.
    """
    width, height = int(np.ceil(extent[0])) + 1, int(np.ceil(extent[1])) + 1
    pixels = slide.read(level, *corner, width, height)
    step_x, step_y = extent[0] / size, extent[1] / size
    to_source = np.array([[step_x, 0, step_x / 2 - 0.5], [0, step_y, step_y / 2 - 0.5]])
    enlarged = cv2.warpAffine(
        pixels,
        to_source,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(enlarged, np.uint8)


def read_patches(
    slide: Slide, patches: Patches, rows: slice
) -> tuple[UInt8[np.ndarray, "n size size 3"], Bool[np.ndarray, "m"]]:
    """Return the pixels of those patches that can be read, and which those are.

    A damaged patch is left out, never white.
    """
    coords, size = patches.coords[rows], patches.size
    pixels = np.empty((len(coords), size, size, 3), np.uint8)
    whole = np.zeros(len(coords), dtype=bool)
    for number, (x, y) in enumerate(coords.tolist()):
        try:
            pixels[number] = read_patch(
                slide, x, y, level0_px=patches.level0_px, size=size
            )
            whole[number] = True
        except SlideError:
            continue
    return (pixels if whole.all() else pixels[whole]), whole


def lost_patches(slide: Slide, patches: Patches) -> Bool[np.ndarray, "N"]:
    """Return which patches touch a tile that the file does not hold.

    Of a slide that OpenSlide reads nothing is known before it is read.
    """
    lost = np.zeros(len(patches.coords), dtype=bool)
    if slide.tiff is None:
        return lost
    number = slide.level_for(patches.level0_px[0] / patches.size)
    level = slide.tiff.levels[number]
    scale = np.array([slide.width / level.width, slide.height / level.height])
    first = patches.coords / scale // (level.tile_width, level.tile_height)
    last = (patches.coords + patches.level0_px) / scale - 1
    last //= level.tile_width, level.tile_height
    for index in slide.tiff.broken(number).tolist():
        row, column = divmod(index, level.columns)
        lost |= ((first <= (column, row)) & (last >= (column, row))).all(axis=1)
    return lost


def batches(count: int, size: int, begin: int = 0) -> Iterator[slice]:
    """Yield the rows of each batch."""
    for start in range(begin, count, size):
        yield slice(start, min(start + size, count))


def tissue_fractions(
    tissue: Tissue, coords: Int64[np.ndarray, "N 2"], side: Pair
) -> UInt8[np.ndarray, "N"]:
    """Return the tissue under each patch, 0 to 255, by a summed-area table."""
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
