"""Bring every slide's stain to one reference: Macenko (2009), Reinhard (2001).

Both are one affine map of logarithms of light, measured once a slide, so that patches
of a slide are never normalised against each other.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from napari_harm3.errors import SlideError

Matrix = Float[np.ndarray, "3 3"]
Pixels = UInt8[np.ndarray, "n 3"]

LIGHT = 240.0
"""What bare glass lets through, on the scale of 0 to 255."""

STAINED = 0.15
"""Optical density from which a pixel tells of stain (Macenko, beta)."""

LEAST_PIXELS = 200
LEAST_ANGLE = math.radians(5)
"""Haematoxylin and eosin are 15 degrees and more apart, one stain and noise are not."""

EXTREME = 1.0
"""Percentile taken for the purest stain, so that outliers are not (Macenko, alpha)."""

REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
"""Optical density of red, green, blue per haematoxylin and eosin (Macenko)."""

REFERENCE_DENSITY = np.array([1.9705, 1.0308])
"""99th percentile of haematoxylin and of eosin (Macenko)."""

REFERENCE_MEAN = np.array([8.6323, -0.1150, 0.0387])
REFERENCE_SD = np.array([0.5751, 0.1040, 0.0136])
"""Of tissue stained with haematoxylin and eosin, in Ruderman's l-alpha-beta."""

CONES = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)
"""Red, green, blue to long, medium, short (Reinhard, eq. 4)."""

OPPONENT = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array(
    [[1.0, 1.0, 1.0], [1.0, 1.0, -2.0], [1.0, -1.0, 0.0]]
)
"""Logarithms of the cones' light to l, alpha, beta (Reinhard, eq. 6)."""


@dataclass(frozen=True, kw_only=True)
class StainFit:
    """Light is mixed, its logarithm mapped, and the light unmixed again."""

    mix: Matrix
    matrix: Matrix
    offset: Float[np.ndarray, "3"]
    unmix: Matrix


def fit_stain(pixels: Pixels, method: str) -> StainFit:
    """Return the map that brings a slide's stain to the reference.

    Parameters
    ----------
    pixels
        Of the slide's tissue; what shows bare glass is left out here.
    method
        ``macenko`` or ``reinhard``.

    Raises
    ------
    SlideError
        If too little stain is seen, or one where two are measured.
    """
    light = pixels.astype(np.float64) + 1
    stained = (-np.log(light / LIGHT) > STAINED).any(axis=1)
    if stained.sum() < LEAST_PIXELS:
        raise SlideError(
            "Too little stain is seen to measure it: leave the stain as it is "
            "(--stain none)."
        )
    fit = _macenko if method == "macenko" else _reinhard
    return fit(light[stained])


def normalised(
    patches: UInt8[np.ndarray, "*patch 3"], fit: StainFit
) -> UInt8[np.ndarray, "*patch 3"]:
    """Return pixels in the reference's stain; bare glass is left as it is."""
    mix, matrix, offset, unmix = (
        part.astype(np.float32) for part in (fit.mix, fit.matrix, fit.offset, fit.unmix)
    )
    # Planes of colour, which numpy goes through several times faster than pixels.
    light = patches.reshape(-1, 3).T.astype(np.float32, order="C") + 1
    mapped = matrix @ np.log(mix @ light) + offset[:, None]
    mapped = unmix @ np.exp(mapped, out=mapped)
    # Nothing of it for glass, and all from where a pixel tells of stain.
    share = (LIGHT - light.min(axis=0)) / (LIGHT - LIGHT * math.exp(-STAINED))
    mapped = np.clip(mapped, 1, 256, out=mapped)
    mapped -= light
    mapped *= share.clip(0, 1)
    light += mapped
    pixels = np.rint(light - 1, out=light).astype(np.uint8)
    return np.ascontiguousarray(pixels.T).reshape(patches.shape)


def _macenko(light: Float[np.ndarray, "n 3"]) -> StainFit:
    density = -np.log(light / LIGHT)
    dense = density[(density > STAINED).all(axis=1)]
    if len(dense) < LEAST_PIXELS:
        dense = density
    _, axes = np.linalg.eigh(np.cov(dense.T))
    plane = axes[:, :0:-1]
    # Densities are positive, so the axes are turned to look the same way.
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    along = dense @ plane
    angles = np.arctan2(along[:, 1], along[:, 0])
    low, high = np.percentile(angles, [EXTREME, 100 - EXTREME])
    if high - low < LEAST_ANGLE:
        raise SlideError(
            "Only one stain is seen, and macenko measures two: use --stain reinhard, "
            "or none."
        )
    ends = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
    # Haematoxylin takes more red away than eosin does.
    stains = ends if ends[0, 0] > ends[0, 1] else ends[:, ::-1]
    take_apart = np.linalg.pinv(stains)
    most = np.percentile(density @ take_apart.T, 100 - EXTREME, axis=0)
    scale = np.diag(REFERENCE_DENSITY / np.maximum(most, STAINED))
    return StainFit(
        mix=np.eye(3) / LIGHT,
        matrix=REFERENCE_STAINS @ scale @ take_apart,
        offset=np.zeros(3),
        unmix=np.eye(3) * LIGHT,
    )


def _reinhard(light: Float[np.ndarray, "n 3"]) -> StainFit:
    seen = np.log(light @ CONES.T) @ OPPONENT.T
    mean, sd = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-3)
    scale = np.diag(REFERENCE_SD / sd)
    back = np.linalg.inv(OPPONENT)
    return StainFit(
        mix=CONES,
        matrix=back @ scale @ OPPONENT,
        offset=back @ (REFERENCE_MEAN - scale @ mean),
        unmix=np.linalg.inv(CONES),
    )
