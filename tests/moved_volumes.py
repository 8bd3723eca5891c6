"""Volumes of a patient who moved between two scans, by how much is known."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from napari_harm3.mri.resampling import resample
from napari_harm3.mri.volume import Geometry


def homogeneous(points):
    return np.vstack([points.T, np.ones(len(points))])


def displacement(volume, degrees, millimetres, rng):
    """Return a turn about the volume's middle and a shift, in RAS mm."""
    axis, way = rng.normal(size=(2, 3))
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    middle = (volume.affine @ [*(np.array(volume.shape) - 1) / 2, 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = turn.as_matrix()
    shift = millimetres * way / np.linalg.norm(way)
    matrix[:3, 3] = shift + middle - turn.as_matrix() @ middle
    return matrix


def displaced(volume, matrix, rng, *, grid=None):
    """Return the volume as scanned after the patient moved, with its own noise."""
    grid = grid or volume
    there = Geometry(shape=volume.shape, affine=matrix @ volume.affine)
    array = resample(volume.array, there, grid)
    noise = rng.normal(0, 0.03 * volume.array.std(), grid.shape)
    array = (array + noise).astype(np.float32)
    return replace(volume, shape=grid.shape, affine=grid.affine, array=array)
