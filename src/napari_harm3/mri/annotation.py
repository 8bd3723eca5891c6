"""Voxel annotations, on the grid of the volume that they belong to."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from napari_harm3.errors import VolumeError
from napari_harm3.mri.volume import Geometry, read_volume

LABELS = {1: "primary", 2: "nodes"}
LEAST_INSIDE = 0.5


def read_annotation(path: Path, volume: Geometry) -> UInt8[np.ndarray, "X Y Z"]:
    """Return an annotation's labels on a volume's grid; an empty one is all zero.

    A mask on another grid is brought over by its affine, nearest voxel.

    Raises
    ------
    VolumeError
        If the file is no readable mask of whole numbers up to 255, or less than half
        of what it marks lies inside the volume.
    """
    mask = read_volume(path)
    if (mask.array != np.round(mask.array)).any() or mask.array.min() < 0:
        raise VolumeError(
            f"{path.name} holds values that are no labels: an annotation has whole "
            "numbers, 0 for background."
        )
    if mask.array.max() > 255:
        raise VolumeError(f"{path.name} has labels above 255: is it an image?")
    labels = mask.array.astype(np.uint8)
    _check_inside(path, labels, mask, volume)
    if mask.same_as(volume):
        return labels
    to_mask = np.linalg.inv(mask.affine) @ volume.affine
    return np.asarray(
        ndimage.affine_transform(
            labels,
            to_mask[:3, :3],
            to_mask[:3, 3],
            output_shape=volume.shape,
            order=0,
            mode="constant",
            cval=0,
        )
    )


def _check_inside(
    path: Path, labels: UInt8[np.ndarray, "X Y Z"], mask: Geometry, volume: Geometry
) -> None:
    marked = np.argwhere(labels).T
    if not marked.size:
        return
    to_volume = np.linalg.inv(volume.affine) @ mask.affine
    indices = to_volume[:3, :3] @ marked + to_volume[:3, 3:]
    most = np.array(volume.shape)[:, None] - 0.5
    share = ((indices >= -0.5) & (indices <= most)).all(axis=0).mean()
    if share < LEAST_INSIDE:
        raise VolumeError(
            f"Only {share:.0%} of the annotation {path.name} lies inside its volume: "
            "check that it belongs to this volume and keeps its orientation."
        )
