"""Slices that make one volume: evenly stacked, none missing, none there twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.volume import Geometry

UNEVEN_SHARE = 0.01
"""How far a slice may lie off its place, as a share of the slice spacing ..."""

UNEVEN_MM = 0.05
"""... or in millimetres, whichever is more: scanners round their positions."""

SAME_DIRECTION = 1e-3
"""By how much direction cosines of one orientation may differ."""

MOST_TOLD = 3
"""Faults of one kind that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Where one image lies, as DICOM says it: LPS millimetres."""

    name: str
    """Of its file, or its number in a file of many."""

    size: tuple[int, int]
    """Columns and rows."""

    position_mm: Float[np.ndarray, "3"]
    """Centre of its first pixel."""

    orientation: Float[np.ndarray, "2 3"]
    """Unit vectors along which the column index and the row index grow."""

    spacing_mm: tuple[float, float]
    """Distance of neighbouring columns, and of neighbouring rows."""

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """Direction along which slices are stacked."""
        return np.cross(self.orientation[0], self.orientation[1])


def tolerance_mm(spacing_mm: float) -> float:
    """Return how far a slice may lie off its place."""
    return max(UNEVEN_MM, UNEVEN_SHARE * spacing_mm)


def ordered(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices in the order in which they lie along their normal."""
    normal = slices[0].normal
    return sorted(slices, key=lambda one: float(one.position_mm @ normal))


def stacked(slices: Sequence[Slice], name: str) -> Geometry:
    """Return the grid of a stack: columns, rows, slices; RAS mm.

    Raises
    ------
    VolumeError
        If slices are missing, there twice, unevenly spaced, shifted sideways, or no
        two of them are given.
    """
    for one in slices:
        _check_plane(one, slices[0], name)
    if len(slices) < 2:
        raise VolumeError(
            f"{name} holds one slice: give the folder with all slices of the series."
        )
    slices = ordered(slices)
    _check_distances(slices, name)
    first, last = slices[0], slices[-1]
    lps = np.eye(4)
    lps[:3, :2] = (first.orientation * np.array(first.spacing_mm)[:, None]).T
    across = (last.position_mm - first.position_mm) / (len(slices) - 1)
    lps[:3, 2] = (across @ first.normal) * first.normal
    lps[:3, 3] = first.position_mm
    _check_sideways(slices, across - lps[:3, 2], name)
    _check_places(slices, lps, name)
    return Geometry(shape=(*first.size, len(slices)), affine=RAS_OF_LPS @ lps)


def _check_plane(one: Slice, first: Slice, name: str) -> None:
    if one.size != first.size or not np.allclose(
        one.spacing_mm, first.spacing_mm, rtol=1e-3
    ):
        raise VolumeError(
            f"{name} mixes slices of different size or pixel spacing ({first.name}, "
            f"{one.name}): give one series alone."
        )
    if not np.allclose(one.orientation, first.orientation, atol=SAME_DIRECTION):
        raise VolumeError(
            f"{name} mixes slices of different orientation ({first.name}, "
            f"{one.name}): give one series alone."
        )
    finite = np.isfinite(one.position_mm).all() and np.isfinite(one.orientation).all()
    unit = finite and np.allclose(
        one.orientation @ one.orientation.T, np.eye(2), atol=SAME_DIRECTION
    )
    if not unit or not all(1e-3 <= length <= 100 for length in one.spacing_mm):
        raise VolumeError(
            f"{name} does not say rightly where {one.name} lies (its position, "
            "orientation or pixel spacing is impossible): export it again."
        )


def _check_distances(slices: Sequence[Slice], name: str) -> None:
    """Refuse slices there twice, missing or unevenly spaced, in this order."""
    along = np.array([one.position_mm @ slices[0].normal for one in slices])
    gaps = np.diff(along)
    twice = gaps < UNEVEN_MM
    if twice.any():
        places = [
            f"{slices[i].name} and {slices[i + 1].name} at {along[i]:.2f} mm"
            for i in np.flatnonzero(twice).tolist()
        ]
        raise VolumeError(
            f"{name} holds slices at the same place ({_listed(places)}): keep one "
            "acquisition, echo or time, and no copies."
        )
    usual = float(np.median(gaps))
    tolerance = tolerance_mm(usual)
    wrong = np.abs(gaps - usual) > tolerance
    if not wrong.any():
        return
    places = [
        f"{gaps[i]:.2f} mm from {slices[i].name} at {along[i]:.2f} mm to "
        f"{slices[i + 1].name} at {along[i + 1]:.2f} mm"
        for i in np.flatnonzero(wrong).tolist()
    ]
    whole = np.abs(gaps / usual - np.round(gaps / usual)) * usual <= 2 * tolerance
    how = "misses slices" if whole.all() else "has unevenly spaced slices"
    raise VolumeError(
        f"{name} {how}: most lie {usual:.2f} mm apart, but {_listed(places)}. Export "
        "the whole series again."
    )


def _check_sideways(
    slices: Sequence[Slice], lean: Float[np.ndarray, "3"], name: str
) -> None:
    shift = float(np.linalg.norm(lean))
    if shift * (len(slices) - 1) > max(UNEVEN_MM, min(slices[0].spacing_mm) / 2):
        raise VolumeError(
            f"{name} has slices shifted sideways, by {shift:.2f} mm each (a tilted "
            "gantry?): resample it onto an orthogonal grid first."
        )


def _check_places(
    slices: Sequence[Slice], lps: Float[np.ndarray, "4 4"], name: str
) -> None:
    """Refuse a slice off the line of the others, and rounding errors that add up."""
    spacing = float(np.linalg.norm(lps[:3, 2]))
    most = max(2 * tolerance_mm(spacing), min(slices[0].spacing_mm) / 2)
    for index, one in enumerate(slices):
        off = float(np.linalg.norm(one.position_mm - lps[:3, 3] - index * lps[:3, 2]))
        if off > most:
            raise VolumeError(
                f"{name} has a slice out of its place: {one.name} lies {off:.2f} mm "
                "off the line of the others. Export the series again."
            )


def _listed(places: Sequence[str]) -> str:
    more = len(places) - MOST_TOLD
    told = ", ".join(places[:MOST_TOLD])
    return f"{told}, and {more} more" if more > 0 else told
