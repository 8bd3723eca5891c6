"""What makes intensities comparable: the body, its percentiles, its z-scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.volume import Volume

MOST_LEVELS = 1 << 17
"""Whole numbers over a wider range are sorted, not counted."""


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """What makes z-scores of a volume's voxels."""

    least: float
    """Brighter voxels are body, all others air."""

    most: float
    """Brighter voxels count as this bright; darker than the body is air, and stays."""

    mean: np.float32
    spread: np.float32


def foreground(
    array: Float[np.ndarray, "X Y Z"], least: float | None = None
) -> Bool[np.ndarray, "X Y Z"]:
    """Return where a volume shows the body: above a tenth of its bright end.

    Air is the darkest and most common thing in an MRI; a share of the 99th
    percentile, counted from the first, is robust to both its noise and bright fat.
    ``least`` is that bound, where it is known already.
    """
    if least is None:
        least = _bound(*np.percentile(array[::2, ::2], (1, 99)))
    return array > least


def normalised(volume: Volume, config: MriConfig) -> Float[np.ndarray, "X Y Z"]:
    """Return intensities clipped at the foreground's percentiles, as z-scores.

    Raises
    ------
    VolumeError
        If the volume is constant.
    """
    scores = intensity_of(volume, config)
    clipped = np.minimum(volume.array, np.float32(scores.most))
    return (clipped - scores.mean) / scores.spread


def intensity_of(volume: Volume, config: MriConfig) -> Intensity:
    """Return the bounds, mean and spread of a volume's body.

    Scanners write whole numbers: counting each is several times faster than sorting,
    and as exact.

    Raises
    ------
    VolumeError
        If the volume is constant.
    """
    array = volume.array
    levels = _counts(array)
    if levels is None:
        least = _bound(*np.percentile(array[::2, ::2], (1, 99)))
        values = array[array > least].astype(np.float64)
        weights = None
    else:
        lowest, counts, sampled = levels
        least = _bound(*(lowest + p for p in _percentiles(sampled, (1, 99))))
        values = lowest + np.arange(len(counts), dtype=np.float64)
        weights = np.where(values > least, counts, 0)
    if not len(values) or (weights is not None and not weights.any()):
        raise VolumeError(
            f"{volume.name} shows nothing (all voxels alike): give the right file."
        )
    if weights is None:
        low, high = np.percentile(values, config.clip)
    else:
        low, high = (values[0] + p for p in _percentiles(weights, config.clip))
    np.clip(values, low, high, out=values)
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    if spread == 0:
        raise VolumeError(
            f"{volume.name} has one intensity in the whole body: is it an annotation?"
        )
    return Intensity(
        least=least, most=float(high), mean=np.float32(mean), spread=np.float32(spread)
    )


def _bound(low: float, high: float) -> float:
    return float(np.float32(low + 0.1 * (high - low)))


def _counts(
    array: Float[np.ndarray, "X Y Z"],
) -> tuple[float, Int[np.ndarray, "L"], Int[np.ndarray, "L"]] | None:
    """Return the lowest number and how often it and each that follows is there.

    Counted in the whole, and in every second row and column; None for fractions.
    """
    lowest, highest = float(array.min()), float(array.max())
    above = (array - np.float32(lowest)) if lowest < 0 else array
    lowest = min(lowest, 0.0)
    if highest - lowest >= MOST_LEVELS:
        return None
    levels = above.astype(np.uint16 if highest - lowest < 1 << 16 else np.int32)
    if (levels.astype(np.float32) != above).any():
        return None
    size = int(highest - lowest) + 1
    whole, every_second = (
        np.bincount(part.ravel(order="K"), minlength=size)
        for part in (levels, levels[::2, ::2])
    )
    return lowest, whole, every_second


def _percentiles(
    counts: Int[np.ndarray, "L"], shares: tuple[float, float]
) -> Float[np.ndarray, "2"]:
    """Return percentiles of counted numbers from 0 on, as `np.percentile` would."""
    total = counts.cumsum()
    rank = np.array(shares) / 100 * (total[-1] - 1)
    below = np.searchsorted(total, np.floor(rank), side="right")
    above = np.searchsorted(total, np.ceil(rank), side="right")
    return below + (above - below) * (rank - np.floor(rank))
