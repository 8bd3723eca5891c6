"""What makes intensities comparable: the body, its percentiles, its z-scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.counting import counted
from napari_harm3.mri.volume import Volume

Levels = tuple[Float[np.ndarray, "L"], Int[np.ndarray, "L"] | None]
"""Numbers, and how often each is there; None where they stand as they come."""


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """What makes z-scores of a volume's voxels."""

    least: float
    """Brighter voxels are body, all others air."""

    most: float
    """Brighter voxels count as this bright; darker than the body is air, and stays."""

    mean: np.float32
    spread: np.float32


def foreground(array: Shaped[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """Return where a volume shows the body: above a tenth of its bright end."""
    return array > air_bound(array)


def air_bound(array: Shaped[np.ndarray, "X Y Z"]) -> float:
    """Return what the body is brighter than.

    Air is the darkest and most common thing in an MRI; a share of the 99th
    percentile, counted from the first, is robust to both its noise and bright fat.
    """
    return _least(counted(array) or _sampled(array))


def intensity_of(volume: Volume, config: MriConfig) -> Intensity:
    """Return the bounds, mean and spread of a volume's body.

    Raises
    ------
    VolumeError
        If the volume is constant.
    """
    array = volume.stored
    levels = counted(array)
    least = _least(levels or _sampled(array))
    values, counts = levels or (array.ravel(order="K"), None)
    body = values > least
    values = values[body].astype(np.float64)
    counts = None if counts is None else counts[body]
    if not values.size:
        raise VolumeError(
            f"{volume.name} shows nothing (all voxels alike): give the right file."
        )
    low, high = _percentiles(values, counts, config.clip)
    np.clip(values, low, high, out=values)
    mean = np.average(values, weights=counts)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=counts))
    if spread == 0:
        raise VolumeError(
            f"{volume.name} has one intensity in the whole body: is it an annotation?"
        )
    return Intensity(
        least=least, most=float(high), mean=np.float32(mean), spread=np.float32(spread)
    )


def _sampled(array: Float[np.ndarray, "X Y Z"]) -> Levels:
    """Return every second row and column: fractions are sorted, which takes long."""
    return array[::2, ::2].ravel(), None


def _least(levels: Levels) -> float:
    """Return the bound of the body."""
    low, high = _percentiles(*levels, (1, 99))
    return float(np.float32(low + 0.1 * (high - low)))


def _percentiles(
    values: Float[np.ndarray, "L"],
    counts: Int[np.ndarray, "L"] | None,
    shares: tuple[float, float],
) -> Float[np.ndarray, "2"]:
    """Return percentiles of numbers of which each is there so many times."""
    if counts is None:
        return np.asarray(np.percentile(values, shares))
    total = counts.cumsum()
    rank = np.array(shares) / 100 * (total[-1] - 1)
    below = values[np.searchsorted(total, np.floor(rank), side="right")]
    above = values[np.searchsorted(total, np.ceil(rank), side="right")]
    return below + (above - below) * (rank - np.floor(rank))
