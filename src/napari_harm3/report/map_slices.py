"""One slice of a volume, as figures show it, and the borders of cells in it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import CellGrid
from napari_harm3.mri.display import (
    ZYX_OF_RAS,
    DisplayGrid,
    display_grid,
    window_of,
)

MOST_CELLS = 16
"""Borders are drawn of maps with no more cells than this along an axis."""


@dataclass(frozen=True, kw_only=True)
class SliceView:
    """One slice of a volume, and what lies on it."""

    grid: DisplayGrid
    slice: int
    image: Float[np.ndarray, "Y X"]
    window: tuple[float, float]
    """What is drawn black and white, as in the viewer."""

    mask: Bool[np.ndarray, "Y X"] | None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in LPS mm."""
        grid = self.grid
        height, width = grid.shape[1] * grid.scale[1], grid.shape[2] * grid.scale[2]
        left = grid.translate[2] - grid.scale[2] / 2
        top = grid.translate[1] - grid.scale[1] / 2
        return left, left + width, top + height, top


def slice_view(explained: ExplainedVolume) -> SliceView:
    """Return the slice of a volume that tells most of its map and annotation."""
    grid = display_grid(explained.volume)
    heat, mask = np.abs(shown_on(grid, explained.heat)), None
    if explained.annotation is not None:
        mask = grid.show(explained.annotation, order=0) > 0
    number = _telling_slice(heat, mask)
    return SliceView(
        grid=grid,
        slice=number,
        image=grid.show(explained.volume.array)[number],
        window=window_of(explained.volume.array),
        mask=None if mask is None else mask[number],
    )


def span_of(views: Iterable[SliceView]) -> float:
    """Return the edge of a square that every slice fits in, in mm."""
    edges = [abs(a - b) for v in views for a, b in (v.extent[:2], v.extent[2:])]
    return max(edges, default=1.0)


def shown_on(
    grid: DisplayGrid, heat: Float[np.ndarray, "X Y Z"]
) -> Float[np.ndarray, "Z Y X"]:
    """Return a map as it is drawn: zero beyond a tilted volume, even if signed."""
    shown = grid.show(np.maximum(heat, 0))
    return shown - grid.show(np.maximum(-heat, 0)) if heat.min() < 0 else shown


def draw_borders(
    axis: Axes, view: SliceView, cells: CellGrid, explained: ExplainedVolume
) -> None:
    """Draw where one cell ends and the next begins, as far as the model sees."""
    if max(cells.shape) > MOST_CELLS:
        return
    index = _cells_at(view, cells, explained)
    first, last = cells.view[:, :, None, None]
    depth = np.minimum(index - first, last - index).min(axis=0)
    for along, count in zip(index, cells.shape, strict=True):
        seen = np.ma.masked_array(along, depth < 0)
        levels = np.arange(count - 1) + 0.5
        _thin_lines(axis, view, seen, levels)
    _thin_lines(axis, view, depth, np.zeros(1))


def _telling_slice(heat: Float[np.ndarray, "Z Y X"], mask: np.ndarray | None) -> int:
    """Return the slice with most annotation, else with most heat, else the middle."""
    for field in (mask, heat):
        if field is not None and field.any():
            return int(field.sum(axis=(1, 2)).argmax())
    return len(heat) // 2


def _cells_at(
    view: SliceView, cells: CellGrid, explained: ExplainedVolume
) -> Float[np.ndarray, "3 Y X"]:
    """Return where each pixel of a slice lies, counted in cells along z, y, x."""
    grid = view.grid
    _, height, width = grid.shape
    z, y, x = np.broadcast_arrays(
        np.full((1, 1), view.slice), np.arange(height)[:, None], np.arange(width)[None]
    )
    to_native = np.linalg.inv(ZYX_OF_RAS @ explained.volume.affine) @ grid.affine
    matrix = np.linalg.inv(cells.affine) @ explained.place.affine @ to_native
    place = np.stack([z, y, x, np.ones_like(z)])
    return np.einsum("ij,jyx->iyx", matrix[:3], place)


def _thin_lines(
    axis: Axes,
    view: SliceView,
    field: Float[np.ndarray, "Y X"],
    levels: Float[np.ndarray, "n"],
) -> None:
    crossed = levels[(levels > field.min()) & (levels < field.max())]
    if len(crossed):
        axis.contour(
            field,
            levels=crossed,
            colors="white",
            linewidths=0.6,
            alpha=0.35,
            extent=view.extent,
            origin="upper",
        )
