"""Sheets of small panels, one a method: what one plot of 25 lines cannot show."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.report.comparison_look import colour_of
from napari_harm3.report.comparison_rows import MethodRow, Rows, by_auc
from napari_harm3.report.look import INK, LINE, PAPER, SOFT
from napari_harm3.report.tables import METRICS, number
from napari_harm3.training.calibration import (
    calibration,
    confusion,
    pooled,
    reliability,
)
from napari_harm3.training.curves import pr_points, roc_points

COLUMNS = 5
SHOWN_BINS = 10
Draw = Callable[[Axes, MethodRow], None]
Points = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def roc_sheet(rows: Rows) -> Figure:
    """Return the ROC curve of each method in front of all others."""
    draw = _in_front(rows, roc_points, "auc", "right")
    return _sheet(rows, draw, "False-positive rate", "Sensitivity")


def pr_sheet(rows: Rows) -> Figure:
    """Return the precision-recall curve of each method in front of all others."""
    draw = _in_front(rows, pr_points, "ap", "left")
    return _sheet(rows, draw, "Recall", "Precision")


def calibration_sheet(rows: Rows) -> Figure:
    """Return what was said and what came true, in bins of equal size."""

    def draw(axis: Axes, row: MethodRow) -> None:
        label, score = pooled(row.folds)
        found = reliability(label, score, bins=SHOWN_BINS)
        fitted = calibration(row.folds)
        axis.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axis.vlines(
            found.score, found.low, found.high, color=colour_of(row), alpha=0.35
        )
        axis.plot(
            found.score, found.observed, "o-", color=colour_of(row), ms=3, linewidth=1.2
        )
        slope = "-" if fitted.slope is None else f"{fitted.slope:.2f}"
        _say(axis, f"slope {slope}\nECE {fitted.ece:.3f}", "left", 0.94)

    return _sheet(rows, draw, "Probability of pCR said", "pCR observed")


def confusion_sheet(rows: Rows) -> Figure:
    """Return decisions at each fold's own threshold, chosen on its inner part."""

    def draw(axis: Axes, row: MethodRow) -> None:
        found = confusion(row.folds)
        counts = np.array([[found.tp, found.fn], [found.fp, found.tn]])
        share = counts / counts.sum(axis=1, keepdims=True)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1.7)
        for (y, x), count in np.ndenumerate(counts):
            axis.text(
                x,
                y,
                f"{count}\n{share[y, x]:.0%}",
                ha="center",
                va="center",
                fontsize=8,
                color=INK,
            )
        axis.set_xlim(-0.5, 1.5)
        axis.set_ylim(1.5, -0.5)
        axis.set_xticks([0, 1], ["pCR", "no"])
        axis.set_yticks([0, 1], ["pCR", "no"])

    return _sheet(rows, draw, "Said", "True", ticks=False)


def _in_front(rows: Rows, points: Points, key: str, side: str) -> Draw:
    """Return what draws a method's curve over the others', and says its metric."""
    every = [points(*pooled(row.folds)) for row in rows]

    def draw(axis: Axes, row: MethodRow) -> None:
        for curve in every:
            axis.plot(*curve, color=LINE, linewidth=0.5)
        axis.plot(*points(*pooled(row.folds)), color=colour_of(row), linewidth=1.8)
        _say(axis, f"{METRICS[key]} {number(row.metrics[key]['mean'])}", side, 0.06)

    return draw


def _sheet(rows: Rows, draw: Draw, x: str, y: str, *, ticks: bool = True) -> Figure:
    """Return a panel for each method, the best AUC first."""
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    size = (max(2.05 * columns, 4), 2.05 * lines + 0.5)
    figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, row in zip(panels, by_auc(rows), strict=False):
        draw(axis, row)
        axis.set_title(row.title, fontsize=8.5, color=INK)
        axis.set_aspect("equal")
        axis.tick_params(labelsize=7, colors=SOFT, length=2)
        for spine in axis.spines.values():
            spine.set_color(LINE)
        if ticks:
            axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
            axis.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    for axis in panels[len(rows) :]:
        axis.set_axis_off()
    figure.supxlabel(x, fontsize=9, color=INK)
    figure.supylabel(y, fontsize=9, color=INK)
    return figure


def _say(axis: Axes, text: str, side: str, height: float) -> None:
    axis.text(
        0.95 if side == "right" else 0.05,
        height,
        text,
        ha=side,
        va="top" if height > 0.5 else "bottom",
        fontsize=7.5,
        color=INK,
        transform=axis.transAxes,
    )
