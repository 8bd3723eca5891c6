"""Where the cells of a map lie, and a map drawn on the voxels; free of torch.

A cell lies at the middle of the voxels that it looks at. A strided convolution that is
padded by half its kernel has cell i at voxel step * i, so that the first cell lies on
the first voxel; pools without overlap have their cells at the middle of equal shares of
the grid. `explain.receptive` reads it off a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from napari_harm3.mri.interpolation import edges
from napari_harm3.mri.resampling import to_native
from napari_harm3.mri.volume import Geometry

Axes = tuple[float, float, float]
"""A number for each of z, y, x."""

CellMaps = dict[str, Float[np.ndarray, "d h w"]]
"""Maps of one case by role, a number a cell."""

BatchMaps = dict[str, Float[np.ndarray, "B d h w"]]
"""The same of several cases."""


@dataclass(frozen=True, kw_only=True)
class Centres:
    """The centre of cell i along an axis is ``start + step * i``."""

    start: Axes
    """Of the first cell, in voxels of the model's grid; voxel 0 has its own at 0."""

    step: Axes
    """Voxels from one cell to the next."""

    assumed: bool = False
    """Whether the network does not say it, and equal shares of the grid stand in."""

    @classmethod
    def of(
        cls, start: Float[np.ndarray, "3"], step: Float[np.ndarray, "3"]
    ) -> "Centres":
        """Return centres that are told as arrays."""
        first_z, first_y, first_x = start.tolist()
        z, y, x = step.tolist()
        return cls(start=(first_z, first_y, first_x), step=(z, y, x))


def equal_shares(cells: Sequence[int], size: Sequence[int]) -> Centres:
    """Return the centres of cells that share a grid out among them.

    Parameters
    ----------
    cells, size
        Cells of a map and voxels of the model's grid, along z, y, x.
    """
    z, y, x = (voxels / count for count, voxels in zip(cells, size, strict=True))
    start = ((z - 1) / 2, (y - 1) / 2, (x - 1) / 2)
    return Centres(start=start, step=(z, y, x), assumed=True)


@dataclass(frozen=True, kw_only=True)
class CellGrid(Geometry):
    """The grid of a map's cells, and how far what they look at reaches."""

    centres: Centres
    """Where they lie on the model's grid."""

    view: Float[np.ndarray, "2 3"]
    """Where the model's field of view begins and ends, counted in cells from the
    centre of the first; half a cell beyond the outer centres, or more or less."""


@dataclass(frozen=True, kw_only=True)
class VolumeMap:
    """A map of one volume, on its own grid."""

    heat: Float[np.ndarray, "X Y Z"]
    cells: CellGrid
    """Grid of its cells, in the space that all volumes share."""

    @property
    def positive(self) -> "VolumeMap":
        """What of it speaks for the target."""
        return replace(self, heat=np.maximum(self.heat, 0))


VolumeMaps = dict[str, VolumeMap]
"""By role, of one case."""


def cell_grid(
    cells: Sequence[int],
    size: Sequence[int],
    affine: Float[np.ndarray, "4 4"],
    centres: Centres | None = None,
) -> CellGrid:
    """Return the grid of a map's cells.

    Parameters
    ----------
    cells
        How many there are along z, y, x.
    size, affine
        Voxels of the model's grid, and the way from them to RAS mm.
    centres
        Where the cells lie on it; `equal_shares` of it if they are not known.
    """
    centres = centres or equal_shares(cells, size)
    start, step = np.array(centres.start), np.array(centres.step)
    coarse = affine.copy()
    coarse[:3, :3] = affine[:3, :3] * step
    coarse[:3, 3] = affine[:3, 3] + affine[:3, :3] @ start
    z, y, x = cells
    return CellGrid(
        shape=(z, y, x),
        affine=coarse,
        centres=centres,
        view=(edges(size) - start) / step,
    )


def boxes_of(
    cells: Sequence[int], centres: Centres, size: Sequence[int]
) -> list[Float[np.ndarray, "cells voxels"]]:
    """Return along each axis the share that each voxel has in a cell's mean.

    The box of a cell ends halfway to its neighbours; what leaves the grid is cut.
    """
    shares = []
    for count, start, step, edge in zip(
        cells, centres.start, centres.step, size, strict=True
    ):
        middle = start + step * np.arange(count)[:, None]
        voxel = np.arange(edge)[None]
        high = np.minimum(voxel + 0.5, middle + step / 2)
        low = np.maximum(voxel - 0.5, middle - step / 2)
        inside = np.maximum(high - low, 0)
        shares.append(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-9))
    return shares


def on_cells(
    volume: Float[np.ndarray, "D H W"], boxes: list[Float[np.ndarray, "cells voxels"]]
) -> Float[np.ndarray, "d h w"]:
    """Return the mean of a volume over each cell's box, see `boxes_of`."""
    return np.einsum("zi,yj,xk,ijk->zyx", *boxes, volume, optimize=True)


def drawn(
    cam: Float[np.ndarray, "d h w"], cells: Geometry, native: Geometry
) -> Float[np.ndarray, "X Y Z"]:
    """Return a map on a volume's own grid; zero outside the model's field of view.

    Parameters
    ----------
    cam
        One number a cell.
    cells
        Their grid; if it is no `CellGrid`, the field of view ends with their boxes.
    native
        The volume's grid; `mri.resampling.placed` where a registration moved it.
    """
    view = cells.view if isinstance(cells, CellGrid) else None
    return to_native(cam, cells.affine, native, view=view)
