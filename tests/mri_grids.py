"""Small volumes on many grids."""

import itertools

import numpy as np
from scipy.spatial.transform import Rotation

from napari_harm3.mri.volume import Geometry, Volume

ORIENTATIONS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
"""The 48 ways in which array axes can lie along a patient's."""


def oriented(axes, signs, shape=(11, 9, 7), spacing=(1.0, 1.5, 3.0), tilt=(0, 0, 0)):
    """Return a grid with given axes, tilted by Euler angles in degrees."""
    affine = np.eye(4)
    directions = np.zeros((3, 3))
    for array_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
        directions[world, array_axis] = sign * spacing[array_axis]
    affine[:3, :3] = (
        Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() @ directions
    )
    affine[:3, 3] = (5.0, -12.0, 31.0)
    return Geometry(shape=shape, affine=affine)


def volume_on(grid, array):
    return Volume(
        shape=grid.shape,
        affine=grid.affine,
        array=array.astype(np.float32),
        name="made.nii.gz",
        sha256="0" * 64,
    )


def centre_of(affine, size):
    return (affine @ [*((np.array(size) - 1) / 2), 1])[:3]


def grid_about(source, shape, spacing):
    affine = np.diag([*spacing, 1.0])[[2, 1, 0, 3]]
    middle = centre_of(source.affine, source.shape)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape=shape, affine=affine)
