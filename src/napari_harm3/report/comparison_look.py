"""How a comparison looks: colours and marks, the order of methods, p values."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from napari_harm3.report.comparison_rows import MethodRow

INK, SOFT, LINE, PAPER = "#1d2733", "#5c6b7a", "#c9d1d9", "#ffffff"
KINDS = {
    (): (SOFT, "d", "labels alone"),
    ("mri",): ("#0072b2", "s", "MRI"),
    ("wsi",): ("#d55e00", "^", "slide"),
    ("mri", "wsi"): ("#007f5c", "o", "MRI + slide"),
    ("clinical",): ("#a06a00", "P", "clinical"),
    ("clinical", "mri", "wsi"): ("#a3487f", "X", "images + clinical"),
}
"""Colour (safe for the colour-blind), marker and name of what a method sees."""

Rows = Sequence[MethodRow]


def marked(figure: Figure, *, made_up: bool) -> None:
    """Write below a figure what it must not be parted from."""
    text = "Made-up cohort (phantom). " if made_up else ""
    figure.text(
        1.0,
        -0.002,
        f"{text}Research use only.",
        ha="right",
        va="top",
        fontsize=7,
        color="#b3261e" if made_up else SOFT,
    )


def by_auc(rows: Rows) -> list[MethodRow]:
    """Return the rows, the best mean AUC first."""
    return sorted(rows, key=lambda row: -(row.metrics["auc"]["mean"] or 0))


def p_text(p: float | None) -> str:
    """Return a p value as people print it."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def kind_of(row: MethodRow) -> tuple[str, str, str]:
    """Return colour, marker and name of what a method sees."""
    seen = tuple(sorted(row.modalities))
    return KINDS.get(seen, KINDS["clinical", "mri", "wsi"])


def colour_of(row: MethodRow) -> str:
    """Return the colour of what a method sees."""
    return kind_of(row)[0]
