"""Where in a patient a lesion may lie."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from napari_harm3.mri.intensity import foreground
from napari_harm3.mri.resampling import Transform, placed, resample
from napari_harm3.mri.volume import Geometry, Volume

LATTICE_MM = 3.0
CLOSING = 2
"""Cells by which gaps of the body are closed: air between folds, dark vessels."""

MARGIN_MM = 4.0
"""Least distance of a lesion from the end of the body or of a field of view."""

MOST_TRIES = 400
"""Places that are tried for one lesion."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """What all volumes of a patient show, in the common space."""

    grid: Geometry
    inside: Bool[np.ndarray, "x y z"]
    medians: Mapping[str, float]
    """Of each volume's intensities inside."""

    def without(self, points: Float[np.ndarray, "N 3"]) -> "Body":
        """Return the same body, where nothing may touch some places, RAS mm."""
        taken = np.zeros_like(self.inside)
        index = self._cells(points)
        taken[tuple(index[_within(index, taken.shape)].T)] = True
        return replace(self, inside=self.inside & ~taken)

    def places(
        self, rng: np.random.Generator, offsets: Float[np.ndarray, "N 3"]
    ) -> Iterator[Float[np.ndarray, "3"]]:
        """Yield places, RAS mm, in a drawn order, about which all offsets lie inside.

        Parameters
        ----------
        rng
            What the order is drawn from.
        offsets
            Of a lesion's points from its middle, mm.
        """
        rim = np.pad(self.inside, 1)
        depth = ndimage.distance_transform_edt(rim)[1:-1, 1:-1, 1:-1] * LATTICE_MM
        safe = depth > MARGIN_MM
        # The middle lies at least as deep as the lesion is thick; few others need be
        # tried.
        thick = np.cbrt(len(np.unique(np.rint(offsets / LATTICE_MM), axis=0))) / 2
        cells = np.argwhere(depth > max(MARGIN_MM, thick * LATTICE_MM * 0.8))
        for cell in cells[rng.permutation(len(cells))[:MOST_TRIES]]:
            aside = rng.uniform(-0.5, 0.5, 3)
            place = self.grid.affine[:3, :3] @ (cell + aside) + self.grid.affine[:3, 3]
            index = self._cells(place + offsets)
            if _within(index, safe.shape).all() and safe[tuple(index.T)].all():
                yield place

    def _cells(self, points: Float[np.ndarray, "N 3"]) -> np.ndarray:
        steps = (points - self.grid.affine[:3, 3]) / LATTICE_MM
        return np.rint(steps).astype(int)


def body_of(
    volumes: Mapping[str, Volume],
    transforms: Mapping[str, Transform],
    mask: Volume | None = None,
) -> Body:
    """Return what all volumes of a patient show.

    Parameters
    ----------
    volumes
        By role.
    transforms
        From the common space to each role's own.
    mask
        Where lesions may lie, in the common space.
    """
    first, volume = next(iter(volumes.items()))
    grid = lattice_of(placed(volume, transforms[first]))
    seen = {
        role: resample(one.array, placed(one, transforms[role]), grid)
        for role, one in volumes.items()
    }
    inside = np.ones(grid.shape, dtype=bool)
    for array in seen.values():
        inside &= _filled(foreground(array))
    if mask is not None:
        inside &= resample((mask.array > 0).astype(np.float32), mask, grid) >= 0.5
    largest = _largest(inside)
    medians = {
        role: float(np.median(array[largest])) if largest.any() else 0.0
        for role, array in seen.items()
    }
    return Body(grid=grid, inside=largest, medians=medians)


def lattice_of(grid: Geometry) -> Geometry:
    """Return an axis-aligned grid of points that covers another."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1)
    world = grid.affine[:3, :3] @ corners + grid.affine[:3, 3:]
    affine = np.diag([LATTICE_MM, LATTICE_MM, LATTICE_MM, 1.0])
    affine[:3, 3] = world.min(axis=1)
    x, y, z = (int(n) for n in np.ceil(np.ptp(world, axis=1) / LATTICE_MM) + 1)
    return Geometry(shape=(x, y, z), affine=affine)


def _filled(body: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    padded = np.pad(body, CLOSING)
    closed = ndimage.binary_closing(padded, iterations=CLOSING)
    kept = slice(CLOSING, -CLOSING)
    return np.asarray(ndimage.binary_fill_holes(closed[kept, kept, kept]))


def _largest(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax())


def _within(index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(((index >= 0) & (index < shape)).all(axis=1))
