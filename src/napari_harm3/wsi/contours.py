"""Outlines of tissue: found, filtered, drawn, and asked which points they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

Pair = tuple[float, float]
Ring = Int[np.ndarray, "n 2"]


@dataclass(frozen=True, kw_only=True)
class Contour:
    """The outline of a piece of tissue through the centres of its outermost pixels."""

    outer: Ring
    """x and y, pixels."""

    holes: tuple[Ring, ...]

    def scaled(self, scale: Pair) -> "Contour":
        """Return it at another scale, its corners cut to whole pixels."""
        return Contour(
            outer=(self.outer * scale).astype(np.int32),
            holes=tuple((hole * scale).astype(np.int32) for hole in self.holes),
        )


def find_contours(mask: UInt8[np.ndarray, "rows columns"]) -> list[Contour]:
    """Return the pieces of a mask with their holes, every border pixel a corner."""
    rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not rings:
        return []
    parents = np.asarray(tree)[0, :, 3]
    corners = [ring[:, 0] for ring in rings]
    return [
        Contour(
            outer=corners[piece],
            holes=tuple(corners[hole] for hole in np.flatnonzero(parents == piece)),
        )
        for piece in np.flatnonzero(parents == -1)
    ]


def large_contours(
    found: Sequence[Contour], *, least_area: float, least_hole: float, most_holes: int
) -> list[Contour]:
    """Return what CLAM keeps: large pieces, and the largest of their large holes.

    Parameters
    ----------
    found
        Pieces and all their holes.
    least_area
        A piece is kept if its area without its holes is larger, square pixels.
    least_hole
        A hole is kept if it is larger.
    most_holes
        Holes kept of a piece at most.
    """
    kept = []
    for piece in found:
        areas = np.array([cv2.contourArea(hole) for hole in piece.holes])
        if cv2.contourArea(piece.outer) - areas.sum() <= least_area:
            continue
        largest = np.argsort(-areas, kind="stable")[:most_holes]
        holes = tuple(piece.holes[n] for n in largest if areas[n] > least_hole)
        kept.append(Contour(outer=piece.outer, holes=holes))
    return kept


def drawn(
    contours: Sequence[Contour], shape: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns"]:
    """Return contours as a mask, their own border pixels included."""
    mask = np.zeros(shape, np.uint8)
    # A piece within a hole is smaller than the piece around it, and drawn after it.
    for contour in sorted(contours, key=lambda one: -cv2.contourArea(one.outer)):
        cv2.drawContours(mask, [contour.outer], -1, 1, cv2.FILLED)
        if contour.holes:
            cv2.drawContours(mask, list(contour.holes), -1, 0, cv2.FILLED)
            cv2.drawContours(mask, list(contour.holes), -1, 1)
    return mask


def outlines(contour: Contour, level0: Pair) -> list[Float[np.ndarray, "n 2"]]:
    """Return a piece's outline and its holes' in level-0 pixels, x and y.

    A ring runs through the centres of pixels, so half a pixel is added.
    """
    return [
        (_without_midpoints(ring) + 0.5) * level0
        for ring in (contour.outer, *contour.holes)
    ]


def geojson(contours: Sequence[Contour], level0: Pair) -> dict[str, Any]:
    """Return contours in level-0 pixels, one feature a piece; QuPath reads it."""
    pieces = []
    for contour in contours:
        outer, *holes = outlines(contour, level0)
        if len(outer) >= 3:
            pieces += _valid(Polygon(outer, [hole for hole in holes if len(hole) >= 3]))
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": mapping(orient(piece)),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tissue", "color": [66, 180, 120]},
                },
            }
            for piece in pieces
        ],
    }


def grid_points_in(
    ring: Ring, x: Float[np.ndarray, "columns"], y: Float[np.ndarray, "rows"]
) -> Int[np.ndarray, "rows columns"]:
    """Return where the points of a grid lie: 1 inside, 0 on the outline, -1 outside.

    Every row is cut by the outline once for all its points, so that the cost is that
    of corners plus points, not of corners times points.

    Parameters
    ----------
    ring
        Corners of the outline, whole pixels.
    x, y
        Columns and rows of the grid, ascending.
    """
    shape = len(y), len(x) + 1
    start, end = ring.astype(float), np.roll(ring, -1, axis=0).astype(float)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first, last = np.searchsorted(y, low), np.searchsorted(y, high, side="right")
    # Most edges are shorter than a row is high and cut none.
    edge = np.repeat(np.arange(len(ring)), last - first)
    row = np.arange(len(edge)) - np.repeat(
        np.cumsum(last - first) - (last - first), last - first
    )
    row += first[edge]
    (ax, ay), (bx, by), at = start[edge].T, end[edge].T, y[row]
    level = ay == by
    cut = ax + (at - ay) * (bx - ax) / np.where(level, 1, by - ay)
    # Half-open edges: a corner on the row is crossed once, or not at all.
    crosses = ~level & (at < np.maximum(ay, by))
    beyond = np.searchsorted(x, cut, side="right")
    crossed = _counted(shape, row[crosses], beyond[crosses]).cumsum(axis=1)[:, :-1]
    side = np.where(crossed & 1, np.int8(1), np.int8(-1))
    # On the outline: where it cuts the row, and along an edge that lies in it. Of
    # corners in whole pixels a cut at whole or half ones is calculated exactly.
    left = np.where(level, np.minimum(ax, bx), cut)
    right = np.where(level, np.maximum(ax, bx), cut)
    begin, after = np.searchsorted(x, left), np.searchsorted(x, right, side="right")
    meets = begin < after
    if meets.any():
        depth = _counted(shape, row[meets], begin[meets]) - _counted(
            shape, row[meets], after[meets]
        )
        side[depth.cumsum(axis=1)[:, :-1] > 0] = 0
    return side


def _counted(
    shape: tuple[int, int], row: Int[np.ndarray, "n"], column: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "rows columns"]:
    flat = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return flat.reshape(shape)


def _without_midpoints(ring: Ring) -> Ring:
    """Return a ring without the corners that lie on straight stretches."""
    if len(ring) < 3:
        return ring
    turn_in = ring - np.roll(ring, 1, axis=0)
    turn_out = np.roll(ring, -1, axis=0) - ring
    return ring[(turn_in != turn_out).any(axis=1)]


def _valid(piece: Polygon) -> list[Polygon]:
    """Return a polygon without self-touching rings, as one or several."""
    whole: BaseGeometry = piece if piece.is_valid else piece.buffer(0)
    parts = getattr(whole, "geoms", [whole])
    return [part for part in parts if not part.is_empty]
