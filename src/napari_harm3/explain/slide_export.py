"""Maps of patches in the files of other programs: GeoJSON, and a pyramidal TIFF."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.wsi.files import stem_of
from napari_harm3.wsi.heat_pyramid import COLD, HOT, Pair, write_heat_pyramid

SIDE_PIXELS = (16, 8, 4, 2, 1)
"""Pixels along a patch of a heat map; the most that memory allows."""

MOST_PIXELS = 64_000_000
LEAST = 1e-12

Shares = Float[np.ndarray, "N"]


def patch_geojson(places: PatchPlaces, maps: Mapping[str, Shares]) -> dict[str, Any]:
    """Return patches with what maps say of them as GeoJSON; QuPath reads it.

    Returns
    -------
    :
        Rectangles in level-0 pixels, the property ``slide`` naming the slide. Each
        map is a measurement by its name; ``relative`` is the first one over its
        highest value, and what the colour shows. Patches whose file does not say
        where they lie are left out.
    """
    first = next(iter(maps.values()), np.zeros(len(places)))
    said = {**maps, "relative": relative(first)}
    known = np.flatnonzero(places.known)
    slides = places.slide[known]
    boxes = np.concatenate([places.corners[known], places.sides[slides]], axis=1)
    measured = np.stack([shares[known] for shares in said.values()], axis=1).astype(
        float
    )
    colours = np.rint(COLD + (HOT - COLD) * measured[:, -1:]).astype(int)
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [_ring(*box)]},
                "properties": {
                    "objectType": "tile",
                    "slide": places.names[slide],
                    "measurements": dict(zip(said, values, strict=True)),
                    "color": colour,
                },
            }
            for box, slide, values, colour in zip(
                boxes.tolist(),
                slides.tolist(),
                measured.tolist(),
                colours.tolist(),
                strict=True,
            )
        ],
    }


def relative(shares: Shares) -> Shares:
    """Return a map over its highest value, so that all slides share a scale.

    What is below zero, against the target, is as nothing.
    """
    return np.maximum(shares, 0) / max(float(shares.max(initial=0)), LEAST)


def heat_raster(
    places: PatchPlaces, slide: int, values: Shares
) -> tuple[Float[np.ndarray, "rows columns"], Pair]:
    """Return a slide's map as a picture, and the level-0 pixels that its pixels span.

    It covers the slide from its upper left corner, 16 pixels along a patch, or fewer
    where that were too large; NaN where there is no patch, the mean where some overlap.

    Parameters
    ----------
    places
        Where the patches lie.
    slide
        Number of the slide.
    values
        Of all patches of the bag.
    """
    own = np.flatnonzero((places.slide == slide) & places.known)
    side = places.sides[slide]
    extent = places.sizes[slide]
    if not np.isfinite(extent).all():
        ends = (places.corners[own] + side).max(axis=0, initial=0)
        extent = np.maximum(ends, side)
    fitting = [n for n in SIDE_PIXELS if np.prod(extent / side * n) <= MOST_PIXELS]
    scale = side / (fitting or SIDE_PIXELS[-1:])[0]
    columns, rows = np.ceil(extent / scale - 1e-6).astype(int).clip(min=1).tolist()
    total = np.zeros((rows, columns))
    count = np.zeros((rows, columns), np.int32)
    first = np.rint(places.corners[own] / scale).astype(int)
    last = np.maximum(
        np.rint((places.corners[own] + side) / scale).astype(int), first + 1
    )
    boxes = np.concatenate([first, last], axis=1).tolist()
    for patch, (x0, y0, x1, y1) in zip(own.tolist(), boxes, strict=True):
        total[y0:y1, x0:x1] += values[patch]
        count[y0:y1, x0:x1] += 1
    empty = np.full((rows, columns), np.nan)
    heat = np.divide(total, count, out=empty, where=count > 0)
    return heat, (float(scale[0]), float(scale[1]))


def write_heat_maps(
    out: Path,
    places: PatchPlaces,
    shares: Shares,
    *,
    kind: str,
) -> list[Path]:
    """Write a map as one pyramid a slide, and return the files.

    ``<slide>.<kind>.tif`` of colours relative to the case's highest value. A slide
    without places has none. Of slides that share a name all but the first bear their
    number, or the next that is free.
    """
    written: list[Path] = []
    values = relative(shares)
    for slide, name in enumerate(places.names):
        if not (places.known & (places.slide == slide)).any():
            continue
        heat, scale = heat_raster(places, slide, values)
        stem = stem_of(name)
        path = out / f"{stem}.{kind}.tif"
        others = (out / f"{stem}-{n}.{kind}.tif" for n in count(slide + 1))
        while path in written:
            path = next(others)
        mpp = places.mpp[slide] * scale
        known = (float(mpp[0]), float(mpp[1])) if np.isfinite(mpp).all() else None
        write_heat_pyramid(path, heat, mpp=known)
        written.append(path)
    return written


def _ring(x: float, y: float, width: float, height: float) -> list[list[float]]:
    right, bottom = x + width, y + height
    return [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
