"""From one voxel grid to another: intensities, heat maps and labels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from scipy import ndimage

from napari_harm3.mri.affine import corners
from napari_harm3.mri.interpolation import capped, edges, interpolated
from napari_harm3.mri.volume import Geometry

Transform = Float[np.ndarray, "4 4"]
"""From RAS mm of a case's common space to RAS mm of a volume's own."""

MARKED = 0.5
"""Share of a voxel's box from which on a label takes it."""

SAMPLES = 2
"""Samples of a source voxel along each axis when areas are measured."""


def placed(native: Geometry, transform: Transform | None) -> Geometry:
    """Return a grid in the common space, given the way from there to its own.

    What is resampled from, or mapped back to, this grid goes through the
    registration; its voxels are those of the native grid.
    """
    affine = native.affine
    if transform is not None:
        affine = np.linalg.inv(transform) @ affine
    return Geometry(shape=native.shape, affine=affine)


def coarsened(
    affine: Float[np.ndarray, "4 4"], factors: Int[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Return the affine of a grid whose voxels are boxes of so many of another's."""
    return _shifted(affine, (factors - 1) / 2, scale=factors)


def resample(
    array: Shaped[np.ndarray, "X Y Z"],
    geometry: Geometry,
    target: Geometry,
    *,
    most: float | None = None,
) -> Float[np.ndarray, "..."]:
    """Return an array on another grid; outside its field of view its least value.

    Voxels much finer than the target's are averaged in whole boxes first: plain
    trilinear sampling would pick a few of them and alias.

    Parameters
    ----------
    array
        On the grid of ``geometry``.
    geometry, target
        The two grids.
    most
        Greater values count as this one.
    """
    factors = _box_factors(geometry, target)
    boxes = _boxed_geometry(geometry, factors)
    matrix = np.linalg.inv(boxes.affine) @ target.affine
    needed, inside = _needed(matrix, boxes.shape, target.shape)
    if not inside:
        needed = tuple(slice(0, n) for n in boxes.shape)
    # Only the boxes that the target lies in are averaged.
    fine = tuple(
        slice(box.start * f, box.stop * f)
        for box, f in zip(needed, factors, strict=True)
    )
    cap = np.float32(np.inf if most is None else most)
    part = _box_average(array[fine], factors, most=cap)
    matrix = matrix.copy()
    matrix[:3, 3] -= [box.start for box in needed]
    outside = 0.0 if inside else min(float(part.min()), float(cap))
    return interpolated(part, matrix, target.shape, outside=outside, most=cap)


def to_native(
    heat: Float[np.ndarray, "D H W"],
    affine: Float[np.ndarray, "4 4"],
    native: Geometry,
    *,
    view: Float[np.ndarray, "2 3"] | None = None,
) -> Float[np.ndarray, "X Y Z"]:
    """Return a map of the common grid on a volume's own grid; zero outside.

    Trilinear between the centres of the grid's voxels; beyond the outer ones it keeps
    the value of the edge.

    Parameters
    ----------
    heat, affine
        The map, and the way from its indices to RAS mm.
    native
        The volume's grid; one that a registration moved is given as `placed`.
    view
        Where the field of view begins and ends, as indices of the map; half a voxel
        beyond its outer centres if not given.
    """
    limits = edges(heat.shape) if view is None else view
    matrix = np.linalg.inv(affine) @ native.affine
    return interpolated(heat, matrix, native.shape, limits=limits)


@dataclass(frozen=True, kw_only=True)
class ResampledLabels:
    """Labels on another grid, and what got lost on the way there."""

    labels: UInt8[np.ndarray, "..."]
    lost: tuple[int, ...]
    """The label of each lesion of which no voxel is left."""


def resample_labels(
    labels: UInt8[np.ndarray, "X Y Z"], geometry: Geometry, target: Geometry
) -> ResampledLabels:
    """Return labels on another grid: a voxel is taken from half of its box on.

    Where two labels share a voxel that is marked by half, the larger share wins.
    """
    taken = np.zeros(target.shape, dtype=np.uint8)
    box = ndimage.find_objects((labels > 0).astype(np.int8))
    if not box:
        return ResampledLabels(labels=taken, lost=())
    corner = np.array([along.start for along in box[0]])
    labels = labels[box[0]]
    geometry = Geometry(shape=labels.shape, affine=_shifted(geometry.affine, corner))
    values = [int(value) for value in np.unique(labels) if value]
    best = np.zeros(target.shape, dtype=np.float32)
    marked = np.zeros(target.shape, dtype=np.float32)
    for value in values:
        share = area_fractions(labels == value, geometry, target)
        marked += share
        larger = share > best
        taken[larger] = value
        best[larger] = share[larger]
    taken[marked < MARKED - 1e-6] = 0
    lost = [
        value
        for value in values
        for lesion in _lesions(labels == value)
        if not _reaches(lesion, geometry, taken > 0, target)
    ]
    return ResampledLabels(labels=taken, lost=tuple(lost))


def area_fractions(
    mask: Bool[np.ndarray, "X Y Z"], geometry: Geometry, target: Geometry
) -> Float[np.ndarray, "..."]:
    """Return which share of each target voxel's box is marked."""
    fractions = np.zeros(target.shape, dtype=np.float32)
    ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    if not len(ends[0]):
        return fractions
    to_target = np.linalg.inv(target.affine) @ geometry.affine
    box = np.array([(along[0] - 1, along[-1] + 1) for along in ends])
    around = to_target[:3, :3] @ np.array(np.meshgrid(*box)).reshape(3, -1)
    around += to_target[:3, 3:]
    low = np.clip(np.floor(around.min(axis=1)), 0, target.shape).astype(int)
    high = np.clip(np.ceil(around.max(axis=1)) + 1, low, target.shape).astype(int)
    if (high == low).any():
        return fractions
    # The boxes of the few target voxels near the mask are sampled finely: a box
    # average of whole source voxels would weigh some of them twice.
    step = np.abs(np.linalg.inv(to_target)[:3, :3]).max(axis=0)
    split = np.maximum(np.ceil(SAMPLES * step - 1e-6), 1).astype(int)
    part = Geometry(shape=_triple(high - low), affine=_shifted(target.affine, low))
    fine = Geometry(
        shape=_triple((high - low) * split),
        affine=_shifted(part.affine, (1 / split - 1) / 2, scale=1 / split),
    )
    corner = np.array([max(along[0] - 1, 0) for along in ends])
    cut = tuple(slice(c, along[-1] + 2) for c, along in zip(corner, ends, strict=True))
    # A rim of air, so that the mask fades out beyond the volume's edge too.
    source = np.pad(mask[cut].astype(np.float32), 1)
    to_source = np.linalg.inv(_shifted(geometry.affine, corner - 1)) @ fine.affine
    sampled = ndimage.affine_transform(
        source, to_source[:3, :3], to_source[:3, 3], output_shape=fine.shape, order=1
    )
    fractions[tuple(map(slice, low, high))] = _box_average(sampled, split)
    return fractions


def _lesions(mask: Bool[np.ndarray, "X Y Z"]) -> list[Int[np.ndarray, "N 3"]]:
    """Return the voxels of each connected part."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    lesions = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        corner = [axis.start for axis in box]
        lesions.append(np.argwhere(parts[box] == number) + corner)
    return lesions


def _reaches(
    voxels: Int[np.ndarray, "N 3"],
    geometry: Geometry,
    taken: Bool[np.ndarray, "..."],
    target: Geometry,
) -> bool:
    """Return whether any voxel of a lesion lies in a target voxel that is taken."""
    matrix = np.linalg.inv(target.affine) @ geometry.affine
    index = np.rint(voxels @ matrix[:3, :3].T + matrix[:3, 3]).astype(int)
    index = index[((index >= 0) & (index < target.shape)).all(axis=1)]
    return bool(taken[tuple(index.T)].any())


def _shifted(
    affine: Float[np.ndarray, "4 4"],
    index: Float[np.ndarray, "3"] | Int[np.ndarray, "3"],
    *,
    scale: Float[np.ndarray, "3"] | float = 1.0,
) -> Float[np.ndarray, "4 4"]:
    """Return the affine of a grid that begins at an index of another."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ index
    moved[:3, :3] *= scale
    return moved


def _box_factors(geometry: Geometry, target: Geometry) -> Int[np.ndarray, "3"]:
    """Return how many source voxels fit in a target voxel along each source axis."""
    steps = np.abs(np.linalg.inv(geometry.affine)[:3, :3] @ target.affine[:3, :3])
    factors = np.maximum(np.floor(steps.max(axis=1) + 1e-6), 1).astype(int)
    return np.minimum(factors, geometry.shape)


def _boxed_geometry(geometry: Geometry, factors: Int[np.ndarray, "3"]) -> Geometry:
    shape = -(-np.array(geometry.shape) // factors)
    return Geometry(shape=_triple(shape), affine=coarsened(geometry.affine, factors))


def _needed(
    matrix: Float[np.ndarray, "4 4"],
    shape: tuple[int, int, int],
    target: tuple[int, int, int],
) -> tuple[tuple[slice, ...], bool]:
    """Return the part of a grid that a target lies in, and whether all of it does."""
    index = corners(target, matrix)
    low, high = np.floor(index.min(axis=1)), np.ceil(index.max(axis=1))
    inside = bool((low >= 0).all() and (high < shape).all())
    return tuple(
        slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)
    ), inside


def _box_average(
    array: Shaped[np.ndarray, "X Y Z"],
    factors: Int[np.ndarray, "3"],
    *,
    most: float | np.float32 = np.inf,
) -> Float[np.ndarray, "x y z"]:
    """Average whole boxes, in which no voxel counts as more than ``most``."""
    if (factors == 1).all():
        return array
    # One layer of boxes at a time, along the largest step in memory: it stays in cache.
    order = np.argsort(array.strides, kind="stable")[::-1]
    array, factors = array.transpose(order), factors[order]
    boxes = np.empty(-(-np.array(array.shape) // factors), dtype=np.float32)
    for number, layer in enumerate(boxes):
        part = array[number * factors[0] : (number + 1) * factors[0]]
        part = capped(part, np.float32(most))
        for axis, factor in enumerate(factors):
            part = _sum_along(part, axis, int(factor))
        np.multiply(part[0], np.float32(1 / factors.prod()), out=layer)
    return boxes.transpose(np.argsort(order))


def _sum_along(
    array: Float[np.ndarray, "..."], axis: int, factor: int
) -> Float[np.ndarray, "..."]:
    """Add neighbours up; the last box repeats the edge."""
    if factor == 1:
        return array
    ahead = array.swapaxes(0, axis)
    missing = -len(ahead) % factor
    if missing:
        ahead = np.concatenate([ahead, *[ahead[-1:]] * missing])
    # Adding whole slices is faster than a sum over an axis of two or three.
    total = ahead[::factor] + ahead[1::factor]
    for offset in range(2, factor):
        total += ahead[offset::factor]
    return total.swapaxes(0, axis)


def _triple(values: Int[np.ndarray, "3"]) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third
