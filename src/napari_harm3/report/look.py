"""How every figure looks, and the words that it must not be parted from."""

from matplotlib.axes import Axes

from napari_harm3.notices import PHANTOM, RESEARCH_ONLY

INK, SOFT, LINE, PAPER = "#1d2733", "#5c6b7a", "#c9d1d9", "#ffffff"
ACCENT, RED = "#2a6f97", "#b3261e"


def plain(axis: Axes, x: str = "", y: str = "") -> None:
    """Leave of a frame what is read from, and name its axes."""
    axis.set_xlabel(x, color=INK, fontsize=9)
    axis.set_ylabel(y, color=INK, fontsize=9)
    axis.tick_params(labelsize=8, colors=SOFT)
    axis.spines[["top", "right"]].set_visible(False)


def origin_note(*, made_up: bool) -> tuple[str, str]:
    """Return what stands below a figure of many cases, and its colour."""
    if made_up:
        return f"{PHANTOM.capitalize()}. {RESEARCH_ONLY}", RED
    return RESEARCH_ONLY, SOFT
