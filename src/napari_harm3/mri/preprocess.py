"""From four volumes to one tensor, and from the tensor back to a volume's own grid.

The common grid is axis-aligned in RAS millimetres. Its array axes are z, y, x: z grows
towards superior, y towards anterior, x towards the patient's right-to-left axis as RAS
has it (from left to right).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.volume import Geometry, Volume

LEAST_OVERLAP = 0.05
"""Share of the smaller field of view that two volumes of a case must have in common."""

PROBES = 12
"""Points along each axis with which an overlap is measured."""


@dataclass(frozen=True, kw_only=True)
class PreparedMri:
    """The four volumes of a case on their common grid."""

    array: Float[np.ndarray, "S T D H W"]
    """Intensities as z-scores; an absent volume is zero."""

    available: Bool[np.ndarray, "S T"]
    affine: Float[np.ndarray, "4 4"]
    """From the indices z, y, x to RAS mm."""

    aligned: bool
    """Whether pre and post of every sequence share their native grid."""

    sources: Mapping[str, str]
    """SHA-256 of each role's file."""


def prepare_volumes(volumes: Mapping[str, Volume], config: MriConfig) -> PreparedMri:
    """Return a case's volumes, by role, as one tensor.

    Raises
    ------
    VolumeError
        If a volume is constant, or the fields of view of two of them do not overlap.
    """
    check_overlap(volumes)
    present = [volumes[role] for role in ROLES if role in volumes]
    affine = common_grid(present[0], config)
    grid = Geometry(shape=config.size, affine=affine)
    array = np.zeros((len(SEQUENCES), len(TIMES), *config.size), dtype=np.float32)
    available = np.zeros(array.shape[:2], dtype=bool)
    for position, role in enumerate(ROLES):
        if role in volumes:
            place = divmod(position, len(TIMES))
            array[place] = resample(
                normalised(volumes[role], config), volumes[role], grid
            )
            available[place] = True
    return PreparedMri(
        array=array,
        available=available,
        affine=affine,
        aligned=_aligned(volumes),
        sources={role: volume.sha256 for role, volume in volumes.items()},
    )


def check_overlap(volumes: Mapping[str, Geometry]) -> None:
    """Refuse volumes of one case that do not show the same place.

    Raises
    ------
    VolumeError
        Naming the two roles.
    """
    roles = [role for role in ROLES if role in volumes]
    for number, one in enumerate(roles):
        for other in roles[number + 1 :]:
            inside = max(
                share_inside(volumes[one], volumes[other]),
                share_inside(volumes[other], volumes[one]),
            )
            if inside < LEAST_OVERLAP:
                raise VolumeError(
                    f"The fields of view of {one} and {other} do not overlap: check "
                    "that both belong to this patient and keep their orientation."
                )


def share_inside(one: Geometry, other: Geometry) -> float:
    """Return the share of one field of view that lies in another."""
    axes = [np.linspace(-0.5, n - 0.5, PROBES) for n in one.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    indices = _apply(np.linalg.inv(other.affine) @ one.affine, points)
    most = np.array(other.shape)[:, None] - 0.5
    return float(((indices >= -0.5) & (indices <= most)).all(axis=0).mean())


def common_grid(volume: Volume, config: MriConfig) -> Float[np.ndarray, "4 4"]:
    """Return the affine of the axis-aligned grid centred on a volume.

    The paper crops nothing and names no grid; `MriConfig.crop` says what is centred.
    """
    lower, upper = np.zeros(3), np.array(volume.shape, dtype=float) - 1
    if config.crop == "center":
        body = np.argwhere(foreground(volume.array))
        if len(body):
            lower, upper = (
                body.min(axis=0).astype(float),
                body.max(axis=0).astype(float),
            )
    centre = _apply(volume.affine, ((lower + upper) / 2)[:, None])[:, 0]
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (size, spacing) in enumerate(
        zip(config.size, config.spacing_mm, strict=True)
    ):
        world = 2 - axis  # array z, y, x; world x, y, z
        affine[world, axis] = spacing
        affine[world, 3] = centre[world] - spacing * (size - 1) / 2
    return affine


def foreground(array: Float[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """Return where a volume shows the body: above a tenth of its bright end.

    Air is the darkest and most common thing in an MRI; a share of the 99th
    percentile, counted from the first, is robust to both its noise and bright fat.
    """
    low, high = np.percentile(array[::2, ::2], (1, 99))
    return array > low + 0.1 * (high - low)


def normalised(volume: Volume, config: MriConfig) -> Float[np.ndarray, "X Y Z"]:
    """Return intensities clipped at the foreground's percentiles, as z-scores.

    Raises
    ------
    VolumeError
        If the volume is constant.
    """
    body = volume.array[foreground(volume.array)]
    if not body.size:
        raise VolumeError(
            f"{volume.name} shows nothing (all voxels alike): give the right file."
        )
    low, high = np.percentile(body, config.clip)
    clipped = np.clip(body, low, high)
    spread = float(clipped.std())
    if spread == 0:
        raise VolumeError(
            f"{volume.name} has one intensity in the whole body: is it an annotation?"
        )
    array = np.clip(volume.array, min(low, volume.array.min()), high)
    return ((array - clipped.mean()) / spread).astype(np.float32)


def resample(
    array: Float[np.ndarray, "X Y Z"],
    geometry: Geometry,
    target: Geometry,
    *,
    order: int = 1,
) -> Float[np.ndarray, "..."]:
    """Return an array on another grid; outside its field of view its least value.

    Voxels much finer than the target's are averaged in whole boxes first: plain
    trilinear sampling would pick a few of them and alias.
    """
    boxed, affine = (
        _box_average(array, geometry, target)
        if order
        else (
            array,
            geometry.affine,
        )
    )
    to_source = np.linalg.inv(affine) @ target.affine
    return np.asarray(
        ndimage.affine_transform(
            boxed,
            to_source[:3, :3],
            to_source[:3, 3],
            output_shape=target.shape,
            order=order,
            mode="constant",
            cval=float(boxed.min()),
        )
    )


def to_native(
    heat: Float[np.ndarray, "D H W"],
    affine: Float[np.ndarray, "4 4"],
    native: Geometry,
) -> Float[np.ndarray, "X Y Z"]:
    """Return a map of the common grid on a volume's own grid; zero outside.

    Trilinear between the centres of the grid's voxels; its outer half-voxels keep
    the value of the edge.
    """
    to_source = np.linalg.inv(affine) @ native.affine
    padded = np.pad(heat, 1, mode="edge")
    field = ndimage.affine_transform(
        padded,
        to_source[:3, :3],
        to_source[:3, 3] + 1,
        output_shape=native.shape,
        order=1,
        mode="constant",
        cval=0.0,
    )
    inside = np.ones(native.shape, dtype=bool)
    # The field of view of the grid ends half a voxel beyond its outer centres.
    for axis, size in enumerate(heat.shape):
        index = _indices_along(to_source, native.shape, axis)
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return np.where(inside, field, 0).astype(np.float32)


def _indices_along(
    affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int], axis: int
) -> Float[np.ndarray, "X Y Z"]:
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    row = affine[axis]
    return np.asarray(row[0] * i + row[1] * j + row[2] * k + row[3])


def _box_average(
    array: Float[np.ndarray, "X Y Z"], geometry: Geometry, target: Geometry
) -> tuple[Float[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """Average whole boxes of voxels, as many as fit in the target's spacing."""
    steps = np.abs(np.linalg.inv(geometry.affine)[:3, :3] @ target.affine[:3, :3])
    factors = np.maximum(np.floor(steps.max(axis=1) + 1e-6), 1).astype(int)
    factors = np.minimum(factors, array.shape)
    if (factors == 1).all():
        return array, geometry.affine
    boxed = array
    for axis, factor in enumerate(factors):
        boxed = _average_along(boxed, axis, int(factor))
    affine = geometry.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] += geometry.affine[:3, :3] @ ((factors - 1) / 2)
    return boxed, affine


def _average_along(
    array: Shaped[np.ndarray, "..."], axis: int, factor: int
) -> Float[np.ndarray, "..."]:
    if factor == 1:
        return array
    rest = -array.shape[axis] % factor
    if rest:  # the last box repeats the edge
        edge = np.take(array, [-1] * rest, axis=axis)
        array = np.concatenate([array, edge], axis=axis)
    shape = [*array.shape]
    shape[axis : axis + 1] = [array.shape[axis] // factor, factor]
    return np.asarray(array.reshape(shape).mean(axis=axis + 1, dtype=np.float32))


def _aligned(volumes: Mapping[str, Volume]) -> bool:
    pairs = [(volumes.get(f"{s}_pre"), volumes.get(f"{s}_post")) for s in SEQUENCES]
    both = [(pre, post) for pre, post in pairs if pre is not None and post is not None]
    return bool(both) and all(pre.same_as(post) for pre, post in both)


def _apply(
    affine: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "3 N"]
) -> Float[np.ndarray, "3 N"]:
    return np.asarray(affine[:3, :3] @ points + affine[:3, 3:])
