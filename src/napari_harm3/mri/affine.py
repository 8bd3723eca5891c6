"""What the affine of a volume must be before anything is placed by it."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from napari_harm3.errors import VolumeError

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


def agree(
    shape: tuple[int, int, int],
    one: Float[np.ndarray, "4 4"],
    other: Float[np.ndarray, "4 4"],
) -> bool:
    """Return whether two affines place a grid's corners within `SAME_MM`."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    apart = np.linalg.norm(((one - other) @ corners)[:3], axis=0)
    return bool((apart <= SAME_MM).all())


def orientation_code(affine: Float[np.ndarray, "4 4"]) -> str:
    """Return where the array axes lead, nearest: ``LPS`` is left, back and up.

    Examples
    --------
    >>> orientation_code(np.diag([-1.0, -1.0, 2.0, 1.0]))
    'LPS'
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    worlds, axes = linear_sum_assignment(-np.abs(directions))
    code = [""] * 3
    for world, axis in zip(worlds, axes, strict=True):
        code[axis] = "RAS"[world] if directions[world, axis] > 0 else "LPI"[world]
    return "".join(code)
