"""Tiny anatomies and lesions, written as users have them."""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.jobs.progress import result_of
from napari_harm3.mri.volume import write_volume
from napari_harm3.phantom.config import ImplantConfig

GRIDS = {
    "study1_T1W": ((64, 60, 32), (2.0, 2.0, 3.5), (4, 0, -6)),
    "study1_T2W": ((72, 70, 30), (1.8, 1.8, 4.0), (-3, 6, 2)),
    "study2_T1W": ((62, 62, 33), (2.0, 2.0, 3.5), (0, -5, 9)),
    "study2_T2W": ((70, 72, 31), (1.8, 1.8, 4.0), (2, 3, -7)),
}
"""Shape, spacing and tilt of each volume."""

MOVES = {
    "study1_T1W": ((2, -1, 3), (1.0, -2.0, 0.5)),
    "study1_T2W": ((-1, 2, -2), (0.0, 1.0, -1.0)),
    "study2_T1W": ((4, 3, -8), (9.0, -6.0, 7.0)),
    "study2_T2W": ((3, 4, -9), (8.0, -7.0, 6.0)),
}
"""Turn in degrees and shift in LPS mm, from the common space to each volume's."""

ORGANS = ((22, 12, 6, -0.7), (-17, -26, 12, 0.6), (6, 27, -18, -0.6), (-30, 8, -9, 0.5))
"""Place, RAS mm, and signal of what tells one side of a head from another."""

CENTRE = (1.5, -4.0, 3.0)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def lps_of(name):
    """Return the 4x4 from common LPS to a volume's, as ITK defines its numbers."""
    turn, shift = MOVES[name]
    matrix = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    centre = np.array(CENTRE)
    whole = np.eye(4)
    whole[:3, :3] = matrix
    whole[:3, 3] = centre + shift - matrix @ centre
    return whole


def transform_text(name):
    turn, shift = MOVES[name]
    matrix = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    numbers = " ".join(f"{n:.12g}" for n in [*matrix.ravel(), *shift])
    centre = " ".join(map(str, CENTRE))
    return (
        "#Insight Transform File V1.0\n#Transform 0\n"
        "Transform: MatrixOffsetTransformBase_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: {centre}\n"
    )


def head(points, contrast):
    """Return the signal of an egg with four organs, at RAS mm of the common space."""
    x, y, z = points
    radius = np.sqrt((x / 48) ** 2 + (y / 52) ** 2 + (z / 45) ** 2)
    waves = 1 + 0.05 * np.sin(x / 5) * np.cos(y / 6) * np.sin(z / 7 + contrast)
    for u, v, w, signal in ORGANS:
        apart = (x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2
        waves = waves + signal * np.exp(-apart / (2 * 7.0**2))
    return np.clip((1 - radius) * 20, 0, 1) * waves * (400 + 300 * contrast)


def grid_of(name):
    shape, spacing, tilt = GRIDS[name]
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    affine[:3, :3] = turned @ np.diag([-1, -1, 1]) @ np.diag(spacing)
    middle = FLIP @ lps_of(name) @ FLIP @ [0, 0, 0, 1]
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return shape, affine


def write_anatomy(folder, *, transforms=True):
    """Write a patient's four volumes, each on its own grid, and their transforms."""
    for name in GRIDS:
        shape, affine = grid_of(name)
        to_common = FLIP @ np.linalg.inv(lps_of(name)) @ FLIP @ affine
        index = np.indices(shape).reshape(3, -1)
        points = to_common[:3, :3] @ index + to_common[:3, 3:]
        array = head(points, float("T2" in name)).reshape(shape)
        write_volume(folder / f"{name}.nii.gz", array.astype(np.int16), affine)
        if transforms:
            path = folder / f"{name}_to_common.txt"
            path.write_text(transform_text(name))
    return folder


def ball(shape, spacing, centre, radius):
    at = np.indices(shape).reshape(3, -1).T * spacing - centre
    wavy = radius * (1 + 0.15 * np.sin(np.arctan2(at[:, 1], at[:, 0]) * 3))
    return (np.linalg.norm(at, axis=1) < wavy).reshape(shape)


def write_lesions(folder):
    """Write two patients' masks, before and during treatment."""
    spacing = np.array([1.0, 1.0, 2.0])
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    for number, radius in ((1, 11.0), (2, 13.0)):
        labels = np.zeros((90, 60, 40), np.uint8)
        labels[ball(labels.shape, spacing, (25, 30, 40), radius)] = 1
        labels[ball(labels.shape, spacing, (65, 30, 40), 8.0)] = 2
        rest = np.where(ndimage.binary_erosion(labels > 0, iterations=2), labels, 0)
        write_volume(folder / f"{number}_preRT_mask.nii.gz", labels, affine)
        write_volume(
            folder / f"{number}_midRT_mask.nii.gz", rest.astype(np.uint8), affine
        )
    return folder


def implanted(out, sources, **options):
    config = ImplantConfig(
        anatomy=sources / "anatomy", lesions=sources / "lesions", **options
    )
    result_of(make_phantom(out, config=config))
    return out
