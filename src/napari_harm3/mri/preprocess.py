"""From four volumes to one tensor.

The common grid is axis-aligned in RAS millimetres. Its array axes are z, y, x: z grows
towards superior, y towards anterior, x towards the patient's right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from napari_harm3.cohort.case import AXES, ROLES, SEQUENCES, TIMES
from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import within
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.intensity import air_bound, intensity_of
from napari_harm3.mri.resampling import Transform, placed, resample
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
    """From the indices z, y, x to RAS mm of the common space."""

    aligned: bool
    """Whether pre and post of every sequence lie on each other, voxel by voxel."""

    sources: Mapping[str, str]
    """SHA-256 of each role's file."""

    transforms: Mapping[str, Transform] = field(default_factory=dict)
    """From the common space to each role's own, where a registration moved it."""


def prepare_volumes(
    volumes: Mapping[str, Volume],
    config: MriConfig,
    *,
    transforms: Mapping[str, Transform] | None = None,
    registered: bool | None = None,
    masks: Mapping[str, UInt8[np.ndarray, "X Y Z"]] | None = None,
) -> PreparedMri:
    """Return a case's volumes, by role, as one tensor.

    Parameters
    ----------
    volumes
        At least one.
    config
        The common grid.
    transforms
        From the common space to each role's own; by the scanner's coordinates if
        absent.
    registered
        Whether a registration laid them on each other; None asks the native grids.
    masks
        Annotations on their volumes' own grids, for `crop = "annotation"`.

    Raises
    ------
    VolumeError
        If a volume is constant, the fields of view of two of them do not overlap, or
        the crop asks for an annotation that is not there.
    """
    moves = transforms or {}
    places = {role: placed(one, moves.get(role)) for role, one in volumes.items()}
    check_overlap(places)
    scores = {role: intensity_of(one, config) for role, one in volumes.items()}
    first = next(role for role in ROLES if role in volumes)
    if config.crop == "annotation":
        affine = _centred(
            _marked_centre(places, masks or {}), config.spacing_mm, config
        )
    else:
        affine = common_grid(
            volumes[first],
            config,
            place=places[first].affine,
            least=scores[first].least,
        )
    grid = Geometry(shape=config.size, affine=affine)
    array = np.zeros((len(SEQUENCES), len(TIMES), *config.size), dtype=np.float32)
    available = np.zeros(array.shape[:2], dtype=bool)
    for role, place in AXES.items():
        if role in volumes:
            score = scores[role]
            # z-scores are taken last, of the few voxels that are kept.
            array[place] = resample(
                volumes[role].stored, places[role], grid, most=score.most
            )
            array[place] -= score.mean
            array[place] /= score.spread
            available[place] = True
    return PreparedMri(
        array=array,
        available=available,
        affine=affine,
        aligned=_aligned(volumes, registered),
        sources={role: volume.sha256 for role, volume in volumes.items()},
        transforms=dict(moves),
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
    return float(within(indices, other.shape).mean())


def common_grid(
    volume: Volume,
    config: MriConfig,
    *,
    place: Float[np.ndarray, "4 4"] | None = None,
    least: float | None = None,
) -> Float[np.ndarray, "4 4"]:
    """Return the affine of the axis-aligned grid that shows a volume.

    The paper crops nothing and names no grid; `MriConfig.crop` says what is shown.
    ``place`` is the volume's affine in the common space, where a registration moved
    it; ``least`` is what the body is brighter than, where it is known already.
    """
    native = volume.affine if place is None else place
    box = np.array([(0, n - 1) for n in volume.shape], dtype=float)
    if config.crop in ("center", "foreground"):
        bound = air_bound(volume.stored) if least is None else least
        box = _box(volume.stored, bound, box)
    if config.crop == "foreground":
        edges = box + np.array([-0.5, 0.5])
        corners = np.array(np.meshgrid(*edges)).reshape(3, -1)
        world = _apply(native, corners)
        extent = np.ptp(world, axis=1)[::-1]  # z, y, x
        centre = (world.max(axis=1) + world.min(axis=1)) / 2
        return _centred(centre, extent / config.size, config)
    centre = _apply(native, box.mean(axis=1)[:, None])[:, 0]
    return _centred(centre, config.spacing_mm, config)


def _centred(
    centre: Float[np.ndarray, "3"], spacing_mm: Sequence[float], config: MriConfig
) -> Float[np.ndarray, "4 4"]:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (size, spacing) in enumerate(zip(config.size, spacing_mm, strict=True)):
        world = 2 - axis  # array z, y, x; world x, y, z
        affine[world, axis] = spacing
        affine[world, 3] = centre[world] - spacing * (size - 1) / 2
    return affine


def _marked_centre(
    places: Mapping[str, Geometry], masks: Mapping[str, UInt8[np.ndarray, "X Y Z"]]
) -> Float[np.ndarray, "3"]:
    """Return the centre, in RAS mm, of the first annotation that marks anything."""
    for role in ROLES:
        if role in masks and masks[role].any():
            middle = _box(masks[role], 0, np.zeros((3, 2))).mean(axis=1)
            return _apply(places[role].affine, middle[:, None])[:, 0]
    raise VolumeError(
        "No annotation marks anything to crop around: annotate the case, or choose "
        "another crop."
    )


def _box(
    array: Shaped[np.ndarray, "X Y Z"],
    bound: float,
    otherwise: Float[np.ndarray, "3 2"],
) -> Float[np.ndarray, "3 2"]:
    """Return the first and last index along each axis of what is above a bound."""
    ends = []
    for axis in range(3):
        peaks = array.max(axis=tuple({0, 1, 2} - {axis}))
        along = np.flatnonzero(peaks > bound)
        if not len(along):
            return otherwise
        ends.append((along[0], along[-1]))
    return np.array(ends, dtype=float)


def _aligned(volumes: Mapping[str, Volume], registered: bool | None) -> bool:
    pairs = [(volumes.get(f"{s}_pre"), volumes.get(f"{s}_post")) for s in SEQUENCES]
    both = [(pre, post) for pre, post in pairs if pre is not None and post is not None]
    if registered is None:
        registered = all(pre.same_as(post) for pre, post in both)
    return bool(both) and registered


def _apply(
    affine: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "3 N"]
) -> Float[np.ndarray, "3 N"]:
    return np.asarray(affine[:3, :3] @ points + affine[:3, 3:])
