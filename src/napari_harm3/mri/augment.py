"""Augmentation: the paper names none; one set, keyed by (seed, epoch, case) alone."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from napari_harm3.mri.config import AugmentConfig


def augmented(
    array: Float[np.ndarray, "S T D H W"],
    config: AugmentConfig,
    rng: np.random.Generator,
    masks: UInt8[np.ndarray, "S T D H W"] | None = None,
) -> tuple[Float[np.ndarray, "S T D H W"], UInt8[np.ndarray, "S T D H W"] | None]:
    """Return a case's volumes and masks, all moved alike.

    Each volume gets an intensity of its own; a mask keeps its labels, nearest voxel.
    What is drawn does not depend on whether there are masks.
    """
    matrix, offset = _movement(array.shape[2:], config, rng)
    moved = np.empty_like(array)
    for place in np.ndindex(*array.shape[:2]):
        volume = array[place]
        if not volume.any():  # an absent volume stays zero
            moved[place] = 0
            continue
        ndimage.affine_transform(
            volume, matrix, offset, output=moved[place], order=1, mode="nearest"
        )
        gain, level = rng.normal((1, 0), config.intensity)
        moved[place] = moved[place] * gain + level
        moved[place] += _ramp(volume.shape, rng.normal(0, config.bias, 3))
        moved[place] += rng.normal(0, config.noise, volume.shape)
    return moved, None if masks is None else _moved_labels(masks, matrix, offset)


def _moved_labels(
    masks: UInt8[np.ndarray, "S T D H W"],
    matrix: Float[np.ndarray, "3 3"],
    offset: Float[np.ndarray, "3"],
) -> UInt8[np.ndarray, "S T D H W"]:
    moved = np.zeros_like(masks)
    for place in np.ndindex(*masks.shape[:2]):
        if masks[place].any():
            ndimage.affine_transform(
                masks[place], matrix, offset, output=moved[place], order=0
            )
    return moved


def _movement(
    shape: tuple[int, ...], config: AugmentConfig, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Draw where each voxel comes from: a matrix and an offset in voxels."""
    flip = config.flip and rng.random() < 0.5
    angle = np.radians(rng.uniform(-config.degrees, config.degrees))
    zoom = 1 + rng.uniform(-config.scale, config.scale)
    matrix = np.diag([1.0, zoom, zoom])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[1:, 1:] = zoom * np.array([[cosine, -sine], [sine, cosine]])
    if flip:
        matrix[:, 2] *= -1
    centre = (np.array(shape) - 1) / 2
    shift = rng.uniform(-config.shift, config.shift, 3) * (0.5, 1, 1)
    return matrix, centre - matrix @ centre + shift


def _ramp(
    shape: tuple[int, ...], slopes: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "D H W"]:
    """Return a plane of zero mean: what a coil's uneven sensitivity leaves behind."""
    z, y, x = (
        slope * np.linspace(-0.5, 0.5, size)
        for slope, size in zip(slopes, shape, strict=True)
    )
    return z[:, None, None] + y[:, None] + x
