"""Augmentation: the paper names none; one set, keyed by (seed, epoch, case) alone."""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from napari_harm3.mri.config import AugmentConfig


def augmented(
    array: Float[np.ndarray, "S T D H W"],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, "S T D H W"]:
    """Return a case's volumes, all moved alike, each with its own intensity."""
    flip = config.flip and rng.random() < 0.5
    angle = np.radians(rng.uniform(-config.degrees, config.degrees))
    zoom = 1 + rng.uniform(-config.scale, config.scale)
    matrix = np.diag([1.0, zoom, zoom])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[1:, 1:] = zoom * np.array([[cosine, -sine], [sine, cosine]])
    if flip:
        matrix[:, 2] *= -1
    centre = (np.array(array.shape[2:]) - 1) / 2
    shift = rng.uniform(-config.shift, config.shift, 3) * (0.5, 1, 1)
    offset = centre - matrix @ centre + shift
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
    return moved


def _ramp(
    shape: tuple[int, ...], slopes: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "D H W"]:
    """Return a plane of zero mean: what a coil's uneven sensitivity leaves behind."""
    z, y, x = (
        slope * np.linspace(-0.5, 0.5, size)
        for slope, size in zip(slopes, shape, strict=True)
    )
    return z[:, None, None] + y[:, None] + x
