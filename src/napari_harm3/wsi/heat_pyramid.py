"""A map of a slide as a pyramid of its own, to be laid over the slide.

A plain tiled TIFF that OpenSlide and QuPath open: from blue to red, and transparent
where there is little or no patch. It states microns per pixel, so that a program that
goes by them scales the map onto its slide.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import Float, UInt8

from napari_harm3.artifacts import atomic_path

Heat = Float[np.ndarray, "rows columns"]
Pair = tuple[float, float]

TILE = 256
COLD, HOT = np.array([60, 80, 200]), np.array([230, 60, 40])
"""Colours of the least and the greatest value."""


def write_heat_pyramid(path: Path, heat: Heat, *, mpp: Pair | None) -> None:
    """Write a map as tiles in levels a factor of two apart, atomically.

    Parameters
    ----------
    path
        Ends in ``.tif``.
    heat
        From 0 to 1; NaN where there is no patch.
    mpp
        Microns that a pixel of it spans along x and y, if that is known.
    """
    about: dict[str, Any] = {"tile": (TILE, TILE), "compression": "zlib"}
    about |= {"photometric": "rgb", "extrasamples": ["unassalpha"], "metadata": None}
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, ome=False) as writer,
    ):
        for number, level in enumerate(pyramid_of(heat.astype(np.float32))):
            writer.write(
                coloured(level),
                subfiletype=1 if number else 0,
                software=False,
                **about,
                **_resolution(mpp, number),
            )


def coloured(heat: Heat) -> UInt8[np.ndarray, "rows columns 4"]:
    """Return values from 0 to 1 as RGBA; what is low, or NaN, is transparent."""
    steps = np.arange(256)[:, None]
    colour = COLD + (HOT - COLD) * steps / 255
    table = np.rint(np.concatenate([colour, steps], axis=1)).astype(np.uint8)
    level = np.nan_to_num(heat, nan=0.0).clip(0, 1)
    return table[np.rint(255 * level).astype(np.uint8)]


def pyramid_of(heat: Heat) -> list[Heat]:
    """Return a map and its halves, down to one that fits a tile.

    A pixel is the mean of the four that it stands for, as far as they have a value.
    """
    levels = [heat]
    while max(levels[-1].shape) > TILE:
        rows, columns = (n + n % 2 for n in levels[-1].shape)
        even = np.full((rows, columns), np.nan, np.float32)
        even[: levels[-1].shape[0], : levels[-1].shape[1]] = levels[-1]
        boxes = even.reshape(rows // 2, 2, columns // 2, 2)
        count = np.isfinite(boxes).sum(axis=(1, 3))
        total = np.nansum(boxes, axis=(1, 3))
        empty = np.full_like(total, np.nan)
        levels.append(np.divide(total, count, out=empty, where=count > 0))
    return levels


def _resolution(mpp: Pair | None, number: int) -> dict[str, Any]:
    if mpp is None:
        return {}
    x, y = (1e4 / (one * 2**number) for one in mpp)
    return {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
