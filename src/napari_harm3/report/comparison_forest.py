"""The forest plot: every method's AUC with its interval, on one line each."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.report.comparison_look import KINDS, kind_of
from napari_harm3.report.comparison_rows import MethodRow, Rows, by_auc
from napari_harm3.report.look import INK, LINE, PAPER, SOFT
from napari_harm3.report.tables import p_text, with_interval


def forest_figure(rows: Rows, reference: str) -> Figure:
    """Return mean AUC and interval of each method, the paper's figure beside."""
    ordered = by_auc(rows)
    height = 1.3 + 0.3 * len(ordered)
    figure = Figure(figsize=(10.6, height), facecolor=PAPER, layout="constrained")
    axis, words = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    words.set_axis_off()
    axis.axvline(0.5, color=LINE, linewidth=1.2, zorder=0)
    for place, row in enumerate(ordered):
        bold = row.name == reference
        _forest_row(axis, place, row, bold=bold)
        _forest_words(words, place, row, bold=bold)
    for row in ordered:
        if row.name == reference and row.metrics["auc"]["mean"] is not None:
            mean = row.metrics["auc"]["mean"]
            axis.axvline(mean, color=SOFT, linewidth=0.9, linestyle=":", zorder=0)
    axis.set_yticks(
        range(len(ordered)), [row.title for row in ordered], color=INK, fontsize=9
    )
    for label, row in zip(axis.get_yticklabels(), ordered, strict=True):
        label.set_fontweight("bold" if row.name == reference else "normal")
    axis.set_ylim(len(ordered) - 0.4, -1.1)
    axis.set_xlabel("AUC: mean over folds, 95 % interval", color=INK, fontsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8, colors=SOFT)
    _write(words, 0.0, -0.8, "AUC [95 % CI]", bold=True)
    _write(words, 0.76, -0.8, "Holm p", bold=True)
    _forest_legend(figure, axis, ordered)
    return figure


def _forest_row(axis: Axes, place: int, row: MethodRow, *, bold: bool) -> None:
    entry = row.metrics["auc"]
    mean, (low, high) = entry["mean"], entry["ci95"]
    colour, marker, _ = kind_of(row)
    if mean is not None:
        if low is not None:
            axis.plot([low, high], [place, place], color=colour, linewidth=2.2)
        axis.plot(mean, place, marker, color=colour, ms=8 if bold else 6.5)
    if row.reported is not None:
        axis.plot(
            row.reported.auc,
            place,
            "D",
            color=SOFT,
            markerfacecolor="none",
            ms=6,
            zorder=4,
        )


def _forest_words(axis: Axes, place: int, row: MethodRow, *, bold: bool) -> None:
    entry = row.metrics["auc"]
    text = with_interval(entry["mean"], *entry["ci95"])
    _write(axis, 0.0, place, text, bold=bold)
    p = "reference" if row.against is None else p_text(row.against.p_holm)
    _write(axis, 0.76, place, p, bold=False)


def _forest_legend(figure: Figure, axis: Axes, rows: Rows) -> None:
    kinds = [kind for kind in KINDS if any(kind_of(row) == KINDS[kind] for row in rows)]
    handles = [
        axis.plot([], [], KINDS[kind][1], color=KINDS[kind][0], label=KINDS[kind][2])[0]
        for kind in kinds
    ]
    if any(row.reported is not None for row in rows):
        handles += axis.plot(
            [],
            [],
            "D",
            color=SOFT,
            markerfacecolor="none",
            label="reported by the paper (another cohort)",
        )
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
    )


def _write(axis: Axes, x: float, place: float, text: str, *, bold: bool) -> None:
    axis.text(
        x,
        place,
        text,
        va="center",
        fontsize=8.5,
        fontweight="bold" if bold else "normal",
        color=INK,
    )
