"""What makes intensities comparable: the body, its percentiles, its z-scores."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.volume import Volume

Bounds = tuple[np.float32, np.float32]

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
        least = _least(array, (array.min(), array.max()))
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

    Raises
    ------
    VolumeError
        If the volume is constant.
    """
    array = volume.array
    bounds = array.min(), array.max()
    least = _least(array, bounds)
    values, counts = _levels(array, bounds, lambda plane: plane[plane > least])
    if not values.size or (counts is not None and not counts.any()):
        raise VolumeError(
            f"{volume.name} shows nothing (all voxels alike): give the right file."
        )
    values = values.astype(np.float64)
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


def _least(array: Float[np.ndarray, "X Y Z"], bounds: Bounds) -> float:
    """Return the bound of the body, from every second row and column."""
    sample = _levels(array[::2, ::2], bounds, lambda plane: plane)
    low, high = _percentiles(*sample, (1, 99))
    return float(np.float32(low + 0.1 * (high - low)))


def _levels(
    array: Float[np.ndarray, "X Y Z"],
    bounds: Bounds,
    chosen: Callable[[Float[np.ndarray, "N"]], Float[np.ndarray, "M"]],
) -> tuple[Float[np.ndarray, "L"], Int[np.ndarray, "L"] | None]:
    """Return the numbers that the chosen voxels may be, and how many are each.

    Scanners write whole numbers: counting each is several times faster than sorting,
    and as exact. Where there are others, the voxels are returned as they are, and None.

    Parameters
    ----------
    array
        Is gone through plane by plane, which stays in the processor's cache.
    bounds
        Between which its voxels lie.
    chosen
        Returns those voxels of a plane that count.
    """
    planes = array.transpose(np.argsort(array.strides, kind="stable")[::-1])
    lowest, highest = bounds
    counts = None
    if highest - lowest < MOST_LEVELS:
        pieces = (chosen(plane.ravel()) - lowest for plane in planes)
        counts = _counts(pieces, int(highest - lowest) + 1)
    if counts is None:
        return np.concatenate([chosen(plane.ravel()) for plane in planes]), None
    return lowest + np.arange(len(counts), dtype=np.float32), counts


def _counts(
    pieces: Iterable[Float[np.ndarray, "N"]], size: int
) -> Int[np.ndarray, "L"] | None:
    """Return how often each whole number from 0 on is there; None for fractions."""
    counts = np.zeros(size, dtype=np.int64)
    for piece in pieces:
        levels = piece.astype(np.int32)
        if (levels.astype(np.float32) != piece).any():
            return None
        counts += np.bincount(levels, minlength=size)
    return counts


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
