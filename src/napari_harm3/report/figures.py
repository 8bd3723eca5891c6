"""Figures: the paper's Fig. 2 for one case, and what a run looks like."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.explain.case import ExplainedVolume, Explanation
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.mri.display import DisplayGrid, display_grid
from napari_harm3.training.curves import roc_points

INK, PAPER, ACCENT = "#1d2733", "#ffffff", "#2a6f97"
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


METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGrad-CAM",
}
TARGETS = {"pcr": "pCR", "non-pcr": "no pCR", "contrast": "pCR against no pCR"}


def map_name(config: ExplainConfig) -> str:
    """Return what a map is, for people."""
    layer = "" if config.layer == "last" else f" of {config.layer}"
    return f"{METHODS[config.method]}{layer} for {TARGETS[config.target]}"


def explanation_figure(explanation: Explanation) -> Figure:
    """Return heat maps above annotations, T1 and T2 before and after: Fig. 2.

    One scale for all maps; patient right is on the left, as radiologists hang it.
    """
    figure = Figure(figsize=(13, 7.2), facecolor=PAPER, layout="constrained")
    axes = figure.subplots(2, len(ROLES))
    peak = max((float(v.heat.max()) for v in explanation.volumes.values()), default=0.0)
    for column, role in enumerate(ROLES):
        upper, lower = axes[0, column], axes[1, column]
        volume = explanation.volumes.get(role)
        for axis in (upper, lower):
            axis.set_axis_off()
        upper.set_title(TITLES[role], color=INK, fontsize=11)
        if volume is None:
            upper.text(0.5, 0.5, "missing", ha="center", transform=upper.transAxes)
            continue
        _draw_pair(upper, lower, volume, peak)
    cell = " x ".join(f"{mm:.0f}" for mm in explanation.cell_mm)
    figure.suptitle(
        f"{explanation.case_id}   p(pCR) {explanation.probability:.2f}   "
        f"{explanation.seen}",
        color=INK,
        fontsize=13,
        fontweight="bold",
    )
    figure.supxlabel(
        f"{map_name(explanation.config)}, one scale for all four; one cell is "
        f"{cell} mm (z, y, x). "
        "Below: voxel annotation. Research use only.",
        color=INK,
        fontsize=9,
    )
    return figure


def _draw_pair(
    upper: Axes, lower: Axes, explained: ExplainedVolume, peak: float
) -> None:
    grid = display_grid(explained.volume)
    image, heat = grid.show(explained.volume.array), grid.show(explained.heat)
    mask = None
    if explained.annotation is not None:
        mask = grid.show(explained.annotation, order=0) > 0
    number = _telling_slice(heat, mask)
    low, high = np.percentile(image, (1, 99.7))
    for axis in (upper, lower):
        axis.imshow(
            image[number],
            cmap="gray",
            vmin=low,
            vmax=high,
            extent=_extent(grid),
            interpolation="bilinear",
        )
        _letters(axis)
    if peak > 0 and heat.any():
        upper.imshow(
            heat[number],
            cmap=HEAT,
            vmin=0.15 * peak,
            vmax=peak,
            extent=_extent(grid),
            interpolation="nearest",
        )
    else:
        _caption(upper, "no positive evidence")
    if mask is None:
        _caption(lower, "not annotated")
    elif mask.any():
        lower.contour(
            mask[number].astype(float),
            levels=[0.5],
            colors=ANNOTATION,
            linewidths=1.6,
            extent=_extent(grid),
            origin="upper",
        )
    else:
        _caption(lower, "annotated: no visible lesion")


def _telling_slice(heat: Float[np.ndarray, "Z Y X"], mask: np.ndarray | None) -> int:
    """Return the slice with most annotation, else with most heat, else the middle."""
    for field in (mask, heat):
        if field is not None and field.any():
            return int(field.sum(axis=(1, 2)).argmax())
    return len(heat) // 2


def _extent(grid: DisplayGrid) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top in LPS mm."""
    height, width = grid.shape[1] * grid.scale[1], grid.shape[2] * grid.scale[2]
    left, top = grid.translate[2], grid.translate[1]
    return left, left + width, top + height, top


def _letters(axis: Axes) -> None:
    for x, letter in ((0.02, "R"), (0.94, "L")):
        axis.text(x, 0.5, letter, color="white", fontsize=9, transform=axis.transAxes)


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


def roc_figure(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Return the ROC curve of each fold, from labels and scores."""
    figure, axis = _plain("False-positive rate", "Sensitivity")
    axis.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle="--")
    for number, (label, score) in enumerate(folds):
        if len(np.unique(label)) == 2:
            axis.plot(
                *roc_points(label, score),
                linewidth=1.6,
                alpha=0.8,
                label=f"fold {number}",
            )
    axis.legend(frameon=False, fontsize=8)
    axis.set_aspect("equal")
    return figure


def training_figure(logs: Mapping[int, Sequence[Mapping[str, str]]]) -> Figure:
    """Return the loss of each fold, epoch by epoch, from its ``log.csv``."""
    figure, axis = _plain("Epoch", "Loss")
    for fold, rows in logs.items():
        epochs = [int(row["epoch"]) + 1 for row in rows]
        axis.plot(epochs, [float(row["loss"]) for row in rows], label=f"fold {fold}")
    axis.legend(frameon=False, fontsize=8)
    return figure


def score_figure(label: np.ndarray, score: np.ndarray) -> Figure:
    """Return how the held-out scores of both classes lie."""
    figure, axis = _plain("Held-out probability of pCR", "Cases")
    bins = np.linspace(0, 1, 21)
    for value, name, colour in ((0, "no pCR", "#8d99ae"), (1, "pCR", ACCENT)):
        axis.hist(score[label == value], bins, alpha=0.7, label=name, color=colour)
    axis.legend(frameon=False, fontsize=8)
    return figure


def _plain(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.4, 3.6), facecolor=PAPER, layout="constrained")
    axis = figure.subplots()
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis
