"""Figures of a comparison: people look at them before they read a table.

With 25 methods one plot of 25 lines tells nothing. So an overview names the best few,
and a sheet of small panels shows each method in front of all the others.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.report.comparison_forest import forest_figure
from napari_harm3.report.comparison_rows import MethodRow, Rows, by_auc
from napari_harm3.report.comparison_sheets import (
    calibration_sheet,
    confusion_sheet,
    pr_sheet,
    roc_sheet,
)
from napari_harm3.report.look import INK, LINE, PAPER, SOFT, plain
from napari_harm3.report.tables import number
from napari_harm3.training.calibration import decision_curve, pooled
from napari_harm3.training.curves import pr_points, roc_points

LINES = (
    (INK, "-"),
    ("#0072b2", "-"),
    ("#d55e00", "-"),
    ("#009e73", "--"),
    ("#cc79a7", "-"),
    ("#e69f00", "--"),
    ("#56b4e9", "-"),
)
"""Of the methods that an overview names, the reference first (after Okabe and Ito)."""


def figures(rows: Rows, reference: str) -> dict[str, Figure]:
    """Return every figure by its name; those that need scores, if there are any."""
    made = {"forest": forest_figure(rows, reference)}
    scored = [row for row in rows if row.folds and _both_classes(row)]
    if scored:
        made |= {
            "curves": overview_figure(scored, reference),
            "roc": roc_sheet(scored),
            "pr": pr_sheet(scored),
            "decision": decision_figure(scored, reference),
            "calibration": calibration_sheet(scored),
            "confusion": confusion_sheet(scored),
        }
    return made


def overview_figure(rows: Rows, reference: str) -> Figure:
    """Return ROC and precision-recall curves, the best few methods named."""
    figure = Figure(figsize=(10.4, 4.5), facecolor=PAPER, layout="constrained")
    roc, pr = figure.subplots(1, 2)
    plain(roc, "False-positive rate", "Sensitivity")
    plain(pr, "Recall (sensitivity)", "Precision")
    roc.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    prevalence = rows[0].metrics["prevalence"]
    pr.axhline(prevalence, color=LINE, linewidth=1)
    for row, (colour, style), named in _in_front(rows, reference):
        label, score = pooled(row.folds)
        look: dict[str, Any] = {
            "color": colour,
            "linestyle": style,
            "linewidth": (2.2 if row.name == reference else 1.5) if named else 0.7,
            "zorder": 3 if named else 1,
        }
        title = f"{row.title}  {number(row.metrics['auc']['mean'])}"
        roc.plot(*roc_points(label, score), label=title if named else None, **look)
        average = f"{row.title}  {number(row.metrics['ap']['mean'])}"
        pr.plot(*pr_points(label, score), label=average if named else None, **look)
    _legend(roc, "lower right", "AUC, mean of folds")
    _legend(pr, "lower left", "AP, mean of folds")
    return figure


def decision_figure(rows: Rows, reference: str) -> Figure:
    """Return the net benefit of acting on each method, the best few named."""
    figure = Figure(figsize=(7.6, 4.4), facecolor=PAPER, layout="constrained")
    axis = figure.subplots()
    plain(axis, "Probability of pCR from which one acts", "Net benefit per case")
    prevalence = rows[0].metrics["prevalence"]
    for row, (colour, style), named in _in_front(rows, reference):
        curve = decision_curve(*pooled(row.folds))
        axis.plot(
            curve.threshold,
            curve.model,
            color=colour,
            linestyle=style,
            linewidth=(2.2 if row.name == reference else 1.4) if named else 0.7,
            zorder=3 if named else 1,
            label=row.title if named else None,
        )
    curve = decision_curve(*pooled(rows[0].folds))
    axis.plot(
        curve.threshold, curve.treat_all, ":", color=SOFT, lw=1.4, label="everyone"
    )
    axis.axhline(0, color=SOFT, linewidth=1, label="no one")
    axis.set_xlim(0, 0.8)
    axis.set_ylim(-0.18 * prevalence, 1.08 * prevalence)
    _legend(axis, "upper right", "Act on")
    return figure


def _in_front(
    rows: Rows, reference: str
) -> list[tuple[MethodRow, tuple[str, str], bool]]:
    """Return rows with a look, and whether the overview names them."""
    ordered = by_auc(rows)
    ordered.sort(key=lambda row: row.name != reference)  # the sort is stable
    looks = [*LINES, *[(LINE, "-")] * len(ordered)]
    return [
        (row, look, place < len(LINES))
        for place, (row, look) in enumerate(zip(ordered, looks, strict=False))
    ]


def _legend(axis: Axes, place: str, title: str) -> None:
    axis.legend(
        loc=place,
        title=title,
        fontsize=8,
        title_fontsize=8,
        framealpha=0.92,
        edgecolor="none",
    )


def _both_classes(row: MethodRow) -> bool:
    return len(np.unique(pooled(row.folds)[0])) == 2
