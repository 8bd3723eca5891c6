"""Augmentation: the paper names none; one set, keyed by (seed, epoch, case) alone."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from napari_harm3.mri.config import AugmentConfig
from napari_harm3.mri.interpolation import between


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
    matrix, offset = movement(array.shape[2:], config, rng)
    moved = _moved(array, matrix, offset)
    for place in np.ndindex(*array.shape[:2]):
        volume = moved[place]
        if not array[place].any():  # an absent volume stays zero
            continue
        gain, level = rng.normal((1, 0), config.intensity)
        volume *= gain
        volume += level + _ramp(volume.shape, rng.normal(0, config.bias, 3))
        volume += rng.normal(0, config.noise, volume.shape)
    return moved, None if masks is None else _moved_labels(masks, matrix, offset)


def _moved(
    array: Float[np.ndarray, "S T D H W"],
    matrix: Float[np.ndarray, "3 3"],
    offset: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "S T D H W"]:
    """Return the volumes after a movement that turns about z alone.

    It gives what `scipy.ndimage.affine_transform` gives with `order=1` and
    `mode="nearest"`. All planes are moved alike, so that where a voxel comes from is
    worked out once a plane, not once a voxel of each volume.
    """
    depth, height, width = array.shape[2:]
    z = np.clip(np.arange(depth) + offset[0], 0, depth - 1)
    below = z.astype(int)
    above, part = np.minimum(below + 1, depth - 1), (z - below).astype(np.float32)
    planes = between(array[:, :, below], array[:, :, above], part[:, None, None])
    places = np.indices((height, width)).reshape(2, -1)
    last = np.array([[height - 1], [width - 1]])
    places = np.clip(matrix[1:, 1:] @ places + offset[1:, None], 0, last)
    corner = places.astype(int)
    weight_y, weight_x = (places - corner).astype(np.float32)
    (y, x), (y_next, x_next) = corner, np.minimum(corner + 1, last)
    flat = planes.reshape(*array.shape[:3], -1)
    upper, lower = (
        between(flat.take(row + x, -1), flat.take(row + x_next, -1), weight_x)
        for row in (y * width, y_next * width)
    )
    return between(upper, lower, weight_y).reshape(array.shape)


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


def movement(
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
