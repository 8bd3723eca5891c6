"""What the affine of a volume must be before anything is placed by it."""

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.errors import VolumeError

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK to ours, and back."""

SAME_MM = 1.0
"""How far two statements of one place may put a corner apart."""

LEAST_SPACING_MM, MOST_SPACING_MM = 0.01, 100.0
FARTHEST_MM = 1e4
"""No scanner places a voxel farther from its centre than this."""

MOST_COSINE = 0.01
"""Of the angle between two array axes; they are taken as orthogonal below it."""


def check_affine(name: str, affine: Float[np.ndarray, "4 4"]) -> None:
    """Refuse an affine by which no voxel can be placed.

    Parameters
    ----------
    name
        The volume, as errors call it.
    affine
        From indices to RAS mm.

    Raises
    ------
    VolumeError
        If it holds NaN, has impossible spacing or place, or oblique array axes.
    """
    if not np.isfinite(affine).all():
        raise VolumeError(
            f"{name} has an affine with NaN or infinity: export it again, with its "
            "orientation."
        )
    with np.errstate(over="ignore"):  # infinity is refused as any long step is
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing < LEAST_SPACING_MM).any() or (spacing > MOST_SPACING_MM).any():
        told = " x ".join(f"{length:.3g}" for length in spacing)
        raise VolumeError(
            f"{name} has a voxel spacing of {told} mm, which cannot be right (singular "
            "axes, or the wrong unit): export it again."
        )
    if (np.abs(affine[:3, 3]) > FARTHEST_MM).any():
        raise VolumeError(
            f"{name} lies over {FARTHEST_MM / 1000:.0f} m from the scanner's centre, "
            "which cannot be right: export it again."
        )
    directions = affine[:3, :3] / spacing
    cosines = directions.T @ directions - np.eye(3)
    if np.abs(cosines).max() > MOST_COSINE:
        raise VolumeError(
            f"{name} has sheared or singular axes: resample it onto an orthogonal grid "
            "first."
        )


def corners(
    shape: tuple[int, ...], affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "3 8"]:
    """Return where an affine puts the outermost voxels' centres of a grid."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1)
    return np.asarray(affine[:3, :3] @ ends + affine[:3, 3:])


def within(
    indices: Float[np.ndarray, "3 N"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "N"]:
    """Return which indices lie in a voxel of a grid, the outer halves included."""
    most = np.array(shape)[:, None] - 0.5
    return np.asarray(((indices >= -0.5) & (indices <= most)).all(axis=0))


def agree(
    shape: tuple[int, int, int],
    one: Float[np.ndarray, "4 4"],
    other: Float[np.ndarray, "4 4"],
    *,
    within_mm: float = SAME_MM,
) -> bool:
    """Return whether two affines place a grid's corners within a distance."""
    apart = np.linalg.norm(corners(shape, one - other), axis=0)
    return bool((apart <= within_mm).all())


def nearest_axes(
    affine: Float[np.ndarray, "4 4"],
) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """Return the array axis nearest to each world axis, and its way: 1 or -1 along it.

    The clearest axis is named first, so that a tilt near 45 degrees still gives three
    different axes.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes, free = np.zeros(3, dtype=int), [0, 1, 2]
    for world in np.argsort(-np.abs(directions).max(axis=1)):
        axes[world] = max(free, key=lambda axis: abs(directions[world, axis]))
        free.remove(int(axes[world]))
    return axes, np.where(directions[np.arange(3), axes] >= 0, 1, -1)


def orientation_code(affine: Float[np.ndarray, "4 4"]) -> str:
    """Return where the array axes lead, nearest: ``LPS`` is left, back and up.

    Examples
    --------
    >>> orientation_code(np.diag([-1.0, -1.0, 2.0, 1.0]))
    'LPS'
    """
    axes, ways = nearest_axes(affine)
    ends = ["RAS"[w] if way > 0 else "LPI"[w] for w, way in enumerate(ways)]
    return "".join(ends[world] for world in np.argsort(axes))
