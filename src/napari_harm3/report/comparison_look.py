"""How methods look in a comparison: the colour and mark of what each one sees."""

from matplotlib.figure import Figure

from napari_harm3.report.comparison_rows import MethodRow
from napari_harm3.report.look import SOFT, origin_note

KINDS = {
    (): (SOFT, "d", "labels alone"),
    ("mri",): ("#0072b2", "s", "MRI"),
    ("wsi",): ("#d55e00", "^", "slide"),
    ("mri", "wsi"): ("#007f5c", "o", "MRI + slide"),
    ("clinical",): ("#a06a00", "P", "clinical"),
    ("clinical", "mri", "wsi"): ("#a3487f", "X", "images + clinical"),
}
"""Colour (safe for the colour-blind), marker and name of what a method sees."""


def marked(figure: Figure, *, made_up: bool) -> None:
    """Write below a figure what it must not be parted from."""
    text, colour = origin_note(made_up=made_up)
    figure.text(1.0, -0.002, text, ha="right", va="top", fontsize=7, color=colour)


def kind_of(row: MethodRow) -> tuple[str, str, str]:
    """Return colour, marker and name of what a method sees."""
    seen = tuple(sorted(row.modalities))
    return KINDS.get(seen, KINDS["clinical", "mri", "wsi"])


def colour_of(row: MethodRow) -> str:
    """Return the colour of what a method sees."""
    return kind_of(row)[0]
