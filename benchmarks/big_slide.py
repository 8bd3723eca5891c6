"""A slide of 60,000 pixels with known truth, made in seconds of encoded tiles.

Tissue is drawn tile by tile, so the truth is a small mask. A few hundred different
tiles are encoded once and laid like bricks.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import tifffile
from scipy import ndimage

from napari_harm3.phantom.histology import draw_slide

TILE, MPP = 256, 0.25
KINDS = 96
"""Different tiles of tissue."""


def truth(tiles: int, seed: int = 0) -> np.ndarray:
    """Return which tiles show tissue: pieces with ragged edges and holes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:tiles, :tiles] / tiles - 0.5
    ragged = ndimage.gaussian_filter(rng.normal(size=(tiles, tiles)), tiles / 60)
    ragged *= 0.05 / ragged.std()
    mask = np.zeros((tiles, tiles), bool)
    for centre_x, centre_y in ((-0.22, -0.2), (0.2, -0.12), (0.0, 0.25)):
        mask |= np.hypot((x - centre_x) / 1.2, y - centre_y) + ragged < 0.17
    holes = ndimage.gaussian_filter(rng.normal(size=(tiles, tiles)), tiles / 80)
    return mask & (holes < 1.6 * holes.std())


def write(path: Path, side: int = 60_000, *, levels: int = 3) -> np.ndarray:
    """Write the slide, its levels four times apart; return the truth."""
    tiles = -(-side // TILE)
    mask = truth(tiles)
    rng = np.random.default_rng(1)
    drawn = draw_slide(rng, 0.5)
    spots = _full_of_tissue(drawn, rng)
    glass = np.full((TILE, TILE, 3), 242, np.uint8)
    bricks = [glass, *(drawn[y : y + TILE, x : x + TILE] for y, x in spots)]
    which = np.where(mask, 1 + rng.integers(0, len(spots), mask.shape), 0)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level in range(levels):
            length = side // 4**level
            writer.write(
                _tiles(bricks, which, level, length),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                resolution=(1e4 / (MPP * 4**level),) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=int(level > 0),
                metadata=None,
            )
    return mask


def _full_of_tissue(drawn: np.ndarray, rng: np.random.Generator) -> list[tuple]:
    dark = drawn.max(axis=2) < 235
    spots = []
    while len(spots) < KINDS:
        y, x = rng.integers(0, len(drawn) - TILE, 2)
        if dark[y : y + TILE, x : x + TILE].mean() > 0.8:
            spots.append((int(y), int(x)))
    return spots


def _tiles(
    bricks: list[np.ndarray], which: np.ndarray, level: int, length: int
) -> Iterator[bytes]:
    shrunk = 4**level
    small = [
        cv2.resize(one, (TILE // shrunk,) * 2, interpolation=cv2.INTER_AREA)
        for one in bricks
    ]
    encoded: dict[bytes, bytes] = {}
    count = -(-length // TILE)
    padded = np.zeros((count * shrunk, count * shrunk), int)
    padded[: which.shape[0], : which.shape[1]] = which[: len(padded), : len(padded)]
    for row in range(count):
        for column in range(count):
            part = padded[
                row * shrunk : (row + 1) * shrunk,
                column * shrunk : (column + 1) * shrunk,
            ]
            key = part.tobytes()
            if key not in encoded:
                tile = np.vstack([np.hstack([small[n] for n in line]) for line in part])
                encoded[key] = simplejpeg.encode_jpeg(
                    np.ascontiguousarray(tile), quality=85, colorsubsampling="420"
                )
            yield encoded[key]
