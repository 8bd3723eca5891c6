"""The paper's Fig. 2 for one case, and the same of maps beside the model's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.explain.case import ExplainedVolume, Explanation
from napari_harm3.explain.cells import CellGrid
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.other_maps import OtherMap, OtherMaps
from napari_harm3.mri.display import ZYX_OF_RAS, DisplayGrid, display_grid
from napari_harm3.report.figures import INK, PAPER
from napari_harm3.report.slide_figure import heading_of, slide_figure

ANNOTATION = "#36d7b7"
HEAT = LinearSegmentedColormap.from_list(
    "harm3-heat",
    [
        (0.05, 0.2, 0.6, 0.0),
        (0.1, 0.7, 0.8, 0.45),
        (0.98, 0.8, 0.15, 0.7),
        (0.85, 0.1, 0.1, 0.85),
    ],
)
"""Clear at the low end, so that the anatomy shows where there is no evidence."""

SIGNED = LinearSegmentedColormap.from_list(
    "harm3-signed",
    [
        (0.0, (0.1, 0.25, 0.85, 0.85)),
        (0.35, (0.35, 0.6, 0.95, 0.5)),
        (0.5, (0.5, 0.5, 0.5, 0.0)),
        (0.65, (0.98, 0.7, 0.2, 0.5)),
        (1.0, (0.85, 0.1, 0.1, 0.85)),
    ],
)
"""Blue speaks against, red for; clear between."""

LEAST = 0.15
"""Share of the peak below which nothing is drawn."""

MOST_CELLS = 16
"""Borders are drawn of maps with no more cells than this along an axis."""

HEADING = 0.55
"""Height of the strip above the pictures, inches."""

METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGrad-CAM",
}
TARGETS = {"pcr": "pCR", "non-pcr": "no pCR", "contrast": "pCR against no pCR"}
KIND_NAMES = {
    "occlusion": "Occlusion",
    "inherent": "Inherent part",
    "variant": "Variant part",
    "cross": "Cross-reconstruction",
}


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Maps of one kind, on one scale."""

    name: str
    maps: Mapping[str, OtherMap]
    scale: str
    """What its colours count, for the bar beside it."""

    @property
    def peak(self) -> float:
        return max((float(np.abs(m.heat).max()) for m in self.maps.values()), default=0)

    @property
    def signed(self) -> bool:
        return any(float(m.heat.min()) < 0 for m in self.maps.values())

    @property
    def colours(self) -> Colormap:
        return SIGNED if self.signed else HEAT

    @property
    def norm(self) -> Normalize:
        peak = self.peak or 1.0
        return Normalize(-peak if self.signed else LEAST * peak, peak)


@dataclass(frozen=True, kw_only=True)
class _View:
    """One slice of a volume, and what lies on it."""

    grid: DisplayGrid
    slice: int
    image: Float[np.ndarray, "Y X"]
    mask: Bool[np.ndarray, "Y X"] | None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in LPS mm."""
        grid = self.grid
        height, width = grid.shape[1] * grid.scale[1], grid.shape[2] * grid.scale[2]
        left = grid.translate[2] - grid.scale[2] / 2
        top = grid.translate[1] - grid.scale[1] / 2
        return left, left + width, top + height, top


def map_name(config: ExplainConfig) -> str:
    """Return what a map is, for people."""
    layer = "" if config.layer == "last" else f" of {config.layer}"
    return f"{METHODS[config.method]}{layer} for {TARGETS[config.target]}"


def explanation_figure(explanation: Explanation) -> Figure:
    """Return heat maps above annotations, T1 and T2 before and after: Fig. 2.

    One scale for all maps; patient right is on the left, as radiologists hang it. Of a
    model that looks at the slide alone, its maps.
    """
    if not explanation.volumes:
        return slide_figure(explanation)
    note = f"{map_name(explanation.config)}, one scale for all four"
    return _stacked(explanation, [_own(explanation)], note)


def other_maps_figure(
    explanation: Explanation, others: Mapping[str, OtherMaps]
) -> Figure:
    """Return the model's own maps, those beside them by kind, and the annotations.

    Parameters
    ----------
    explanation
        Of the case.
    others
        Kind to maps by role.
    """
    scales = {
        "occlusion": "log-odds of pCR lost when covered",
        "cross": "distance between both reconstructions",
    }
    rows = [
        _Row(
            name=KIND_NAMES[kind],
            maps=maps,
            scale=scales.get(kind, "distance from the volume's mean"),
        )
        for kind, maps in others.items()
        if maps
    ]
    note = "Each row has a scale of its own"
    return _stacked(explanation, [_own(explanation), *rows], note)


def _own(explanation: Explanation) -> _Row:
    maps = {
        role: OtherMap(heat=volume.heat, cells=volume.cells)
        for role, volume in explanation.volumes.items()
    }
    name = METHODS[explanation.config.method]
    return _Row(name=name, maps=maps, scale="evidence")


def _stacked(explanation: Explanation, rows: Sequence[_Row], note: str) -> Figure:
    count = len(rows) + 1
    height = 1.1 + 3.2 * count
    figure = Figure(figsize=(13.4, height), facecolor=PAPER)
    # The heading has a strip of its own: square axes do not make way for it.
    below = (0, 0, 1, 1 - HEADING / height)
    figure.set_layout_engine("constrained", h_pad=0.02, w_pad=0.02, rect=below)
    axes = figure.subplots(count, len(ROLES), squeeze=False)
    views = {role: _view(one) for role, one in explanation.volumes.items()}
    span = _span(views.values())
    for column, role in enumerate(ROLES):
        axes[0, column].set_title(TITLES[role], color=INK, fontsize=11)
        for axis in axes[:, column]:
            _frame(axis)
        if role not in views:
            for axis in axes[:, column]:
                _caption(axis, "missing")
            continue
        for row, axis in zip(rows, axes[:-1, column], strict=True):
            _draw_image(axis, views[role], span)
            _draw_map(axis, views[role], row, role, explanation.volumes[role])
        _draw_image(axes[-1, column], views[role], span)
        _draw_annotation(axes[-1, column], views[role], explanation.volumes[role])
    for row, line in zip(rows, axes, strict=False):
        line[0].set_ylabel(row.name, color=INK, fontsize=10)
        bar = figure.colorbar(
            ScalarMappable(row.norm, row.colours), ax=list(line), pad=0.01, aspect=24
        )
        bar.set_label(row.scale, fontsize=8, color=INK)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
    axes[-1, 0].set_ylabel("Annotation", color=INK, fontsize=10)
    cell = " x ".join(f"{mm:.0f}" for mm in explanation.cell_mm)
    heading = figure.suptitle(
        heading_of(explanation),
        y=1 - 0.1 / height,
        va="top",
        color=INK,
        fontsize=13,
        fontweight="bold",
    )
    heading.set_in_layout(False)
    figure.supxlabel(
        f"{note}; one cell is {cell} mm (z, y, x), thin lines are its borders. Below: "
        "voxel annotation. Research use only.",
        color=INK,
        fontsize=9,
    )
    return figure


def _view(explained: ExplainedVolume) -> _View:
    grid = display_grid(explained.volume)
    heat, mask = np.abs(_shown(grid, explained.heat)), None
    if explained.annotation is not None:
        mask = grid.show(explained.annotation, order=0) > 0
    number = _telling_slice(heat, mask)
    return _View(
        grid=grid,
        slice=number,
        image=grid.show(explained.volume.array)[number],
        mask=None if mask is None else mask[number],
    )


def _telling_slice(heat: Float[np.ndarray, "Z Y X"], mask: np.ndarray | None) -> int:
    """Return the slice with most annotation, else with most heat, else the middle."""
    for field in (mask, heat):
        if field is not None and field.any():
            return int(field.sum(axis=(1, 2)).argmax())
    return len(heat) // 2


def _span(views: Iterable[_View]) -> float:
    """Return the edge of a square that every slice fits in, in mm."""
    edges = [abs(a - b) for v in views for a, b in (v.extent[:2], v.extent[2:])]
    return max(edges, default=1.0)


def _frame(axis: Axes) -> None:
    axis.set_facecolor("black")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_box_aspect(1)
    axis.spines[:].set_visible(False)


def _draw_image(axis: Axes, view: _View, span: float) -> None:
    low, high = np.percentile(view.image, (1, 99.7))
    axis.imshow(
        view.image,
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=view.extent,
        interpolation="bilinear",
    )
    left, right, bottom, top = view.extent
    middle = (left + right) / 2, (bottom + top) / 2
    axis.set_xlim(middle[0] - span / 2, middle[0] + span / 2)
    axis.set_ylim(middle[1] + span / 2, middle[1] - span / 2)
    for x, letter in ((0.02, "R"), (0.94, "L")):
        axis.text(x, 0.5, letter, color="white", fontsize=9, transform=axis.transAxes)


def _draw_map(
    axis: Axes, view: _View, row: _Row, role: str, explained: ExplainedVolume
) -> None:
    one = row.maps.get(role)
    if one is None:
        _caption(axis, "no map of this volume")
        return
    shown = _shown(view.grid, one.heat)
    heat = shown[view.slice]
    if row.peak > 0 and one.heat.any():
        axis.imshow(
            heat,
            cmap=row.colours,
            norm=row.norm,
            extent=view.extent,
            interpolation="nearest",
        )
        _borders(axis, view, one.cells, explained)
    if not one.heat.any():
        _caption(axis, "no positive evidence")
    elif np.abs(heat).max() < LEAST * row.peak:
        strongest = int(np.abs(shown).max(axis=(1, 2)).argmax())
        away = abs(strongest - view.slice) * view.grid.scale[0]
        _caption(
            axis,
            "next to nothing in this volume"
            if np.abs(shown).max() < LEAST * row.peak
            else f"nothing in this slice; strongest {away:.0f} mm away",
        )


def _shown(
    grid: DisplayGrid, heat: Float[np.ndarray, "X Y Z"]
) -> Float[np.ndarray, "Z Y X"]:
    """Return a map as it is drawn: zero beyond a tilted volume, even if signed."""
    shown = grid.show(np.maximum(heat, 0))
    return shown - grid.show(np.maximum(-heat, 0)) if heat.min() < 0 else shown


def _borders(
    axis: Axes, view: _View, cells: CellGrid, explained: ExplainedVolume
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


def _cells_at(
    view: _View, cells: CellGrid, explained: ExplainedVolume
) -> Float[np.ndarray, "3 Y X"]:
    """Return where each pixel of a slice lies, counted in cells along z, y, x."""
    grid = view.grid
    _, height, width = grid.shape
    z, y, x = np.broadcast_arrays(
        np.full((1, 1), view.slice), np.arange(height)[:, None], np.arange(width)[None]
    )
    shown = np.diag([*grid.scale, 1.0])
    shown[:3, 3] = grid.translate
    to_native = np.linalg.inv(ZYX_OF_RAS @ explained.volume.affine) @ shown
    matrix = np.linalg.inv(cells.affine) @ explained.place.affine @ to_native
    place = np.stack([z, y, x, np.ones_like(z)])
    return np.einsum("ij,jyx->iyx", matrix[:3], place)


def _thin_lines(
    axis: Axes,
    view: _View,
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


def _draw_annotation(axis: Axes, view: _View, explained: ExplainedVolume) -> None:
    if view.mask is None or explained.annotation is None:
        _caption(axis, "not annotated")
    elif not explained.annotation.any():
        _caption(axis, "annotated: no visible lesion")
    elif view.mask.any():
        axis.contour(
            view.mask.astype(float),
            levels=[0.5],
            colors=ANNOTATION,
            linewidths=1.6,
            extent=view.extent,
            origin="upper",
        )


def _caption(axis: Axes, text: str) -> None:
    axis.text(
        0.5,
        0.04,
        text,
        color="white",
        fontsize=9,
        ha="center",
        transform=axis.transAxes,
    )
