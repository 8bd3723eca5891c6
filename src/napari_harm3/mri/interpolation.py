"""Trilinear interpolation of one grid on another, as fast as numpy goes.

It gives what `scipy.ndimage.affine_transform` gives with `order=1`, in half the time or
less: that one computes in double precision, voxel by voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Shaped

STRAIGHT = 1e-6
"""A smaller entry of a matrix between two grids moves no voxel visibly."""

AT_ONCE = 1 << 13
"""Places that are worked out at a time, in whole planes: so few stay in the cache."""

DECIMALS = 9
"""What an index has beyond these is the rounding of the matrix."""

Matrix = Float[np.ndarray, "4 4"]
Plane = Float[np.ndarray, "R C"]
Shape = tuple[int, int, int]


def interpolated(
    array: Shaped[np.ndarray, "X Y Z"],
    matrix: Matrix,
    shape: Shape,
    *,
    outside: float = 0.0,
    most: float | np.float32 = np.inf,
    limits: Float[np.ndarray, "2 3"] | None = None,
) -> Float32[np.ndarray, "..."]:
    """Return an array at the places of another grid.

    Parameters
    ----------
    array
        Of at least one voxel.
    matrix
        From indices of the other grid to indices of the array.
    shape
        Of the other grid.
    outside
        What stands beyond the limits.
    most
        Greater values of the array count as this one: to lower them here saves a copy
        of it, and whole numbers need not be made float32 before.
    limits
        First and last index of the array that is asked for; the centres of its outer
        voxels if not given. Beyond these the edge's value holds.
    """
    if limits is None:
        limits = np.array([np.zeros(3), np.array(array.shape) - 1])
    # The axis with the smallest step in memory goes last; NIfTI's is the first.
    order = np.argsort(array.strides, kind="stable")[::-1]
    array, matrix = array.transpose(order), matrix[[*order, 3]]
    limits = limits[:, order] + np.array([[-STRAIGHT], [STRAIGHT]])
    cap = np.float32(most)
    result = np.full(shape, outside, dtype=np.float32)
    axes = _straight_axes(matrix)
    if axes is None:
        rim = _rim(limits, array.shape)
        if rim:
            array = np.pad(array, rim, mode="edge")
            matrix[:3, 3] += rim
            limits += rim
        _fill_obliquely(result, array, matrix, limits, cap)
    else:
        matrix = matrix[:, [*axes, 3]]
        _fill_along_axes(result.transpose(axes), array, matrix, limits, cap)
    return result


def edges(shape: Sequence[int]) -> Float[np.ndarray, "2 3"]:
    """Return where the boxes of an array's outer voxels begin and end, as indices."""
    return np.array([[-0.5] * 3, np.array(shape) - 0.5])


def _rim(limits: Float[np.ndarray, "2 3"], shape: Shape) -> int:
    """Return how many voxels an array lacks on some side to hold the limits."""
    beyond = np.maximum(-limits[0], limits[1] - np.array(shape) + 1)
    return int(np.ceil(max(beyond.max() - STRAIGHT, 0)))


def capped(
    array: Shaped[np.ndarray, "..."], most: np.float32
) -> Float32[np.ndarray, "..."]:
    """Return an array as float32 in which nothing is greater than ``most``."""
    single = array.astype(np.float32, copy=False)
    if most == np.inf:
        return single
    free = None if single is array else single
    # Given one bound only, numpy takes three times as long.
    return np.clip(single, np.float32(-np.inf), most, out=free)


def _straight_axes(matrix: Matrix) -> Shape | None:
    """Return the target axis along each source axis; None for oblique grids."""
    large = np.abs(matrix[:3, :3]) > STRAIGHT
    if (large.sum(axis=0) != 1).any() or (large.sum(axis=1) != 1).any():
        return None
    x, y, z = (int(axis) for axis in large.argmax(axis=1))
    return x, y, z


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Where places along an axis lie between its voxels."""

    inside: slice
    """Of all places those that have a voxel on both sides; the rest is about them."""

    below: Int[np.ndarray, "N"]
    above: Int[np.ndarray, "N"]
    weight: Float32[np.ndarray, "N"]

    def of(self, plane: Plane, axis: int) -> Plane:
        """Return a plane at these places of one of its axes."""
        lower = plane.take(self.below, axis=axis)
        if not self.weight.any():  # two grids of the same spacing
            return lower
        weight = self.weight if axis else self.weight[:, None]
        return between(lower, plane.take(self.above, axis=axis), weight)


def _line(
    step: float, start: float, count: int, size: int, limits: Float[np.ndarray, "2"]
) -> _Line:
    index = step * np.arange(count) + start
    inside = np.flatnonzero((index >= limits[0]) & (index <= limits[1]))
    index = np.clip(np.round(index[inside], DECIMALS), 0, size - 1)
    below = index.astype(int)
    return _Line(
        inside=slice(inside[0], inside[-1] + 1) if inside.size else slice(0),
        below=below,
        above=np.minimum(below + 1, size - 1),
        weight=(index - below).astype(np.float32),
    )


def _fill_along_axes(
    result: Float32[np.ndarray, "P R C"],
    array: Shaped[np.ndarray, "X Y Z"],
    matrix: Matrix,
    limits: Float[np.ndarray, "2 3"],
    most: np.float32,
) -> None:
    """Interpolate along one axis after the other: the same sum, far fewer products.

    Whichever are fewer, the planes of the array or those of the result, are the ones
    that are spread out along height and width.
    """
    depth, height, width = (
        _line(matrix[a, a], matrix[a, 3], result.shape[a], array.shape[a], limits[:, a])
        for a in range(3)
    )
    early = len(array) < len(depth.below)

    @lru_cache(maxsize=2)
    def source(number: int) -> Plane:
        plane = capped(array[number], most)
        return _spread(plane, height, width) if early else plane

    seen = result[depth.inside, height.inside, width.inside]
    places = zip(seen, depth.below, depth.above, depth.weight, strict=True)
    for plane, below, above, weight in places:
        found = source(below)
        if weight:
            found = between(found, source(above), weight)
        plane[...] = found if early else _spread(found, height, width)


def _spread(plane: Plane, height: _Line, width: _Line) -> Plane:
    return width.of(height.of(plane, axis=0), axis=1)


def _fill_obliquely(
    result: Float32[np.ndarray, "P R C"],
    array: Shaped[np.ndarray, "X Y Z"],
    matrix: Matrix,
    limits: Float[np.ndarray, "2 3"],
    most: np.float32,
) -> None:
    """Gather the eight neighbours of each place.

    Along a row of places, an index is where the row starts and so many steps. Both are
    split into whole numbers and fractions: for these, single precision is enough.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    sizes = np.array(array.shape)
    hops = np.where(sizes > 1, [sizes[1] * sizes[2], sizes[2], 1], 0).astype(np.int32)
    starts = np.tensordot(matrix[:3, :2], np.indices(result.shape[:2]), axes=1)
    starts = starts.reshape(3, -1) + matrix[:3, 3, None]
    rows = result.reshape(starts.shape[1], result.shape[2])
    columns = np.arange(rows.shape[1], dtype=np.int32)
    first, last = _ends(starts, matrix[:3, 2], limits, len(columns))
    ahead, part_ahead = _split(np.outer(matrix[:3, 2], columns), hops)
    planes = max(AT_ONCE // (result.shape[1] * result.shape[2]), 1)
    count = planes * result.shape[1]
    for top in range(0, len(rows), count):
        block = slice(top, top + count)
        seen = top + np.flatnonzero(first[block] <= last[block])
        if not seen.size:
            continue
        some = slice(seen[0], seen[-1] + 1)
        across = slice(first[seen].min(), last[seen].max() + 1)
        corner, part = _split(starts[:, some], hops)
        weights = part[:, :, None] + part_ahead[:, None, across]
        carry = np.floor(weights)
        weights -= carry
        corners = corner[:, None] + ahead[across]
        for hop, one in zip(hops, carry, strict=True):
            corners += hop * one.astype(np.int32)
        place = columns[across]
        inside = (place >= first[some, None]) & (place <= last[some, None])
        values = _gathered(flat, corners.astype(np.intp), hops, weights, most)
        np.copyto(rows[some, across], values, where=inside)


def _ends(
    starts: Float[np.ndarray, "3 R"],
    step: Float[np.ndarray, "3"],
    limits: Float[np.ndarray, "2 3"],
    count: int,
) -> tuple[Int32[np.ndarray, "R"], Int32[np.ndarray, "R"]]:
    """Return the first and last place of each row that lies within the limits."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a row along an edge
        ends = (limits[..., None] - starts) / step[:, None]
    first = np.ceil(ends.min(axis=0).max(axis=0))
    last = np.floor(ends.max(axis=0).min(axis=0))
    return (
        np.clip(first, 0, count).astype(np.int32),
        np.clip(last, -1, count - 1).astype(np.int32),
    )


def _split(
    index: Float[np.ndarray, "3 N"], hops: Int32[np.ndarray, "3"]
) -> tuple[Int32[np.ndarray, "N"], Float32[np.ndarray, "3 N"]]:
    """Return where in memory whole indices lie, and what is beyond them."""
    whole = np.floor(index)
    # A row may start far outside: what overflows there comes back in the sum.
    place = (hops @ whole).astype(np.int64).astype(np.int32)
    return place, (index - whole).astype(np.float32)


def _gathered(
    flat: Shaped[np.ndarray, "N"],
    corners: Int[np.ndarray, "R C"],
    hops: Int32[np.ndarray, "3"],
    weights: Float32[np.ndarray, "3 R C"],
    most: np.float32,
) -> Float[np.ndarray, "R C"]:
    """Interpolate between two places along the first axis, and so on for each.

    A neighbour outside has weight zero, or belongs to a place that is not shown.
    """
    if not hops.size:
        return capped(flat.take(corners, mode="wrap"), most)
    lower = _gathered(flat, corners, hops[1:], weights[1:], most)
    upper = _gathered(flat[hops[0] :], corners, hops[1:], weights[1:], most)
    return between(lower, upper, weights[0])


def between(
    lower: Float[np.ndarray, "..."],
    upper: Float[np.ndarray, "..."],
    weight: Float32[np.ndarray, "..."] | np.float32,
) -> Float[np.ndarray, "..."]:
    """Return what lies between two values: the lower one at a weight of zero."""
    step = upper - lower
    step *= weight
    step += lower
    return step
