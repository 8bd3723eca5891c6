"""A case's slide maps as one picture, where the model looks at nothing else."""

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from napari_harm3.explain.case import Explanation
from napari_harm3.explain.slide_export import heat_raster, relative
from napari_harm3.explain.slide_maps import KINDS
from napari_harm3.notices import PHANTOM, RESEARCH_ONLY
from napari_harm3.report.look import INK, PAPER
from napari_harm3.wsi.heat_pyramid import COLD, HOT

MOST_SLIDES = 4
NO_EVIDENCE = "nothing on the slide speaks for the target"
SIDE_INCHES = 4.0
NAMES = {
    "attention": "Attention",
    "gradient_attention": "Gradient x attention",
    "rollout": "Attention rollout",
}
COLOURS = LinearSegmentedColormap.from_list("harm3-patches", [COLD / 255, HOT / 255])
"""Those of the pyramids and of QuPath."""


def heading_of(explanation: Explanation) -> str:
    """Return what a picture of a case is headed by."""
    return (
        f"{explanation.case_id}   p(pCR) {explanation.probability:.2f}   "
        f"{explanation.seen}{f'   model of a {PHANTOM}' if explanation.made_up else ''}"
    )


def slide_figure(explanation: Explanation) -> Figure:
    """Return each kind of map of the slides, patch by patch; white where none lies."""
    maps, places = explanation.slide.maps, explanation.slide.places
    kinds = [kind for kind in KINDS if kind in maps]
    slides = [
        n for n in range(len(places.names)) if places.known[places.slide == n].any()
    ]
    shown = slides[:MOST_SLIDES]
    rows, columns = max(len(shown), 1), max(len(kinds), 1)
    size = SIDE_INCHES * columns + 1, SIDE_INCHES * rows + 1
    figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for column, kind in enumerate(kinds):
        axes[0, column].set_title(NAMES[kind], color=INK, fontsize=11)
        values = relative(maps[kind])
        for axis, slide in zip(axes[:, column], shown, strict=False):
            heat, (across, down) = heat_raster(places, slide, values)
            axis.imshow(heat, cmap=COLOURS, vmin=0, vmax=1, aspect=down / across)
            if not values.any():
                axis.set_xlabel(NO_EVIDENCE, color=INK, fontsize=9)
    for axis, slide in zip(axes[:, 0], shown, strict=False):
        axis.set_ylabel(places.names[slide], color=INK, fontsize=10)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), COLOURS), ax=axes, pad=0.02, aspect=24
    )
    bar.set_label("share of the highest patch", fontsize=8, color=INK)
    bar.outline.set_visible(False)
    figure.suptitle(heading_of(explanation), color=INK, fontsize=13, fontweight="bold")
    left_out = len(places.names) - len(shown)
    figure.supxlabel(
        "This model looks at no volume. Its maps of the slide's patches, each over its "
        f"highest{f'; {left_out} more slides are not shown' if left_out else ''}. "
        f"{RESEARCH_ONLY}",
        color=INK,
        fontsize=9,
        wrap=True,
    )
    return figure
