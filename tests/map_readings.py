"""A network's slide maps as an explanation makes them, and maps voxel by voxel."""

import numpy as np

from napari_harm3.explain.answer import answer
from napari_harm3.explain.cells import equal_shares
from napari_harm3.explain.gradcam import FIG_2


def slide_maps(network, batch):
    """Return a prediction and each kind of map of its patches."""
    found = answer(network, batch, FIG_2)
    return found.heat.prediction, found.slide


def upsampled(cam, size, centres=None):
    """Return a map on the model's grid: np.interp holds the value of the edge, too."""
    centres = centres or equal_shares(cam.shape, size)
    weights = [
        np.stack(
            [
                np.interp(np.arange(voxels), start + step * np.arange(count), cell)
                for cell in np.eye(count)
            ]
        )
        for voxels, count, start, step in zip(
            size, cam.shape, centres.start, centres.step, strict=True
        )
    ]
    return np.einsum("ijk,iz,jy,kx->zyx", cam, *weights, optimize=True)
