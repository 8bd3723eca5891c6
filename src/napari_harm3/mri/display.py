"""Volumes as the viewer draws them: LPS millimetres, array axes Z, Y, X.

napari draws a grid by scale and translation only, so a volume whose axes are oblique
is resampled onto an axis-aligned grid, *for display only*; its annotation and its heat
map go onto the very same grid.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from napari_harm3.mri.affine import corners, nearest_axes
from napari_harm3.mri.interpolation import edges, interpolated
from napari_harm3.mri.volume import Geometry

STRAIGHT_DEGREES = 0.1
"""A smaller tilt moves no voxel by a visible amount."""

Number = TypeVar("Number", int, float)

ZYX_OF_RAS = np.array([[0, 0, 1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
"""From RAS mm to LPS mm in the order Z, Y, X."""


@dataclass(frozen=True, kw_only=True)
class DisplayGrid:
    """An axis-aligned grid in LPS mm, and the native grid that it shows."""

    native: Geometry
    shape: tuple[int, int, int]
    """Voxels along Z, Y, X."""

    scale: tuple[float, float, float]
    """Millimetres between them."""

    translate: tuple[float, float, float]
    """LPS mm of the first voxel's centre, along Z, Y, X."""

    oblique_degrees: float
    """Tilt of the native axes against the patient's; 0 if nothing is resampled."""

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """From indices to LPS mm, along Z, Y, X both."""
        affine = np.diag([*self.scale, 1.0])
        affine[:3, 3] = self.translate
        return affine

    def show(
        self, array: Shaped[np.ndarray, "X Y Z"], *, order: int = 1
    ) -> Shaped[np.ndarray, "Z Y X"]:
        """Return an array of the native grid as it is drawn.

        Parameters
        ----------
        array
            On the native grid.
        order
            0 for labels, 1 for intensities.
        """
        if not self.oblique_degrees:
            axes, flips = nearest_axes(ZYX_OF_RAS @ self.native.affine)
            straight = array.transpose(axes)
            return straight[tuple(slice(None, None, flip) for flip in flips)]
        to_native = np.linalg.inv(ZYX_OF_RAS @ self.native.affine) @ self.affine
        if order:
            return interpolated(
                array,
                to_native,
                self.shape,
                outside=float(array.min()),
                limits=edges(array.shape),
            )
        return np.asarray(
            ndimage.affine_transform(
                array,
                to_native[:3, :3],
                to_native[:3, 3],
                output_shape=self.shape,
                order=0,
                mode="grid-constant",  # "constant" drops the outer half of edge voxels
            )
        )


def display_grid(native: Geometry) -> DisplayGrid:
    """Return the grid on which a volume, and all that lies on it, is drawn."""
    axes, _ = nearest_axes(ZYX_OF_RAS @ native.affine)
    spacing = native.spacing_mm[axes]
    ends = corners(native.shape, ZYX_OF_RAS @ native.affine)
    low, high = ends.min(axis=1), ends.max(axis=1)
    tilt = oblique_degrees(native)
    straight = tilt <= STRAIGHT_DEGREES
    size = np.array(native.shape)[axes]
    if not straight:
        size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    return DisplayGrid(
        native=native,
        shape=_triple(int(n) for n in size),
        scale=_triple(float(s) for s in spacing),
        translate=_triple(float(t) for t in low),
        oblique_degrees=0.0 if straight else tilt,
    )


def oblique_degrees(native: Geometry) -> float:
    """Return the largest angle between a grid axis and its nearest patient axis."""
    directions = native.affine[:3, :3] / native.spacing_mm
    cosines = np.abs(directions).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(cosines, 0, 1)).max()))


def window_of(array: Shaped[np.ndarray, "X Y Z"]) -> tuple[float, float]:
    """Return the contrast limits that leave out what is darkest and brightest.

    The upper one goes by what is brighter than the mean: air, of which there is much
    or little around a head, would bring it down into a lesion.
    """
    some = array[::2, ::2, ::2]
    low = float(np.percentile(some, 1))
    high = np.percentile(some[some >= min(some.mean(), some.max())], 99.9)
    return low, max(float(high), low + 1e-6)


def _triple(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    first, second, third = values
    return first, second, third
