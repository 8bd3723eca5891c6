"""The grid of patches, and their pixels (section 2.3 of the paper)."""

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

ROUNDING = 0.0025
"""A patch may be read from whole pixels if that changes its scale by less."""

SPILL = 2
"""Pixels of a level by which rounding alone can bring a patch beyond the slide."""

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
    found = _sums(broken.reshape(-1, level.columns), first // tile, last // tile + 1)
    return np.asarray(found > 0)


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
    inside = _sums(tissue.mask.astype(np.uint8), low, high)
    return np.asarray(np.rint(255 * inside / area), dtype=np.uint8)


def _sums(
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
