"""Trilinear interpolation of one grid on another, as fast as numpy goes.

It gives what `scipy.ndimage.affine_transform` gives with `order=1`, in half the time or
less: that one computes in double precision, voxel by voxel.
"""

import numpy as np
from jaxtyping import Bool, Float

STRAIGHT = 1e-6
"""A smaller entry of a matrix between two grids moves no voxel visibly."""

Matrix = Float[np.ndarray, "4 4"]
Shape = tuple[int, int, int]


def interpolated(
    array: Float[np.ndarray, "X Y Z"], matrix: Matrix, shape: Shape, *, outside: float
) -> Float[np.ndarray, "..."]:
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
        What stands beyond the centres of the array's outer voxels.
    """
    # The axis with the smallest step in memory goes last; NIfTI's is the first.
    order = np.argsort(array.strides, kind="stable")[::-1]
    array, matrix = array.transpose(order), matrix[[*order, 3]]
    axes = _straight_axes(matrix)
    if axes is not None:
        return _along_axes(array, matrix, axes, shape, outside)
    return _obliquely(array, matrix, shape, outside)


def _straight_axes(matrix: Matrix) -> Shape | None:
    """Return the target axis along each source axis; None for oblique grids."""
    large = np.abs(matrix[:3, :3]) > STRAIGHT
    if (large.sum(axis=0) != 1).any() or (large.sum(axis=1) != 1).any():
        return None
    x, y, z = (int(axis) for axis in large.argmax(axis=1))
    return x, y, z


def _along_axes(
    array: Float[np.ndarray, "X Y Z"],
    matrix: Matrix,
    axes: Shape,
    shape: Shape,
    outside: float,
) -> Float[np.ndarray, "..."]:
    """Interpolate along one axis after the other: the same sum, far fewer products."""
    seen = np.ones(shape, dtype=bool)
    # The axis that shrinks most goes first, and leaves less to the others.
    order = sorted(range(3), key=lambda a: shape[axes[a]] / array.shape[a])
    for axis in order:
        size, count = array.shape[axis], shape[axes[axis]]
        index = matrix[axis, axes[axis]] * np.arange(count) + matrix[axis, 3]
        inside = (index >= -STRAIGHT) & (index <= size - 1 + STRAIGHT)
        below = np.clip(np.floor(index), 0, max(size - 2, 0)).astype(int)
        weight = np.clip(index - below, 0, 1).astype(np.float32)
        lower = np.take(array, below, axis=axis)
        upper = np.take(array, np.minimum(below + 1, size - 1), axis=axis)
        array = _between(lower, upper, weight.reshape(_spread(axis, count)))
        seen &= inside.reshape(_spread(axes[axis], count))
    moved = array.transpose(np.argsort(axes))
    return np.where(seen, moved, np.float32(outside))


def _spread(axis: int, count: int) -> list[int]:
    """Return the shape of a vector along one of three axes."""
    return [count if other == axis else 1 for other in range(3)]


def _obliquely(
    array: Float[np.ndarray, "X Y Z"], matrix: Matrix, shape: Shape, outside: float
) -> Float[np.ndarray, "..."]:
    """Gather the eight neighbours, one plane of the target at a time."""
    flat = np.ascontiguousarray(array).reshape(-1)
    steps = [array.shape[1] * array.shape[2], array.shape[2], 1]
    y, x = np.arange(shape[1])[:, None], np.arange(shape[2])
    result = np.empty(shape, dtype=np.float32)
    for plane in range(shape[0]):
        corner = np.zeros(shape[1:], dtype=np.int32)
        inside = np.ones(shape[1:], dtype=bool)
        weights, hops = [], []
        for row, size, step in zip(matrix, array.shape, steps, strict=False):
            # In double precision: a voxel's index may go into the thousands.
            index = (row[0] * plane + row[3] + row[1] * y) + row[2] * x
            inside &= _within(index, size)
            below = np.clip(index, 0, max(size - 2, 0)).astype(np.int32)
            index -= below
            weights.append(index.astype(np.float32))
            corner += below * np.int32(step)
            hops.append(step if size > 1 else 0)
        result[plane] = np.where(
            inside, _gathered(flat, corner, hops, weights), np.float32(outside)
        )
    return result


def _within(index: Float[np.ndarray, "Y X"], size: int) -> Bool[np.ndarray, "Y X"]:
    return (index >= -STRAIGHT) & (index <= size - 1 + STRAIGHT)


def _gathered(
    flat: Float[np.ndarray, "N"],
    corner: np.ndarray,
    hops: list[int],
    weights: list[Float[np.ndarray, "Y X"]],
) -> Float[np.ndarray, "Y X"]:
    """Interpolate between two places along the first axis, and so on for each."""
    if not hops:
        return flat.take(corner, mode="clip")  # which checks no bound; all are good
    lower = _gathered(flat, corner, hops[1:], weights[1:])
    upper = _gathered(flat, corner + np.int32(hops[0]), hops[1:], weights[1:])
    return _between(lower, upper, weights[0])


def _between(
    lower: Float[np.ndarray, "..."],
    upper: Float[np.ndarray, "..."],
    weight: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    upper -= lower
    upper *= weight
    upper += lower
    return upper
