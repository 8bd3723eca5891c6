"""The paper's Fig. 2 for one case, and the same of maps beside the model's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.explain.case import ExplainedVolume, Explanation
from napari_harm3.explain.cells import VolumeMaps
from napari_harm3.explain.config import KIND_TITLES, ExplainConfig
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.look import INK, PAPER
from napari_harm3.report.map_slices import (
    SliceView,
    draw_borders,
    shown_on,
    slice_view,
    span_of,
)
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

LEAST, FAINT = 0.15, 0.25
"""Shares of the peak below which nothing is drawn, and nothing is seen of `HEAT`."""

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


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Maps of one kind, on one scale."""

    name: str
    maps: VolumeMaps
    scale: str
    """What its colours count, for the bar beside it."""

    @property
    def cell(self) -> str:
        """Size of a cell in mm along z, y, x."""
        size = next(iter(self.maps.values())).cells.spacing_mm
        return " x ".join(f"{mm:.0f}" for mm in size)

    @property
    def peak(self) -> float:
        return max((float(np.abs(m.heat).max()) for m in self.maps.values()), default=0)

    @property
    def signed(self) -> bool:
        return any(float(m.heat.min()) < 0 for m in self.maps.values())

    @property
    def seen(self) -> float:
        """What a map has to reach for its colours to be seen."""
        return self.peak * (LEAST if self.signed else FAINT)

    @property
    def colours(self) -> Colormap:
        return SIGNED if self.signed else HEAT

    @property
    def norm(self) -> Normalize:
        peak = self.peak or 1.0
        return Normalize(-peak if self.signed else LEAST * peak, peak)


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
    own = _own(explanation)
    note = f"{map_name(explanation.config)}, one scale for all four"
    return _stacked(explanation, [own], f"{note}; one cell is {own.cell} mm (z, y, x)")


def other_maps_figure(
    explanation: Explanation, others: Mapping[str, VolumeMaps]
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
            name=KIND_TITLES[kind],
            maps=maps,
            scale=scales.get(kind, "distance from the volume's mean"),
        )
        for kind, maps in others.items()
        if maps
    ]
    note = "Each row has a scale of its own, and cells of so many mm (z, y, x)"
    return _stacked(explanation, [_own(explanation), *rows], note)


def _own(explanation: Explanation) -> _Row:
    maps = {role: one.map for role, one in explanation.volumes.items()}
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
    views = {role: slice_view(one) for role, one in explanation.volumes.items()}
    span = span_of(views.values())
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
        name = row.name if len(rows) == 1 else f"{row.name}\n{row.cell} mm"
        line[0].set_ylabel(name, color=INK, fontsize=10)
        bar = figure.colorbar(
            ScalarMappable(row.norm, row.colours), ax=list(line), pad=0.01, aspect=24
        )
        bar.set_label(row.scale, fontsize=8, color=INK)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
    axes[-1, 0].set_ylabel("Annotation", color=INK, fontsize=10)
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
        f"{note}; thin lines are the borders of cells. Below: voxel annotation. "
        f"{RESEARCH_ONLY}",
        color=INK,
        fontsize=9,
    )
    return figure


def _frame(axis: Axes) -> None:
    axis.set_facecolor("black")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_box_aspect(1)
    axis.spines[:].set_visible(False)


def _draw_image(axis: Axes, view: SliceView, span: float) -> None:
    low, high = view.window
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
    axis: Axes, view: SliceView, row: _Row, role: str, explained: ExplainedVolume
) -> None:
    one = row.maps.get(role)
    if one is None:
        _caption(axis, "no map of this volume")
        return
    shown = shown_on(view.grid, one.heat)
    heat = shown[view.slice]
    if row.peak > 0 and one.heat.any():
        axis.imshow(
            heat,
            cmap=row.colours,
            norm=row.norm,
            extent=view.extent,
            interpolation="nearest",
        )
        draw_borders(axis, view, one.cells, explained)
    if not one.heat.any():
        _caption(axis, "no positive evidence")
    elif np.abs(heat).max() < row.seen:
        strongest = int(np.abs(shown).max(axis=(1, 2)).argmax())
        away = abs(strongest - view.slice) * view.grid.scale[0]
        _caption(
            axis,
            "next to nothing in this volume"
            if np.abs(shown).max() < row.seen
            else f"nothing in this slice; strongest {away:.0f} mm away",
        )


def _draw_annotation(axis: Axes, view: SliceView, explained: ExplainedVolume) -> None:
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
